//! Checksums that are the same to whoever receives them, and other bytes in a capture.
//!
//! # Two zeros
//! The sum is one's complement, which has two zeros. Where a checksum of TCP comes out as zero, Linux sends the other one
//! (`CSUM_MANGLED_0` of include/linux/skbuff.h); of one frame in 65,536, that is. Open vSwitch may make zero of it on the packet's
//! way (seen with 3.1.0, userspace datapath), after the copy was made. That is no other frame.
//!
//! # Unfinished ones
//! Some senders leave checksums to their NIC. Open vSwitch 4.0's userspace datapath hands frames to an internal port as Linux hands them to a NIC that computes
//! checksums: that of UDP or TCP is not finished, it only covers the addresses. A Pod's veth gets it finished. So before
//! copies are compared with what Pods sent and received, their checksums are finished too; one that is neither right nor
//! just unfinished stays as it is, and is found.

use std::ops::Range;

use etherparse::checksum::Sum16BitWords;

use crate::{Frame, Node, Result};

/// The first version of Open vSwitch that leaves checksums unfinished.
const SINCE: u32 = 4;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

impl Node {
    /// Whether copies to an internal port may have unfinished checksums.
    pub(crate) fn leaves_checksums(&self) -> Result<bool> {
        let version = self.tool("ovs-vswitchd").arg("--version").run()?;
        let first = version.lines().next().and_then(|line| line.split(' ').next_back());
        let major = first.and_then(|version| version.split('.').next());
        let datapath = self.vsctl(["get", "Bridge", "br-int", "datapath_type"])?;
        let recent =
            major.is_some_and(|major| major.parse().is_ok_and(|major: u32| major >= SINCE));
        Ok(recent && datapath.trim() == "netdev")
    }
}

/// Finishes the checksums that are unfinished.
pub(crate) fn finish_all(frames: &mut [Frame]) {
    for frame in frames {
        // None: it has no such checksum.
        let _ = finish(&mut frame.bytes);
    }
}

/// Writes the two zeros of checksums in one way.
pub(crate) fn unify_zeros(frames: &mut [Frame]) {
    for frame in frames {
        // None: it has no such checksum.
        let _ = unify_zero(&mut frame.bytes);
    }
}

/// What an IP packet that is no fragment carries.
struct Transport {
    protocol: u8,
    /// Where it is in the frame.
    place: Range<usize>,
    /// Where the addresses of IP are.
    addresses: Range<usize>,
}

impl Transport {
    fn of(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let (protocol, addresses, header, length) = match frame.get(12..14)? {
            // Fragments are sent with whole checksums.
            [0x08, 0x00] if *ip.get(6)? & 0x3f == 0 && *ip.get(7)? == 0 => {
                let header = usize::from(*ip.first()? & 0xf) * 4;
                let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
                (*ip.get(9)?, 26..34, header, total.checked_sub(header)?)
            }
            [0x86, 0xdd] => {
                let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
                (*ip.get(6)?, 22..54, 40, length)
            }
            _ => return None,
        };
        Some(Self { protocol, place: 14 + header..14 + header + length, addresses })
    }
}

fn unify_zero(frame: &mut [u8]) -> Option<()> {
    let Transport { protocol, place, .. } = Transport::of(frame)?;
    let field = match protocol {
        TCP => 16,
        ICMP | ICMP6 => 2,
        // Zero means that there is no checksum (RFC 768).
        _ => return None,
    };
    let checksum = frame.get_mut(place)?.get_mut(field..field + 2)?;
    if checksum == [0xff, 0xff] {
        checksum.fill(0);
    }
    Some(())
}

/// Finishes an unfinished checksum of UDP or TCP; gives whether there was one.
fn finish(frame: &mut [u8]) -> Option<bool> {
    let Transport { protocol, place, addresses } = Transport::of(frame)?;
    let field = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    // RFC 768, RFC 9293 section 3.1, RFC 8200 section 8.1: the sum of addresses, protocol and length.
    let unfinished = Sum16BitWords::new()
        .add_slice(frame.get(addresses)?)
        .add_2bytes([0, protocol])
        .add_2bytes(u16::try_from(place.len()).ok()?.to_be_bytes());
    let unfinished = (!unfinished.ones_complement()).to_ne_bytes();
    let segment = frame.get_mut(place)?;
    if segment.get(field..field + 2)? != unfinished {
        return Some(false);
    }
    // The unfinished one is part of the sum.
    let finished = match Sum16BitWords::new().add_slice(segment).ones_complement() {
        // Zero means that there is no checksum (RFC 768).
        0 if protocol == UDP => u16::MAX,
        other => other,
    };
    segment.get_mut(field..field + 2)?.copy_from_slice(&finished.to_ne_bytes());
    Some(true)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// A frame with its checksum, the same with the sum of its addresses instead, and where that is.
    fn frames(ipv6: bool, tcp: bool) -> (Vec<u8>, Vec<u8>, usize) {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip = if ipv6 {
            ethernet.ipv6([0xfd; 16], [0xfc; 16], 64)
        } else {
            ethernet.ipv4([10, 16, 0, 11], [10, 17, 0, 13], 64)
        };
        let mut whole = Vec::new();
        let written = if tcp {
            ip.tcp(40_000, 80, 7, 1000).write_to_vec(&mut whole, b"odd")
        } else {
            ip.udp(40_000, 53).write_to_vec(&mut whole, b"odd")
        };
        written.expect("it is short enough");
        let field = 14 + if ipv6 { 40 } else { 20 } + if tcp { 16 } else { 6 };
        let (addresses, protocol) = if ipv6 { (22..54, 20) } else { (26..34, 23) };
        let length = if tcp { 23 } else { 11 };
        // One's complement sums, by hand.
        let mut sum: u32 = u32::from(whole[protocol]) + length;
        sum += whole[addresses]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let mut unfinished = whole.clone();
        unfinished[field..field + 2].copy_from_slice(&(sum as u16).to_be_bytes());
        (whole, unfinished, field)
    }

    #[test]
    fn an_unfinished_checksum_becomes_the_right_one() {
        for (ipv6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
            let (whole, mut unfinished, _) = frames(ipv6, tcp);
            assert_eq!(finish(&mut unfinished), Some(true));
            assert_eq!(unfinished, whole);
            assert_eq!(finish(&mut unfinished), Some(false), "it is finished now");
            assert_eq!(unfinished, whole);
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let (_, mut wrong, field) = frames(false, true);
        wrong[field] ^= 0x40;
        let before = wrong.clone();
        assert_eq!(finish(&mut wrong), Some(false));
        assert_eq!(wrong, before);
    }

    #[test]
    fn what_is_cut_short_or_has_no_such_checksum_is_left_alone() {
        let (_, unfinished, field) = frames(true, false);
        assert_eq!(finish(&mut unfinished[..field].to_vec()), None);
        let mut fragment = frames(false, false).1;
        fragment[20] |= 0x20;
        assert_eq!(finish(&mut fragment), None);
        assert_eq!(finish(&mut [0xff; 60]), None);
    }

    #[test]
    fn the_two_zeros_of_tcp_are_one_and_those_of_udp_are_not() {
        for (tcp, unified) in [(true, [0, 0]), (false, [0xff, 0xff])] {
            let (mut whole, _, field) = frames(false, tcp);
            whole[field..field + 2].fill(0xff);
            let before = whole.clone();
            let _ = unify_zero(&mut whole);
            assert_eq!(whole[field..field + 2], unified);
            whole[field..field + 2].fill(0xff);
            assert_eq!(whole, before, "nothing else is changed");
        }
    }
}
