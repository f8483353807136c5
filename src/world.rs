//! What the agent knows of the world, and what follows from it. No sockets, no clock.

mod bridge;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use flows::{
    diff::{Change, Divergence},
    model::OfPort,
    plan::{Base, Plan, Planner, Withheld},
    tap::{Direction, Portion, Select, Tap},
};

use crate::{
    annotation::MIRROR_ANNOTATION,
    audience::Audience,
    cluster::{Changed, Cluster, News},
    ovsdb::{self, Datapath},
    pods::{Pod, Rows},
    port_counters::Sides,
    selection::{self, Choice, Selected, Selection, Wish},
    settings::{MirrorWhen, PodSource, Settings},
    sink::{SinkState, keeper::Demand},
    switch::{Conflict, SinkFault, Switch},
    verdict::Report,
};

/// MTU in bytes that the mirror port gets as long as no Pod port is known: Ethernet's.
const MTU: u32 = 1500;

/// Annotations that are not understood which are told one by one.
const MISREAD: usize = 5;

/// The facts, as last heard.
pub struct World {
    wish: Wish,
    /// Name of the mirror NIC.
    nic: String,
    ovsdb: ovsdb::State,
    /// Whether the database has been read at least once; its last known state counts while it is away.
    ovsdb_known: bool,
    sink: SinkState,
    audience: Audience,
    switch: Result<Switch, String>,
    /// How often the mirror port's settings in the switch may have become others: with each connection, and each time that
    /// the switch reports it.
    port_settings: u64,
    /// How often somebody has blocked the mirror port on this connection.
    blocked: u64,
    /// Where OVSDB and the switch are said to listen.
    endpoints: [String; 2],
    /// What the API server says, if it is asked.
    cluster: Option<Cluster>,
    rows: Rows,
    pods: Selection,
    /// Ports that are not to be copied from and to for a moment.
    lifted: Arc<BTreeSet<OfPort>>,
    planner: Planner,
    /// Where the switch may differ from the plan.
    divergence: Divergence,
    /// Ports of which no frame is copied though the flows are installed, and how many frames showed that.
    blind: BTreeMap<OfPort, u64>,
    /// How often something changed that Pods' reports depend on.
    revision: u64,
}

