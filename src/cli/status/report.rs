//! What `ofmirror status` tells, in fields with stable names.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use flows::model::{Cookie, FlowCounters};
use serde::Serialize;

use crate::{
    cluster::Cluster,
    observe::{Observation, Readiness},
    status::{Difference, Status, View, cookie},
    world::World,
};

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing is wrong.
    pub(super) well: bool,
    #[serde(flatten)]
    pub(super) status: Status,
    /// None if it was not asked for.
    pub(super) agent: Option<Agent>,
    /// What is wrong apart from single taps.
    pub(super) problems: Vec<String>,
    /// What is odd but does no harm.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) reachable: bool,
    pub(super) ready: bool,
    /// Its reasons for not being ready, or what it mirrors only in part, or why it can't be reached.
    pub(super) reasons: Vec<String>,
}

impl Report {
    pub(super) fn of(seen: &Observation) -> Self {
        let world = &seen.world;
        let difference = seen.difference();
        let view = View {
            settings: seen.settings(),
            world,
            owner: seen.owner.as_ref(),
            sink: seen.facts(),
            difference: difference.as_ref(),
            openflow: world.switch().is_ok(),
            kubernetes: world.cluster().is_some_and(Cluster::is_known),
        };
        let counted = counted(seen);
        let counters = |port: &_, direction| {
            cookie(port, direction).and_then(|cookie| counted.get(&cookie).copied())
        };
        let status = Status::of(&view, |selected, direction| {
            Some(counters(&selected.port, direction).unwrap_or_default())
        });
        let problems = problems(seen, difference.as_ref());
        Self {
            well: problems.is_empty() && status.taps.iter().all(|tap| tap.problem.is_none()),
            status,
            agent: seen.agent.as_ref().map(Agent::of),
            problems,
            warnings: warnings(world),
        }
    }
}

/// What the flows of each cookie have counted.
fn counted(seen: &Observation) -> HashMap<Cookie, FlowCounters> {
    let mut counters: HashMap<Cookie, FlowCounters> = HashMap::new();
    for description in &seen.flows {
        let counted = description.stats.counters();
        let sum = counters.entry(description.flow.cookie).or_default();
        sum.packets = sum.packets.saturating_add(counted.packets);
        sum.bytes = sum.bytes.saturating_add(counted.bytes);
    }
    counters
}

impl Agent {
    fn of((address, readiness): &(SocketAddr, Readiness)) -> Self {
        let (reachable, ready, reasons) = match readiness {
            Readiness::Ready { degraded, .. } => (true, true, degraded.clone()),
            Readiness::NotReady(reasons) => (true, false, reasons.clone()),
            Readiness::Unreachable(reason) => (false, false, vec![reason.clone()]),
        };
        Self { address: address.to_string(), reachable, ready, reasons }
    }
}

fn warnings(world: &World) -> Vec<String> {
    let warning = world.sink().warning.clone();
    warning.into_iter().chain(world.remarks()).collect()
}

fn problems(seen: &Observation, difference: Option<&Difference>) -> Vec<String> {
    let mut problems = seen.world.problems();
    match seen.agent.as_ref().map(|(_, readiness)| readiness) {
        Some(Readiness::Unreachable(reason)) => {
            problems.push(format!("the agent does not answer: {reason}"));
        }
        Some(Readiness::NotReady(reasons)) => problems.extend(
            reasons
                .iter()
                .filter(|reason| !reason.is_empty())
                .map(|reason| format!("the agent is not ready: {reason}")),
        ),
        Some(Readiness::Ready { degraded, .. }) => problems.extend(
            degraded.iter().map(|reason| format!("the agent mirrors in part only: {reason}")),
        ),
        None => {}
    }
    let difference = difference
        .map_or((0, 0), |difference| (difference.missing.len(), difference.superfluous.len()));
    if difference != (0, 0) {
        let (missing, superfluous) = difference;
        problems.push(format!(
            "flows missing: {missing}, too many: {superfluous}; ofmirror flows --diff shows them"
        ));
    }
    // The same flaw may be seen by the agent and from here.
    let mut told = HashSet::new();
    problems.retain(|problem| told.insert(problem.clone()));
    problems
}
