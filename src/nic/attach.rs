//! Which links may become the mirror NIC: none that the node itself depends on.

use ipnet::IpNet;

use super::link::{DefaultRoute, Link, Master};

/// The devices that Open vSwitch makes for its datapaths: `ovs-system` in the kernel, `ovs-netdev` in userspace (`create_dp_netdev()`
/// of its lib/dpif-netdev.c, `dpif_netlink_open()` of lib/dpif-netlink.c).
const DATAPATHS: [&str; 2] = ["ovs-system", "ovs-netdev"];

/// Why a link must not be attached to the bridge: it would stop serving what it serves now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unattachable {
    /// The host speaks with this address; the bridge would swallow its traffic.
    #[error(
        "{link} has the address {address}, which the node would lose; remove the address or mirror to another NIC"
    )]
    HasAddress {
        /// Name of the link.
        link: String,
        /// The first of its addresses.
        address: IpNet,
    },
    /// The node reaches the world through it.
    #[error(
        "{link} carries the node's default route ({route}), which would stop working; move the route or mirror to another NIC"
    )]
    HasDefaultRoute {
        /// Name of the link.
        link: String,
        /// The first of the default routes through it.
        route: DefaultRoute,
    },
    /// A bond, bridge or another switch owns it; a link has one owner.
    #[error(
        "{link} belongs to {master}; remove it from there (ip link set {link} nomaster, or ovs-vsctl del-port {link} for ovs-system) or mirror to another NIC"
    )]
    HasMaster {
        /// Name of the link.
        link: String,
        /// The owner.
        master: Master,
    },
    /// Open vSwitch keeps a device of its own for each datapath.
    #[error("{link} is Open vSwitch's own device for a datapath; mirror to another NIC")]
    OfDatapath {
        /// Name of the link.
        link: String,
    },
    /// A bridge port carries Ethernet frames; this link carries something else.
    #[error("{link} carries no Ethernet frames; mirror to an Ethernet NIC")]
    NotEthernet {
        /// Name of the link.
        link: String,
    },
}

/// Whether `link`, which is not yet a port of the bridge, may be attached to it.
///
/// On the kernel datapath a link that is already a port has the master `ovs-system`, so this is to be
/// asked of links that OVSDB does not list, and a refusal for that master means a port of another bridge.
///
/// # Errors
/// The first reason against it.
pub fn check_attachable(link: &Link) -> Result<(), Unattachable> {
    let name = link.name.clone();
    if DATAPATHS.contains(&link.name.as_str()) {
        return Err(Unattachable::OfDatapath { link: name });
    }
    if let Some(route) = link.default_routes.first() {
        return Err(Unattachable::HasDefaultRoute { link: name, route: route.clone() });
    }
    if let Some(address) = link.addresses.first() {
        return Err(Unattachable::HasAddress { link: name, address: *address });
    }
    if let Some(master) = &link.master {
        return Err(Unattachable::HasMaster { link: name, master: master.clone() });
    }
    if link.mac.is_none() {
        return Err(Unattachable::NotEthernet { link: name });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::link::tests::veth;

    fn refusal(link: &Link) -> String {
        check_attachable(link).unwrap_err().to_string()
    }

    #[test]
    fn a_spare_nic_may_be_attached() {
        assert_eq!(check_attachable(&veth()), Ok(()));
        assert_eq!(check_attachable(&Link { up: true, ..veth() }), Ok(()));
    }

    #[test]
    fn a_nic_with_an_address_is_refused_by_that_address() {
        for address in ["192.0.2.7/24", "2001:db8::7/64", "169.254.1.1/16"] {
            let link = Link { addresses: vec![address.parse().unwrap()], ..veth() };
            assert!(refusal(&link).contains(&format!("mirror0 has the address {address}")));
        }
    }

    #[test]
    fn the_nic_of_the_default_route_is_refused_by_that_route() {
        let route = DefaultRoute {
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: Some("192.0.2.1".parse().unwrap()),
            metric: 100,
            table: 254,
        };
        let addresses = vec!["192.0.2.7/24".parse().unwrap()];
        let link = Link { default_routes: vec![route], addresses, ..veth() };
        assert!(refusal(&link).contains("(0.0.0.0/0 via 192.0.2.1 metric 100 table 254)"));
    }

    #[test]
    fn a_nic_that_something_else_owns_is_refused_by_the_owner() {
        let master = Master { index: 3, name: Some("bond0".to_owned()) };
        assert!(
            refusal(&Link { master: Some(master), ..veth() }).contains("mirror0 belongs to bond0")
        );
        let master = Master { index: 3, name: None };
        assert!(refusal(&Link { master: Some(master), ..veth() }).contains("belongs to link 3"));
    }

    #[test]
    fn a_device_of_open_vswitchs_own_is_refused() {
        for name in ["ovs-system", "ovs-netdev"] {
            let link = Link { name: name.to_owned(), ..veth() };
            assert!(refusal(&link).contains(&format!("{name} is Open vSwitch's own device")));
        }
    }

    #[test]
    fn a_link_without_ethernet_frames_is_refused() {
        assert!(refusal(&Link { mac: None, ..veth() }).contains("no Ethernet frames"));
    }
}
