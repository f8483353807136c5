//! Our flows in the switch.

use std::time::Instant;

use flows::{
    diff::{Change, Observed},
    model::{Flow, FlowKey},
    ofp::FlowStats,
};

use crate::traffic::Reading;

/// Flows of ours that somebody else removed or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the first was noticed.
    pub since: Instant,
    /// How many.
    pub flows: usize,
}

#[derive(Default)]
pub(super) struct Hooks {
    pub(super) observed: Observed,
    known: bool,
    reread: Option<Reread>,
    /// What the flows had counted that the first scan found.
    scanned: Vec<Reading>,
    pub(super) loss: Option<Loss>,
}

/// Our flows as a reading under way finds them.
#[derive(Default)]
struct Reread {
    found: Observed,
    counted: Vec<Reading>,
    /// Something changed meanwhile, so what is read may be older than what is known.
    overtaken: bool,
}

impl Hooks {
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Takes in a flow of ours that was there before.
    pub(super) fn seen(&mut self, flow: Flow) {
        self.observed.insert(flow);
    }

    /// Takes in a flow of ours that was there before; it may bear another marker than the one that is watched.
    pub(super) fn seen_by_scan(&mut self, flow: Flow, stats: &FlowStats) {
        if !self.known {
            note(&mut self.scanned, self.observed.flows().len(), &flow, stats);
            self.observed.insert(flow);
        }
    }

    /// The scan is complete; returns what our flows have counted that were there before.
    pub(super) fn finish_scan(&mut self) -> Option<Vec<Reading>> {
        let scanned = std::mem::take(&mut self.scanned);
        (!self.known).then_some(scanned)
    }

    /// All that was there before has been seen.
    pub(super) fn all_seen(&mut self) {
        self.known = true;
    }

    /// Takes in a flow that somebody else added or changed, ours or not.
    pub(super) fn changed(&mut self, flow: Flow, now: Instant) {
        self.overtake();
        let same = self.observed.flows().contains(&flow);
        if !same && self.observed.remove(&flow.key) {
            self.lose(1, now);
        }
        self.observed.insert(flow);
    }

    /// Somebody else removed a flow of ours.
    pub(super) fn removed(&mut self, key: &FlowKey, now: Instant) {
        self.overtake();
        if self.observed.remove(key) {
            self.lose(1, now);
        }
    }

    /// The switch has made these changes for us.
    pub(super) fn applied<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        self.overtake();
        for change in changes {
            match change {
                Change::Delete(key, _) => {
                    self.observed.remove(key);
                }
                Change::Install(flow) => self.observed.insert(flow.clone()),
            }
        }
    }

    /// Whether a reading is to be asked for.
    pub(super) fn start_reread(&mut self) -> bool {
        let start = self.known && self.reread.is_none();
        if start {
            self.reread = Some(Reread::default());
        }
        start
    }

    pub(super) fn reread(&mut self, flow: Flow, stats: &FlowStats) {
        if let Some(reread) = &mut self.reread {
            note(&mut reread.counted, reread.found.flows().len(), &flow, stats);
            reread.found.insert(flow);
        }
    }

    /// The reading is complete; returns what our flows have counted. None if it does not count, and is to be
    /// asked for again.
    pub(super) fn finish_reread(&mut self, now: Instant) -> Option<Vec<Reading>> {
        let Reread { found, counted, overtaken } = self.reread.take()?;
        if overtaken {
            return None;
        }
        let gone =
            self.observed.flows().iter().filter(|flow| !found.flows().contains(flow)).count();
        if gone > 0 {
            self.lose(gone, now);
        }
        self.observed.replace(found);
        Some(counted)
    }

    pub(super) fn abandon_reread(&mut self) {
        self.reread = None;
    }

    fn overtake(&mut self) {
        if let Some(reread) = &mut self.reread {
            reread.overtaken = true;
        }
    }

    fn lose(&mut self, flows: usize, now: Instant) {
        self.loss.get_or_insert(Loss { since: now, flows: 0 }).flows += flows;
    }
}

/// Takes note of what a flow has counted, unless there are more notes than flows: who tells of one over and over is not
/// honest.
fn note(readings: &mut Vec<Reading>, flows: usize, flow: &Flow, stats: &FlowStats) {
    if readings.len() <= flows {
        readings.push(Reading {
            key: flow.key.clone(),
            cookie: flow.cookie,
            counters: stats.counters(),
            age: stats.duration,
        });
    }
}
