//! Mirrored ports whose frames do not reach their copy flow.
//!
//! All of our flows may be installed and yet see nothing: a flow of somebody else's with a higher priority comes first, or a
//! program takes the frames from the port before the switch does. So what a port has received is compared with what its copy
//! flow has counted. A flow counts late (see [`super::shortfall`]), so a comparison is made only when the flows have been read
//! some time after the port.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use flows::model::OfPort;

/// How late a flow's count may be.
const LAG: Duration = Duration::from_secs(3);
/// Frames that a port must have received: one or two may be of a protocol that the switch itself speaks, like LLDP.
const ENOUGH: u64 = 5;
/// The most ports that a switch can have.
const MOST: usize = 0x1_0000;

/// What is known of one mirrored port.
#[derive(Debug)]
struct Watched {
    /// Frames received, and those of them that had been copied, when the ports were read last.
    received: u64,
    copied: u64,
    /// What it received between two readings, until the flows have been read late enough.
    unproven: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    frames: u64,
    /// What had been copied before.
    copied: u64,
    closed: Instant,
}

/// Which of the mirrored ports are blind.
#[derive(Debug, Default)]
pub struct Coverage {
    coming: HashMap<OfPort, u64>,
    ports: HashMap<OfPort, Watched>,
    /// Blind ports, and how many frames each received of which none was copied.
    blind: BTreeMap<OfPort, Blind>,
}

/// A port of which no frame was copied, though it received some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blind {
    frames: u64,
    copied: u64,
}

impl Coverage {
    /// Takes in a part of a reading of the ports: what one has received.
    pub fn take_in_port(&mut self, port: OfPort, received: u64) {
        if self.coming.len() < MOST {
            self.coming.insert(port, received);
        }
    }

    /// The ports have been read. `copied` has what each port's copy flow has counted, for those that have one now.
    pub fn close_window(&mut self, copied: &HashMap<OfPort, u64>, now: Instant) {
        let coming = std::mem::take(&mut self.coming);
        let before = std::mem::take(&mut self.ports);
        for (port, copied) in copied {
            let Some(received) = coming.get(port).copied() else { continue };
            let (mut unproven, copied) = (None, *copied);
            if let Some(before) = before.get(port) {
                let frames = received.saturating_sub(before.received);
                let window = Window { frames, copied: before.copied, closed: now };
                unproven = before.unproven.or((frames >= ENOUGH).then_some(window));
            }
            self.ports.insert(*port, Watched { received, copied, unproven });
        }
        self.blind.retain(|port, _| self.ports.contains_key(port));
    }

    /// The flows have been read.
    pub fn take_in_flows(&mut self, copied: &HashMap<OfPort, u64>, now: Instant) {
        for (port, watched) in &mut self.ports {
            let Some(copied) = copied.get(port).copied() else { continue };
            if self.blind.get(port).is_some_and(|blind| copied > blind.copied) {
                self.blind.remove(port);
            }
            let due = watched.unproven.take_if(|window| now >= window.closed + LAG);
            if let Some(Window { frames, copied: before, .. }) = due
                && copied == before
            {
                self.blind.insert(*port, Blind { frames, copied });
            }
        }
    }

    /// Copy flows are missing or left out, so what ports receive proves nothing.
    pub fn restart(&mut self) {
        self.ports.clear();
        self.coming.clear();
    }

    /// The blind ports, and how many frames each of them received within one window of which none was copied.
    #[must_use]
    pub fn blind(&self) -> BTreeMap<OfPort, u64> {
        self.blind.iter().map(|(port, blind)| (*port, blind.frames)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: OfPort = OfPort(5);

    struct Bench {
        coverage: Coverage,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { coverage: Coverage::default(), now: Instant::now() }
        }

        /// Ten seconds later the port is read, and four seconds after that the flows.
        fn step(&mut self, received: u64, copied: [u64; 2]) -> BTreeMap<OfPort, u64> {
            let [at_once, later] = copied.map(|copied| HashMap::from([(PORT, copied)]));
            self.now += Duration::from_secs(10);
            self.coverage.take_in_port(PORT, received);
            self.coverage.close_window(&at_once, self.now);
            self.coverage.take_in_flows(&at_once, self.now);
            self.coverage.take_in_flows(&later, self.now + Duration::from_secs(4));
            self.coverage.blind()
        }
    }

    #[test]
    fn a_port_that_receives_and_is_not_copied_from_is_blind_until_something_is_copied() {
        let mut bench = Bench::new();
        assert_eq!(bench.step(100, [100, 100]), BTreeMap::new(), "nothing to compare with yet");
        assert_eq!(bench.step(120, [100, 100]), BTreeMap::from([(PORT, 20)]));
        assert_eq!(
            bench.step(120, [100, 100]),
            BTreeMap::from([(PORT, 20)]),
            "silence proves nothing"
        );
        assert_eq!(bench.step(130, [100, 110]), BTreeMap::new());
    }

    #[test]
    fn flows_that_count_late_make_no_port_blind() {
        let mut bench = Bench::new();
        bench.step(100, [100, 100]);
        assert_eq!(bench.step(1000, [100, 1000]), BTreeMap::new());
    }

    #[test]
    fn a_few_frames_prove_nothing() {
        let mut bench = Bench::new();
        bench.step(100, [100, 100]);
        assert_eq!(bench.step(104, [100, 100]), BTreeMap::new());
    }

    #[test]
    fn a_port_that_began_to_count_anew_is_not_blind() {
        let mut bench = Bench::new();
        bench.step(100, [100, 100]);
        assert_eq!(bench.step(50, [100, 100]), BTreeMap::new());
    }

    #[test]
    fn a_port_whose_flow_is_missing_or_left_out_is_not_blind() {
        let mut bench = Bench::new();
        bench.step(100, [100, 100]);
        bench.step(120, [100, 100]);
        let later = bench.now + Duration::from_secs(10);
        bench.coverage.take_in_port(PORT, 200);
        bench.coverage.close_window(&HashMap::new(), later);
        assert_eq!(bench.coverage.blind(), BTreeMap::new());
        bench.coverage.restart();
        assert_eq!(bench.step(300, [100, 100]), BTreeMap::new(), "the window begins anew");
    }
}
