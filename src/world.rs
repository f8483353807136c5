//! What the agent knows of the world, and what follows from it. No sockets, no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use flows::{
    model::{Flow, OfPort, Purpose},
    plan::{self, Input, Plan},
    tap::{Direction, Portion, Select, Tap},
};

use crate::{
    audience::Audience,
    cluster::{Cluster, News},
    ovsdb::{self, Snapshot},
    pods::{Pod, PodPort},
    selection::{self, Selected, Wish},
    settings::MirrorWhen,
    sink::{SinkState, keeper::Demand},
    switch::Switch,
    verdict::Report,
};

/// MTU in bytes that the mirror port gets as long as no Pod port is known: Ethernet's.
const MTU: u32 = 1500;

/// The facts, as last heard.
pub struct World {
    wish: Wish,
    ovsdb: ovsdb::State,
    /// Whether the database has been read at least once; its last known state counts while it is away.
    ovsdb_known: bool,
    sink: SinkState,
    audience: Audience,
    switch: Result<Switch, String>,
    switches: u64,
    /// What the API server says, if it is asked.
    cluster: Option<Cluster>,
    pods: Vec<Selected>,
    taps: Vec<Tap>,
}

impl World {
    /// Nothing is known, and copies are always wanted. With a cluster, that says which Pods are mirrored; without one, what OVSDB has on their ports.
    #[must_use]
    pub fn new(wish: Wish, cluster: Option<Cluster>) -> Self {
        Self {
            wish,
            cluster,
            ovsdb: ovsdb::State::default(),
            ovsdb_known: false,
            sink: SinkState::default(),
            audience: Audience::unknown(MirrorWhen::Always),
            switch: Err("connecting".to_owned()),
            switches: 0,
            pods: vec![],
            taps: vec![],
        }
    }

    /// The database changed, or its connection.
    pub fn set_ovsdb(&mut self, state: ovsdb::State) {
        self.ovsdb_known |= state.is_synced();
        self.ovsdb = state;
        self.pods = pod_ports(&self.ovsdb.snapshot, &self.wish.bridge);
        self.select();
    }

    /// The API server said something; returns whether that may change what is mirrored.
    pub fn hear(&mut self, news: News) -> bool {
        let changed = self.cluster.as_mut().is_some_and(|cluster| cluster.apply(news));
        if changed {
            self.select();
        }
        changed
    }

    /// The mirror port changed.
    pub fn set_sink(&mut self, sink: SinkState) {
        self.sink = sink;
        self.set_taps();
    }

    /// Somebody listens, or nobody does any more.
    pub fn set_audience(&mut self, audience: Audience) {
        self.audience = audience;
    }

    /// There is a connection to the switch, about which nothing is known yet.
    pub fn set_switch(&mut self, switch: Switch) {
        self.switch = Ok(switch);
        self.switches += 1;
    }

    /// There is no connection to the switch, and why.
    pub fn lose_switch(&mut self, reason: String) {
        self.switch = Err(reason);
    }

    /// The database as last heard, and whether it is heard.
    #[must_use]
    pub fn ovsdb(&self) -> &ovsdb::State {
        &self.ovsdb
    }

    /// The mirror port.
    #[must_use]
    pub fn sink(&self) -> &SinkState {
        &self.sink
    }

