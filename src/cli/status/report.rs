//! What `ofmirror status` tells, in fields with stable names.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
};

use flows::{
    model::{Cookie, Flow, FlowCounters, OfPort, Purpose},
    tap::Direction,
};
use serde::Serialize;

use crate::{
    cluster::Cluster,
    observe::{Difference, Observation, Readiness},
    pods::{Pod, PodPort},
    selection::Selected,
    settings::PodSource,
    sink::{self, is_ours},
    switch::Watching,
    world::World,
};

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing is wrong.
    pub(super) well: bool,
    pub(super) ovsdb: Database,
    pub(super) openflow: Bridge,
    /// None if Pods are learnt from OVSDB.
    pub(super) kubernetes: Option<Kubernetes>,
    /// None if it was not asked for.
    pub(super) agent: Option<Agent>,
    pub(super) nic: Nic,
    /// Whether nothing is mirrored as nobody listens on the mirror NIC.
    pub(super) paused: bool,
    /// None as long as it is not known which flows there should be.
    pub(super) flows: Option<Flows>,
    /// None as long as it is not known which Pods there are, like the next.
    pub(super) pods_mirrored: Option<usize>,
    pub(super) pods_not_mirrored: Option<usize>,
    /// Two for each mirrored port, one a direction.
    pub(super) taps: Vec<Tap>,
    /// What is wrong apart from single taps.
    pub(super) problems: Vec<String>,
    /// What is odd but does no harm.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Database {
    pub(super) endpoint: String,
    pub(super) connected: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) connected: bool,
    /// In hex, as `ovs-vsctl get bridge NAME datapath_id` tells it.
    pub(super) datapath_id: Option<String>,
    /// `monitors` or `polling`.
    pub(super) watching: Option<&'static str>,
    /// The bits of `reg10` that mark frames: copied, delivered.
    pub(super) marker_bits: Option<[u32; 2]>,
}

