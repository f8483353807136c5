//! The plan as the facts change: what a change costs goes by the change, not by how many ports there are.
//!
//! A port's flows depend on nothing but its taps, what OVN delivers to it, and the [`Base`] that all have in common; only
//! the ports of which one of these changed are planned anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
};

use super::{
    INGRESS, Reason, Rejected, copy, copy_delivered, copy_sent, copy_tagged, forget, forget_tag,
    guard, usable_port,
};
use crate::{
    delivery::{Deliveries, Delivery, LastStep},
    diff::Changed,
    marker::MarkerBits,
    model::{Flow, FlowKey, FlowSet, Instruction, OfPort, TableId},
    pipeline::Pipeline,
    tap::{Direction, Portion, Select, Tap},
};

/// What the flows of all ports depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The ports that get copies, with or without taps: nothing may enter the bridge by them.
    pub sinks: Vec<OfPort>,
    /// The two bits of `reg10` that nobody else uses; without them there are no flows.
    pub marker: Option<MarkerBits>,
    /// The flows that are left out, though they are planned.
    pub withheld: Withheld,
    /// Logical datapaths (`metadata`) in which no flow of ours may lengthen a packet's way.
    pub full: Arc<BTreeSet<u64>>,
    /// The flows of OVN's that others depend on.
    pub pipeline: Arc<Pipeline>,
}

/// Flows that are left out of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Withheld {
    /// None.
    #[default]
    Nothing,
    /// Those that copy what these ports send and get.
    Ports(Arc<BTreeSet<OfPort>>),
    /// All but those that guard the mirror ports.
    Hooks,
}

/// The flows that the switch should have, and the taps that can't be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The flows.
    pub flows: FlowSet,
    rejected: BTreeMap<Arc<str>, Vec<Rejected>>,
}

impl Plan {
    /// The taps that can't be served, in the order of their ports' names.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.rejected.values().flatten()
    }

    /// Those of one port.
    #[must_use]
    pub fn rejected_of(&self, port: &str) -> &[Rejected] {
        self.rejected.get(port).map_or(&[], Vec::as_slice)
    }
}

/// Facts and wishes, and the [`Plan`] that follows from them.
#[derive(Debug, Default)]
pub struct Planner {
    base: Base,
    taps: BTreeMap<Arc<str>, Vec<Tap>>,
    /// Whose an OpenFlow number is: the first port is served, as the switch has no two of one number.
    names: HashMap<OfPort, BTreeSet<Arc<str>>>,
    own: HashMap<OfPort, Own>,
    /// Tables in which hooks are to be, and how many ports have some there.
    tables: BTreeMap<TableId, usize>,
    /// The same for logical switches.
    datapaths: BTreeMap<u64, usize>,
    undelivered: BTreeSet<OfPort>,
    /// What hooks do, shared by all that do the same.
    actions: HashMap<(OfPort, TableId), Arc<[Instruction]>>,
    /// Ports whose taps have changed since the plan was settled.
    renamed: BTreeSet<Arc<str>>,
    moved: BTreeSet<OfPort>,
    plan: Plan,
    changed: Changed,
}

/// What there is for one port.
#[derive(Debug, Default)]
struct Own {
    keys: Vec<FlowKey>,
    places: Places,
}

/// Where a port's deliveries are copied.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    tables: BTreeSet<TableId>,
    datapaths: BTreeSet<u64>,
}

impl Planner {
    /// What is to be copied of a port from now on, by its name in OVS: `taps` all have the number that it has now.
    pub fn set_taps(&mut self, port: &Arc<str>, taps: Vec<Tap>) {
        let before = self.taps.get(port).map(Vec::as_slice).unwrap_or_default();
        if before == taps {
            return;
        }
        self.renamed.insert(Arc::clone(port));
        if let Some(number) = number(before) {
            self.moved.insert(number);
            if let Some(names) = self.names.get_mut(&number) {
                names.remove(port);
                if names.is_empty() {
                    self.names.remove(&number);
                }
            }
        }
        if let Some(number) = number(&taps) {
            self.moved.insert(number);
            self.names.entry(number).or_default().insert(Arc::clone(port));
        }
        if taps.is_empty() {
            self.taps.remove(port);
        } else {
            self.taps.insert(Arc::clone(port), taps);
        }
    }

