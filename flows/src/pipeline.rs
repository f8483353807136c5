//! What else of OVN's pipeline the copies depend on: flows that rewrite a frame on its way through a logical switch, and
//! floods that OVN sends in several parts.
//!
//! Both are known by what they do, as the tables differ between versions of OVN. Most switches have neither.

mod dscp;
mod flood;

use std::collections::HashMap;

use crate::{
    marker::MarkerBits,
    model::{Flow, FlowKey, TableId},
};

use dscp::Dscp;
use flood::Part;
pub use flood::RESUMED;

/// The most flows of OVN's that are kept. A rule of OVN's for many addresses is many flows, and each that rewrites takes
/// five of ours.
const MOST: usize = 1024;

/// The flows of OVN's that the copies depend on, besides its deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    findings: HashMap<FlowKey, Finding>,
}

/// What a flow is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Rewrites(Dscp),
    Resumes(Part),
}

impl Finding {
    fn of(flow: &Flow) -> Option<Self> {
        if flow.cookie.is_ours() {
            return None;
        }
        Dscp::of(flow).map(Self::Rewrites).or_else(|| Part::of(flow).map(Self::Resumes))
    }

    fn datapath(&self) -> u64 {
        match self {
            Self::Rewrites(dscp) => dscp.datapath,
            Self::Resumes(part) => part.datapath,
        }
    }
}

impl Pipeline {
    /// Whether this is a flow of OVN's that rewrites packets on their way.
    #[must_use]
    pub fn is_rewriting(flow: &Flow) -> bool {
        matches!(Finding::of(flow), Some(Finding::Rewrites(_)))
    }

    /// Whether there is such a flow with this key.
    #[must_use]
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.findings.contains_key(key)
    }

    /// Whether taking in this flow, which is in the switch now, would change anything.
    #[must_use]
    pub fn is_news(&self, flow: &Flow) -> bool {
        let finding = Finding::of(flow);
        finding.as_ref() != self.findings.get(&flow.key)
            && (finding.is_none() || self.findings.len() < MOST || self.contains(&flow.key))
    }

    /// Takes in a flow that is in the switch now. Beyond 1,024 such flows no more are kept.
    pub fn insert(&mut self, flow: &Flow) {
        if !self.is_news(flow) {
            return;
        }
        match Finding::of(flow) {
            Some(finding) => self.findings.insert(flow.key.clone(), finding),
            None => self.findings.remove(&flow.key),
        };
    }

    /// Takes note that the flow with this key is gone.
    pub fn remove(&mut self, key: &FlowKey) {
        self.findings.remove(key);
    }

    /// The flows of these tables as they are now; those that the tables had before and that are not among them are gone.
    #[must_use]
    pub fn with_table(&self, table: TableId, now: Self) -> Self {
        let others = self.findings.iter().filter(|(key, _)| key.table != table);
        let others = others.map(|(key, finding)| (key.clone(), finding.clone()));
        let own = now.findings.into_iter().filter(|(key, _)| key.table == table);
        Self { findings: others.chain(own).take(MOST).collect() }
    }

    /// The flows that keep the copies right in a logical switch.
    pub(crate) fn flows(&self, datapath: u64, marker: MarkerBits) -> Vec<Flow> {
        let mut flows = HashMap::new();
        let here = self.findings.values().filter(|finding| finding.datapath() == datapath);
        for finding in here {
            let own = match finding {
                Finding::Rewrites(dscp) => dscp.flows(marker),
                Finding::Resumes(part) => vec![part.flow(marker)],
            };
            // Those of one table share some.
            flows.extend(own.into_iter().map(|flow| (flow.key.clone(), flow)));
        }
        flows.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
