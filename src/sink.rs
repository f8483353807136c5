//! The port that gets the copies: what is to be done next so that it is there and quiet.
//!
//! [`next_step`] looks at the whole of it each time and names one step, so whatever somebody breaks is mended from
//! where it broke; [`keeper`] takes the steps.

pub mod host_stack;
pub mod keeper;
mod state;

use std::fmt;

use flows::model::OfPort;
pub use state::SinkState;

use crate::{
    nic::{self, Link, Unattachable},
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
    /// MTU in bytes of the Pod port that has the largest.
    pub mtu: u32,
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
    /// Take our port off the bridge, as its device is gone; the next step makes it anew.
    Remove(&'a Bridge, &'a Port),
    /// Have the switch give it this MTU, in bytes.
    RequestMtu(&'a Interface, u32),
    /// Make the device quiet.
    Quiet(&'a Link, Vec<nic::Change>),
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
            Self::Remove(bridge, port) => {
                write!(
                    f,
                    "take {} off {}, as its device is gone, and make it anew",
                    port.name, bridge.name
                )
            }
            Self::RequestMtu(_, mtu) => write!(f, "set the MTU to {mtu}"),
            Self::Quiet(_, changes) => {
                for (place, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
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

/// Whether this agent, or one before it, put the port on the bridge.
#[must_use]
pub fn is_ours(port: &Port) -> bool {
    port.external_ids.get(OWNER.0).map(String::as_str) == Some(OWNER.1)
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
            Some((_, port, interface)) => keep(facts, bridge, port, interface),
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
    match facts.link.map(nic::check_attachable) {
        None => Step::Create(bridge, PortKind::Internal),
        Some(Ok(())) => Step::Create(bridge, PortKind::Device),
        Some(Err(reason)) => Step::Wait(reason.into()),
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
    let ofport = match (interface.ofport, facts.link) {
        (Ofport::Unset, _) => return Step::Wait(Problem::NoOfPort(nic())),
        // The switch does not make an internal device again that somebody deleted.
        (_, None) | (Ofport::Failed, _) if internal && is_ours(port) => {
            return Step::Remove(bridge, port);
        }
        (Ofport::Failed, _) => {
            let error = interface.error.clone().unwrap_or_else(|| "no reason given".to_owned());
            return Step::Wait(Problem::Broken { nic: nic(), error });
        }
        (Ofport::Number(number), _) => OfPort(number.into()),
    };
    // The switch gives its internal ports the smallest MTU on the bridge, unless asked for one.
    if internal && interface.mtu_request.or(interface.mtu).is_none_or(|mtu| mtu < facts.mtu) {
        return Step::RequestMtu(interface, facts.mtu);
    }
    let Some(link) = facts.link else { return Step::Wait(Problem::NoLink(nic())) };
    let changes = nic::quiet(link, facts.mtu);
    if changes.is_empty() { Step::Done(ofport) } else { Step::Quiet(link, changes) }
}

#[cfg(test)]
mod tests;
