//! The directions of the mirrored ports.

use std::collections::{HashMap, HashSet};

use flows::{
    model::{Cookie, Flow, FlowCounters, OfPort, Purpose},
    tap::Direction,
};
use serde::Serialize;

use super::View;
use crate::{pods::PodPort, selection::Selected};

/// One direction of one port that is to be mirrored.
#[derive(Clone, Debug, Serialize)]
pub struct Tap {
    /// None with plain OVN.
    pub namespace: Option<String>,
    /// The Pod's name.
    pub pod: String,
    /// The port's name in OVS.
    pub interface: String,
    /// Its OpenFlow number, once it has one.
    pub ofport: Option<u32>,
    /// What is copied: what the Pod sends, or what it gets.
    pub direction: Direction,
    /// Whether it is copied now. If not, and nothing is wrong with it, mirroring is paused, or lifted for a moment by
    /// `--overhead-probe`.
    pub mirrored: bool,
    /// Copies; none if they are not known.
    pub packets: Option<u64>,
    /// Bytes of the copies.
    pub bytes: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// How many Pods have one that is not mirrored.
pub(super) fn lacking(taps: &[Tap]) -> usize {
    let lacking = taps.iter().filter(|tap| !tap.mirrored);
    lacking.map(|tap| (&tap.namespace, &tap.pod)).collect::<HashSet<_>>().len()
}

/// All of them; `counters` has the copies of each, if they are known.
pub(super) fn taps(
    view: &View<'_>,
    suspended: bool,
    counters: impl Fn(&Selected, Direction) -> Option<FlowCounters>,
) -> Vec<Tap> {
    let missing = view.difference.map(|difference| by_cookie(&difference.missing));
    let missing = missing.unwrap_or_default();
    let ports = view.world.mirrored();
    let taps = ports.flat_map(|selected| Direction::BOTH.map(|direction| (selected, direction)));
    taps.map(|(selected, direction)| {
        let (port, pod) = (&selected.port, selected.pod());
        let missing = cookie(port, direction).and_then(|cookie| missing.get(&cookie));
        let counted = counters(selected, direction);
        let problem = problem(view, suspended, selected, direction, missing);
        Tap {
            namespace: pod.namespace.as_deref().map(str::to_owned),
            pod: pod.name.to_string(),
            interface: port.interface.to_string(),
            ofport: port.ofport.map(|OfPort(number)| number),
            direction,
            mirrored: problem.is_none() && !view.world.is_withheld(port.ofport),
            packets: counted.map(|counted| counted.packets),
            bytes: counted.map(|counted| counted.bytes),
            problem,
        }
    })
    .collect()
}

/// The cookie of the flows that copy one direction of a port.
pub(crate) fn cookie(port: &PodPort, direction: Direction) -> Option<Cookie> {
    let purpose = match direction {
        Direction::FromPod => Purpose::FromPod,
        Direction::ToPod => Purpose::ToPod,
    };
    Some(Cookie::new(purpose, port.ofport?))
}

fn by_cookie(flows: &[Flow]) -> HashMap<Cookie, usize> {
    let mut counts = HashMap::new();
    for flow in flows {
        *counts.entry(flow.cookie).or_default() += 1;
    }
    counts
}

/// What is wrong with one direction of a port.
fn problem(
    view: &View<'_>,
    suspended: bool,
    selected: &Selected,
    direction: Direction,
    missing: Option<&usize>,
) -> Option<String> {
    let Some(plan) = view.world.plan() else { return Some("unknown".to_owned()) };
    if suspended {
        return Some(format!("suspended: nothing is copied to {}", view.sink.nic));
    }
    let rejected = plan.rejected_of(&selected.port.interface);
    let mut rejected = rejected.iter().filter(|rejected| rejected.direction == direction);
    match (rejected.next(), missing) {
        (Some(rejected), _) => Some(rejected.reason.to_string()),
        (None, Some(1)) => Some("its flow is missing".to_owned()),
        (None, Some(count)) => Some(format!("{count} flows are missing")),
        (None, None) if direction == Direction::FromPod => view.world.blindness(selected),
        (None, None) => None,
    }
}
