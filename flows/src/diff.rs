//! From the flows that the switch should have and those that it has to the changes that lead there.
//!
//! Only flows with a cookie of ours are ever observed, so no other one can be changed or deleted.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::model::{Cookie, Flow, FlowKey, Instruction};

/// The most flows that are kept. A switch has at most 65,279 ports, and a port two flows of ours: one that tells of more
/// than this is not honest.
const MOST: usize = 4 * 65_536;

/// The flows of ours that the switch has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    flows: HashMap<FlowKey, Body>,
}

/// What a flow is besides its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Body {
    cookie: Cookie,
    instructions: Arc<[Instruction]>,
}

impl Observed {
    /// Takes in a flow that is in the switch now; one with a foreign cookie takes the place of ours with its key. Beyond
    /// 262,144 flows no more are kept.
    pub fn insert(&mut self, flow: Flow) {
        let Flow { key, cookie, instructions } = flow;
        if !cookie.is_ours() {
            self.flows.remove(&key);
        } else if self.flows.len() < MOST || self.flows.contains_key(&key) {
            self.flows.insert(key, Body { cookie, instructions });
        }
    }

    /// Takes note that the flow with this key is gone; returns whether it was ours.
    pub fn remove(&mut self, key: &FlowKey) -> bool {
        self.flows.remove(key).is_some()
    }

    /// How many flows of ours there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether a flow with this key is there.
    #[must_use]
    pub fn contains_key(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// Whether this very flow is there, not another with its key.
    #[must_use]
    pub fn contains(&self, flow: &Flow) -> bool {
        self.flows.get(&flow.key).is_some_and(|body| body.is_of(flow))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Flow> {
        self.flows.iter().map(|(key, body)| Flow {
            key: key.clone(),
            cookie: body.cookie,
            instructions: body.instructions.clone(),
        })
    }
}

impl Body {
    fn is_of(&self, flow: &Flow) -> bool {
        self.cookie == flow.cookie && self.instructions == flow.instructions
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Removes the flow with this key, if it has this cookie.
    Delete(&'a FlowKey, Cookie),
    /// Adds the flow, in place of what it has with the same key; counters stay.
    Install(&'a Flow),
}

/// The changes that turn `observed` into `desired`: first what goes, then what comes.
#[must_use]
pub fn diff<'a>(desired: &'a [Flow], observed: &'a Observed) -> Vec<Change<'a>> {
    let mut kept = 0;
    let mut installs = Vec::new();
    for flow in desired {
        let body = observed.flows.get(&flow.key);
        kept += usize::from(body.is_some());
        if !body.is_some_and(|body| body.is_of(flow)) {
            installs.push(Change::Install(flow));
        }
    }
    let mut changes = if kept == observed.len() { vec![] } else { deletions(desired, observed) };
    changes.append(&mut installs);
    changes
}

fn deletions<'a>(desired: &[Flow], observed: &'a Observed) -> Vec<Change<'a>> {
    let wanted: HashSet<&FlowKey> = desired.iter().map(|flow| &flow.key).collect();
    let gone = observed.flows.iter().filter(|(key, _)| !wanted.contains(key));
    gone.map(|(key, body)| Change::Delete(key, body.cookie)).collect()
}

#[cfg(test)]
mod tests;
