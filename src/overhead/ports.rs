//! Packets that came into the bridge by its ports, through ports that come and go and a switch that starts anew.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use flows::{model::OfPort, ofp::PortStats};

use crate::port_counters::{Side, Sides};

/// How much younger than expected a port may look: the switch tells its age by another clock.
const SLACK: Duration = Duration::from_secs(1);
/// The most ports that a switch can have.
const MOST: usize = 0x1_0000;

/// The ports as read last.
#[derive(Debug, Default)]
pub struct Ports {
    last: Option<(Instant, HashMap<OfPort, Count>)>,
    coming: HashMap<OfPort, PortStats>,
}

/// What a port has counted.
#[derive(Debug)]
struct Count {
    /// Packets that came in.
    packets: u64,
    /// Their bytes.
    bytes: u64,
    /// Packets that went out, or were meant to.
    sent: u64,
    /// How long the port has been there, if the switch knows.
    age: Option<Duration>,
    /// From whose side it counts.
    side: Side,
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Packets that came in, but for those by the mirror port.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that went out by the mirror port, or were dropped there.
    pub copies: u64,
    /// Whether both readings are of the same ports.
    pub same: bool,
}

impl Ports {
    /// Takes in a part of a reading.
    pub fn hear(&mut self, stats: Vec<PortStats>) {
        for stats in stats {
            if self.coming.len() < MOST {
                // Nothing here wants the properties, which may be long.
                self.coming.insert(stats.port, PortStats { properties: Box::default(), ..stats });
            }
        }
    }

    /// The reading is complete. A port that is new, or began to count anew, counts from now on: what it has counted
    /// already may be from before it was on this bridge. `sides` says from whose side the ports count.
    pub fn finish(&mut self, sink: Option<OfPort>, sides: &Sides, now: Instant) -> Passed {
        let coming = std::mem::take(&mut self.coming).into_iter();
        let count = |(port, stats)| Some((port, Count::of(&stats, sides.side(port))?));
        let read: HashMap<_, _> = coming.filter_map(count).collect();
        let mut passed = Passed::default();
        if let Some((then, last)) = &self.last {
            let elapsed = now.saturating_duration_since(*then);
            let pairs = read.iter().filter_map(|(port, now)| Some((port, last.get(port)?, now)));
            let lasting: Vec<_> =
                pairs.filter(|(_, before, now)| now.follows(before, elapsed)).collect();
            passed.same = lasting.len() == last.len() && last.len() == read.len();
            for (port, before, now) in lasting {
                if Some(*port) == sink {
                    passed.copies = now.sent - before.sent;
                } else {
                    let (packets, bytes) = (now.packets - before.packets, now.bytes - before.bytes);
                    passed.packets = passed.packets.saturating_add(packets);
                    passed.bytes = passed.bytes.saturating_add(bytes);
                }
            }
        }
        self.last = Some((now, read));
        passed
    }

    /// The reading won't be completed.
    pub fn abandon(&mut self) {
        self.coming.clear();
    }
}

impl Count {
    /// None if the port doesn't count what comes in.
    fn of(stats: &PortStats, side: Side) -> Option<Self> {
        let known = Option::unwrap_or_default;
        let counters = side.read(stats);
        let sent = known(counters.sent_packets).saturating_add(known(counters.sent_dropped));
        Some(Self {
            packets: counters.received_packets?,
            bytes: counters.received_bytes?,
            sent,
            age: stats.duration,
            side,
        })
    }

    /// Whether it is of the same port as `before`, which counted all the while.
    fn follows(&self, before: &Self, elapsed: Duration) -> bool {
        let aged = match (before.age, self.age) {
            (Some(before), Some(now)) => now + SLACK >= before + elapsed,
            _ => true,
        };
        aged && self.side == before.side
            && self.packets >= before.packets
            && self.bytes >= before.bytes
            && self.sent >= before.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u32, age: u64, rx: u64, tx: u64) -> PortStats {
        PortStats {
            port: OfPort(number),
            duration: Some(Duration::from_secs(age)),
            rx_packets: Some(rx),
            tx_packets: Some(tx),
            rx_bytes: Some(rx * 100),
            tx_bytes: Some(tx * 100),
            rx_dropped: Some(0),
            tx_dropped: None,
            rx_errors: None,
            tx_errors: None,
            properties: Box::default(),
        }
    }

