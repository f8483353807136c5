//! What the agent knows of the world, and what follows from it. No sockets, no clock.

use std::{collections::BTreeSet, sync::Arc};

use flows::{
    model::OfPort,
    plan::{self, Input, Plan},
    tap::{Direction, Portion, Select, Tap},
};

use crate::{
    ovsdb::{self, Snapshot},
    pods::{Pod, PodPort},
    sink::{SinkState, keeper::Demand},
    switch::Switch,
};

/// MTU in bytes that the mirror port gets as long as no Pod port is known: Ethernet's.
const MTU: u32 = 1500;

/// Whose packets are wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Name of the bridge that Pods are on.
    pub bridge: String,
    /// Whether all Pods are mirrored, or only those that are annotated.
    pub all: bool,
}

/// The facts, as last heard.
pub struct World {
    wish: Wish,
    ovsdb: ovsdb::State,
    /// Whether the database has been read at least once; its last known state counts while it is away.
    ovsdb_known: bool,
    sink: SinkState,
    switch: Result<Switch, String>,
    switches: u64,
    pods: Vec<PodPort>,
    taps: Vec<Tap>,
}

impl World {
    /// Nothing is known.
    #[must_use]
    pub fn new(wish: Wish) -> Self {
        Self {
            wish,
            ovsdb: ovsdb::State::default(),
            ovsdb_known: false,
            sink: SinkState::default(),
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
        self.set_taps();
    }

    /// The mirror port changed.
    pub fn set_sink(&mut self, sink: SinkState) {
        self.sink = sink;
        self.set_taps();
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
    pub fn pods(&self) -> &[PodPort] {
        &self.pods
    }

    /// Those that are to be mirrored.
    pub fn mirrored(&self) -> impl Iterator<Item = &PodPort> {
        self.pods.iter().filter(|port| self.wish.all || port.annotated)
    }

    /// How many Pods are to be mirrored.
    #[must_use]
    pub fn mirrored_pods(&self) -> usize {
        self.mirrored().map(|port| &port.pod).collect::<BTreeSet<&Pod>>().len()
    }

    /// What the mirror port must adapt to.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let mtu = self.pods.iter().filter_map(|port| port.mtu).max().unwrap_or(MTU);
        Demand { mtu, switch: self.switch.is_ok().then_some(self.switches) }
    }

    /// Has the switch watched where it matters: the mirror port, and the ports to which deliveries are copied.
    pub fn follow(&mut self) {
        let Ok(switch) = &mut self.switch else { return };
        if !self.ovsdb_known || !self.sink.known {
            return;
        }
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
        if !self.ovsdb_known || !self.sink.known || !switch.is_known() {
            return None;
        }
        let Some(marker) = switch.marker() else { return Some(Plan::default()) };
        Some(plan::plan(&Input {
            taps: &self.taps,
            sinks: self.sink.ofport.as_slice(),
            deliveries: switch.deliveries(),
            marker,
        }))
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
        if self.ovsdb_known {
            problems.extend(self.sink.problem.clone());
        }
        problems
    }

    fn set_taps(&mut self) {
        let Some(sink) = self.sink.ofport else {
            self.taps.clear();
            return;
        };
        self.taps = self
            .mirrored()
            .flat_map(|port| {
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

fn pod_ports(snapshot: &Snapshot, bridge: &str) -> Vec<PodPort> {
    let Some(bridge) = snapshot.bridge(bridge) else { return vec![] };
    let interfaces = snapshot.ports_of(bridge).flat_map(|port| snapshot.interfaces_of(port));
    let mut ports: Vec<_> = interfaces.filter_map(PodPort::of).collect();
    ports.sort_by(|a, b| a.interface.cmp(&b.interface));
    ports
}

#[cfg(test)]
mod tests;
