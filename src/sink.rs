//! The port that gets the copies: what is to be done next so that it is there and quiet.
//!
//! [`next_step`] looks at the whole of it each time and names one step, so whatever somebody breaks is mended from
//! where it broke; [`keeper`] takes the steps.

pub mod eligible;
pub mod host_stack;
pub mod keeper;
pub(crate) mod mtu;
mod state;

use std::fmt;

use flows::model::OfPort;
pub use state::SinkState;

use self::eligible::Ineligible;
use crate::{
    nic::{self, Absence, Link, Unattachable},
    ovsdb::{Bridge, Interface, Mirror, Ofport, Port, Snapshot, mirror_port::PortKind},
};

/// The external ID by which a port is known that this agent put on the bridge, and may remove.
pub const OWNER: (&str, &str) = ("owner", "ofmirror");

/// What is known of the mirror port.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Name of the bridge that Pods are on.
    pub bridge: &'a str,
    /// Name of the mirror NIC.
    pub nic: &'a str,
    /// What OVSDB says.
    pub snapshot: &'a Snapshot,
    /// The NIC as the kernel has it.
    pub link: Option<&'a Link>,
    /// Where the NIC is, if the kernel has none of its name in this network namespace.
    pub absence: Absence,
    /// Whether the NIC is one of the host's, which the agent must not make itself.
    pub must_exist: bool,
    /// MTU in bytes of the Pod port that has the largest.
    pub mtu: u32,
    /// The smallest MTU of the other ports whose MTUs count for the bridge's internal ports (see [`mtu`]), in bytes.
    pub least_mtu: Option<u32>,
    /// The smallest MTU that the kernel has refused to give this very link.
    pub refused_mtu: Option<u32>,
}

impl<'a> Facts<'a> {
    /// What OVSDB says, when nothing else is known.
    #[must_use]
    pub fn of(bridge: &'a str, nic: &'a str, snapshot: &'a Snapshot) -> Self {
        Self {
            bridge,
            nic,
            snapshot,
            link: None,
            absence: Absence::Unknown,
            must_exist: false,
            mtu: 0,
            least_mtu: None,
            refused_mtu: None,
        }
    }
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing; the port is ready, and this is its OpenFlow number.
    Done(OfPort),
    /// Nothing; somebody else must act first.
    Wait(Problem),
    /// Make a port.
    Create(&'a Bridge, PortKind),
    /// Take our port off the bridge.
    Remove(&'a Bridge, &'a Port, Removal),
    /// Have the switch give it this MTU in bytes, or with none the smallest of the bridge's other ports.
    RequestMtu(&'a Interface, Option<u32>),
    /// Make the device quiet.
    Quiet(&'a Link, Vec<nic::Change>),
}

/// Why a port of ours is taken off the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its device is gone; the next step makes it anew.
    Gone,
    /// Its MTU lowers that of other ports.
    TooShort,
    /// It is an internal port, and has the name of a NIC that is to be waited for.
    InTheWay,
}

/// Why the mirror port can't be had now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing to attach to.
    #[error(
        "there is no bridge {0} in OVSDB: is Open vSwitch set up by your CNI, or is it --bridge that is wrong?"
    )]
    NoBridge(String),
    /// A port has one bridge.
    #[error(
        "{nic} is a port of bridge {bridge}: choose another --mirror-iface, or remove it from there"
    )]
    OtherBridge {
        /// The NIC.
        nic: String,
        /// Its bridge.
        bridge: String,
    },
    /// The node needs it.
    #[error(transparent)]
    Unattachable(#[from] Unattachable),
    /// It is somebody else's port.
    #[error(transparent)]
    Ineligible(#[from] Ineligible),
    /// The link was asked for by another name than its own.
    #[error("{nic} is another name of {link}: name it by --mirror-iface={link}")]
    OtherName {
        /// The name that was asked for.
        nic: String,
        /// The link's own.
        link: String,
    },
    /// A port can't have two owners, nor can an interface.
    #[error("{nic} is an interface of another port in OVSDB; choose another --mirror-iface")]
    Interface {
        /// The NIC.
        nic: String,
    },
    /// Open vSwitch would give internal ports the NIC's MTU.
    #[error(
        "{nic} has an MTU of {mtu} and gets no larger one, but the ports of the bridge have {least} and more: with it Open vSwitch would lower the MTU of the bridge's internal ports, such as the node's own; choose a --mirror-iface whose MTU can be {least}"
    )]
    TooShort {
        /// The NIC.
        nic: String,
        /// Its MTU in bytes.
        mtu: u32,
        /// The smallest MTU of the other ports that count.
        least: u32,
    },
    /// Open vSwitch would give internal ports the NIC's MTU, as there is no other.
    #[error(
        "{nic} is attached when the first Pod is there: before, Open vSwitch would give {other} the NIC's MTU of {mtu} instead of {its}"
    )]
    OnlyMtu {
        /// The NIC.
        nic: String,
        /// Its MTU in bytes.
        mtu: u32,
        /// An internal port.
        other: String,
        /// Its MTU in bytes.
        its: u32,
    },
    /// The agent must not make it.
    #[error("there is no NIC {0} yet; waiting for it, as --mirror-iface-must-exist says")]
    Missing(String),
    /// OVS has a port row, but no device.
    #[error("Open vSwitch can't open {nic}: {error}")]
    Broken {
        /// The NIC.
        nic: String,
        /// What OVS says in the interface's `error` column.
        error: String,
    },
    /// It will have.
    #[error("Open vSwitch has given {0} no OpenFlow number yet")]
    NoOfPort(String),
    /// The kernel doesn't show it yet.
    #[error("{0} is a port of the bridge, but no device of this network namespace")]
    NoLink(String),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("nothing"),
            Self::Wait(problem) => problem.fmt(f),
            Self::Create(bridge, PortKind::Internal) => {
                write!(f, "make it as an internal port of {}", bridge.name)
            }
            Self::Create(bridge, PortKind::Device) => write!(f, "attach it to {}", bridge.name),
            Self::Remove(bridge, port, why) => {
                write!(f, "take {} off {}, as {why}", port.name, bridge.name)
            }
            Self::RequestMtu(_, Some(mtu)) => write!(f, "set the MTU to {mtu}"),
            Self::RequestMtu(_, None) => f.write_str("leave the MTU to Open vSwitch"),
            Self::Quiet(_, changes) => {
                for (place, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "its device is gone, and make it anew",
            Self::TooShort => "its MTU lowers that of other ports",
            Self::InTheWay => "it keeps a NIC of that name from coming",
        })
    }
}

