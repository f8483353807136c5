//! Flows by their key.

use std::{collections::HashMap, sync::Arc};

use super::{Cookie, Flow, FlowKey, Instruction};

/// Flows of which no two have the same key, as in a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSet {
    flows: HashMap<FlowKey, Body>,
}

/// What a flow is besides its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Body {
    cookie: Cookie,
    instructions: Arc<[Instruction]>,
}

impl FlowSet {
    /// Puts the flow in the place of what has its key; returns whether anything is different now.
    pub fn insert(&mut self, flow: Flow) -> bool {
        let Flow { key, cookie, instructions } = flow;
        let body = Body { cookie, instructions };
        self.flows.get(&key) != Some(&body) && {
            self.flows.insert(key, body);
            true
        }
    }

    /// Takes the flow with this key out; returns whether there was one.
    pub fn remove(&mut self, key: &FlowKey) -> bool {
        self.flows.remove(key).is_some()
    }

    /// Whether this very flow is there, not another with its key.
    #[must_use]
    pub fn contains(&self, flow: &Flow) -> bool {
        let body = self.flows.get(&flow.key);
        body.is_some_and(|body| {
            body.cookie == flow.cookie && body.instructions == flow.instructions
        })
    }

    /// Whether a flow with this key is there.
    #[must_use]
    pub fn contains_key(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// The flow with this key.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<Flow> {
        let (key, body) = self.flows.get_key_value(key)?;
        Some(body.with(key))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Flow> {
        self.flows.iter().map(|(key, body)| body.with(key))
    }

    /// Their keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        self.flows.keys()
    }

    /// Their cookies, in no order.
    pub fn cookies(&self) -> impl Iterator<Item = Cookie> {
        self.flows.values().map(|body| body.cookie)
    }
}

impl Body {
    fn with(&self, key: &FlowKey) -> Flow {
        let instructions = Arc::clone(&self.instructions);
        Flow { key: key.clone(), cookie: self.cookie, instructions }
    }
}

impl Extend<Flow> for FlowSet {
    fn extend<I: IntoIterator<Item = Flow>>(&mut self, flows: I) {
        for flow in flows {
            self.insert(flow);
        }
    }
}

impl FromIterator<Flow> for FlowSet {
    fn from_iter<I: IntoIterator<Item = Flow>>(flows: I) -> Self {
        let mut set = Self::default();
        set.extend(flows);
        set
    }
}