    /// Brings the plan up to date, when deliveries to the ports `delivered` may have changed; returns whether there was
    /// anything to plan.
    pub fn settle(
        &mut self,
        base: Base,
        deliveries: &Deliveries,
        delivered: impl IntoIterator<Item = OfPort>,
    ) -> bool {
        if self.base != base {
            self.base = base;
            self.begin();
        }
        self.moved.extend(delivered);
        let renamed = mem::take(&mut self.renamed);
        let anything = !renamed.is_empty() || !self.moved.is_empty();
        for port in renamed {
            self.plan.rejected.remove(&port);
            let taps = self.taps.get(&port).map(Vec::as_slice).unwrap_or_default();
            if number(taps).is_none() && self.base.marker.is_some() && !taps.is_empty() {
                let rejected = taps.iter().map(|tap| reject(tap, Reason::NoOfPort)).collect();
                self.plan.rejected.insert(port, rejected);
            }
        }
        for port in mem::take(&mut self.moved) {
            self.plan_port(port, deliveries);
        }
        anything
    }

    /// All deliveries may be others, and flows that are there too: the next plan is made from scratch.
    pub fn restart(&mut self) {
        self.base = Base::default();
        self.begin();
    }

    /// The plan as it was settled last.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Flows of the plan that are others since the last call.
    pub fn take_changed(&mut self) -> Changed {
        mem::take(&mut self.changed)
    }

    /// Ports of which deliveries are to be copied, and which nothing delivers to.
    #[must_use]
    pub fn undelivered(&self) -> &BTreeSet<OfPort> {
        &self.undelivered
    }

    /// The ports of which something is copied.
    #[must_use]
    pub fn hooked(&self) -> BTreeSet<OfPort> {
        self.own.iter().filter(|(_, own)| !own.keys.is_empty()).map(|(port, _)| *port).collect()
    }

    /// All is planned anew, from what all ports have in common.
    fn begin(&mut self) {
        self.changed = Changed::Any;
        self.plan = Plan::default();
        self.own.clear();
        self.tables.clear();
        self.datapaths.clear();
        self.actions.clear();
        self.renamed.extend(self.taps.keys().cloned());
        self.moved.extend(self.names.keys().copied());
        if self.base.marker.is_some() {
            self.plan.flows.extend(self.base.sinks.iter().map(|sink| guard(*sink)));
        }
    }

    fn plan_port(&mut self, port: OfPort, deliveries: &Deliveries) {
        self.undelivered.remove(&port);
        let names = self.names.get(&port).cloned().unwrap_or_default();
        let (mut flows, mut places) = (Vec::new(), Places::default());
        for name in &names {
            let mut rejected = Vec::new();
            for tap in self.taps.get(name).cloned().unwrap_or_default() {
                let full = deliveries.to(port).find(|to| self.base.full.contains(&to.datapath));
                let full = full.map(|delivery| Reason::FloodLimit(delivery.datapath));
                let usable = usable_port(port, &self.base.sinks).and(full.map_or(Ok(()), Err));
                let owner = names.first().filter(|owner| *owner != name);
                let shared = owner.map(|owner| Reason::SharedOfPort(Arc::clone(owner)));
                if let Some(reason) = usable.err().or(shared) {
                    rejected.push(reject(&tap, reason));
                } else {
                    let reasons = self.plan_tap(&tap, port, deliveries, &mut flows, &mut places);
                    rejected.extend(reasons.into_iter().map(|reason| reject(&tap, reason)));
                }
            }
            if rejected.is_empty() || self.base.marker.is_none() {
                self.plan.rejected.remove(name);
            } else {
                self.plan.rejected.insert(Arc::clone(name), rejected);
            }
        }
        self.put(port, flows, places);
    }

    /// Plans for one direction of a port; returns what of it can't be done.
    fn plan_tap(
        &mut self,
        tap: &Tap,
        port: OfPort,
        deliveries: &Deliveries,
        flows: &mut Vec<Flow>,
        places: &mut Places,
    ) -> Vec<Reason> {
        let Tap { select: Select::Everything, portion: Portion::Whole, sink, .. } = *tap;
        let marker = self.base.marker.unwrap_or_default();
        let mut actions = |table, bit| {
            let actions = self.actions.entry((sink, table));
            Arc::clone(actions.or_insert_with(|| copy(sink, bit, table)))
        };
        let mut reasons = Vec::new();
        match tap.direction {
            Direction::FromPod => {
                flows.push(copy_sent(port, marker, &actions(INGRESS, marker.copied_mask())));
                let tagged =
                    |delivery: &&Delivery| matches!(delivery.last_step, LastStep::Tagged { .. });
                let tagged = deliveries.to(port).filter(tagged);
                flows.extend(tagged.map(|delivery| forget_tag(delivery, marker)));
            }
            Direction::ToPod => {
                let mut delivered = false;
                for delivery in deliveries.to(port) {
                    delivered = true;
                    match delivery.last_step {
                        LastStep::Unchanged => {
                            let actions = actions(delivery.table, marker.delivered_mask());
                            flows.push(copy_delivered(delivery, marker, &actions));
                        }
                        LastStep::Tagged { ethertype, vlan } => {
                            flows.extend(copy_tagged(delivery, (ethertype, vlan), sink, marker));
                        }
                        LastStep::Other => {
                            reasons.push(Reason::RewritingDelivery(delivery.table));
                            continue;
                        }
                    }
                    places.tables.insert(delivery.table);
                    places.datapaths.insert(delivery.datapath);
                }
                // What OVN blocks is not delivered, so no copy is missing.
                if !delivered && !deliveries.is_blocked(port) {
                    self.undelivered.insert(port);
                    reasons.push(Reason::NoDelivery);
                }
            }
        }
        reasons
    }

