//! The kinds of frames that mirroring must cope with, to make sure that a recording has them.

use std::{collections::BTreeSet, net::IpAddr};

use super::Recording;
use crate::{VIP4, VIP6};

/// A kind of frames: its name and how to tell.
type Kind = (&'static str, fn(&[u8]) -> bool);

const KINDS: [Kind; 18] = [
    ("ARP request", |f| is_arp(f) && f[21] == 1),
    ("ARP reply", |f| is_arp(f) && f[21] == 2),
    ("neighbour solicitation", |f| icmp6(f) == Some(135)),
    ("neighbour advertisement", |f| icmp6(f) == Some(136)),
    ("router advertisement", |f| icmp6(f) == Some(134)),
    ("ICMP echo reply", |f| ipv4(f, 1) && f[34] == 0),
    ("ICMP unreachable", |f| ipv4(f, 1) && f[34] == 3),
    ("ICMPv6 echo reply", |f| icmp6(f) == Some(129)),
    ("ICMPv6 unreachable", |f| icmp6(f) == Some(1)),
    ("TCP reset of IPv4", |f| ipv4(f, 6) && f[47] & 4 != 0),
    ("TCP reset of IPv6", |f| ipv6(f, 6) && f[67] & 4 != 0),
    ("TCP from the IPv4 VIP", |f| ipv4(f, 6) && source(f) == VIP4),
    ("UDP from the IPv6 VIP", |f| ipv6(f, 17) && source(f) == VIP6),
    ("whole MTU of IPv4", |f| ipv4(f, 17) && f.len() == 1514),
    ("whole MTU of IPv6", |f| ipv6(f, 17) && f.len() == 1514),
    ("broadcast", |f| ipv4(f, 17) && f[..6] == [0xff; 6]),
    ("multicast", |f| ipv4(f, 17) && f[..4] == [1, 0, 0x5e, 1]),
    ("DHCP offer", |f| ipv4(f, 17) && f[34..38] == [0, 67, 0, 68]),
];

impl Recording {
    /// Panics unless there are copies of every kind, in each of the ways that OVN treats differently.
    ///
    /// # Panics
    /// See above.
    pub fn assert_covers_every_kind(&self) {
        let seen = |kind: fn(&[u8]) -> bool| self.mirror.iter().any(|frame| kind(&frame.bytes));
        let missing: BTreeSet<_> =
            KINDS.iter().filter(|(_, kind)| !seen(*kind)).map(|(name, _)| *name).collect();
        assert!(missing.is_empty(), "this recording has no {missing:?}");
    }
}

fn is_arp(frame: &[u8]) -> bool {
    frame[12..14] == [0x08, 0x06]
}

/// Whether it is IPv4 with a header of 20 bytes, and of this protocol.
fn ipv4(frame: &[u8], protocol: u8) -> bool {
    frame[12..15] == [0x08, 0x00, 0x45] && frame[23] == protocol
}

/// Whether it is IPv6 without extension headers, and of this protocol.
fn ipv6(frame: &[u8], protocol: u8) -> bool {
    frame[12..14] == [0x86, 0xdd] && frame[20] == protocol
}

/// The type of an ICMPv6 message.
fn icmp6(frame: &[u8]) -> Option<u8> {
    ipv6(frame, 58).then(|| frame[54])
}

fn source(frame: &[u8]) -> IpAddr {
    match frame[12..14] {
        [0x08, 0x00] => <[u8; 4]>::try_from(&frame[26..30]).expect("it is 4 bytes").into(),
        _ => <[u8; 16]>::try_from(&frame[22..38]).expect("it is 16 bytes").into(),
    }
}
