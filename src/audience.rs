//! Who listens on the mirror NIC, so that nothing need be copied that nobody sees.
//!
//! The kernel lists the packet sockets of a network namespace in `/proc/net/packet`. It tells nobody that one has come, so
//! the list is read again and again: each [`watch::PAUSED`] while nothing is mirrored. Its other interface to the same list,
//! NETLINK_SOCK_DIAG, has no announcements either, is a module that not every kernel has, and no kept crate speaks it for packet
//! sockets (netlink-packet-sock-diag has inet, unix and netlink sockets). A change of the link's
//! promiscuity is announced, but not every listener changes it, and tcpdump changes it before it listens.
//!
//! One reading takes 20 µs of processor time with 10 packet sockets in the namespace and 780 µs with 1,000. With ten a
//! second and 500 ports, measured over a minute on a busy machine of 2 cores, the whole agent used 0.12 % and 0.99 % of a
//! core while it was paused (`make bench`).
//!
//! Counted is who gets the copies:
//!
//! - a socket that is bound to the NIC, whatever it wants of it: nobody but a listener binds to a mirror NIC;
//! - a socket that gets every packet of every NIC (`tcpdump -i any`);
//! - not one for single protocols of all NICs, as DHCP clients, LLDP and ARP daemons have.

pub mod watch;

use crate::{
    nic::{self, Listeners},
    settings::MirrorWhen,
    sink::SinkState,
};

/// What is known of those who listen on the mirror NIC, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Packet sockets that get the copies; none where they can't be counted, or the NIC has not been looked at.
    pub listeners: Option<usize>,
    /// Whether any of them is for a single protocol, so that it gets nothing that is kept from the host's network stack.
    pub by_protocol: bool,
    /// Whether copies are wanted; none as long as that can't be told, when nothing may be changed.
    pub wanted: Option<bool>,
    /// Why copies are made though it is not known whether anybody listens, where that was asked for.
    pub remark: Option<String>,
}

/// Why the listeners can't be counted.
#[derive(Debug, thiserror::Error)]
enum Uncountable {
    #[error("{0} is no device of this network namespace")]
    Away(String),
    #[error("{0} is no internal port of the bridge, so whoever is behind it gets the copies")]
    LeadsAway(String),
    #[error("{nic} has {}, which may take the copies", outlets.join(", "))]
    Outlets { nic: String, outlets: Vec<String> },
}

/// Where to look for listeners, as long as the mirror port does not change.
#[derive(Debug)]
enum Place {
    /// The mirror port has not been looked at.
    Unknown,
    /// The number of the NIC.
    Link(u32),
    /// Whoever listens can't be seen from here.
    Hidden(String),
}

impl Place {
    fn of(nic: &str, sink: &SinkState) -> Self {
        let nic = nic.to_owned();
        let hidden = match &sink.link {
            _ if !sink.known => return Self::Unknown,
            None => Uncountable::Away(nic),
            // Open vSwitch's userspace datapath listens on such a NIC itself, by a packet socket.
            Some(_) if !sink.internal => Uncountable::LeadsAway(nic),
            Some(link) if !link.outlets.is_empty() => {
                Uncountable::Outlets { nic, outlets: link.outlets.clone() }
            }
            Some(link) => return Self::Link(link.index),
        };
        Self::Hidden(hidden.to_string())
    }

    /// Who listens there now; none as long as the mirror port is not known.
    fn listeners(&self) -> Option<Result<Listeners, String>> {
        match self {
            Self::Unknown => None,
            Self::Hidden(reason) => Some(Err(reason.clone())),
            Self::Link(index) => Some(nic::listeners(*index).map_err(|error| error.to_string())),
        }
    }
}

impl Audience {
    /// As long as nothing is known.
    #[must_use]
    pub fn unknown(when: MirrorWhen) -> Self {
        Self::new(None, None, when)
    }

    /// As somebody sees it who looks once.
    #[must_use]
    pub fn look(nic: &str, sink: &SinkState, when: MirrorWhen) -> Self {
        let listeners = Place::of(nic, sink).listeners();
        let wanted = listeners.as_ref().map(|listeners| *listeners != Ok(Listeners::NOBODY));
        Self::new(listeners, wanted, when)
    }

    /// `listeners` are those who are there, or why that can't be told; `wanted` is whether copies are, if only for them.
    fn new(
        listeners: Option<Result<Listeners, String>>,
        wanted: Option<bool>,
        when: MirrorWhen,
    ) -> Self {
        let (listeners, hidden) = match listeners {
            None => (None, None),
            Some(Ok(listeners)) => (Some(listeners), None),
            Some(Err(reason)) => (None, Some(reason)),
        };
        let by_protocol = listeners.is_some_and(|listeners| listeners.by_protocol);
        let listeners = listeners.map(|listeners| listeners.number);
        match when {
            MirrorWhen::Always => Self { listeners, by_protocol, wanted: Some(true), remark: None },
            MirrorWhen::Listened => {
                let remark = hidden.map(|reason| {
                    format!("mirroring always, as nobody can tell who listens: {reason}")
                });
                Self { listeners, by_protocol, wanted, remark }
            }
        }
    }

    /// Whether mirroring is left off because nobody listens.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.wanted == Some(false)
    }
}

#[cfg(test)]
mod tests;
