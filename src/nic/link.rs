//! A network link as the kernel describes it, reduced to what matters for a mirror NIC.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::IpNet;

use super::reach::Reach;

/// A link of the node, at the moment it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it; a link that was removed and made anew has another.
    pub index: u32,
    /// The name, even where the link was asked for by one of its alternative names.
    pub name: String,
    /// What made it, in the kernel's words: `veth`, `tun`, `openvswitch`; a physical NIC has none.
    pub kind: Option<String>,
    /// The hardware address; none where the link does not carry Ethernet frames.
    pub mac: Option<[u8; 6]>,
    /// Whether it is administratively up (`IFF_UP`), with or without a carrier.
    pub up: bool,
    /// Whether the host answers ARP and neighbour solicitations on it (not `IFF_NOARP`).
    pub arp: bool,
    /// Largest packet without the Ethernet header, in bytes.
    pub mtu: u32,
    /// The largest MTU that its driver allows, in bytes; none where the kernel does not say.
    pub max_mtu: Option<u32>,
    /// The link that owns it: a bond, a bridge, or `ovs-system`, which owns each NIC attached to
    /// the kernel datapath of OVS. Ports of the userspace datapath have none.
    pub master: Option<Master>,
    /// Its addresses, without the IPv6 link-local ones, which the kernel makes unasked.
    pub addresses: Vec<IpNet>,
    /// The default routes that leave through it, of both families and all tables.
    pub default_routes: Vec<DefaultRoute>,
    /// Its IPv6 state; none where the kernel runs no IPv6 on it (built without, or MTU below 1280).
    pub ipv6: Option<Ipv6>,
    /// How its packets may leave it other than by packet sockets, in words: devices on top of it, an XDP program, tc
    /// filters. What was moved from it to another network namespace is not known.
    pub outlets: Vec<String>,
    /// Where frames get to that leave by it.
    pub reach: Reach,
    /// The bridge of ours that takes its packets before the host's network stack gets them; it is no [`Self::master`].
    pub drain: Option<Drain>,
}

/// A bridge of ours that another link is a port of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Its name, as the kernel has it now.
    pub name: String,
    /// Whether it is up, and so does not drop everything: somebody else must have brought it up.
    pub leaks: bool,
}

/// The link that another link is enslaved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name; none where it lives in another network namespace or went in between.
    pub name: Option<String>,
}

/// A route to everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// `0.0.0.0/0` or `::/0`.
    pub destination: IpNet,
    /// The next router; none on a point-to-point link.
    pub gateway: Option<IpAddr>,
    /// Lower wins; 0 where none is set.
    pub metric: u32,
    /// The routing table, 254 for `main`.
    pub table: u32,
}

/// What the kernel does about IPv6 on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6 {
    /// Whether it is off altogether (sysctl `disable_ipv6`).
    pub disabled: bool,
    /// Whether that sysctl can be written from here; not so where a container has `/proc/sys` read-only.
    pub can_disable: bool,
    /// Whether the kernel refrains from making a link-local address (`addr_gen_mode none`).
    pub address_generation_off: bool,
    /// The link-local addresses it has, with which the host would speak and answer.
    pub link_local: Vec<Ipv6Addr>,
}

impl Link {
    /// Whether Open vSwitch may have made it for an internal port: on the kernel datapath with its own kind of link, on
    /// the userspace datapath as a tap.
    #[must_use]
    pub fn is_made_by_switch(&self) -> bool {
        matches!(self.kind.as_deref(), Some("openvswitch" | "tun"))
    }

    /// Whether it is a bridge of ours that takes copies before the host's network stack gets them.
    #[must_use]
    pub(super) fn is_drain(&self) -> bool {
        self.kind.as_deref() == Some("bridge") && self.mac == Some(DRAIN_ADDRESS)
    }
}

/// The hardware address by which a bridge is known as ours, from its first moment on: locally administered, and then `ofmir`.
pub(super) const DRAIN_ADDRESS: [u8; 6] = *b"\x02ofmir";
/// What its name ends with.
const DRAIN_SUFFIX: &str = "-drain";
/// Most bytes that a link's name may have (`IFNAMSIZ` of linux/if.h, less its end).
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// Name of the bridge that takes what comes in by `nic`: `mirror0-drain`.
pub(super) fn drain_name(nic: &str) -> String {
    let room = LONGEST_NAME - DRAIN_SUFFIX.len();
    let shown = (0..=room.min(nic.len())).rev().find(|end| nic.is_char_boundary(*end));
    format!("{}{DRAIN_SUFFIX}", &nic[..shown.unwrap_or_default()])
}

/// The sysctl that turns IPv6 off on the link called `name` (ip-sysctl in the kernel's documentation).
pub(super) fn disable_ipv6_path(name: &str) -> PathBuf {
    ["/proc/sys/net/ipv6/conf", name, "disable_ipv6"].iter().collect()
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "link {}", self.index),
        }
    }
}

impl fmt::Display for DefaultRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " metric {} table {}", self.metric, self.table)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_bridge_tells_of_the_nic_as_far_as_there_is_room() {
        assert_eq!(drain_name("mirror0"), "mirror0-drain");
        assert_eq!(drain_name("mirror-of-node1"), "mirror-of-drain");
        assert_eq!(drain_name("mirrorßäöü0"), "mirrorß-drain");
    }

    /// A veth as `ip link add` leaves it.
    pub(in crate::nic) fn veth() -> Link {
        Link {
            index: 7,
            name: "mirror0".to_owned(),
            kind: Some("veth".to_owned()),
            mac: Some([2, 0, 0, 0, 0, 1]),
            up: false,
            arp: true,
            mtu: 1500,
            max_mtu: None,
            master: None,
            addresses: vec![],
            default_routes: vec![],
            ipv6: Some(Ipv6 { can_disable: true, ..Ipv6::default() }),
            outlets: vec![],
            reach: Reach::default(),
            drain: None,
        }
    }
}
