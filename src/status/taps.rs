//! The directions of the mirrored ports.

use std::collections::HashMap;

use flows::{
    model::{Cookie, Flow, FlowCounters, OfPort, Purpose},
    tap::Direction,
};
use serde::Serialize;

use super::View;
use crate::{pods::PodPort, selection::Selected};

/// One direction of one mirrored port.
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
    /// Copies; none if they are not known.
    pub packets: Option<u64>,
    /// Bytes of the copies.
    pub bytes: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// All of them; `counters` has the copies of each, if they are known.
pub(super) fn taps(
    view: &View<'_>,
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
        Tap {
            namespace: pod.namespace.as_deref().map(str::to_owned),
            pod: pod.name.to_string(),
            interface: port.interface.to_string(),
            ofport: port.ofport.map(|OfPort(number)| number),
            direction,
            packets: counted.map(|counted| counted.packets),
            bytes: counted.map(|counted| counted.bytes),
            problem: problem(view, selected, direction, missing),
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
    selected: &Selected,
    direction: Direction,
    missing: Option<&usize>,
) -> Option<String> {
    let Some(plan) = view.world.plan() else { return Some("unknown".to_owned()) };
    if view.world.sink().ofport.is_none() {
        return Some("no mirror port".to_owned());
    }
    if view.world.switch().is_ok_and(|switch| switch.marker().is_none()) {
        return Some("no free marker bits".to_owned());
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
