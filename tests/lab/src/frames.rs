//! What must be on the mirror port, frame by frame, given what was on the wires of the mirrored Pods.
//!
//! # The rule
//! The promise is one copy for each transmission of a frame in one form: a frame that goes unchanged from one mirrored
//! Pod to another, or to many, is one transmission; a frame that was rewritten on its way has other bytes and counts
//! by itself. So the comparison goes by byte string, and for each asks how often it was transmitted:
//!
//! - Within one logical switch, a transmission is seen at most once on each Pod's wire. Whoever sent it saw it as
//!   sent; each receiver saw it as received. The number of transmissions is therefore the larger of the times that
//!   mirrored Pods of that switch sent it (a frame may be dropped on its way) and of the most times that one of them
//!   received it (the sender may not be mirrored, or be OVN).
//! - Different switches only exchange frames by way of a router, which rewrites them. The same bytes on two switches
//!   are therefore different transmissions, and the numbers add up.
//!
//! The rule cannot see through one thing: a frame that a Pod sent and that was dropped, while OVN sent the same bytes
//! in that Pod's name (an ARP answer). It takes both for one transmission.
//!
//! # The edges
//! Captures do not start and stop at the same instant, and kernels send frames unasked. A recording has a window, from
//! the last of its begin marks to the first of its end marks. Frames on the wires within the window must have their
//! copies anywhere in the recording; copies within the window must have their frames anywhere in the recording.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::RangeInclusive,
    time::Duration,
};

use crate::{Result, pcap};

mod kinds;
#[cfg(test)]
mod tests;

/// A frame as it was seen on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When, since 1970.
    pub at: Duration,
    /// All of it, from the destination MAC address on, without the check sequence.
    pub bytes: Vec<u8>,
}

/// What was on one Pod's wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFrames {
    /// The name of the logical switch that the Pod is on.
    pub switch: String,
    /// What the Pod sent, as it sent it.
    pub sent: Vec<Frame>,
    /// What the Pod received, as it received it.
    pub received: Vec<Frame>,
}

/// What was on the wires of the mirrored Pods and on the mirror port during the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The mirrored Pods, by name.
    pub pods: BTreeMap<String, PodFrames>,
    /// The copies.
    pub mirror: Vec<Frame>,
    /// The time in which the recording is whole.
    pub window: RangeInclusive<Duration>,
}

/// A frame that has too few or too many copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The frame.
    pub bytes: Vec<u8>,
    /// How often it was transmitted.
    pub transmissions: usize,
    /// How many copies there are.
    pub copies: usize,
    /// On which wires it was seen.
    pub seen: BTreeSet<String>,
}

/// How often one byte string was transmitted and copied.
#[derive(Default)]
struct Tally<'a> {
    /// By switch: the times that its mirrored Pods sent it.
    sent: HashMap<&'a str, usize>,
    /// By Pod: its switch, and the times that it received it.
    received: HashMap<&'a str, (&'a str, usize)>,
    copies: usize,
}

impl Tally<'_> {
    fn transmissions(&self) -> usize {
        let mut by_switch = self.sent.clone();
        for (switch, times) in self.received.values() {
            let most = by_switch.entry(switch).or_default();
            *most = (*most).max(*times);
        }
        by_switch.values().sum()
    }
}

impl Recording {
    /// The frames that do not have exactly the copies that they must have, those that are missing first.
    pub fn differences(&self) -> Vec<Difference> {
        let inside = self.tally(|frame| self.window.contains(&frame.at));
        let everything = self.tally(|_| true);
        let none = Tally::default();
        let mut differences: Vec<_> = everything
            .iter()
            .filter_map(|(bytes, all)| {
                let inside = inside.get(bytes).unwrap_or(&none);
                let missing = all.copies < inside.transmissions();
                let surplus = inside.copies > all.transmissions();
                let (transmissions, copies) = match (missing, surplus) {
                    (true, _) => (inside.transmissions(), all.copies),
                    (_, true) => (all.transmissions(), inside.copies),
                    _ => return None,
                };
                let (bytes, seen) = (bytes.to_vec(), self.wires(bytes));
                Some(Difference { bytes, transmissions, copies, seen })
            })
            .collect();
        differences.sort_by_key(|d| (d.copies > d.transmissions, d.bytes.clone()));
        differences
    }

    /// Panics unless every frame has exactly the copies that it must have. The panic explains each that has not.
    ///
    /// # Panics
    /// See above; also when nothing at all was transmitted, because that proves nothing.
    pub fn assert_exact(&self) {
        let all = self.tally(|frame| self.window.contains(&frame.at));
        assert!(!all.is_empty(), "there was nothing to copy in this recording");
        let differences = self.differences();
        if !differences.is_empty() {
            let explained = explain(&differences, |bytes| self.nearest(bytes))
                .unwrap_or_else(|error| format!("{error:#}\n"));
            let (wrong, kinds) = (differences.len(), all.len());
            panic!(
                "{wrong} of {kinds} distinct frames have a wrong number of copies:\n{explained}"
            );
        }
    }

