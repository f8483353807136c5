//! What mirroring costs: processor time of the datapath for each switched packet, with hooks and without.
//!
//! [`Overhead`] says when the ports' counters are to be read. Whenever they are, so is processor time: from one reading to the
//! next is a [`Window`], which counts if our flows, the bridge's ports and the switch's process were the same all the
//! while. It may ask for pauses ([`Probe`]), in which hooks are left out of the plan. No sockets, no clock.

pub mod account;
mod batches;
pub mod estimate;
mod fit;
pub mod ports;
pub mod probe;
pub mod processor;
pub mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::{self, Discriminant},
    sync::Arc,
    time::{Duration, Instant},
};

use flows::{model::OfPort, ofp::PortStats};
use metrics::Metrics;

use self::{
    account::Account,
    estimate::{Estimate, Estimator},
    ports::Ports,
    probe::Probe,
    processor::{Component, Reading, Unreadable},
    window::{Hooks, Window},
};
use crate::{ovsdb::Datapath, port_counters::Sides};

/// How long a window is when nothing changes.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long after a change the switch may still be at work on it: a revalidator looks at all flows twice a second.
const SETTLE: Duration = Duration::from_millis(500);
/// How long the last reading of a pause may take before hooks come back without it.
const GRACE: Duration = Duration::from_millis(250);

/// How our flows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// Which hooks there are, if that is known.
    pub hooks: Option<Hooks>,
    /// Whether they are being changed, or were by somebody else.
    pub changing: bool,
    /// Whether everything is as it should be, so that a pause may begin.
    pub calm: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The ports' counters are to be read.
    pub read: bool,
    /// What is lifted has changed, so the plan has.
    pub replan: bool,
}

/// How to make sense of a reading.
#[derive(Clone, Debug, Default)]
pub struct Bridge {
    /// The mirror port, if there is one.
    pub sink: Option<OfPort>,
    /// Who moves packets, and so uses processor time for them.
    pub datapath: Datapath,
    /// From whose side the ports count.
    pub sides: Sides,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Nobody asked for any.
    Never,
    Waiting {
        next: Instant,
    },
    /// The window before the pause is being closed.
    Beginning,
    /// Hooks are lifted; `ending` once the last reading has been asked for.
    Lifted {
        ends: Instant,
        ending: bool,
    },
}

/// Measures what mirroring costs.
pub struct Overhead {
    account: Account,
    ports: Ports,
    estimator: Estimator,
    estimate: Option<Estimate>,
    probe: Option<Probe>,
    pause: Pause,
    /// Pauses so far.
    turn: usize,
    /// Whose hooks are lifted in this one, once that is decided.
    lifted: Option<Arc<BTreeSet<OfPort>>>,
    /// When the last reading was.
    opened: Option<Instant>,
    /// Something changed since.
    disturbed: bool,
    situation: Situation,
    /// A reading is under way.
    reading: bool,
    due: Instant,
    /// Which kinds of reasons why processor time can't be read have been logged since it last could.
    unreadable: Vec<Discriminant<Unreadable>>,
    metrics: Metrics,
}

impl Overhead {
    /// Nothing is known at `now`.
    #[must_use]
    pub fn new(probe: Option<Probe>, metrics: Metrics, now: Instant) -> Self {
        let pause = probe.map_or(Pause::Never, |probe| Pause::Waiting { next: now + probe.every });
        Self {
            account: Account::default(),
            ports: Ports::default(),
            estimator: Estimator::default(),
            estimate: None,
            probe,
            pause,
            turn: 0,
            lifted: None,
            opened: None,
            disturbed: true,
            situation: Situation::default(),
            reading: false,
            due: now,
            unreadable: Vec::new(),
            metrics,
        }
    }