impl World {
    /// Nothing is known, and all is wanted as `settings` have it.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let cluster = match settings.pods {
            PodSource::Ovsdb => None,
            PodSource::Kubernetes { .. } | PodSource::Unreadable { .. } => Some(Cluster::new()),
        };
        let mut world = Self::new(settings.wish.clone(), cluster);
        world.nic.clone_from(&settings.nic);
        world.rows.leave_out(&settings.nic);
        world.endpoints = [&settings.ovsdb, &settings.openflow].map(ToString::to_string);
        world.set_audience(Audience::unknown(settings.when));
        world
    }

    /// Nothing is known, and copies are always wanted. With a cluster, that says which Pods are mirrored; without one, what OVSDB has on their ports.
    #[must_use]
    pub fn new(wish: Wish, cluster: Option<Cluster>) -> Self {
        Self {
            rows: Rows::new(&wish.bridge),
            wish,
            nic: "the mirror NIC".to_owned(),
            cluster,
            ovsdb: ovsdb::State::default(),
            ovsdb_known: false,
            sink: SinkState::default(),
            audience: Audience::unknown(MirrorWhen::Always),
            switch: Err("connecting".to_owned()),
            port_settings: 0,
            blocked: 0,
            endpoints: Default::default(),
            pods: Selection::default(),
            lifted: Arc::default(),
            planner: Planner::default(),
            divergence: Divergence::default(),
            blind: BTreeMap::new(),
            revision: 0,
        }
    }

    /// The database changed, or its connection.
    pub fn set_ovsdb(&mut self, state: ovsdb::State) {
        self.ovsdb_known |= state.is_synced();
        for (name, port) in self.rows.follow(&state.snapshot) {
            self.pods.set_port(&name, port);
        }
        self.ovsdb = state;
        self.select();
    }

    /// The API server said something; returns whether that may change what is mirrored.
    pub fn hear(&mut self, news: News) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let changed = cluster.apply(news);
        if changed == Changed::Nothing {
            return false;
        }
        self.pods.doubt(&changed);
        self.revision += 1;
        self.select();
        true
    }

    /// The mirror port changed.
    pub fn set_sink(&mut self, sink: SinkState) {
        let before = std::mem::replace(&mut self.sink, sink).ofport;
        if before != self.sink.ofport {
            for selected in self.pods.ports() {
                self.planner.set_taps(&selected.port.interface, taps(selected, self.sink.ofport));
            }
        }
    }

    /// Somebody listens, or nobody does any more.
    pub fn set_audience(&mut self, audience: Audience) {
        self.audience = audience;
    }

    /// These ports are not to be copied from and to for a moment.
    pub fn lift(&mut self, ports: Arc<BTreeSet<OfPort>>) {
        self.lifted = ports;
    }

    /// No frame that these ports receive is copied, though their flows are installed.
    pub fn set_blind(&mut self, blind: BTreeMap<OfPort, u64>) {
        if self.blind != blind {
            self.blind = blind;
            self.revision += 1;
        }
    }

    /// There is a connection to the switch, about which nothing is known yet.
    pub fn set_switch(&mut self, switch: Switch) {
        self.switch = Ok(switch);
        self.port_settings += 1;
        self.blocked = 0;
        self.planner.restart();
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

    /// Who moves packets between the bridge's ports.
    #[must_use]
    pub fn datapath(&self) -> Datapath {
        let bridge = self.ovsdb.snapshot.bridge(&self.wish.bridge);
        bridge.map(ovsdb::Bridge::datapath).unwrap_or_default()
    }

    /// From whose side the bridge's ports count.
    #[must_use]
    pub fn sides(&self) -> Sides {
        Sides::of(&self.ovsdb.snapshot, &self.wish.bridge)
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
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &Selected> {
        self.pods.ports()
    }

    /// Those that are to be mirrored.
    pub fn mirrored(&self) -> impl Iterator<Item = &Selected> {
        self.pods.ports().filter(|selected| selected.is_mirrored())
    }

    /// The one that is to be mirrored and has this number.
    #[must_use]
    pub fn mirrored_port(&self, port: OfPort) -> Option<&Selected> {
        self.pods.mirrored_port(port)
    }

    /// The ports of which something is copied.
    #[must_use]
    pub fn hooked(&self) -> BTreeSet<OfPort> {
        self.planner.hooked()
    }

    /// How many Pods are to be mirrored.
    #[must_use]
    pub fn wanted_pods(&self) -> usize {
        self.pods.wanted_pods()
    }

    /// Of how many Pods all is copied that is to be, once the switch has all flows of the plan.
    #[must_use]
    pub fn mirrored_pods(&self) -> usize {
        if self.plan().is_none() || self.audience.is_paused() || self.suspended().is_some() {
            return 0;
        }
        let mut lacking: BTreeSet<_> = self.lacking().map(Selected::pod).collect();
        let lifted = self.lifted.iter().filter_map(|port| self.mirrored_port(*port));
        lacking.extend(lifted.map(Selected::pod));
        self.wanted_pods().saturating_sub(lacking.len())
    }

    /// Ports of which something is not copied that is to be, as it can't be.
    fn lacking(&self) -> impl Iterator<Item = &Selected> {
        let rejected = self.plan().into_iter().flat_map(Plan::rejected);
        let rejected = rejected.filter_map(|rejected| self.pods.port(&rejected.port));
        rejected.chain(self.blind.keys().filter_map(|port| self.mirrored_port(*port)))
    }

    /// The Pods of which all is copied that is to be, once the switch has all flows of the plan; pauses apart.
    #[must_use]
    pub fn served_pods(&self) -> BTreeSet<Pod> {
        if self.plan().is_none() || self.suspended().is_some() {
            return BTreeSet::new();
        }
        let lacking: BTreeSet<_> = self.lacking().map(Selected::pod).collect();
        self.mirrored().map(Selected::pod).filter(|pod| !lacking.contains(pod)).collect()
    }

    /// Why nothing is copied of a Pod, or not all; of one that is not among [`Self::served_pods`].
    #[must_use]
    pub fn reason_against(&self, pod: &Pod) -> String {
        if let Some(suspended) = self.suspended() {
            return suspended;
        }
        let is_its = |selected: &&Selected| selected.pod() == *pod;
        if let Some(selected) = self.lacking().find(is_its) {
            let plan = self.plan();
            let rejected = plan.map(|plan| plan.rejected_of(&selected.port.interface));
            let reason = rejected.and_then(|rejected| rejected.first().map(ToString::to_string));
            return reason.or_else(|| self.blindness(selected)).unwrap_or_default();
        }
        let Some(selected) = self.pods().find(is_its) else {
            return "it has no port on the bridge any more".to_owned();
        };
        match (selected.choice, self.wish.namespaces.refusal(pod.namespace.as_deref())) {
            (Choice::Contested, _) => "several ports claim to be its".to_owned(),
            (_, Some(refusal)) => refusal.to_string(),
            (_, None) => "nobody asks for it any more".to_owned(),
        }
    }

    /// Why nothing is copied now, whatever is to be mirrored; none if something is, or if it is not known. A pause for want of
    /// listeners is no reason.
    #[must_use]
    pub fn suspended(&self) -> Option<String> {
        self.plan()?;
        let switch = self.switch.as_ref().ok()?;
        let nic = &self.nic;
        if self.sink.ofport.is_none() {
            let problem = self.sink.problem.clone();
            return problem.or_else(|| Some(format!("{nic} is not ready yet")));
        }
        if switch.marker().is_none() {
            let conflicts = switch.conflicts();
            let taken =
                conflicts.iter().find(|conflict| matches!(conflict, Conflict::Marker { .. }));
            let none = || "no two bits of reg10 are free".to_owned();
            return Some(taken.map_or_else(none, ToString::to_string));
        }
        let is_down = self.sink.moved == Some(false);
        self.sink_fault(switch).or_else(|| {
            is_down.then(|| format!("{nic} is down in the network namespace that it was moved to"))
        })
    }

    /// Whether nothing is copied of a port for a time, though nothing is wrong with it.
    #[must_use]
    pub fn is_withheld(&self, port: Option<OfPort>) -> bool {
        self.audience.is_paused() || port.is_some_and(|port| self.lifted.contains(&port))
    }

    /// What the mirror port must adapt to.
    #[must_use]
    pub fn demand(&self) -> Demand {
        // Without one nothing is done about the mirror port.
        let known = self.ovsdb_known && self.mistaken().is_none();
        let mtu = if known { self.pods.mtu().unwrap_or(MTU) } else { 0 };
        Demand {
            mtu,
            least_mtu: self.rows.least_mtu(),
            switch: self.switch.is_ok().then_some(self.port_settings),
            by_protocol: self.audience.by_protocol,
        }
    }

    /// Brings the plan up to date, and has the switch watched where it matters: the mirror port, and the ports to which
    /// deliveries are copied. To be called after whatever else was, before the plan counts.
    pub fn follow(&mut self) {
        // The switch counts as known once each port has been asked for, so it must be known first which these are.
        if !self.ovsdb_known || !self.sink.known || !self.cluster_known() {
            return;
        }
        let Ok(switch) = &mut self.switch else { return };
        let withheld = match self.audience.wanted {
            // Deliveries are followed and taps rejected all the same, so that the first listener finds all as it should be.
            Some(false) => Withheld::Hooks,
            _ if self.lifted.is_empty() => Withheld::Nothing,
            _ => Withheld::Ports(Arc::clone(&self.lifted)),
        };
        let delivered = switch.take_delivered();
        let base = Base {
            sinks: self.sink.ofport.into_iter().collect(),
            marker: switch.marker(),
            withheld,
            full: Arc::clone(switch.full()),
            pipeline: Arc::clone(switch.pipeline()),
        };
        self.revision += u64::from(self.planner.settle(base, switch.deliveries(), delivered));
        switch.follow(self.sink.ofport, self.planner.undelivered());
        let blocked = switch.sink_port().blocked();
        if std::mem::replace(&mut self.blocked, blocked) < blocked {
            self.port_settings += 1;
        }
        let changes = [self.planner.take_changed(), switch.take_changed()];
        let (desired, observed) = (&self.planner.plan().flows, switch.observed());
        for changed in changes {
            self.divergence.suspect(changed, desired, observed);
        }
    }

    /// Does what the switch needs once a second.
    pub fn tick(&mut self) {
        let Ok(switch) = &mut self.switch else { return };
        switch.handle_tick(self.planner.undelivered());
    }

    /// The flows that the switch should have, as of the last call of [`Self::follow`]; `None` as long as anything that they
    /// depend on is not known yet, when nothing may be changed.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        let switch = self.switch.as_ref().ok()?;
        let known = self.ovsdb_known
            && self.sink.known
            && self.cluster_known()
            && self.mistaken().is_none()
            && switch.is_known()
            && self.audience.wanted.is_some();
        known.then(|| self.planner.plan())
    }

    /// What is to be changed in the switch so that it has the flows of the plan, if there is one.
    pub fn changes(&mut self) -> Option<Vec<Change>> {
        self.plan()?;
        let observed = self.switch.as_ref().ok()?.observed();
        Some(self.divergence.changes(&self.planner.plan().flows, observed))
    }

    /// What keeps the mirror from being complete and exact, other than single ports and flows.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let [ovsdb_at, openflow_at] = &self.endpoints;
        let mut problems = Vec::new();
        if let ovsdb::Connection::Connecting { reason } = &self.ovsdb.connection {
            let reason =
                reason.as_ref().map_or_else(|| "connecting".to_owned(), ToString::to_string);
            problems.push(located("OVSDB", &reason, ovsdb_at));
        }
        match &self.switch {
            Err(reason) => problems.push(located("OpenFlow", reason, openflow_at)),
            Ok(switch) => {
                problems.extend(switch.conflicts().iter().map(ToString::to_string));
                problems.extend(self.sink_fault(switch));
            }
        }
        if !self.cluster_known() {
            let outage = self.cluster.as_ref().and_then(Cluster::outage);
            problems.push(format!("Kubernetes: {}", outage.as_deref().unwrap_or("listing Pods")));
        }
        let mistaken = self.mistaken();
        if self.ovsdb_known && mistaken.is_none() {
            problems.extend(self.sink.problem.clone());
        }
        problems.extend(mistaken.map(|mistaken| mistaken.to_string()));
        problems
    }

    /// What is mirrored only in part, for certain: the Pods' ports that can't be served, and the blind ones.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let rejected = self.plan().into_iter().flat_map(Plan::rejected).map(|rejected| match self
            .pods
            .port(&rejected.port)
        {
            Some(selected) => format!("{} {rejected}", selected.pod()),
            None => rejected.to_string(),
        });
        let blind = self.mirrored().filter_map(|selected| {
            let (port, pod) = (&selected.port.interface, selected.pod());
            Some(format!("{pod} {port} {}: {}", Direction::FromPod, self.blindness(selected)?))
        });
        rejected.chain(blind).collect()
    }

    /// The blind ports, and how many frames showed that of each.
    #[must_use]
    pub fn blind(&self) -> &BTreeMap<OfPort, u64> {
        &self.blind
    }

    /// Why nothing is copied of what a port receives, if that is so.
    #[must_use]
    pub fn blindness(&self, selected: &Selected) -> Option<String> {
        let frames = self.blind.get(&selected.port.ofport?)?;
        Some(format!(
            "the port received {frames} frames, and its copy flow saw none of them: is a foreign flow in front of ours?"
        ))
    }

    /// Why the mirror port drops all copies, if the switch says so.
    fn sink_fault(&self, switch: &Switch) -> Option<String> {
        let fault = self.sink.ofport.and(switch.sink_port().fault())?;
        // Of a device in another network namespace the switch says what was so when it was moved, which takes it down.
        if self.sink.moved.is_some() && fault != SinkFault::NoForward {
            return None;
        }
        Some(format!("{}: {fault}", self.nic))
    }

    /// Why the bridge is not the right one, if it is there.
    fn mistaken(&self) -> Option<bridge::Mistaken> {
        let row = self.ovsdb.snapshot.bridge(&self.wish.bridge)?;
        let connected = self.switch.as_ref().ok().map(|switch| switch.features().datapath_id);
        let [_, openflow] = &self.endpoints;
        bridge::check(row, connected, openflow).err()
    }

    /// What harms nobody now, but should be known.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let known = self.cluster.as_ref().filter(|cluster| cluster.is_known());
        let outage = known.and_then(Cluster::outage);
        let remark =
            |outage| format!("Kubernetes: {outage}; mirroring goes on with what was known");
        let remarks = outage.map(remark).into_iter().chain(self.audience.remark.clone());
        remarks.chain(self.misread()).collect()
    }

    /// The annotations of ports that are not understood, where they decide on what is mirrored.
    fn misread(&self) -> Vec<String> {
        if self.cluster.is_some() {
            return Vec::new();
        }
        let misread = self.pods.misread();
        let more = misread.len().saturating_sub(MISREAD);
        let line = |selected: &Selected| {
            let (pod, interface) = (selected.pod(), &selected.port.interface);
            let value = selected.port.misread.as_deref().unwrap_or_default();
            format!(
                "{pod}: {MIRROR_ANNOTATION}={value:?} in external_ids of {interface} is neither true nor false, and is ignored"
            )
        };
        let lines = misread.take(MISREAD).map(line);
        let rest = format!(
            "{more} more ports: {MIRROR_ANNOTATION} in their external_ids is neither true nor false"
        );
        lines.chain((more > 0).then_some(rest)).collect()
    }

    /// The cluster, if the API server is asked.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// How things stand with each Pod of the cluster by its UID, when the switch has all flows of the plan; none without a
    /// cluster, or a plan.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<Arc<str>, Report> {
        let (Some(cluster), Some(plan)) = (&self.cluster, self.plan()) else {
            return BTreeMap::new();
        };
        selection::reports(&self.pods, &self.wish, cluster, plan, |port| self.blindness(port))
    }

    /// Another number than before if [`Self::reports`] may say something else.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether all is known that is to be heard from the API server; its last known state counts while it is away.
    fn cluster_known(&self) -> bool {
        self.cluster.as_ref().is_none_or(Cluster::is_known)
    }

    fn select(&mut self) {
        for name in self.pods.settle(&self.wish, self.cluster.as_ref()) {
            self.revision += 1;
            let selected = self.pods.port(&name);
            let taps = selected.map(|selected| taps(selected, self.sink.ofport));
            self.planner.set_taps(&name, taps.unwrap_or_default());
        }
    }
}

/// A reason with the socket that it is about, unless it names that.
fn located(what: &str, reason: &str, endpoint: &str) -> String {
    if endpoint.is_empty() || reason.contains(endpoint) {
        format!("{what}: {reason}")
    } else {
        format!("{what}: {reason} ({endpoint})")
    }
}

/// What is to be copied of a port.
fn taps(selected: &Selected, sink: Option<OfPort>) -> Vec<Tap> {
    let Some(sink) = sink.filter(|_| selected.is_mirrored()) else { return vec![] };
    let taps = Direction::BOTH.map(|direction| Tap {
        port: Arc::clone(&selected.port.interface),
        ofport: selected.port.ofport,
        direction,
        select: Select::Everything,
        portion: Portion::Whole,
        sink,
    });
    taps.to_vec()
}

#[cfg(test)]
mod tests;