    /// How many copies there are in the window.
    pub fn copies(&self) -> usize {
        self.mirror.iter().filter(|frame| self.window.contains(&frame.at)).count()
    }

    fn tally(&self, wanted: impl Fn(&Frame) -> bool) -> HashMap<&[u8], Tally<'_>> {
        let mut tallies: HashMap<&[u8], Tally<'_>> = HashMap::new();
        for (name, pod) in &self.pods {
            let switch = pod.switch.as_str();
            for frame in pod.sent.iter().filter(|frame| wanted(frame)) {
                *tallies.entry(&frame.bytes).or_default().sent.entry(switch).or_default() += 1;
            }
            for frame in pod.received.iter().filter(|frame| wanted(frame)) {
                let tally = tallies.entry(&frame.bytes).or_default();
                tally.received.entry(name).or_insert((switch, 0)).1 += 1;
            }
        }
        for frame in self.mirror.iter().filter(|frame| wanted(frame)) {
            tallies.entry(&frame.bytes).or_default().copies += 1;
        }
        tallies
    }

    /// In words, the frame that has other bytes at the fewest places, if these are few: whatever changed it on its way.
    fn nearest(&self, bytes: &[u8]) -> Option<String> {
        /// As many bytes as checksums, a TCP acknowledgement number and timestamps have.
        const FEW: usize = 24;
        let on_wires = self.pods.iter().flat_map(|(name, pod)| {
            let sent = pod.sent.iter().map(move |frame| (format!("sent by {name}"), frame));
            let got = pod.received.iter().map(move |frame| (format!("received by {name}"), frame));
            sent.chain(got)
        });
        let copied = self.mirror.iter().map(|frame| ("copied".to_owned(), frame));
        let places = |frame: &Frame| -> Vec<_> {
            let pairs = frame.bytes.iter().zip(bytes).enumerate();
            pairs.filter(|(_, (there, here))| there != here).map(|(place, _)| place).collect()
        };
        let near = on_wires
            .chain(copied)
            .filter(|(_, frame)| frame.bytes.len() == bytes.len() && frame.bytes != bytes)
            .map(|(wire, frame)| (places(frame), wire, frame))
            .filter(|(places, ..)| places.len() <= FEW)
            .min_by_key(|(places, ..)| places.len())?;
        let (places, wire, frame) = near;
        let of = |bytes: &[u8]| {
            places.iter().map(|place| format!("{:02x}", bytes[*place])).collect::<String>()
        };
        Some(format!(
            "has {} where one that was {wire} has {}, at {places:?}",
            of(bytes),
            of(&frame.bytes)
        ))
    }

    fn wires(&self, bytes: &[u8]) -> BTreeSet<String> {
        let is_it = |frame: &Frame| frame.bytes == bytes;
        let mut wires = BTreeSet::new();
        for (name, pod) in &self.pods {
            if pod.sent.iter().any(is_it) {
                wires.insert(format!("sent by {name}"));
            }
            if pod.received.iter().any(is_it) {
                wires.insert(format!("received by {name}"));
            }
        }
        wires
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transmissions, copies, .. } = self;
        match (copies < transmissions, transmissions) {
            (true, _) => write!(f, "missing {}", transmissions - copies)?,
            (_, 0) => write!(f, "{copies} from nowhere")?,
            _ => write!(f, "{} too many", copies - transmissions)?,
        }
        write!(f, " ({transmissions} transmitted, {copies} copied")?;
        self.seen.iter().try_for_each(|wire| write!(f, ", {wire}"))?;
        f.write_str(")")
    }
}

/// Some lines for each difference: what is wrong, the frame in tcpdump's words, and what it resembles.
fn explain(
    differences: &[Difference],
    nearest: impl Fn(&[u8]) -> Option<String>,
) -> Result<String> {
    /// More would hide the first ones.
    const MOST: usize = 40;
    let shown = &differences[..differences.len().min(MOST)];
    let frames: Vec<_> = shown.iter().map(|difference| difference.bytes.as_slice()).collect();
    let lines = pcap::describe(&frames)?;
    let mut text = String::new();
    for (difference, line) in shown.iter().zip(lines) {
        text.push_str(&format!("  {difference}\n      {line}\n"));
        if let Some(nearest) = nearest(&difference.bytes) {
            text.push_str(&format!("      {nearest}\n"));
        }
    }
    if differences.len() > MOST {
        text.push_str(&format!("  ... and {} more\n", differences.len() - MOST));
    }
    Ok(text)
}
