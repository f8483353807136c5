//! Made-up windows whose truth is known.

use super::*;

/// What things cost in truth.
#[derive(Clone, Copy)]
struct Truth {
    /// Seconds a packet.
    packet: f64,
    /// Seconds a copy.
    copy: f64,
    /// Seconds a second.
    idle: f64,
    /// How much the cost of a window strays, in parts of it.
    noise: f64,
}

const TRUTH: Truth = Truth { packet: 4e-6, copy: 1e-6, idle: 0.0, noise: 0.03 };

/// Windows one after the other.
struct World {
    truth: Truth,
    estimator: Estimator,
    now: Instant,
    /// State of a generator of random numbers (xorshift64*, Vigna 2016).
    random: u64,
}

impl World {
    fn new(truth: Truth, seed: u64) -> Self {
        let random = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { truth, estimator: Estimator::default(), now: Instant::now(), random }
    }

    /// Evenly between 0 and 1.
    fn even(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (drawn >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1, nearly normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.even()).sum::<f64>() - 6.0
    }

    /// `count` windows of `seconds` each with `load` packets a second, of which `share` is copied.
    fn pass(&mut self, hooks: Hooks, count: usize, seconds: f64, load: f64, share: f64) {
        let Truth { packet, copy, idle, noise } = self.truth;
        for _ in 0..count {
            self.now += Duration::from_secs_f64(seconds);
            let switched = load * seconds * (1.0 + 0.02 * self.normal());
            let copied = share * switched;
            let cpu = packet * switched + copy * copied + idle * seconds;
            let cpu = cpu * (1.0 + noise * self.normal());
            self.estimator.push(hooks, Window { ended: self.now, seconds, cpu, switched, copied });
        }
    }

    fn estimate(&mut self) -> Option<Estimate> {
        self.estimator.estimate(self.now)
    }
}

/// Checks that estimates of many such worlds are right on average, and stray as much as they say: the mean square of
/// error over standard error is near 1, and above 1 for few windows.
fn assert_honest(ratio: f64, truth: Truth, play: impl Fn(&mut World)) -> f64 {
    const WORLDS: u64 = 400;
    let (mut errors, mut squares, mut claimed) = (0.0, 0.0, 0.0);
    for seed in 0..WORLDS {
        let mut world = World::new(truth, seed);
        play(&mut world);
        let estimate = world.estimate().expect("it can be told");
        let error = estimate.ratio - ratio;
        errors += error;
        squares += (error / estimate.standard_error).powi(2);
        claimed += estimate.standard_error;
    }
    let [bias, square, claimed] = [errors, squares, claimed].map(|sum| sum / WORLDS as f64);
    assert!(bias.abs() < 0.3 * claimed, "off by {bias} on average, claims {claimed}");
    assert!((0.6..2.0).contains(&square), "mean square of error over claim: {square}");
    claimed
}

#[test]
fn nothing_is_told_without_enough_to_tell_it_from() {
    let mut world = World::new(TRUTH, 0);
    assert_eq!(world.estimate(), None);
    world.pass(Hooks::All, 50, 10.0, 1e5, 1.0);
    assert_eq!(world.estimate(), None, "no baseline, and all is copied all the time");
    world.pass(Hooks::None, 3, 2.0, 1e5, 0.0);
    assert_eq!(world.estimator.baseline(world.now).unwrap().packets.round(), {
        let bare = world.estimator.bare.iter().map(|window| window.switched);
        bare.sum::<f64>().round()
    });
    world.pass(Hooks::None, 1, 2.0, 1e5, 0.0);
    assert!(world.estimate().is_some());
}

#[test]
fn the_ratio_is_found_under_steady_load_with_an_honest_error() {
    let error = assert_honest(0.25, TRUTH, |world| {
        world.pass(Hooks::None, 30, 10.0, 1e5, 0.0);
        world.pass(Hooks::All, 30, 10.0, 1e5, 1.0);
    });
    assert!(error < 0.012, "{error}");
}

#[test]
fn short_pauses_are_enough() {
    let error = assert_honest(0.25, TRUTH, |world| {
        for _ in 0..8 {
            world.pass(Hooks::All, 6, 10.0, 1e5, 1.0);
            world.pass(Hooks::None, 1, 1.5, 1e5, 0.0);
        }
    });
    assert!(error < 0.025, "{error}");
}

