//! What deciding costs, by the number of mirrored ports.

use flows::{
    delivery::Deliveries,
    diff::{Observed, diff},
    marker::MarkerBits,
    model::{Action, Cookie, Field, Flow, FlowKey, Match, MatchField, OfPort, TableId},
    plan::{Input, Plan, plan},
    tap::{Direction, Portion, Select, Tap},
};

const NIC: OfPort = OfPort(1);
const PORTS: [u32; 3] = [100, 1_000, 10_000];

fn main() {
    divan::main();
}

struct Switch {
    taps: Vec<Tap>,
    deliveries: Deliveries,
}

impl Switch {
    fn with_ports(ports: u32) -> Self {
        let mut deliveries = Deliveries::default();
        let mut taps = Vec::new();
        for ofport in (2..).take(ports as usize).map(OfPort) {
            let fields = [
                MatchField::exact(Field::reg(15), ofport.0.into()),
                MatchField::exact(Field::METADATA, 1),
            ];
            let key = FlowKey { table: TableId(65), priority: 100, matching: Match::new(fields) };
            deliveries.insert(&Flow::new(key, Cookie(7), vec![Action::output(ofport)]));
            taps.extend(Direction::BOTH.map(|direction| Tap {
                port: format!("pod{}", ofport.0).into(),
                ofport: Some(ofport),
                direction,
                select: Select::Everything,
                portion: Portion::Whole,
                sink: NIC,
            }));
        }
        Self { taps, deliveries }
    }

    fn plan(&self) -> Plan {
        let Self { taps, deliveries } = self;
        plan(&Input { taps, sinks: &[NIC], deliveries, marker: MarkerBits::default() })
    }
}

#[divan::bench(args = PORTS)]
fn plan_and_diff_when_nothing_changed(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let switch = Switch::with_ports(ports);
    let observed: Observed = switch.plan().flows.into_iter().collect();
    bencher.bench(|| diff(&switch.plan().flows, &observed).len());
}

#[divan::bench(args = PORTS)]
fn plan_and_diff_after_a_wipe(bencher: divan::Bencher<'_, '_>, ports: u32) {
    let switch = Switch::with_ports(ports);
    let observed = Observed::default();
    bencher.bench(|| diff(&switch.plan().flows, &observed).len());
}
