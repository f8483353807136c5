//! A switch made of numbers: what is asked of it and when, and what comes of it.

use super::*;

const SINK: OfPort = OfPort(9);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Time passes by [`Self::run`]; the switch answers at once.
struct World {
    overhead: Overhead,
    now: Instant,
    start: Instant,
    hooks: Hooks,
    /// Packets switched, copies made, processor time used.
    counted: (u64, u64, Duration),
    poll_mode: bool,
    /// How often it was asked.
    readings: usize,
    bridge: Bridge,
}

impl World {
    fn new(probe: Option<&str>, hooks: Hooks) -> Self {
        let now = Instant::now();
        let probe = probe.map(|probe| probe.parse().unwrap());
        let overhead = Overhead::new(probe, Metrics::new(), now);
        let counted = (0, 0, Duration::ZERO);
        let bridge =
            Bridge { sink: Some(SINK), datapath: Datapath::Userspace, sides: Sides::default() };
        let (poll_mode, readings) = (false, 0);
        let mut world =
            Self { overhead, now, start: now, hooks, counted, poll_mode, readings, bridge };
        world.settle();
        world
    }

    /// Our flows are as they should be.
    fn settle(&mut self) {
        let situation = Situation { hooks: Some(self.hooks), changing: false, calm: true };
        self.overhead.look(situation, self.now);
    }

    /// Our flows become what is to be, in two steps as the agent sees it.
    fn change(&mut self, hooks: Hooks) {
        let changing = Situation { hooks: Some(self.hooks), changing: true, calm: false };
        self.overhead.look(changing, self.now);
        self.hooks = hooks;
        self.settle();
    }

    /// 10,000 packets a second at 4 µs each, and 1 µs more with hooks.
    fn pass(&mut self, until: Instant) {
        let milliseconds = until.saturating_duration_since(self.now).as_millis() as u64;
        let packets = 10 * milliseconds;
        let mirrored = u64::from(self.hooks == Hooks::All);
        self.counted.0 += packets;
        self.counted.1 += mirrored * packets;
        self.counted.2 += Duration::from_micros((4 + mirrored) * packets);
        self.now = until;
    }

    fn answer(&mut self) {
        self.readings += 1;
        let port = |port, rx_packets, tx_packets| PortStats {
            port,
            duration: Some(self.now.saturating_duration_since(self.start)),
            rx_packets: Some(rx_packets),
            tx_packets: Some(tx_packets),
            rx_bytes: Some(100 * rx_packets),
            tx_bytes: Some(100 * tx_packets),
            rx_dropped: None,
            tx_dropped: None,
            rx_errors: None,
            tx_errors: None,
            properties: Box::default(),
        };
        let (packets, copies, busy) = self.counted;
        let sink = match self.bridge.datapath {
            Datapath::Userspace => port(SINK, 0, copies),
            // It is an internal port, which counts from the host's side.
            Datapath::Kernel => port(SINK, copies, 0),
        };
        self.overhead.hear(vec![port(OfPort(1), packets, 0), sink]);
        let role = if self.poll_mode { Component::Pmd } else { Component::Main };
        let threads = vec![(7, role, busy)];
        let reading = Reading { process: (7, 1), threads, softirq: busy * 10 };
        self.overhead.finish(&self.bridge, Ok(reading), self.now);
    }

    /// The one port still has its hooks.
    fn is_hooked(&mut self, lost: bool) -> bool {
        let hooked = BTreeSet::from([OfPort(1)]);
        self.overhead.lifted(|| hooked, lost, self.now).is_empty()
    }