#[test]
fn mirroring_that_costs_nothing_is_not_made_to_cost_something() {
    assert_honest(0.0, Truth { copy: 0.0, ..TRUTH }, |world| {
        world.pass(Hooks::None, 20, 10.0, 1e5, 0.0);
        world.pass(Hooks::All, 20, 10.0, 1e5, 1.0);
    });
}

#[test]
fn idle_work_is_told_from_work_for_packets_where_the_load_varies() {
    // At a load of 60,000 it is a fifth of the processor time; taken for the packets' it would make half of the ratio.
    let truth = Truth { idle: 0.06, ..TRUTH };
    let ratio = 60_000.0 * 1e-6 / (60_000.0 * 4e-6 + 0.06);
    let play = |world: &mut World| {
        for load in [1e4, 3e4, 5e4, 8e4, 1e5] {
            world.pass(Hooks::None, 6, 10.0, load, 0.0);
        }
        world.pass(Hooks::All, 30, 10.0, 6e4, 1.0);
    };
    assert_honest(ratio, truth, play);
    let mut world = World::new(truth, 0);
    play(&mut world);
    let baseline = world.estimate().unwrap().baseline;
    assert!((baseline / (4e-6 + 0.06 / 6e4) - 1.0).abs() < 0.05, "{baseline}");
}

#[test]
fn a_quiet_night_is_no_baseline_for_a_busy_day() {
    let mut world = World::new(Truth { idle: 0.02, ..TRUTH }, 0);
    world.pass(Hooks::None, 60, 10.0, 50.0, 0.0);
    world.pass(Hooks::All, 60, 10.0, 1e5, 1.0);
    assert_eq!(world.estimate(), None);
}

#[test]
fn a_switch_without_a_second_to_spare_is_seen_to_switch_less() {
    // One core, always busy: with mirroring it manages three packets in the time of four.
    let full = |load: f64| Truth { packet: 1.0 / load, copy: 0.0, idle: 0.0, noise: 0.02 };
    let mut world = World::new(full(1e5), 0);
    world.pass(Hooks::None, 20, 10.0, 1e5, 0.0);
    world.truth = full(7.5e4);
    world.pass(Hooks::All, 20, 10.0, 7.5e4, 1.0);
    let Estimate { ratio, standard_error, .. } = world.estimate().unwrap();
    assert!((ratio - 1.0 / 3.0).abs() < 4.0 * standard_error, "{ratio} {standard_error}");
    assert!(standard_error < 0.02, "{standard_error}");
}

#[test]
fn the_share_of_copies_varying_by_itself_is_enough() {
    // What is without mirroring was never seen. On average 60 % are copied.
    assert_honest(0.6 * 0.25, TRUTH, |world| {
        for share in [0.2, 0.4, 0.6, 0.8, 1.0] {
            world.pass(Hooks::All, 8, 10.0, 1e5, share);
        }
    });
}

#[test]
fn lifting_a_share_of_the_hooks_is_enough() {
    let error = assert_honest(0.25, TRUTH, |world| {
        for _ in 0..12 {
            world.pass(Hooks::All, 4, 10.0, 1e5, 1.0);
            world.pass(Hooks::Some, 1, 2.0, 1e5, 0.5);
        }
    });
    assert!(error < 0.06, "{error}");
}

#[test]
fn a_baseline_that_says_nothing_for_all_its_noise_is_none() {
    let mut world = World::new(Truth { noise: 1.0, ..TRUTH }, 0);
    world.pass(Hooks::None, 4, 2.0, 1e5, 0.0);
    world.pass(Hooks::All, 10, 10.0, 1e5, 1.0);
    assert_eq!(world.estimate(), None);
}

#[test]
fn a_baseline_is_forgotten_after_two_hours_and_its_age_is_known_before() {
    let mut world = World::new(TRUTH, 0);
    world.pass(Hooks::None, 20, 10.0, 1e5, 0.0);
    world.pass(Hooks::All, 700, 10.0, 1e5, 1.0);
    let age = world.estimator.baseline(world.now).unwrap().age;
    assert_eq!(age.as_secs_f64().round(), 7000.0);
    assert!(world.estimate().is_some());
    world.pass(Hooks::All, 21, 10.0, 1e5, 1.0);
    assert_eq!(world.estimator.baseline(world.now), None);
    assert_eq!(world.estimate(), None);
}
