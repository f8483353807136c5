//! What is missing in the switch, and what is too many.

use flows::{
    diff::{Change, diff},
    model::{Flow, FlowSet},
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
    pub fn between(plan: &Plan, observed: &FlowSet) -> Self {
        let mut difference = Self::default();
        for change in diff(&plan.flows, observed) {
            match change {
                Change::Delete(key, _) => difference.superfluous.extend(observed.get(&key)),
                Change::Install(flow) => {
                    // A flow that is there, but does something else, is both.
                    difference.superfluous.extend(observed.get(&flow.key));
                    difference.missing.push(flow);
                }
            }
        }
        difference
    }
}
