//! What must change for a link to be quiet: the host neither speaks nor answers on it, and no copy is
//! too long for it.

use std::{fmt, net::Ipv6Addr};

use super::link::Link;

/// Smallest MTU of an IPv6 link (RFC 8200 section 5); below it the kernel runs no IPv6 on a link.
const IPV6_MIN_MTU: u32 = 1280;

/// One step towards a quiet link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Raise the MTU to this many bytes.
    Mtu(u32),
    /// Keep the kernel from making a link-local address (`addr_gen_mode none`).
    StopAddressGeneration,
    /// Turn IPv6 off (sysctl `disable_ipv6`), which removes its addresses too.
    DisableIpv6,
    /// Remove a link-local address.
    RemoveAddress(Ipv6Addr),
    /// Neither ask nor answer ARP and neighbour solicitations (`IFF_NOARP`).
    StopArp,
    /// Bring the link up.
    Up,
}

/// What makes `link` quiet, able to carry `wanted_mtu` bytes, and up: nothing when it already is.
///
/// The order matters. IPv6 appears afresh on a link whose MTU grows beyond 1279, so the MTU comes
/// first; and a link that comes up with IPv6 on speaks at once, so [`Change::Up`] comes last.
/// Without write access to `/proc/sys` IPv6 cannot be turned off. Without an address the host has nothing to
/// speak with, and a [`Shield`](super::Shield) keeps it from listening.
pub fn quiet(link: &Link, wanted_mtu: u32) -> Vec<Change> {
    let mut changes = Vec::new();
    if link.mtu < wanted_mtu {
        changes.push(Change::Mtu(wanted_mtu));
    }
    match &link.ipv6 {
        Some(ipv6) => {
            if !ipv6.address_generation_off {
                changes.push(Change::StopAddressGeneration);
            }
            if !ipv6.disabled && ipv6.can_disable {
                changes.push(Change::DisableIpv6);
            } else {
                changes.extend(ipv6.link_local.iter().copied().map(Change::RemoveAddress));
            }
        }
        None if link.mtu < IPV6_MIN_MTU && wanted_mtu >= IPV6_MIN_MTU => {
            changes.extend([Change::StopAddressGeneration, Change::DisableIpv6]);
        }
        None => {}
    }
    if link.arp {
        changes.push(Change::StopArp);
    }
    if !link.up {
        changes.push(Change::Up);
    }
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu(mtu) => write!(f, "set the MTU to {mtu}"),
            Self::StopAddressGeneration => f.write_str("stop IPv6 address generation"),
            Self::DisableIpv6 => f.write_str("disable IPv6"),
            Self::RemoveAddress(address) => write!(f, "remove the address {address}"),
            Self::StopArp => f.write_str("turn ARP off"),
            Self::Up => f.write_str("bring the link up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::link::{Ipv6, tests::veth};

    #[test]
    fn a_fresh_link_falls_silent_before_it_comes_up() {
        assert_eq!(
            quiet(&veth(), 9000),
            [
                Change::Mtu(9000),
                Change::StopAddressGeneration,
                Change::DisableIpv6,
                Change::StopArp,
                Change::Up
            ]
        );
    }

    #[test]
    fn a_quiet_link_is_left_alone() {
        let ipv6 = Ipv6 {
            disabled: true,
            can_disable: true,
            address_generation_off: true,
            link_local: vec![],
        };
        let link = Link { up: true, arp: false, ipv6: Some(ipv6), ..veth() };
        assert_eq!(quiet(&link, 1500), []);
        assert_eq!(quiet(&link, 1400), [], "a larger MTU than needed is no reason to change it");
        assert_eq!(quiet(&Link { ipv6: None, ..link }, 1500), [], "a kernel without IPv6");
    }

    #[test]
    fn a_link_set_down_by_somebody_is_only_brought_up() {
        let link = Link { arp: false, ipv6: None, ..veth() };
        assert_eq!(quiet(&link, 1500), [Change::Up]);
    }

    #[test]
    fn with_a_read_only_proc_the_link_local_address_goes_instead() {
        let address = "fe80::1".parse().unwrap();
        let ipv6 = Ipv6 { link_local: vec![address], ..Ipv6::default() };
        let link = Link { up: true, arp: false, ipv6: Some(ipv6), ..veth() };
        assert_eq!(
            quiet(&link, 1500),
            [Change::StopAddressGeneration, Change::RemoveAddress(address)]
        );
        let ipv6 = Ipv6 { address_generation_off: true, ..Ipv6::default() };
        assert_eq!(quiet(&Link { ipv6: Some(ipv6), ..link }, 1500), [], "and then it is quiet");
    }

    #[test]
    fn ipv6_that_a_larger_mtu_lets_in_is_turned_off_too() {
        let link = Link { mtu: 1000, up: true, arp: false, ipv6: None, ..veth() };
        let expected = [Change::Mtu(1500), Change::StopAddressGeneration, Change::DisableIpv6];
        assert_eq!(quiet(&link, 1500), expected);
        assert_eq!(quiet(&link, 1200), [Change::Mtu(1200)]);
    }
}