    /// Those who listen on the mirror NIC.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The switch, or why there is none.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn switch(&self) -> Result<&Switch, &str> {
        self.switch.as_ref().map_err(String::as_str)
    }

    /// The switch, to tell it something.
    pub fn switch_mut(&mut self) -> Option<&mut Switch> {
        self.switch.as_mut().ok()
    }

    /// All Pods' ports, in the order of their names.
    #[must_use]
    pub fn pods(&self) -> &[Selected] {
        &self.pods
    }

    /// Those that are to be mirrored.
    pub fn mirrored(&self) -> impl Iterator<Item = &Selected> {
        self.pods.iter().filter(|selected| selected.is_mirrored())
    }

    /// How many Pods are to be mirrored.
    #[must_use]
    pub fn mirrored_pods(&self) -> usize {
        self.mirrored().map(Selected::pod).collect::<BTreeSet<Pod>>().len()
    }

    /// What the mirror port must adapt to.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let mtu = self.pods.iter().filter_map(|selected| selected.port.mtu).max().unwrap_or(MTU);
        Demand { mtu, switch: self.switch.is_ok().then_some(self.switches) }
    }

    /// Has the switch watched where it matters: the mirror port, and the ports to which deliveries are copied.
    pub fn follow(&mut self) {
        // The switch counts as known once each port has been asked for, so it must be known first which these are.
        if !self.ovsdb_known || !self.sink.known || !self.cluster_known() {
            return;
        }
        let Ok(switch) = &mut self.switch else { return };
        switch.follow(self.sink.ofport, delivered_to(&self.taps));
    }

    /// Does what the switch needs once a second.
    pub fn tick(&mut self) {
        let Ok(switch) = &mut self.switch else { return };
        switch.handle_tick(delivered_to(&self.taps));
    }

    /// The flows that the switch should have; `None` as long as anything that they depend on is not known yet, when
    /// nothing may be changed.
    #[must_use]
    pub fn plan(&self) -> Option<Plan> {
        let switch = self.switch.as_ref().ok()?;
        if !self.ovsdb_known || !self.sink.known || !self.cluster_known() || !switch.is_known() {
            return None;
        }
        let listened = self.audience.wanted?;
        let Some(marker) = switch.marker() else { return Some(Plan::default()) };
        let mut plan = plan::plan(&Input {
            taps: &self.taps,
            sinks: self.sink.ofport.as_slice(),
            deliveries: switch.deliveries(),
            marker,
        });
        if !listened {
            // Deliveries are followed and taps rejected all the same, so that the first listener finds all as it should be.
            plan.flows.retain(is_guard);
        }
        Some(plan)
    }

    /// What keeps the mirror from being complete and exact, other than single ports and flows.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let ovsdb::Connection::Connecting { reason } = &self.ovsdb.connection {
            let reason =
                reason.as_ref().map_or_else(|| "connecting".to_owned(), ToString::to_string);
            problems.push(format!("OVSDB: {reason}"));
        }
        match &self.switch {
            Err(reason) => problems.push(format!("OpenFlow: {reason}")),
            Ok(switch) => problems.extend(switch.conflicts().iter().map(ToString::to_string)),
        }
        if !self.cluster_known() {
            let outage = self.cluster.as_ref().and_then(Cluster::outage);
            problems.push(format!("Kubernetes: {}", outage.as_deref().unwrap_or("listing Pods")));
        }
        if self.ovsdb_known {
            problems.extend(self.sink.problem.clone());
        }
        problems
    }

    /// What harms nobody now, but should be known.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let known = self.cluster.as_ref().filter(|cluster| cluster.is_known());
        let outage = known.and_then(Cluster::outage);
        let remark =
            |outage| format!("Kubernetes: {outage}; mirroring goes on with what was known");
        outage.map(remark).into_iter().chain(self.audience.remark.clone()).collect()
    }

    /// The cluster, if the API server is asked.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// How things stand with each Pod of the cluster by its UID, when the switch has all flows of `plan`; none without a cluster.
    #[must_use]
    pub fn reports(&self, plan: &Plan) -> BTreeMap<Arc<str>, Report> {
        let Some(cluster) = &self.cluster else { return BTreeMap::new() };
        selection::reports(&self.pods, &self.wish, cluster, plan)
    }

    /// Whether all is known that is to be heard from the API server; its last known state counts while it is away.
    fn cluster_known(&self) -> bool {
        self.cluster.as_ref().is_none_or(Cluster::is_known)
    }

    fn select(&mut self) {
        selection::select(&mut self.pods, &self.wish, self.cluster.as_ref());
        self.set_taps();
    }

    fn set_taps(&mut self) {
        let Some(sink) = self.sink.ofport else {
            self.taps.clear();
            return;
        };
        self.taps = self
            .mirrored()
            .flat_map(|Selected { port, .. }| {
                Direction::BOTH.map(|direction| Tap {
                    port: Arc::clone(&port.interface),
                    ofport: port.ofport,
                    direction,
                    select: Select::Everything,
                    portion: Portion::Whole,
                    sink,
                })
            })
            .collect();
    }
}

/// The ports that some tap copies deliveries to.
fn delivered_to(taps: &[Tap]) -> impl Iterator<Item = OfPort> {
    let to_pod = taps.iter().filter(|tap| tap.direction == Direction::ToPod);
    to_pod.filter_map(|tap| tap.ofport).filter(|port| port.is_physical())
}

fn is_guard(flow: &Flow) -> bool {
    matches!(flow.cookie.purpose(), Some((Purpose::Guard, _)))
}

fn pod_ports(snapshot: &Snapshot, bridge: &str) -> Vec<Selected> {
    let Some(bridge) = snapshot.bridge(bridge) else { return vec![] };
    let interfaces = snapshot.ports_of(bridge).flat_map(|port| snapshot.interfaces_of(port));
    let mut ports: Vec<_> = interfaces.filter_map(PodPort::of).collect();
    ports.sort_by(|a, b| a.interface.cmp(&b.interface));
    ports.into_iter().map(Selected::undecided).collect()
}

#[cfg(test)]
mod tests;