/// The mirror port's row, if it is on the right bridge.
#[must_use]
pub fn port<'a>(facts: &Facts<'a>) -> Option<(&'a Bridge, &'a Port, &'a Interface)> {
    let port = facts.snapshot.port_named(facts.nic)?;
    let bridge =
        facts.snapshot.bridge_of(&port.uuid).filter(|bridge| bridge.name == facts.bridge)?;
    let interface = facts.snapshot.interfaces_of(port).next()?;
    Some((bridge, port, interface))
}

/// The mirror port's OpenFlow number.
#[must_use]
pub fn ofport(facts: &Facts<'_>) -> Option<OfPort> {
    let (_, _, interface) = port(facts)?;
    interface.ofport.number().map(|number| OfPort(number.into()))
}

/// The hardware address of the mirror port, as the switch has it.
#[must_use]
pub fn mac(facts: &Facts<'_>) -> Option<[u8; 6]> {
    let (_, _, interface) = port(facts)?;
    let mut mac = [0; 6];
    let mut parts = interface.mac_in_use.as_deref()?.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Whether this agent, or one before it, put the port on the bridge.
#[must_use]
pub fn is_ours(port: &Port) -> bool {
    port.external_ids.get(OWNER.0).map(String::as_str) == Some(OWNER.1)
}

/// Whether a port is to be taken off the bridge when it is not needed any more: it is ours, and nobody has made it OVN's since.
#[must_use]
pub fn may_remove(port: &Port, interface: &Interface) -> bool {
    is_ours(port) && eligible::check_owner(&port.name, port, interface).is_ok()
}

/// Mirror records of OVSDB that send their copies to the mirror port too.
pub fn mirrors<'a>(facts: &Facts<'a>) -> impl Iterator<Item = (&'a Bridge, &'a Mirror)> {
    let port = port(facts);
    port.into_iter().flat_map(|(bridge, port, _)| {
        let mirrors = facts.snapshot.mirrors_of(bridge);
        mirrors
            .filter(|mirror| mirror.output_port == Some(port.uuid))
            .map(move |mirror| (bridge, mirror))
    })
}

