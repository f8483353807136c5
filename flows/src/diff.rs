//! From the flows that the switch should have and those that it has to the changes that lead there.
//!
//! Only flows with a cookie of ours are ever observed, so no other one can be changed or deleted.

use std::collections::HashSet;

use crate::model::{Cookie, Flow, FlowKey, FlowSet};

/// The most flows that are kept. A switch has at most 65,279 ports, and a port two flows of ours: one that tells of more
/// than this is not honest.
const MOST: usize = 4 * 65_536;

/// The flows of ours that the switch has.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    flows: FlowSet,
    changed: Changed,
}

/// Keys of flows that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// These.
    Keys(HashSet<FlowKey>),
    /// So many that any may be among them.
    Any,
}

impl Observed {
    /// Takes in a flow that is in the switch now; one with a foreign cookie takes the place of ours with its key. Beyond
    /// 262,144 flows no more are kept.
    pub fn insert(&mut self, flow: Flow) {
        if !flow.cookie.is_ours() {
            self.remove(&flow.key);
        } else if self.flows.len() < MOST || self.flows.contains_key(&flow.key) {
            let key = flow.key.clone();
            if self.flows.insert(flow) {
                self.changed.note(key);
            }
        }
    }

    /// Takes note that the flow with this key is gone; returns whether it was ours.
    pub fn remove(&mut self, key: &FlowKey) -> bool {
        let was_there = self.flows.remove(key);
        if was_there {
            self.changed.note(key.clone());
        }
        was_there
    }

    /// Takes in `flows` as all that there are; those with foreign cookies don't count.
    pub fn replace(&mut self, flows: Self) {
        let gone: Vec<_> =
            self.flows.keys().filter(|key| !flows.flows.contains_key(key)).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
        for flow in flows.flows.iter() {
            self.insert(flow);
        }
    }

    /// The flows.
    #[must_use]
    pub fn flows(&self) -> &FlowSet {
        &self.flows
    }

    /// The flows that came, went or changed since the last call.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }
}

impl Changed {
    /// Takes note of one more.
    pub fn note(&mut self, key: FlowKey) {
        match self {
            Self::Keys(keys) if keys.len() < MOST => drop(keys.insert(key)),
            Self::Keys(_) => *self = Self::Any,
            Self::Any => {}
        }
    }
}

impl Default for Changed {
    fn default() -> Self {
        Self::Keys(HashSet::new())
    }
}

impl FromIterator<Flow> for Observed {
    fn from_iter<I: IntoIterator<Item = Flow>>(flows: I) -> Self {
        let mut observed = Self::default();
        flows.into_iter().for_each(|flow| observed.insert(flow));
        observed
    }
}

/// One step towards the desired flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Removes the flow with this key, if it has this cookie.
    Delete(FlowKey, Cookie),
    /// Adds the flow, in place of what it has with the same key; counters stay.
    Install(Flow),
}

/// The changes that turn `observed` into `desired`: first what goes, then what comes.
#[must_use]
pub fn diff(desired: &FlowSet, observed: &FlowSet) -> Vec<Change> {
    Divergence::anywhere(desired, observed).changes(desired, observed)
}

/// Where the desired and the observed flows may differ: nowhere but where one of them changed.
#[derive(Clone, Debug, Default)]
pub struct Divergence {
    suspects: HashSet<FlowKey>,
}

impl Divergence {
    /// They may differ in every flow.
    #[must_use]
    pub fn anywhere(desired: &FlowSet, observed: &FlowSet) -> Self {
        Self { suspects: desired.keys().chain(observed.keys()).cloned().collect() }
    }

    /// The flows with these keys have changed on either side.
    pub fn suspect(&mut self, changed: Changed, desired: &FlowSet, observed: &FlowSet) {
        match changed {
            Changed::Keys(keys) => self.suspects.extend(keys),
            Changed::Any => *self = Self::anywhere(desired, observed),
        }
        if self.suspects.len() > desired.len() + observed.len() {
            // What came and went again meanwhile.
            self.suspects.retain(|key| desired.contains_key(key) || observed.contains_key(key));
        }
    }

    /// The changes that turn `observed` into `desired`: first what goes, then what comes, each in the order of cookies. Takes
    /// as long as it takes to look at what has changed since they were the same.
    pub fn changes(&mut self, desired: &FlowSet, observed: &FlowSet) -> Vec<Change> {
        let (mut deletes, mut installs) = (Vec::new(), Vec::new());
        self.suspects.retain(|key| match (desired.get(key), observed.get(key)) {
            (Some(wanted), found) if found.as_ref() != Some(&wanted) => {
                installs.push(wanted);
                true
            }
            (None, Some(found)) => {
                deletes.push(found);
                true
            }
            _ => false,
        });
        deletes.sort_by_key(|flow| flow.cookie);
        installs.sort_by_key(|flow| flow.cookie);
        let deletes = deletes.into_iter().map(|flow| Change::Delete(flow.key, flow.cookie));
        deletes.chain(installs.into_iter().map(Change::Install)).collect()
    }
}

#[cfg(test)]
mod tests;