    /// Puts the port's flows in the place of those that it had.
    fn put(&mut self, port: OfPort, mut flows: Vec<Flow>, mut places: Places) {
        match (&self.base.withheld, self.base.marker) {
            (Withheld::Hooks, _) | (_, None) => {
                flows.clear();
                places = Places::default();
            }
            (Withheld::Ports(ports), _) if ports.contains(&port) => flows.clear(),
            _ => {}
        }
        let before = self.own.remove(&port).unwrap_or_default();
        let own = Own { keys: flows.iter().map(|flow| flow.key.clone()).collect(), places };
        for key in before.keys.into_iter().filter(|key| !own.keys.contains(key)) {
            // A delivery may have moved to another port, and our flow with it.
            let flow = self.plan.flows.get(&key);
            if flow.and_then(|flow| flow.cookie.purpose()).is_some_and(|(_, of)| of == port) {
                self.remove(key);
            }
        }
        flows.into_iter().for_each(|flow| self.insert(flow));
        let (then, now) = (&before.places, &own.places);
        for table in now.tables.difference(&then.tables) {
            let first = add(&mut self.tables, *table);
            self.share(first, |marker, _| forget_all(*table, marker), Self::insert);
        }
        for datapath in now.datapaths.difference(&then.datapaths) {
            let first = add(&mut self.datapaths, *datapath);
            self.share(first, |marker, base| base.pipeline.flows(*datapath, marker), Self::insert);
        }
        let remove = |planner: &mut Self, flow: Flow| planner.remove(flow.key);
        for table in then.tables.difference(&now.tables) {
            let last = take(&mut self.tables, *table);
            self.share(last, |marker, _| forget_all(*table, marker), remove);
        }
        for datapath in then.datapaths.difference(&now.datapaths) {
            let last = take(&mut self.datapaths, *datapath);
            self.share(last, |marker, base| base.pipeline.flows(*datapath, marker), remove);
        }
        if !own.keys.is_empty() || own.places != Places::default() {
            self.own.insert(port, own);
        }
    }

    /// Does something with flows that ports share, where the first of these comes or the last one goes.
    fn share(
        &mut self,
        due: bool,
        flows: impl FnOnce(MarkerBits, &Base) -> Vec<Flow>,
        mut what: impl FnMut(&mut Self, Flow),
    ) {
        let marker = self.base.marker.filter(|_| due);
        let flows = marker.map(|marker| flows(marker, &self.base)).unwrap_or_default();
        flows.into_iter().for_each(|flow| what(self, flow));
    }

    fn insert(&mut self, flow: Flow) {
        let key = flow.key.clone();
        if self.plan.flows.insert(flow) {
            self.changed.note(key);
        }
    }

    fn remove(&mut self, key: FlowKey) {
        if self.plan.flows.remove(&key) {
            self.changed.note(key);
        }
    }
}

/// One more; returns whether it is the first.
fn add<T: Ord>(counts: &mut BTreeMap<T, usize>, of: T) -> bool {
    let count = counts.entry(of).or_default();
    *count += 1;
    *count == 1
}

/// One less; returns whether it was the last.
fn take<T: Ord>(counts: &mut BTreeMap<T, usize>, of: T) -> bool {
    let Some(count) = counts.get_mut(&of) else { return false };
    *count -= 1;
    let last = *count == 0;
    if last {
        counts.remove(&of);
    }
    last
}

/// The flows that a delivery table has for all ports; no delivery is in the table in which packets start.
fn forget_all(table: TableId, marker: MarkerBits) -> Vec<Flow> {
    if table == INGRESS { Vec::new() } else { forget(table, marker).into() }
}

fn number(taps: &[Tap]) -> Option<OfPort> {
    taps.first()?.ofport
}

fn reject(tap: &Tap, reason: Reason) -> Rejected {
    Rejected { port: Arc::clone(&tap.port), direction: tap.direction, reason }
}
