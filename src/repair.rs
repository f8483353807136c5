//! One bundle of changes on its way to the switch, and what came of it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use flows::{
    diff::Change,
    model::{Cookie, Flow, FlowKey},
    ofp::{FlowFlags, FlowMod},
};

use crate::{backoff::Backoff, openflow::session::RequestError};

/// How long a flow that the switch refused is left out.
const REFUSED: Duration = Duration::from_secs(30);

/// The changes that lead to the desired flows.
#[derive(Debug)]
pub struct Repair {
    changes: Vec<Change>,
    missing: usize,
    /// When it was made.
    pub since: Instant,
}

impl Repair {
    /// All of `changes` but flows that the switch refused lately, and those that somebody else undoes again and again.
    #[must_use]
    pub fn new(
        mut changes: Vec<Change>,
        refusals: &Refusals,
        fights: &mut Fights,
        now: Instant,
    ) -> Self {
        let installs = changes.iter().filter(|change| matches!(change, Change::Install(_)));
        let missing = installs.count();
        changes.retain(|change| {
            let refused = match change {
                Change::Delete(..) => false,
                Change::Install(flow) => refusals.contains(&flow.key),
            };
            !refused && fights.admit(change, now)
        });
        Self { changes, missing, since: now }
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many of the desired flows are not there as they should be, left out or not.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The changes as the switch takes them. A deletion names our cookie, so that a flow that somebody put in the place of
    /// ours meanwhile stays.
    pub fn flow_mods(&self) -> impl Iterator<Item = FlowMod> {
        self.changes.iter().map(|change| match change {
            Change::Delete(key, _) => {
                FlowMod::delete_strict(key.clone(), Cookie::OURS, Cookie::TAG_MASK)
            }
            // The switch then tells its last counters when the flow goes, to whoever wants to hear.
            Change::Install(flow) => {
                FlowMod::add(flow.clone()).with_flags(FlowFlags::SEND_FLOW_REM)
            }
        })
    }

    /// The changes that took effect: all but those at `refused` places of [`Self::flow_mods`].
    pub fn effective(&self, refused: &HashSet<usize>) -> impl Iterator<Item = &Change> {
        let all = self.changes.iter().enumerate();
        all.filter(|(place, _)| !refused.contains(place)).map(|(_, change)| change)
    }

    /// The flow to be installed at this place of [`Self::flow_mods`].
    #[must_use]
    pub fn install_at(&self, place: usize) -> Option<&Flow> {
        match self.changes.get(place)? {
            Change::Install(flow) => Some(flow),
            Change::Delete(..) => None,
        }
    }
}

/// Flows that the switch would not take. They are left out for a while, so that the others come through.
#[derive(Debug, Default)]
pub struct Refusals {
    flows: HashMap<FlowKey, (String, Instant)>,
}

impl Refusals {
    /// The switch refused `flow`; tells whether that is news.
    pub fn note(&mut self, flow: &Flow, error: &RequestError, now: Instant) -> bool {
        let text = format!("{error}: {}", flow);
        self.flows.insert(flow.key.clone(), (text, now + REFUSED)).is_none()
    }

    /// Whether the flow is to be left out.
    #[must_use]
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// Gives those another chance whose time has come; returns whether there are any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.flows.len();
        self.flows.retain(|_, (_, until)| *until > now);
        self.flows.len() < before
    }

    /// A new switch decides anew.
    pub fn clear(&mut self) {
        self.flows.clear();
    }

    /// What the switch said about each.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.flows.values().map(|(text, _)| text.as_str())
    }
}

/// Changes that somebody else undoes again and again: they are made with growing pauses.
#[derive(Debug, Default)]
pub struct Fights {
    changes: Backoff<FlowKey, Change>,
    /// The change that a fight began over, as long as there is any fight.
    example: Option<String>,
}

impl Fights {
    /// The switch made these changes.
    pub fn made<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>, now: Instant) {
        for change in changes {
            if self.changes.done(key(change).clone(), change.clone(), now) {
                self.example.get_or_insert_with(|| match change {
                    Change::Install(flow) => format!("removes or changes {flow}"),
                    Change::Delete(key, cookie) => {
                        format!("installs {}", Flow::new(key.clone(), *cookie, vec![]))
                    }
                });
            }
        }
    }

    /// Whether there are any; forgets those that are over.
    pub fn look(&mut self, now: Instant) -> bool {
        self.changes.expire(now);
        if self.changes.fights() == 0 {
            self.example = None;
        }
        self.are_on()
    }

    /// Whether there are any.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.changes.fights() > 0
    }

    /// What is wrong, if there are any. The text stays the same during a fight.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let example = self.example.as_ref()?;
        Some(format!(
            "our flows: somebody else {example}, and does it again and again; that is put right after growing pauses, up to a minute"
        ))
    }

    /// A new switch has none of our flows.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn admit(&mut self, change: &Change, now: Instant) -> bool {
        self.changes.admit(key(change), change, now)
    }
}

/// The flow that a change is about.
fn key(change: &Change) -> &FlowKey {
    match change {
        Change::Delete(key, _) => key,
        Change::Install(flow) => &flow.key,
    }
}

#[cfg(test)]
mod tests;
