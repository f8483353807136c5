//! The port that gets the copies: what is to be done next so that it is there and quiet.
//!
//! [`next_step`] looks at the whole of it each time and names one step, so whatever somebody breaks is mended from
//! where it broke; [`keeper`] takes the steps.

mod contest;
pub mod eligible;
pub mod host_stack;
pub mod keeper;
pub mod loops;
pub(crate) mod mtu;
pub mod shield;
mod state;
mod step;

use flows::model::OfPort;
pub use state::{SinkState, shortcomings};
pub use step::{Problem, Removal, Step};

use self::eligible::Ineligible;
use crate::{
    nic::{self, Absence, Link},
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
    /// The smallest MTU of the other ports whose MTUs count for the bridge's internal ports (see `sink::mtu`), in bytes.
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

/// Mirror ports of ours on the bridge that are for another NIC: an agent that was killed has left them.
pub fn leftovers<'a>(facts: &Facts<'a>) -> impl Iterator<Item = (&'a Bridge, &'a Port)> {
    let (nic, snapshot) = (facts.nic, facts.snapshot);
    snapshot.bridge(facts.bridge).into_iter().flat_map(move |bridge| {
        let ports = snapshot.ports_of(bridge).filter(move |port| port.name != nic);
        let removable = ports.filter(move |port| {
            let mut interfaces = snapshot.interfaces_of(port).peekable();
            interfaces.peek().is_some() && interfaces.all(|interface| may_remove(port, interface))
        });
        removable.map(move |port| (bridge, port))
    })
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
    if let Some(found) = loops::find(facts) {
        return Step::Wait(found.into());
    }
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
