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
/// Least time between two verdicts about one Pod. What changes more often is told as it is then.
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
}

#[derive(Debug)]
struct Entry {
    current: Verdict,
    since: Instant,
    told: Verdict,
    told_at: Option<Instant>,
    invalid: HashSet<(Arc<str>, Arc<str>)>,
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
        let mut due = Vec::new();
        for (uid, report) in reports {
            let entry = self.entries.entry(Arc::clone(uid)).or_insert_with(|| Entry::starting(now));
            entry.note(&report.verdict, now);
            let announcement =
                |what| Announcement { pod: report.pod.clone(), uid: Arc::clone(uid), what };
            entry.invalid.retain(|mark| report.invalid.contains(mark));
            for (key, value) in &report.invalid {
                let mark = (Arc::clone(key), Arc::clone(value));
                if due.len() < room && entry.invalid.insert(mark.clone()) {
                    due.push(announcement(What::Invalid { key: mark.0, value: mark.1 }));
                }
            }
            if due.len() < room {
                due.extend(entry.verdict(now).map(announcement));
            }
        }
        due
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
        let too_soon = |since: Instant, least| now.saturating_duration_since(since) < least;
        if self.current == self.told
            || too_soon(self.since, settled)
            || self.told_at.is_some_and(|at| too_soon(at, QUIET))
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

#[cfg(test)]
mod tests;