    /// When [`Self::wake`] is to be called.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Says what is due at `now`. Without a connection to the switch nothing can be read.
    pub fn wake(&mut self, now: Instant, connected: bool) -> Due {
        let mut due = Due::default();
        if now < self.due {
            return due;
        }
        let all = self.situation.hooks == Some(Hooks::All);
        match self.pause {
            Pause::Waiting { next } if next <= now && self.situation.calm && all && connected => {
                self.pause = Pause::Beginning;
            }
            Pause::Lifted { ends, ending: false } if ends <= now => {
                self.pause = Pause::Lifted { ends, ending: true };
            }
            Pause::Lifted { ends, ending: true } if ends + GRACE <= now => {
                self.end_pause(now);
                due.replan = true;
            }
            _ => {}
        }
        due.read = connected && !self.reading;
        self.reading |= due.read;
        let regular = now + INTERVAL;
        self.due = match self.pause {
            Pause::Waiting { next } if now < next => regular.min(next),
            Pause::Lifted { ends, ending: false } => ends,
            Pause::Lifted { ends, ending: true } => ends + GRACE,
            Pause::Never | Pause::Waiting { .. } | Pause::Beginning => regular,
        };
        due
    }

    /// Takes in a part of the ports' counters.
    pub fn hear(&mut self, stats: Vec<PortStats>) {
        self.ports.hear(stats);
    }

    /// The ports' counters have been read at `now`, and so has processor time. The plan may change.
    pub fn finish(&mut self, bridge: &Bridge, time: Result<Reading, Unreadable>, now: Instant) {
        self.reading = false;
        let passed = self.ports.finish(bridge.sink, &bridge.sides, now);
        self.metrics.switched_packets.inc_by(passed.packets);
        self.metrics.switched_bytes.inc_by(passed.bytes);
        let cpu = self.charge(bridge.datapath, time);
        let opened = self.opened.replace(now);
        let disturbed = mem::replace(&mut self.disturbed, self.situation.changing);
        if let (Some(cpu), Some(opened), Some(hooks)) = (cpu, opened, self.situation.hooks)
            && passed.same
            && !disturbed
        {
            let seconds = now.saturating_duration_since(opened).as_secs_f64();
            let (switched, copied) = (passed.packets as f64, passed.copies as f64);
            let window = Window { ended: now, seconds, cpu, switched, copied };
            tracing::debug!(?hooks, ?window, "measured");
            self.estimator.push(hooks, window);
        }
        self.publish(now);
        match (self.pause, self.probe) {
            (Pause::Beginning, Some(probe)) if self.situation.calm => {
                self.pause = Pause::Lifted { ends: now + probe.pause, ending: false };
                self.due = now + probe.pause;
                self.disturbed = true;
            }
            (Pause::Beginning | Pause::Lifted { ending: true, .. }, _) => {
                self.end_pause(now);
            }
            _ => {}
        }
    }

    /// The switch won't answer.
    pub fn abandon(&mut self) {
        self.reading = false;
        self.disturbed = true;
        self.ports.abandon();
    }

    /// There is no connection to the switch any more.
    pub fn disconnect(&mut self, now: Instant) {
        self.abandon();
        self.situation = Situation::default();
        self.end_pause(now);
    }

    /// The ports whose hooks are lifted now, of those that are `hooked` when a pause begins. When flows are `lost`, none is:
    /// all are to come back at once.
    pub fn lifted(
        &mut self,
        hooked: impl FnOnce() -> BTreeSet<OfPort>,
        lost: bool,
        now: Instant,
    ) -> Arc<BTreeSet<OfPort>> {
        if lost {
            self.end_pause(now);
        }
        match (self.pause, self.probe) {
            (Pause::Lifted { .. }, Some(probe)) => {
                let choose = || Arc::new(probe.choose(&hooked(), self.turn));
                Arc::clone(self.lifted.get_or_insert_with(choose))
            }
            _ => {
                self.lifted = None;
                Arc::default()
            }
        }
    }

