//! Which port of the bridge may get the copies: one that the agent made, or that somebody made for nothing else.
//!
//! Whatever comes in by the mirror port is dropped, and ARP and IPv6 are turned off on its device. On a port that carries
//! traffic of its own this cuts off a Pod, or the node itself, so a port must say that it is there for copies: by the mark of
//! the agent, by the mark of an administrator, or by a Mirror record of OVSDB that sends its copies there (Open vSwitch
//! reserves such a port for mirroring, see `output_port` in ovs-vswitchd.conf.db(5)). Nothing is changed on a port before
//! [`check`] accepts it.

use ipnet::IpNet;

use super::{Facts, is_ours, mirrors};
use crate::{
    nic::{DefaultRoute, Link},
    ovsdb::{Bridge, Interface, Ofport, Port},
};

/// The external ID of a Port row by which an administrator gives a port to the agent.
pub const MARK: (&str, &str) = ("ofmirror-sink", "true");

/// What the external IDs of OVN's own ports begin with: tunnels, patches to other bridges.
const OVN: &str = "ovn-";
/// The external ID of an Interface row by which OVN knows the logical port.
const LOGICAL_PORT: &str = "iface-id";
/// The number of the bridge's own port (`OFPP_LOCAL` of OpenFlow), as OVSDB has it.
const LOCAL: Ofport = Ofport::Number(65534);

/// Why a port of the bridge is not used, and is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// The bridge's own port, by which the node itself speaks.
    #[error("{nic} is a bridge, so its port belongs to the node; {OTHER}")]
    IsBridge {
        /// The NIC.
        nic: String,
    },
    /// A bond, or a member of one.
    #[error("{nic} is part of port {port} with other NICs or another name; {OTHER}")]
    IsBond {
        /// The NIC.
        nic: String,
        /// The Port row.
        port: String,
    },
    /// It leads to another switch, or to a virtual machine.
    #[error("{nic} is of type {kind}, which is no NIC of this node; {OTHER}")]
    LeadsAway {
        /// The NIC.
        nic: String,
        /// Column `type` of the Interface row.
        kind: String,
    },
    /// It is the port of a Pod, or of the node.
    #[error("{nic} is the port of OVN's logical port {iface_id} (its iface-id); {OTHER}")]
    IsLogicalPort {
        /// The NIC.
        nic: String,
        /// Its logical port.
        iface_id: String,
    },
    /// OVN made it.
    #[error("{nic} belongs to OVN (its external_ids have {key}); {OTHER}")]
    IsOvns {
        /// The NIC.
        nic: String,
        /// The external ID.
        key: String,
    },
    /// Nobody says that it is there for copies.
    #[error(
        "{nic} is a port of {bridge} already, and not one of ofmirror's: it may carry somebody's traffic. If it is there for copies only, say so: ovs-vsctl set Port {nic} external_ids:{}={}; else {OTHER}",
        MARK.0, MARK.1
    )]
    NotMarked {
        /// The NIC.
        nic: String,
        /// The bridge.
        bridge: String,
    },
    /// The host speaks with this address.
    #[error(
        "{nic} has the address {address}, which the node would lose; remove the address, or {OTHER}"
    )]
    HasAddress {
        /// The NIC.
        nic: String,
        /// The first of its addresses.
        address: IpNet,
    },
    /// The node reaches the world through it.
    #[error(
        "{nic} carries the node's default route ({route}), which would stop working; move the route, or {OTHER}"
    )]
    HasDefaultRoute {
        /// The NIC.
        nic: String,
        /// The first of the default routes through it.
        route: DefaultRoute,
    },
}

/// What one can always do.
const OTHER: &str = "choose another --mirror-iface";

/// Whether a port of the bridge may get the copies.
///
/// An address that somebody gave to an internal port of the agent's own is no reason against it: OVN delivers nothing there.
/// (Were it one, whoever can give the port an address could end all mirroring.)
///
/// # Errors
/// The first reason against it.
pub fn check(
    facts: &Facts<'_>,
    bridge: &Bridge,
    port: &Port,
    interface: &Interface,
) -> Result<(), Ineligible> {
    let nic = || facts.nic.to_owned();
    if port.name == bridge.name || interface.ofport == LOCAL {
        return Err(Ineligible::IsBridge { nic: nic() });
    }
    if port.interfaces.len() != 1 || interface.name != facts.nic {
        return Err(Ineligible::IsBond { nic: nic(), port: port.name.clone() });
    }
    if !matches!(interface.kind.as_str(), "" | "system" | "internal" | "tap" | "dummy") {
        return Err(Ineligible::LeadsAway { nic: nic(), kind: interface.kind.clone() });
    }
    check_owner(facts.nic, port, interface)?;
    let ours = is_ours(port);
    if !ours && !is_marked(port) && mirrors(facts).next().is_none() {
        return Err(Ineligible::NotMarked { nic: nic(), bridge: bridge.name.clone() });
    }
    let link = facts.link.filter(|_| !(ours && interface.kind == "internal"));
    link.map_or(Ok(()), |link| check_use(facts.nic, link))
}

/// Whether a port belongs to OVN, whatever its marks say.
pub(super) fn check_owner(nic: &str, port: &Port, interface: &Interface) -> Result<(), Ineligible> {
    if let Some(iface_id) = interface.external_ids.get(LOGICAL_PORT) {
        return Err(Ineligible::IsLogicalPort { nic: nic.to_owned(), iface_id: iface_id.clone() });
    }
    let mut keys = port.external_ids.keys().chain(interface.external_ids.keys());
    match keys.find(|key| key.starts_with(OVN)) {
        Some(key) => Err(Ineligible::IsOvns { nic: nic.to_owned(), key: key.clone() }),
        None => Ok(()),
    }
}

fn check_use(nic: &str, link: &Link) -> Result<(), Ineligible> {
    if let Some(route) = link.default_routes.first() {
        return Err(Ineligible::HasDefaultRoute { nic: nic.to_owned(), route: route.clone() });
    }
    match link.addresses.first() {
        Some(address) => Err(Ineligible::HasAddress { nic: nic.to_owned(), address: *address }),
        None => Ok(()),
    }
}

fn is_marked(port: &Port) -> bool {
    port.external_ids.get(MARK.0).map(String::as_str) == Some(MARK.1)
}
