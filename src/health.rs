//! How the agent is, for probes and people.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;
use tracing::{info, warn};

use crate::foreign;

/// How a reason begins for which something is mirrored only in part, on a line of `/readyz`.
pub const DEGRADED: &str = "degraded: ";
/// What is said where mirroring is paused, on a line of its own.
pub const PAUSED: &str = "paused: nobody listens on the mirror NIC";

/// How the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether the agent mirrors: nothing is wrong with the whole, and all flows are installed.
    pub ready: bool,
    /// Whether all flows are installed that are known to be needed.
    pub complete: bool,
    /// Whether nothing is mirrored as nobody listens, and all is well with that. The status that stands beside it in JSON
    /// has it too.
    #[serde(skip)]
    pub paused: bool,
    /// What keeps the mirror from being complete and exact.
    pub problems: Vec<String>,
    /// What is mirrored only in part: the Pods concerned, or the copies that were lost, with the reason.
    pub degraded: Vec<String>,
    /// What harms nobody now, but should be known.
    pub remarks: Vec<String>,
}

impl Health {
    /// The same with each text on one line, harmless to whoever reads it.
    #[must_use]
    pub fn shown(mut self) -> Self {
        for text in [&mut self.problems, &mut self.degraded, &mut self.remarks] {
            for text in text {
                if let Cow::Owned(shown) = foreign::line(text) {
                    *text = shown;
                }
            }
        }
        self
    }
}

/// What has been logged of the agent's health.
#[derive(Debug, Default)]
pub struct HealthLog {
    last: Health,
    problems: BTreeSet<String>,
    remarks: BTreeSet<String>,
    degraded: BTreeSet<String>,
}

impl HealthLog {
    /// Logs what has come and what has gone. What isn't there at two calls in a row is not worth a line: at the start,
    /// and whenever OVN starts anew, everything is missing for a moment.
    pub fn look(&mut self, now: &Health) {
        for (known, last, now) in [
            (&mut self.problems, &self.last.problems, &now.problems),
            (&mut self.remarks, &self.last.remarks, &now.remarks),
        ] {
            let (come, gone) = news(known, last, now);
            come.iter().for_each(|problem| warn!("{problem}"));
            gone.iter().for_each(|problem| info!("no longer: {problem}"));
        }
        let (come, gone) = news(&mut self.degraded, &self.last.degraded, &now.degraded);
        come.iter().for_each(|reason| warn!("mirrored in part only: {reason}"));
        gone.iter().for_each(|reason| info!("no longer: {reason}"));
        self.last.clone_from(now);
    }
}

/// Brings `known` up to date, and returns what was added to it and removed from it. What is wrong for another reason than before
/// is not over, so it stays until nothing is said of its subject any more.
fn news(
    known: &mut BTreeSet<String>,
    last: &[String],
    now: &[String],
) -> (Vec<String>, Vec<String>) {
    let subjects: BTreeSet<_> = now.iter().map(|text| subject(text)).collect();
    let lasting: BTreeSet<_> = now.iter().filter(|text| last.contains(text)).cloned().collect();
    let come = lasting.difference(known).cloned().collect();
    let is_over = |text: &String| !subjects.contains(subject(text));
    let gone = known.iter().filter(|text| is_over(text)).cloned().collect();
    known.retain(|text| !is_over(text));
    known.extend(lasting);
    (come, gone)
}

/// What a text is about, before the reason.
fn subject(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(subject, _)| subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_name_makes_no_line_of_its_own_in_what_is_told() {
        let evil = texts(&["a\npaused: nobody listens\u{202e}"]);
        let health = Health {
            problems: evil.clone(),
            degraded: evil.clone(),
            remarks: evil,
            ..Health::default()
        };
        let shown = texts(&[r"a\npaused: nobody listens\u{202e}"]);
        let Health { problems, degraded, remarks, .. } = health.shown();
        assert_eq!([problems, degraded, remarks], [&shown, &shown, &shown].map(Clone::clone));
    }

    #[test]
    fn only_what_lasts_is_told_and_its_end_too() {
        let mut known = BTreeSet::new();
        let (a, none) = (texts(&["a"]), texts(&[]));
        assert_eq!(news(&mut known, &none, &a), (none.clone(), none.clone()), "it may pass");
        assert_eq!(news(&mut known, &a, &a), (a.clone(), none.clone()), "it lasts");
        assert_eq!(news(&mut known, &a, &a), (none.clone(), none.clone()), "no news");
        assert_eq!(news(&mut known, &a, &none), (none.clone(), a.clone()), "it is over");
        assert_eq!(news(&mut known, &none, &none), (none.clone(), none));
    }

    #[test]
    fn another_reason_is_told_and_is_no_end() {
        let mut known = BTreeSet::new();
        let (a, b, none) = (texts(&["API: reset"]), texts(&["API: refused"]), texts(&[]));
        assert_eq!(news(&mut known, &a, &a), (a.clone(), none.clone()));
        assert_eq!(news(&mut known, &a, &b), (none.clone(), none.clone()));
        assert_eq!(news(&mut known, &b, &b), (b.clone(), none.clone()));
        assert_eq!(news(&mut known, &a, &a), (none.clone(), none.clone()), "told already");
        assert_eq!(news(&mut known, &a, &none), (none, [b, a].concat()));
    }
}
