//! One bundle of changes on its way to the switch, and what came of it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use flows::{
    diff::{Change, Observed, diff},
    model::{Cookie, Flow, FlowKey},
    ofp::{FlowFlags, FlowMod},
};

use crate::openflow::session::RequestError;

/// How long a flow that the switch refused is left out.
const REFUSED: Duration = Duration::from_secs(30);

/// The changes that lead to the desired flows.
#[derive(Debug)]
pub struct Repair {
    deletes: Vec<(FlowKey, Cookie)>,
    installs: Vec<Flow>,
    left_out: usize,
    /// When it was made.
    pub since: Instant,
}

impl Repair {
    /// The changes that turn `observed` into `desired`, without flows that the switch refused lately.
    #[must_use]
    pub fn new(desired: &[Flow], observed: &Observed, refusals: &Refusals, now: Instant) -> Self {
        let mut repair = Self { deletes: vec![], installs: vec![], left_out: 0, since: now };
        for change in diff(desired, observed) {
            match change {
                Change::Delete(key, cookie) => repair.deletes.push((key.clone(), cookie)),
                Change::Install(flow) if refusals.contains(&flow.key) => repair.left_out += 1,
                Change::Install(flow) => repair.installs.push(flow.clone()),
            }
        }
        repair
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deletes.len() + self.installs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deletes.is_empty() && self.installs.is_empty()
    }

    /// How many of the desired flows are not there as they should be, left out or not.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.installs.len() + self.left_out
    }

    /// The changes as the switch takes them: deletions first. A deletion names our cookie, so that a flow that somebody
    /// put in the place of ours meanwhile stays.
    pub fn flow_mods(&self) -> impl Iterator<Item = FlowMod> {
        let deletes = self
            .deletes
            .iter()
            .map(|(key, _)| FlowMod::delete_strict(key.clone(), Cookie::OURS, Cookie::TAG_MASK));
        let installs = self.installs.iter().map(|flow| {
            // The switch then tells its last counters when the flow goes, to whoever wants to hear.
            FlowMod::add(flow.clone()).with_flags(FlowFlags::SEND_FLOW_REM)
        });
        deletes.chain(installs)
    }

    /// The changes that took effect: all but those at `refused` places of [`Self::flow_mods`].
    pub fn effective<'a>(
        &'a self,
        refused: &'a HashSet<usize>,
    ) -> impl Iterator<Item = Change<'a>> {
        let deletes = self.deletes.iter().map(|(key, cookie)| Change::Delete(key, *cookie));
        let all = deletes.chain(self.installs.iter().map(Change::Install));
        all.enumerate().filter(|(place, _)| !refused.contains(place)).map(|(_, change)| change)
    }

    /// The flow to be installed at this place of [`Self::flow_mods`].
    #[must_use]
    pub fn install_at(&self, place: usize) -> Option<&Flow> {
        self.installs.get(place.checked_sub(self.deletes.len())?)
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

#[cfg(test)]
mod tests;
