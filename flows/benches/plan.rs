//! What deciding costs, by the number of mirrored ports.

use std::sync::Arc;

use flows::{
    delivery::Deliveries,
    diff::{Divergence, diff},
    marker::MarkerBits,
    model::{Action, Cookie, Field, Flow, FlowKey, FlowSet, Match, MatchField, OfPort, TableId},
    plan::{Base, Planner, Withheld},
    tap::{Direction, Portion, Select, Tap},
};

const NIC: OfPort = OfPort(1);
const PORTS: [u32; 4] = [10, 100, 1_000, 10_000];

fn main() {
    divan::main();
}

struct Switch {
    planner: Planner,
    deliveries: Deliveries,
    observed: FlowSet,
    divergence: Divergence,
}

fn name(ofport: u32) -> Arc<str> {
    format!("pod{ofport}").into()
}

fn taps(ofport: u32) -> Vec<Tap> {
    let tap = |direction| Tap {
        port: name(ofport),
        ofport: Some(OfPort(ofport)),
        direction,
        select: Select::Everything,
        portion: Portion::Whole,
        sink: NIC,
    };
    Direction::BOTH.map(tap).to_vec()
}

impl Switch {
    /// One that has all flows that it should.
    fn with_ports(ports: u32) -> Self {
        let mut switch = Self {
            planner: Planner::default(),
            deliveries: Deliveries::default(),
            observed: FlowSet::default(),
            divergence: Divergence::default(),
        };
        for ofport in 2..ports + 2 {
            let fields = [
                MatchField::exact(Field::reg(15), ofport.into()),
                MatchField::exact(Field::METADATA, 1),
            ];
            let key = FlowKey { table: TableId(65), priority: 100, matching: Match::new(fields) };
            let actions = vec![Action::output(OfPort(ofport))];
            switch.deliveries.insert(&Flow::new(key, Cookie(7), actions));
            switch.planner.set_taps(&name(ofport), taps(ofport));
        }
        switch.decide();
        switch.observed = switch.planner.plan().flows.clone();
        assert_eq!(switch.decide(), 0);
        switch
    }

    /// Plans and compares; returns how many changes there are to be made.
    fn decide(&mut self) -> usize {
        let marker = Some(MarkerBits::default());
        let base =
            Base { sinks: vec![NIC], marker, withheld: Withheld::Nothing, ..Base::default() };
        self.planner.settle(base, &self.deliveries, []);
        let (changed, desired) = (self.planner.take_changed(), &self.planner.plan().flows);
        self.divergence.suspect(changed, desired, &self.observed);
        self.divergence.changes(desired, &self.observed).len()
    }
}

/// A Pod's annotation goes, and comes back.
#[divan::bench(args = PORTS)]
fn one_port_less_and_one_more(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let mut switch = Switch::with_ports(ports);
    bencher.bench_local(|| {
        switch.planner.set_taps(&name(2), vec![]);
        assert_eq!(switch.decide(), 2);
        switch.planner.set_taps(&name(2), taps(2));
        assert_eq!(switch.decide(), 0);
    });
}

/// Whatever happened, nothing follows from it.
#[divan::bench(args = PORTS)]
fn nothing_changed(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let mut switch = Switch::with_ports(ports);
    bencher.bench_local(|| assert_eq!(switch.decide(), 0));
}

/// All is read and compared anew, as at the start.
#[divan::bench(args = PORTS)]
fn everything(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let mut switch = Switch::with_ports(ports);
    bencher.bench_local(|| {
        switch.planner.restart();
        assert_eq!(switch.decide(), 0);
    });
}

/// All flows are gone.
#[divan::bench(args = PORTS)]
fn after_a_wipe(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let switch = Switch::with_ports(ports);
    bencher.bench_local(|| diff(&switch.planner.plan().flows, &FlowSet::default()).len());
}