    /// Reads ports 1, 2 and the mirror port 9, which all count from the switch's side, ten seconds apart.
    fn read(readings: &[&[PortStats]]) -> Vec<Passed> {
        read_from(&Sides::default(), readings)
    }

    fn read_from(sides: &Sides, readings: &[&[PortStats]]) -> Vec<Passed> {
        let (mut ports, mut now) = (Ports::default(), Instant::now());
        let finish = |stats: &&[PortStats]| {
            ports.hear(stats.to_vec());
            now += Duration::from_secs(10);
            ports.finish(Some(OfPort(9)), sides, now)
        };
        readings.iter().map(finish).collect()
    }

    #[test]
    fn what_comes_in_counts_and_what_the_mirror_port_sends_is_copies() {
        let passed = read(&[
            &[port(1, 50, 1000, 0), port(2, 50, 10, 0), port(9, 50, 7, 300)],
            &[port(1, 60, 1100, 0), port(2, 60, 15, 0), port(9, 60, 8, 390)],
        ]);
        assert_eq!(passed[0], Passed::default());
        assert_eq!(passed[1], Passed { packets: 105, bytes: 10_500, copies: 90, same: true });
    }

    #[test]
    fn the_host_counts_from_its_side_what_passes_by_an_internal_port() {
        let sides = Sides::from_iter([OfPort(2), OfPort(9)]);
        let before = [port(1, 50, 1000, 0), port(2, 50, 3, 10), port(9, 50, 300, 7)];
        let after = [port(1, 60, 1100, 0), port(2, 60, 4, 15), port(9, 60, 390, 7)];
        let passed = read_from(&sides, &[&before, &after])[1];
        assert_eq!((passed.packets, passed.copies, passed.same), (105, 90, true));
        let passed = read_from(&Sides::default(), &[&before, &after])[1];
        assert_eq!((passed.packets, passed.copies), (101, 0), "as if the switch counted");
    }

    #[test]
    fn a_port_that_came_went_or_began_anew_adds_nothing_that_is_not_known_to_be_new() {
        let before = [port(1, 50, 1000, 0), port(2, 50, 10, 0)];
        let cases: [&[PortStats]; 4] = [
            // A NIC with a past is put on the bridge.
            &[port(1, 60, 1100, 0), port(2, 60, 10, 0), port(3, 1, 1 << 40, 0)],
            &[port(1, 60, 1100, 0)],
            // Another port has the number, and has counted more already.
            &[port(1, 60, 1100, 0), port(2, 3, 5000, 0)],
            &[port(1, 60, 1100, 0), port(2, 60, 9, 0)],
        ];
        for case in cases {
            let passed = read(&[&before, case])[1];
            assert_eq!((passed.packets, passed.same), (100, false), "{case:?}");
        }
    }

    #[test]
    fn a_restart_of_the_switch_adds_nothing() {
        let passed = read(&[
            &[port(1, 50, 1000, 0), port(2, 50, 10, 0)],
            &[port(1, 4, 1100, 0), port(2, 4, 20, 0)],
            &[port(1, 14, 1105, 0), port(2, 14, 20, 0)],
        ]);
        assert_eq!((passed[1].packets, passed[1].same), (0, false));
        assert_eq!((passed[2].packets, passed[2].same), (5, true));
    }

    #[test]
    fn a_port_that_does_not_count_is_left_out() {
        let dumb = PortStats { rx_packets: None, ..port(2, 50, 0, 0) };
        let passed = read(&[&[port(1, 50, 1, 0), dumb.clone()], &[port(1, 60, 3, 0), dumb]]);
        assert_eq!((passed[1].packets, passed[1].same), (2, true));
    }
}
