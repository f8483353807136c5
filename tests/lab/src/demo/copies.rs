//! A word on each copy: who to whom, and why there is one of it or two.

use std::{collections::BTreeSet, net::Ipv4Addr};

use crate::{Frame, Mac, Node, Recording, Result, SWITCHES, capture::is_mark, pcap};

/// A copy on the mirror port.
pub(super) struct Copy {
    /// It in tcpdump's words.
    pub(super) line: String,
    /// What it is, in ours.
    pub(super) word: String,
    /// What of IPv4 it is, in tcpdump's words.
    pub(super) protocol: Option<&'static str>,
}

/// Where a frame was seen.
struct Wires {
    sender: Option<String>,
    receivers: Vec<String>,
}

/// The copies of a recording in their order, without the marks at its edges.
pub(super) fn explain(node: &Node, recording: &Recording) -> Result<Vec<Copy>> {
    let inside = |frame: &&Frame| recording.window.contains(&frame.at) && !is_mark(&frame.bytes);
    let frames: Vec<_> = recording.mirror.iter().filter(inside).collect();
    let bytes: Vec<_> = frames.iter().map(|frame| frame.bytes.as_slice()).collect();
    let lines = pcap::describe_briefly(&bytes)?;
    let mut rewritten = BTreeSet::new();
    let mut words = Vec::new();
    for (index, frame) in bytes.iter().enumerate() {
        let wires = Wires::of(recording, frame);
        // The first form of a frame that was rewritten on its way: it was sent, and it ends alike.
        let first_form =
            (0..index).rev().filter(|before| !rewritten.contains(before)).find(|before| {
                let before = bytes[*before];
                let ends = |bytes: &[u8]| bytes[bytes.len() - bytes.len().min(8)..].to_vec();
                let unseen = Wires::of(recording, before).receivers.is_empty();
                unseen && before.len() == frame.len() && ends(before) == ends(frame)
            });
        let first_form = first_form.filter(|_| wires.sender.is_none());
        rewritten.extend(first_form);
        words.push(word(node, frame, &wires, first_form.map(|index| bytes[index])));
    }
    let copies = bytes.iter().zip(lines).zip(words);
    let copies = copies.map(|((bytes, line), word)| Copy { line, word, protocol: protocol(bytes) });
    Ok(copies.collect())
}

/// Frames in tcpdump's words.
pub(super) fn lines(frames: &[Frame]) -> Result<Vec<String>> {
    let frames: Vec<_> = frames.iter().map(|frame| frame.bytes.as_slice()).collect();
    pcap::describe_briefly(&frames)
}

fn word(node: &Node, frame: &[u8], wires: &Wires, first_form: Option<&[u8]>) -> String {
    let receivers = wires.receivers.join(", ");
    let from = name(node, &frame[6..12]);
    match (&wires.sender, wires.receivers.as_slice(), first_form) {
        (Some(sender), [], _) => {
            format!("{sender} -> {}: as {sender} sent it", name(node, &frame[..6]))
        }
        (Some(sender), [_], _) => {
            format!("{sender} -> {receivers}: the same switch, unchanged on its way, so one copy")
        }
        (Some(sender), _, _) => {
            format!("{sender} -> {receivers}: one frame to many, so one copy")
        }
        (None, _, Some(first_form)) => {
            let changes = changes(first_form, frame).join(", ");
            format!("{from} -> {receivers}: the same packet as {receivers} got it: {changes}")
        }
        (None, _, None) if from.len() == 1 => {
            format!("OVN -> {receivers}: an answer that OVN gives in the name of {from}")
        }
        (None, _, None) => format!("{from} -> {receivers}: sent by OVN"),
    }
}

/// Who has this MAC address: a Pod, the router, or several.
fn name(node: &Node, mac: &[u8]) -> String {
    if mac[0] & 1 == 1 {
        return "all".to_owned();
    }
    let is = |other: Mac| other.0 == mac;
    match node.pods().iter().find(|pod| is(pod.mac())) {
        Some(pod) => pod.name().to_owned(),
        None if SWITCHES.iter().any(|switch| is(switch.gateway_mac)) => "router".to_owned(),
        None => "somebody".to_owned(),
    }
}

/// The protocol within an IPv4 packet, if it is one that the demo shows.
fn protocol(frame: &[u8]) -> Option<&'static str> {
    match (frame[12..14] == [0x08, 0x00], frame.get(23)) {
        (true, Some(1)) => Some("icmp"),
        (true, Some(6)) => Some("tcp"),
        _ => None,
    }
}

/// What is different in the second form of an Ethernet frame, IPv4 in detail.
fn changes(before: &[u8], after: &[u8]) -> Vec<String> {
    let mut changes = Vec::new();
    if before[..12] != after[..12] {
        changes.push("other MACs".to_owned());
    }
    if before[12..14] == [0x08, 0x00] && after.len() >= 34 {
        const TTL: usize = 22;
        if before[TTL] != after[TTL] {
            changes.push(format!("TTL {} instead of {}", after[TTL], before[TTL]));
        }
        for (what, at) in [("from", 26), ("to", 30)] {
            let address =
                |bytes: &[u8]| Ipv4Addr::from([0, 1, 2, 3].map(|index| bytes[at + index]));
            if address(before) != address(after) {
                changes.push(format!("{what} {} instead of {}", address(after), address(before)));
            }
        }
    }
    changes
}

impl Wires {
    fn of(recording: &Recording, bytes: &[u8]) -> Self {
        let on = |frames: &[Frame]| frames.iter().any(|frame| frame.bytes == bytes);
        let pods = || recording.pods.iter();
        let sender = pods().find(|(_, pod)| on(&pod.sent)).map(|(name, _)| name.clone());
        let receivers = pods().filter(|(_, pod)| on(&pod.received)).map(|(name, _)| name.clone());
        Self { sender, receivers: receivers.collect() }
    }
}