#[derive(Debug, Serialize)]
pub(super) struct Kubernetes {
    pub(super) endpoint: String,
    pub(super) connected: bool,
    /// This node's name there.
    pub(super) node: String,
    /// Pods that run on this node, or are about to; none if that is not known.
    pub(super) pods: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) reachable: bool,
    pub(super) ready: bool,
    /// Its reasons for not being ready, or why it can't be reached.
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Nic {
    pub(super) name: String,
    /// Its OpenFlow number on the bridge.
    pub(super) ofport: Option<u32>,
    /// None if there is no such link in this network namespace, like the next.
    pub(super) up: Option<bool>,
    /// In bytes.
    pub(super) mtu: Option<u32>,
    /// Whether the agent put it on the bridge.
    pub(super) made_by_ofmirror: bool,
    /// Packet sockets on it; none where they can't be counted.
    pub(super) listeners: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Flows {
    pub(super) desired: usize,
    pub(super) observed: usize,
    pub(super) missing: usize,
    pub(super) superfluous: usize,
}

/// One direction of one mirrored port.
#[derive(Debug, Serialize)]
pub(super) struct Tap {
    /// None with plain OVN.
    pub(super) namespace: Option<String>,
    pub(super) pod: String,
    pub(super) interface: String,
    pub(super) ofport: Option<u32>,
    pub(super) direction: Direction,
    /// Copies.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) problem: Option<String>,
}

impl Report {
    pub(super) fn of(seen: &Observation) -> Self {
        let settings = seen.settings();
        let world = &seen.world;
        let switch = world.switch().ok();
        let difference = seen.difference();
        let mirrored: BTreeSet<Pod> = world.mirrored().map(Selected::pod).collect();
        let pods: BTreeSet<Pod> = world.pods().iter().map(Selected::pod).collect();
        let told = world.cluster().is_none_or(Cluster::is_known);
        let mut report = Self {
            well: false,
            ovsdb: Database {
                endpoint: settings.ovsdb.to_string(),
                connected: world.ovsdb().is_synced(),
            },
            openflow: Bridge {
                name: settings.wish.bridge.clone(),
                endpoint: settings.openflow.to_string(),
                connected: switch.is_some(),
                datapath_id: switch.map(|switch| format!("{:016x}", switch.features().datapath_id)),
                watching: switch.map(|switch| match switch.watching() {
                    Watching::Monitors => "monitors",
                    Watching::Polling => "polling",
                }),
                marker_bits: switch
                    .and_then(|switch| switch.marker())
                    .map(|bits| [bits.copied, bits.delivered]),
            },
            kubernetes: Kubernetes::of(seen),
            agent: seen.agent.as_ref().map(Agent::of),
            nic: Nic::of(seen),
            paused: world.audience().is_paused(),
            flows: difference.as_ref().map(|difference| Flows {
                desired: seen.plan.as_ref().map_or(0, |plan| plan.flows.len()),
                observed: switch.map_or(0, |switch| switch.observed().len()),
                missing: difference.missing.len(),
                superfluous: difference.superfluous.len(),
            }),
            pods_mirrored: told.then_some(mirrored.len()),
            pods_not_mirrored: told.then(|| pods.len() - mirrored.len()),
            taps: taps(seen, difference.as_ref()),
            problems: problems(seen, difference.as_ref()),
            warnings: warnings(world),
        };
        report.well =
            report.problems.is_empty() && report.taps.iter().all(|tap| tap.problem.is_none());
        report
    }
}

impl Kubernetes {
    fn of(seen: &Observation) -> Option<Self> {
        let PodSource::Kubernetes { config, node } = &seen.settings().pods else { return None };
        let cluster = seen.world.cluster()?;
        Some(Self {
            endpoint: config.cluster_url.to_string(),
            connected: cluster.is_known(),
            node: node.clone(),
            pods: cluster.is_known().then(|| cluster.pods().len()),
        })
    }
}

impl Agent {
    fn of((address, readiness): &(SocketAddr, Readiness)) -> Self {
        let (reachable, ready, reasons) = match readiness {
            Readiness::Ready { .. } => (true, true, vec![]),
            Readiness::NotReady(reasons) => (true, false, reasons.clone()),
            Readiness::Unreachable(reason) => (false, false, vec![reason.clone()]),
        };
        Self { address: address.to_string(), reachable, ready, reasons }
    }
}

impl Nic {
    fn of(seen: &Observation) -> Self {
        let facts = seen.facts();
        Self {
            name: facts.nic.to_owned(),
            ofport: sink::ofport(&facts).map(|port| port.0),
            up: facts.link.map(|link| link.up),
            mtu: facts.link.map(|link| link.mtu),
            made_by_ofmirror: sink::port(&facts).is_some_and(|(_, port, _)| is_ours(port)),
            listeners: seen.world.audience().listeners,
        }
    }
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
        Some(Readiness::Ready { .. }) | None => {}
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

fn warnings(world: &World) -> Vec<String> {
    let warning = world.sink().warning.clone();
    warning.into_iter().chain(world.audience().remark.clone()).collect()
}

fn taps(seen: &Observation, difference: Option<&Difference>) -> Vec<Tap> {
    let missing: HashMap<Cookie, usize> =
        difference.map(|difference| by_cookie(&difference.missing)).unwrap_or_default();
    let mut counters: HashMap<Cookie, FlowCounters> = HashMap::new();
    for description in &seen.flows {
        let counted = description.stats.counters();
        let sum = counters.entry(description.flow.cookie).or_default();
        sum.packets = sum.packets.saturating_add(counted.packets);
        sum.bytes = sum.bytes.saturating_add(counted.bytes);
    }
    let ports = seen.world.mirrored();
    let taps = ports.flat_map(|selected| Direction::BOTH.map(|direction| (selected, direction)));
    taps.map(|(selected, direction)| {
        let (port, pod) = (&selected.port, selected.pod());
        let cookie = port.ofport.map(|ofport| Cookie::new(purpose(direction), ofport));
        let find = |cookie| counters.get(&cookie).copied();
        let counted = cookie.and_then(find).unwrap_or_default();
        Tap {
            namespace: pod.namespace.as_deref().map(str::to_owned),
            pod: pod.name.to_string(),
            interface: port.interface.to_string(),
            ofport: port.ofport.map(|OfPort(number)| number),
            direction,
            packets: counted.packets,
            bytes: counted.bytes,
            problem: problem(seen, port, direction, cookie.and_then(|cookie| missing.get(&cookie))),
        }
    })
    .collect()
}

fn by_cookie(flows: &[Flow]) -> HashMap<Cookie, usize> {
    let mut counts = HashMap::new();
    for flow in flows {
        *counts.entry(flow.cookie).or_default() += 1;
    }
    counts
}

fn purpose(direction: Direction) -> Purpose {
    match direction {
        Direction::FromPod => Purpose::FromPod,
        Direction::ToPod => Purpose::ToPod,
    }
}

/// What is wrong with one direction of a port.
fn problem(
    seen: &Observation,
    port: &PodPort,
    direction: Direction,
    missing: Option<&usize>,
) -> Option<String> {
    let Some(plan) = &seen.plan else { return Some("unknown".to_owned()) };
    if seen.world.sink().ofport.is_none() {
        return Some("no mirror port".to_owned());
    }
    if seen.world.switch().is_ok_and(|switch| switch.marker().is_none()) {
        return Some("no free marker bits".to_owned());
    }
    let mut rejected = plan
        .rejected
        .iter()
        .filter(|rejected| rejected.port == port.interface && rejected.direction == direction);
    match (rejected.next(), missing) {
        (Some(rejected), _) => Some(rejected.reason.to_string()),
        (None, Some(1)) => Some("its flow is missing".to_owned()),
        (None, Some(count)) => Some(format!("{count} flows are missing")),
        (None, None) => None,
    }
}