    /// Does what is due for so long; notes when hooks are lifted and when they are back.
    fn run(&mut self, time: Duration) -> Vec<(Duration, bool)> {
        let end = self.now + time;
        let mut changes = vec![];
        while self.overhead.due() <= end {
            self.pass(self.overhead.due().max(self.now));
            let due = self.overhead.wake(self.now, true);
            assert!(self.overhead.due() > self.now, "it must not spin");
            if due.read {
                self.answer();
            }
            let hooked = self.is_hooked(false);
            let mirrored = self.hooks == Hooks::All;
            if self.hooks != Hooks::Some && hooked != mirrored && self.overhead.probe.is_some() {
                changes.push((self.now - self.start, hooked));
                self.change(if hooked { Hooks::All } else { Hooks::None });
            }
        }
        self.pass(end);
        changes
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let text = String::from_utf8(self.overhead.metrics.render()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        // What sums of binary fractions are off by is no matter here.
        line.map(|value| format!("{:.9e}", value.parse::<f64>().unwrap()).parse().unwrap())
    }

    fn ratio(&self) -> Option<f64> {
        self.metric("ofmirror_cpu_overhead_ratio").map(|ratio| (ratio * 1e4).round() / 1e4)
    }
}

#[test]
fn time_without_mirroring_is_the_baseline_for_time_with_it() {
    let mut world = World::new(None, Hooks::None);
    world.run(MS(60_000));
    assert_eq!(world.metric("ofmirror_cpu_overhead_baseline_packets"), Some(600_000.0));
    assert_eq!(world.ratio(), None, "nothing was mirrored yet");
    world.change(Hooks::All);
    world.run(MS(35_000));
    assert_eq!(world.ratio(), None, "three windows are too few");
    world.run(MS(10_000));
    assert_eq!(world.ratio(), Some(0.25));
    assert_eq!(world.metric("ofmirror_cpu_overhead_baseline_seconds_per_packet"), Some(4e-6));
    assert_eq!(world.metric("ofmirror_cpu_overhead_mirroring_seconds_per_packet"), Some(5e-6));
    assert_eq!(world.metric("ofmirror_cpu_overhead_standard_error").map(f64::round), Some(0.0));
    let switched = world.metric("ofmirror_switched_packets_total").unwrap();
    assert_eq!(world.metric("ofmirror_switched_bytes_total"), Some(100.0 * switched));
    let main = world.metric("ofmirror_datapath_cpu_seconds_total{component=\"main\"}").unwrap();
    let softirq =
        world.metric("ofmirror_datapath_cpu_seconds_total{component=\"softirq\"}").unwrap();
    assert!((softirq / main - 10.0).abs() < 1e-6, "it is told, but not the userspace datapath's");
}

#[test]
fn the_copies_by_an_internal_port_of_the_kernels_datapath_explain_what_they_cost() {
    let mut world = World::new(None, Hooks::All);
    world.bridge.datapath = Datapath::Kernel;
    world.bridge.sides = Sides::from_iter([SINK]);
    for _ in 0..4 {
        world.run(MS(20_500));
        world.change(Hooks::Some);
        world.run(MS(20_500));
        world.change(Hooks::All);
    }
    assert_eq!(world.ratio(), Some(0.25), "no window is without any hook");
    let switched = world.metric("ofmirror_switched_packets_total").unwrap();
    assert!(switched <= world.counted.0 as f64, "copies are not switched packets");
}

#[test]
fn windows_in_which_hooks_changed_tell_nothing() {
    let mut world = World::new(None, Hooks::None);
    for _ in 0..50 {
        world.run(MS(900));
        world.change(Hooks::All);
        world.run(MS(450));
        world.change(Hooks::None);
        world.run(MS(450));
    }
    assert_eq!(world.metric("ofmirror_cpu_overhead_baseline_packets"), None);
    assert_eq!(world.ratio(), None);
}

#[test]
fn changes_of_single_hooks_among_others_have_no_ports_read_sooner() {
    let mut world = World::new(None, Hooks::All);
    world.run(MS(1_000));
    let before = world.readings;
    for _ in 0..60 {
        world.change(Hooks::All);
        world.run(MS(1_000));
    }
    assert_eq!(world.readings - before, 6, "one each 10 s");
    world.change(Hooks::None);
    world.run(MS(1_000));
    assert_eq!(world.readings - before, 7, "that there is none is worth one");
}

#[test]
fn hooks_are_lifted_only_if_asked_for_and_come_back_in_time() {
    let mut world = World::new(None, Hooks::All);
    assert_eq!(world.run(MS(3_600_000)), []);
    assert_eq!(world.ratio(), None);
    let mut world = World::new(Some("1m/2s"), Hooks::All);
    let changes = world.run(MS(190_000));
    let times = [60_000, 62_000, 122_000, 124_000, 184_000, 186_000].map(MS);
    assert_eq!(changes, times.into_iter().zip([false, true].repeat(3)).collect::<Vec<_>>());
    assert_eq!(world.ratio(), None, "three pauses are too few");
    world.run(MS(70_000));
    assert_eq!(world.ratio(), Some(0.25));
    let windows = 4.0 * 1.5 * 10_000.0;
    assert_eq!(world.metric("ofmirror_cpu_overhead_baseline_packets"), Some(windows));
}

#[test]
fn there_is_no_pause_while_flows_are_restored_and_one_ends_when_flows_are_lost() {
    let mut world = World::new(Some("1m/2s"), Hooks::All);
    world.run(MS(50_000));
    let restoring = Situation { hooks: Some(Hooks::All), changing: false, calm: false };
    world.overhead.look(restoring, world.now);
    assert_eq!(world.run(MS(60_000)), []);
    world.settle();
    let changes = world.run(MS(10_500));
    assert_eq!(changes.len(), 1, "it is made up for: {changes:?}");
    assert!(!world.is_hooked(false));
    assert!(world.is_hooked(true), "whatever is lost comes back with all the rest");
    world.change(Hooks::All);
    assert_eq!(world.run(MS(55_000)), [], "the next pause is a minute later");
    assert_eq!(world.run(MS(10_000)).len(), 2);
}

#[test]
fn hooks_come_back_in_time_even_if_the_switch_does_not_tell_its_counters() {
    let mut world = World::new(Some("1m/2s"), Hooks::All);
    world.run(MS(60_000));
    assert!(!world.is_hooked(false));
    let mut replan = false;
    while !replan {
        world.pass(world.overhead.due());
        replan = world.overhead.wake(world.now, true).replan;
    }
    assert!(world.is_hooked(false));
    assert_eq!(world.now - world.start, MS(62_250));
}

#[test]
fn a_lost_switch_ends_a_pause() {
    let mut world = World::new(Some("1m/2s"), Hooks::All);
    world.run(MS(60_500));
    assert!(!world.is_hooked(false));
    world.overhead.disconnect(world.now);
    assert!(world.is_hooked(false));
    assert!(!world.overhead.wake(world.now + INTERVAL, false).read, "there is nobody to ask");
}

#[test]
fn poll_mode_threads_are_always_busy_so_nothing_is_told() {
    let mut world = World::new(Some("1m/2s"), Hooks::All);
    world.run(MS(600_000));
    assert_eq!(world.ratio(), Some(0.25));
    world.poll_mode = true;
    world.run(MS(20_000));
    assert_eq!(world.ratio(), None);
}
