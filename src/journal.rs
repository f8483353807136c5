//! What has been told about each Pod, so that people are told once, and not of what passes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use flows::model::OfPort;

use crate::{
    pods::Pod,
    verdict::{Refusal, Report, Verdict},
};

/// How long a verdict must last before it is told. What OVN does to its flows passes sooner.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a Pod may be without the port that is asked for: the CNI makes it some time after the Pod.
const PLUGGED: Duration = Duration::from_secs(10);
/// Least time between two verdicts about one Pod, and between two of its annotations that are not understood: whoever may
/// write these must not have us write an Event for each. What changes more often is told as it is then.
const QUIET: Duration = Duration::from_secs(10);

/// Something to tell about a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its name.
    pub pod: Pod,
    /// Its UID.
    pub uid: Arc<str>,
    /// What is told.
    pub what: What,
}

/// What is told about a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its packets are copied from these ports.
    Started(Vec<(Arc<str>, OfPort)>),
    /// They no longer are.
    Stopped,
    /// They are not, or not all, though somebody asks for it.
    Refused(Refusal),
    /// This annotation's value is not understood.
    Invalid {
        /// The annotation.
        key: Arc<str>,
        /// Its value.
        value: Arc<str>,
    },
}

/// What has been told about each Pod.
#[derive(Debug, Default)]
pub struct Journal {
    entries: HashMap<Arc<str>, Entry>,
    /// Whether something is to be told later.
    waiting: bool,
}

#[derive(Debug)]
struct Entry {
    current: Verdict,
    since: Instant,
    told: Verdict,
    told_at: Option<Instant>,
    /// What is wrong with its annotations, as far as that has been told.
    invalid: HashSet<(Arc<str>, Arc<str>)>,
    told_invalid_at: Option<Instant>,
}

impl Journal {
    /// What is to be told now, given how things stand with each Pod by its UID: no more than `room`, and what is left
    /// out comes with a later call.
    pub fn due(
        &mut self,
        reports: &BTreeMap<Arc<str>, Report>,
        now: Instant,
        room: usize,
    ) -> Vec<Announcement> {
        self.entries.retain(|uid, _| reports.contains_key(uid));
        self.waiting = false;
        let mut due = Vec::new();
        for (uid, report) in reports {
            let entry = self.entries.entry(Arc::clone(uid)).or_insert_with(|| Entry::starting(now));
            entry.note(&report.verdict, now);
            let announcement =
                |what| Announcement { pod: report.pod.clone(), uid: Arc::clone(uid), what };
            entry.invalid.retain(|mark| report.invalid.contains(mark));
            for (key, value) in &report.invalid {
                let mark = (Arc::clone(key), Arc::clone(value));
                let may = due.len() < room && !is_quiet(entry.told_invalid_at, now);
                if may && entry.invalid.insert(mark.clone()) {
                    entry.told_invalid_at = Some(now);
                    due.push(announcement(What::Invalid { key: mark.0, value: mark.1 }));
                }
            }
            if due.len() < room {
                due.extend(entry.verdict(now).map(announcement));
            }
            self.waiting |= entry.told != entry.current
                || report.invalid.iter().any(|mark| !entry.invalid.contains(mark));
        }
        due
    }

    /// Whether [`Self::due`] would tell nothing, however late it is, as long as the reports are the same.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.waiting
    }
}

impl Entry {
    fn starting(now: Instant) -> Self {
        Self {
            current: Verdict::Left,
            since: now,
            told: Verdict::Left,
            told_at: None,
            invalid: HashSet::new(),
            told_invalid_at: None,
        }
    }

    fn note(&mut self, verdict: &Verdict, now: Instant) {
        if self.current != *verdict {
            self.current = verdict.clone();
            self.since = now;
        }
    }

    /// What is to be told of the verdict, if anything.
    fn verdict(&mut self, now: Instant) -> Option<What> {
        let settled = match &self.current {
            Verdict::Refused(Refusal::NoPort { .. }) => PLUGGED,
            _ => SETTLED,
        };
        if self.current == self.told
            || now.saturating_duration_since(self.since) < settled
            || is_quiet(self.told_at, now)
        {
            return None;
        }
        let before = std::mem::replace(&mut self.told, self.current.clone());
        let what = match (&self.current, before) {
            (Verdict::Mirrored(ports), _) => What::Started(ports.clone()),
            (Verdict::Refused(refusal), _) => What::Refused(refusal.clone()),
            (Verdict::Left, Verdict::Mirrored(_)) => What::Stopped,
            (Verdict::Left, _) => return None,
        };
        self.told_at = Some(now);
        Some(what)
    }
}

/// Whether it is too soon to tell something of the same kind again.
fn is_quiet(told_at: Option<Instant>, now: Instant) -> bool {
    told_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET)
}

#[cfg(test)]
mod tests;
