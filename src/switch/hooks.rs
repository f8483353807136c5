//! Our flows in the switch.

use std::{mem, time::Instant};

use flows::{
    diff::{Change, Changed, Observed},
    model::{Flow, FlowKey},
    ofp::FlowStats,
};

use crate::traffic::{Census, Reading};

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
    /// Flows that changed meanwhile: what is read of them may be older than what is known.
    overtaken: Changed,
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
    pub(super) fn finish_scan(&mut self) -> Option<Census> {
        let scanned = mem::take(&mut self.scanned);
        (!self.known).then(|| scanned.into())
    }

    /// All that was there before has been seen: there is nothing to watch.
    pub(super) fn all_seen(&mut self) {
        self.known = true;
    }

    /// Takes in a flow that somebody else added or changed, ours or not.
    pub(super) fn changed(&mut self, flow: Flow, now: Instant) {
        if !flow.cookie.is_ours() && !self.observed.flows().contains_key(&flow.key) {
            return;
        }
        self.overtake(&flow.key);
        let same = self.observed.flows().contains(&flow);
        if !same && self.observed.remove(&flow.key) {
            self.lose(1, now);
        }
        self.observed.insert(flow);
    }

    /// Somebody else removed a flow of ours.
    pub(super) fn removed(&mut self, key: &FlowKey, now: Instant) {
        self.overtake(key);
        if self.observed.remove(key) {
            self.lose(1, now);
        }
    }

    /// The switch has made these changes for us.
    pub(super) fn applied<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        for change in changes {
            match change {
                Change::Delete(key, _) => {
                    self.overtake(key);
                    self.observed.remove(key);
                }
                Change::Install(flow) => {
                    self.overtake(&flow.key);
                    self.observed.insert(flow.clone());
                }
            }
        }
    }

    /// Whether a reading is to be asked for.
    pub(super) fn start_reread(&mut self) -> bool {
        let start = self.reread.is_none();
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

    /// The reading is complete; returns what our flows have counted. None if it does not count, as any of them may have
    /// changed meanwhile, and is to be asked for again.
    pub(super) fn finish_reread(&mut self, now: Instant) -> Option<Census> {
        let Reread { mut found, mut counted, overtaken } = self.reread.take()?;
        let Changed::Keys(unsure) = overtaken else { return None };
        for key in &unsure {
            found.remove(key);
            if let Some(flow) = self.observed.flows().get(key) {
                found.insert(flow);
            }
        }
        counted.retain(|reading| !unsure.contains(&reading.key));
        let gone =
            self.observed.flows().iter().filter(|flow| !found.flows().contains(flow)).count();
        // What went before anybody watched is no loss.
        if gone > 0 && self.known {
            self.lose(gone, now);
        }
        self.observed.replace(found);
        self.known = true;
        Some(Census { readings: counted, unsure })
    }

    pub(super) fn abandon_reread(&mut self) {
        self.reread = None;
    }

    fn overtake(&mut self, key: &FlowKey) {
        if let Some(reread) = &mut self.reread {
            reread.overtaken.note(key.clone());
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
