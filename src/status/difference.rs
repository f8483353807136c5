//! What is missing in the switch, and what is too many.

use std::collections::HashMap;

use flows::{
    diff::{Change, Observed, diff},
    model::{Flow, FlowKey},
    plan::Plan,
};

/// How the flows that the switch has differ from those that it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The switch should have them, and doesn't.
    pub missing: Vec<Flow>,
    /// The switch has them, and shouldn't.
    pub superfluous: Vec<Flow>,
}

impl Difference {
    /// The difference, in no particular order.
    #[must_use]
    pub fn between(plan: &Plan, observed: &Observed) -> Self {
        let mut difference = Self::default();
        let changes = diff(&plan.flows, observed);
        if changes.is_empty() {
            return difference;
        }
        let mut present: HashMap<FlowKey, Flow> =
            observed.iter().map(|flow| (flow.key.clone(), flow)).collect();
        for change in changes {
            let key = match change {
                Change::Delete(key, _) => key,
                Change::Install(flow) => {
                    difference.missing.push(flow.clone());
                    &flow.key
                }
            };
            // A flow that is there, but does something else, is both.
            difference.superfluous.extend(present.remove(key));
        }
        difference
    }
}