/// What to do next.
#[must_use]
pub fn next_step<'a>(facts: &Facts<'a>) -> Step<'a> {
    let Some(bridge) = facts.snapshot.bridge(facts.bridge) else {
        return Step::Wait(Problem::NoBridge(facts.bridge.to_owned()));
    };
    match facts.snapshot.port_named(facts.nic) {
        None => attach(facts, bridge),
        Some(existing) => match port(facts) {
            Some((_, port, interface)) => match eligible::check(facts, bridge, port, interface) {
                Ok(()) => keep(facts, bridge, port, interface),
                Err(reason) => Step::Wait(reason.into()),
            },
            None if facts.snapshot.bridge(facts.nic).is_some() => {
                Step::Wait(Ineligible::IsBridge { nic: facts.nic.to_owned() }.into())
            }
            None => Step::Wait(Problem::OtherBridge {
                nic: facts.nic.to_owned(),
                bridge: facts
                    .snapshot
                    .bridge_of(&existing.uuid)
                    .map_or_else(|| "?".to_owned(), |bridge| bridge.name.clone()),
            }),
        },
    }
}

fn attach<'a>(facts: &Facts<'a>, bridge: &'a Bridge) -> Step<'a> {
    let nic = || facts.nic.to_owned();
    if facts.snapshot.interface_named(facts.nic).is_some() {
        return Step::Wait(Problem::Interface { nic: nic() });
    }
    let Some(link) = facts.link else {
        return if facts.must_exist {
            Step::Wait(Problem::Missing(nic()))
        } else {
            Step::Create(bridge, PortKind::Internal)
        };
    };
    if link.name != facts.nic {
        return Step::Wait(Problem::OtherName { nic: nic(), link: link.name.clone() });
    }
    if let Err(reason) = nic::check_attachable(link) {
        return Step::Wait(reason.into());
    }
    match mtu::before_attaching(facts, bridge, link) {
        Ok(Some(step)) => step,
        Ok(None) => Step::Create(bridge, PortKind::Device),
        Err(problem) => Step::Wait(problem),
    }
}

fn keep<'a>(
    facts: &Facts<'a>,
    bridge: &'a Bridge,
    port: &'a Port,
    interface: &'a Interface,
) -> Step<'a> {
    let nic = || facts.nic.to_owned();
    let internal = interface.kind == "internal";
    if internal && is_ours(port) && facts.must_exist {
        return Step::Remove(bridge, port, Removal::InTheWay);
    }
    let gone = facts.link.is_none() && facts.absence == Absence::Deleted;
    let ofport = match interface.ofport {
        Ofport::Unset => return Step::Wait(Problem::NoOfPort(nic())),
        // The switch does not make an internal device again that somebody deleted.
        Ofport::Failed if internal && is_ours(port) => {
            return Step::Remove(bridge, port, Removal::Gone);
        }
        Ofport::Number(_) if internal && is_ours(port) && gone => {
            return Step::Remove(bridge, port, Removal::Gone);
        }
        Ofport::Failed => {
            let error = interface.error.clone().unwrap_or_else(|| "no reason given".to_owned());
            return Step::Wait(Problem::Broken { nic: nic(), error });
        }
        Ofport::Number(number) => OfPort(number.into()),
    };
    if let Some(step) = mtu::of_port(facts, bridge, port, interface) {
        return step;
    }
    match (facts.link, facts.absence) {
        (Some(link), _) => {
            let changes = nic::quiet(link, mtu::of_device(facts, interface, link));
            if changes.is_empty() { Step::Done(ofport) } else { Step::Quiet(link, changes) }
        }
        // Whoever took it there decides about it.
        (None, Absence::Moved { .. }) if internal => Step::Done(ofport),
        (None, _) => Step::Wait(Problem::NoLink(nic())),
    }
}

#[cfg(test)]
mod tests;
