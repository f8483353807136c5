//! Checksums that a sender has left to its NIC, as a capture sees them.
//!
//! Open vSwitch 4.0's userspace datapath hands frames to an internal port as Linux hands them to a NIC that computes
//! checksums: that of UDP or TCP is not finished, it only covers the addresses. A Pod's veth gets it finished. So before
//! copies are compared with what Pods sent and received, their checksums are finished too; one that is neither right nor
//! just unfinished stays as it is, and is found.

use etherparse::checksum::Sum16BitWords;

use crate::{Frame, Node, Result};

/// The first version of Open vSwitch that leaves checksums unfinished.
const SINCE: u32 = 4;

const TCP: u8 = 6;
const UDP: u8 = 17;

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

/// Finishes an unfinished checksum of UDP or TCP; gives whether there was one.
fn finish(frame: &mut [u8]) -> Option<bool> {
    let ip = frame.get(14..)?;
    let (protocol, addresses, start, length) = match frame.get(12..14)? {
        // Fragments are sent with whole checksums.
        [0x08, 0x00] if *ip.get(6)? & 0x3f == 0 && *ip.get(7)? == 0 => {
            let header = usize::from(*ip.first()? & 0xf) * 4;
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            (*ip.get(9)?, ip.get(12..20)?, header, total.checked_sub(header)?)
        }
        [0x86, 0xdd] => {
            let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
            (*ip.get(6)?, ip.get(8..40)?, 40, length)
        }
        _ => return None,
    };
    let field = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    // RFC 768, RFC 9293 section 3.1, RFC 8200 section 8.1: the sum of addresses, protocol and length.
    let unfinished = Sum16BitWords::new()
        .add_slice(addresses)
        .add_2bytes([0, protocol])
        .add_2bytes(u16::try_from(length).ok()?.to_be_bytes());
    let unfinished = (!unfinished.ones_complement()).to_ne_bytes();
    let segment = frame.get_mut(14 + start..14 + start + length)?;
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
}