    /// Whether hooks are lifted now.
    #[must_use]
    pub fn is_lifting(&self) -> bool {
        matches!(self.pause, Pause::Lifted { .. })
    }

    /// Takes note of how our flows are; to be called whenever that may have changed.
    pub fn look(&mut self, situation: Situation, now: Instant) {
        let before = mem::replace(&mut self.situation, situation);
        let changed = before.hooks != situation.hooks;
        self.disturbed |= situation.changing || changed;
        // One change of hooks among thousands must not cost a reading of all ports. But that there are hooks now, or none, is worth a
        // new window as soon as the switch is done with the change, and so is all that happens in a pause, which is short.
        let done = before.changing || changed;
        if !situation.changing && (changed || done && self.is_lifting()) {
            let settle = match self.probe {
                Some(probe) if self.is_lifting() => SETTLE.min(probe.pause / 4),
                _ => SETTLE,
            };
            self.due = self.due.min(now + settle);
        }
    }

    /// If there is a pause, or one was to begin, it is over.
    fn end_pause(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        if let Pause::Beginning | Pause::Lifted { .. } = self.pause {
            self.turn = self.turn.wrapping_add(1);
            self.pause = Pause::Waiting { next: now + probe.every };
            self.disturbed = true;
            self.due = self.due.min(now + INTERVAL);
        }
    }

    /// Counts processor time; returns, in seconds, what the datapath used since the last reading, if that says anything of
    /// packets.
    fn charge(&mut self, moved_by: Datapath, time: Result<Reading, Unreadable>) -> Option<f64> {
        let reading = match time {
            Ok(reading) => reading,
            Err(error) => {
                // It names a process that is another one whenever the switch restarts.
                let kind = mem::discriminant(&error);
                if !self.unreadable.contains(&kind) {
                    tracing::info!(
                        %error,
                        "processor time of the datapath can't be read: ofmirror_cpu_overhead_ratio and ofmirror_datapath_cpu_seconds_total are absent, all else works. {}",
                        error.remedy()
                    );
                    self.unreadable.push(kind);
                }
                return None;
            }
        };
        self.unreadable.clear();
        let used = self.account.take_in(&reading);
        for (component, time) in &used.times {
            let counter = self.metrics.cpu.with_label_values(&[component.to_string()]);
            counter.inc_by(time.as_secs_f64());
        }
        if used.times[&Component::Pmd] > Duration::ZERO {
            // They are always busy, packets or not.
            self.estimator = Estimator::default();
            return None;
        }
        used.same.then(|| datapath(&used.times, moved_by))
    }

    /// What mirroring costs, as the metrics tell; none as long as it can't be told.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    fn publish(&mut self, now: Instant) {
        let (estimate, baseline) = (self.estimator.estimate(now), self.estimator.baseline(now));
        self.estimate = estimate;
        let metrics = &self.metrics;
        metrics.overhead.set(estimate.map(|estimate| estimate.ratio));
        metrics.overhead_error.set(estimate.map(|estimate| estimate.standard_error));
        metrics.baseline_cost.set(estimate.map(|estimate| estimate.baseline));
        metrics.mirroring_cost.set(estimate.map(|estimate| estimate.mirroring));
        metrics.baseline_age.set(baseline.map(|baseline| baseline.age.as_secs_f64()));
        metrics.baseline_packets.set(baseline.map(|baseline| baseline.packets));
    }
}

/// What packets may have cost, in seconds. On a userspace datapath softirqs only bring them to ovs-vswitchd and away,
/// with mirroring and without, next to all else that the node does.
fn datapath(times: &BTreeMap<Component, Duration>, moved_by: Datapath) -> f64 {
    let counts = |component| component != Component::Softirq || moved_by == Datapath::Kernel;
    let times = times.iter().filter(|(component, _)| counts(**component));
    times.map(|(_, time)| time.as_secs_f64()).sum()
}

#[cfg(test)]
mod tests;
