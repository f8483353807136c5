use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    delivery::Deliveries,
    diff::{Changed, diff},
    model::FlowSet,
    pipeline::Pipeline,
    tap::{Portion, Select, Tap},
};

const NIC: OfPort = OfPort(9);

fn tap(name: &str, ofport: u32, direction: Direction) -> Tap {
    Tap {
        port: name.into(),
        ofport: Some(OfPort(ofport)),
        direction,
        select: Select::Everything,
        portion: Portion::Whole,
        sink: NIC,
    }
}

fn delivery_flow(table: u8, outport: u128, actions: Vec<Action>) -> Flow {
    let fields =
        vec![MatchField::exact(Field::reg(15), outport), MatchField::exact(Field::METADATA, 1)];
    Flow::new(key(TableId(table), 100, fields), Cookie(0x1234), actions)
}

fn deliveries(flows: &[Flow]) -> Deliveries {
    let mut deliveries = Deliveries::default();
    flows.iter().for_each(|flow| deliveries.insert(flow));
    deliveries
}

fn base() -> Base {
    Base { sinks: vec![NIC], marker: Some(MarkerBits::default()), ..Base::default() }
}

fn planned(taps: &[Tap], deliveries: &Deliveries) -> Plan {
    let mut planner = Planner::default();
    for name in taps.iter().map(|tap| &tap.port).collect::<BTreeSet<_>>() {
        let taps = taps.iter().filter(|tap| tap.port == *name);
        planner.set_taps(name, taps.cloned().collect());
    }
    planner.settle(base(), deliveries, []);
    planner.plan().clone()
}

fn purposes(plan: &Plan) -> BTreeSet<(Purpose, OfPort)> {
    plan.flows.cookies().map(|cookie| cookie.purpose().expect("ours")).collect()
}

#[test]
fn without_taps_only_the_mirror_port_is_guarded() {
    let plan = planned(&[], &Deliveries::default());
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC)].into());
    assert!(plan.flows.iter().all(|flow| flow.actions().count() == 0), "drops");
}

#[test]
fn a_port_has_a_flow_for_each_direction_and_each_delivery_table_four() {
    let found = deliveries(&[
        delivery_flow(65, 3, vec![Action::output(OfPort(2))]),
        delivery_flow(89, 4, vec![Action::output(OfPort(3))]),
    ]);
    let taps =
        [2, 3].map(|n| Direction::BOTH.map(|direction| tap(&format!("pod{n}"), n, direction)));
    let plan = planned(taps.as_flattened(), &found);
    assert_eq!(plan.rejected().count(), 0);
    assert_eq!(plan.flows.len(), 1 + 2 * 2 + 2 * 4);
    for table in [65, 89] {
        let in_table = plan.flows.iter().filter(|flow| flow.key.table == TableId(table));
        assert_eq!(in_table.count(), 1 + 4, "table {table}");
    }
}

#[test]
fn no_flow_outputs_to_anything_but_the_mirror_port() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let plan = planned(&Direction::BOTH.map(|direction| tap("pod", 2, direction)), &found);
    let mut outputs = Vec::new();
    for flow in plan.flows.iter() {
        outputs.extend(flow.actions().filter_map(|action| match action {
            Action::Output { port, .. } => Some(*port),
            _ => None,
        }));
    }
    assert_eq!(outputs, [NIC, NIC]);
}

#[test]
fn every_flow_but_the_guard_hands_the_packet_back_to_its_table() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let plan = planned(&Direction::BOTH.map(|direction| tap("pod", 2, direction)), &found);
    let guards = |flow: &Flow| flow.cookie == Cookie::new(Purpose::Guard, NIC);
    for flow in plan.flows.iter().filter(|flow| !guards(flow)) {
        assert_eq!(flow.actions().last(), Some(&Action::resubmit(flow.key.table)));
    }
}

#[test]
fn what_can_not_be_served_is_told_and_the_rest_is() {
    let push_vlan = Action::Raw(Box::new([0, 17, 0, 8, 0x81, 0, 0, 0]));
    let found = deliveries(&[delivery_flow(65, 3, vec![push_vlan, Action::output(OfPort(2))])]);
    let taps = [
        Tap { ofport: None, ..tap("new", 0, Direction::FromPod) },
        tap("controller", OfPort::CONTROLLER.0, Direction::FromPod),
        tap("mirror0", NIC.0, Direction::FromPod),
        tap("parent", 2, Direction::FromPod),
        tap("parent", 2, Direction::ToPod),
        tap("stale", 2, Direction::FromPod),
        tap("unbound", 4, Direction::ToPod),
    ];
    let plan = planned(&taps, &found);
    let reasons: Vec<_> =
        plan.rejected().map(|rejected| (&*rejected.port, rejected.reason.name())).collect();
    assert_eq!(
        reasons,
        [
            ("controller", "reserved_ofport"),
            ("mirror0", "is_sink"),
            ("new", "no_ofport"),
            ("parent", "rewriting_delivery"),
            ("stale", "shared_ofport"),
            ("unbound", "no_delivery"),
        ]
    );
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))].into());
}

#[test]
fn where_floods_have_no_room_for_our_flows_nothing_is_copied_until_they_have() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let mut planner = Planner::default();
    planner.set_taps(&"pod2".into(), Direction::BOTH.map(|way| tap("pod2", 2, way)).to_vec());
    for full in [1, 2] {
        planner.settle(Base { full: Arc::new([full].into()), ..base() }, &found, []);
        let reasons: Vec<_> = planner.plan().rejected().map(|r| r.reason.name()).collect();
        if full == 1 {
            assert_eq!(reasons, ["flood_limit"; 2], "neither what it sends nor what it gets");
            assert_eq!(purposes(planner.plan()), [(Purpose::Guard, NIC)].into());
            assert!(planner.undelivered().is_empty(), "it is not looked for");
        } else {
            assert_eq!(reasons, [""; 0]);
            assert!(purposes(planner.plan()).contains(&(Purpose::ToPod, OfPort(2))));
        }
    }
}

#[test]
fn a_delivery_moves_with_its_flow() {
    let to = |port| delivery_flow(65, 3, vec![Action::output(OfPort(port))]);
    let mut found = deliveries(&[to(2)]);
    found.take_changed();
    found.insert(&to(5));
    assert_eq!((found.to(OfPort(2)).count(), found.to(OfPort(5)).count()), (0, 1));
    assert_eq!(found.take_changed(), [OfPort(2), OfPort(5)].into());
    found.insert(&to(5));
    assert_eq!(found.take_changed(), [].into(), "nothing new");
    found.insert(&delivery_flow(65, 3, vec![]));
    assert_eq!(found.to(OfPort(5)).count(), 0, "it drops now");
}

#[test]
fn of_deliveries_of_the_same_packets_the_highest_counts() {
    let mut high = delivery_flow(65, 3, vec![Action::output(OfPort(5))]);
    high.key.priority = 150;
    let mut found =
        deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))]), high.clone()]);
    assert_eq!((found.to(OfPort(2)).count(), found.to(OfPort(5)).count()), (0, 1));
    found.take_changed();
    found.remove(&high.key);
    assert_eq!((found.to(OfPort(2)).count(), found.to(OfPort(5)).count()), (1, 0));
    assert_eq!(found.take_changed(), [OfPort(2), OfPort(5)].into());
}

#[test]
fn what_ovn_blocks_is_not_delivered_and_is_no_fault() {
    let delivery = delivery_flow(65, 3, vec![Action::output(OfPort(2))]);
    let mut block = delivery_flow(65, 3, vec![]);
    block.key.priority = 1000;
    let taps = Direction::BOTH.map(|direction| tap("pod", 2, direction));
    let sent = [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))].into();
    for flows in [[&block, &delivery], [&delivery, &block]] {
        let mut planner = Planner::default();
        planner.set_taps(&"pod".into(), taps.to_vec());
        let mut found = Deliveries::default();
        flows.into_iter().for_each(|flow| found.insert(flow));
        planner.settle(base(), &found, found.clone().take_changed());
        assert_eq!(purposes(planner.plan()), sent);
        assert_eq!(planner.plan().rejected().count(), 0);
        assert_eq!(planner.undelivered(), &[].into(), "it is known where it would be delivered");

        // The Pod has announced itself.
        found.take_changed();
        found.remove(&block.key);
        assert_eq!(found.take_changed(), [OfPort(2)].into());
        planner.settle(base(), &found, [OfPort(2)]);
        assert!(purposes(planner.plan()).contains(&(Purpose::ToPod, OfPort(2))));
        found.insert(&block);
        assert_eq!(found.take_changed(), [OfPort(2)].into());
        assert!(found.is_blocked(OfPort(2)) && !found.is_empty());
    }
}

#[test]
fn a_flow_for_some_of_the_packets_takes_no_delivery_away() {
    let delivery = delivery_flow(65, 3, vec![Action::output(OfPort(2))]);
    let mut found = deliveries(std::slice::from_ref(&delivery));
    found.insert(&some_of(&delivery));
    assert_eq!(found.to(OfPort(2)).count(), 1);
    found.remove(&some_of(&delivery).key);
    assert_eq!(found.to(OfPort(2)).count(), 1);
}

/// A flow for those packets of `flow` that come in by port 1.
fn some_of(flow: &Flow) -> Flow {
    let fields = flow.key.matching.fields().iter().cloned();
    let matching = fields.chain([MatchField::exact(Field::IN_PORT, 1)]).collect();
    Flow { key: FlowKey { matching, ..flow.key.clone() }, ..flow.clone() }
}

#[test]
fn neither_a_flow_of_ours_nor_one_for_some_packets_only_is_a_delivery() {
    let ours = planned(
        &[tap("pod", 2, Direction::ToPod)],
        &deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]),
    );
    assert!(ours.flows.iter().all(|flow| Delivery::of(&flow).is_none()));
    let narrow = some_of(&delivery_flow(65, 3, vec![Action::output(OfPort(2))]));
    assert_eq!(Delivery::of(&narrow), None);
}

/// What the flows look at of a frame that reaches a delivery table. OVN delivers it to several ports in turn.
#[derive(Clone, Debug)]
struct Delivered {
    reg10: u32,
    in_port: OfPort,
    ct_state: u128,
    ct_mark: u128,
}

impl Delivered {
    fn matches(&self, outport: u128, flow: &Flow) -> bool {
        flow.key.matching.fields().iter().all(|field| {
            let MatchField::Typed { field, value, mask } = field else { return false };
            let is = match *field {
                FLAGS => self.reg10.into(),
                Field::IN_PORT => self.in_port.0.into(),
                Field::CT_STATE => self.ct_state,
                Field::METADATA => 1,
                field if field == Field::reg(15) => outport,
                other => panic!("{other} is matched"),
            };
            is & mask.unwrap_or(u128::MAX) == *value
        })
    }

    /// Lets our flows of table 65 have it, as often as it comes back, and returns how many copies they make.
    fn deliver(&mut self, plan: &Plan, outport: u128) -> usize {
        let mut copies = 0;
        for _ in 0..5 {
            let ours = plan.flows.iter().filter(|flow| flow.key.table == TableId(65));
            let matching: Vec<_> = ours.filter(|flow| self.matches(outport, flow)).collect();
            let Some(first) = matching.iter().max_by_key(|flow| flow.key.priority) else {
                return copies;
            };
            let alike = matching.iter().filter(|flow| flow.key.priority == first.key.priority);
            assert_eq!(alike.count(), 1, "which one the switch takes is open: {matching:?}");
            for action in first.actions() {
                match action {
                    Action::Output { .. } => copies += 1,
                    Action::SetField(MatchField::Typed { field: FLAGS, value, mask }) => {
                        let mask = mask.expect("some bits") as u32;
                        self.reg10 = self.reg10 & !mask | *value as u32;
                    }
                    Action::CopyField {
                        bits: 1,
                        source: Field::CT_MARK,
                        source_offset,
                        destination: FLAGS,
                        destination_offset,
                    } => {
                        let bit = (self.ct_mark >> source_offset & 1) as u32;
                        let mask = 1 << destination_offset;
                        self.reg10 = self.reg10 & !mask | bit << destination_offset;
                    }
                    Action::Resubmit { .. } => {}
                    other => panic!("{other}"),
                }
            }
        }
        panic!("it comes back for ever: {self:?}")
    }
}

#[test]
fn what_is_delivered_has_one_copy_of_its_form_whoever_gets_it_and_whatever_ovn_did_to_it() {
    let to = |outport, port| delivery_flow(65, outport, vec![Action::output(OfPort(port))]);
    let found = deliveries(&[to(3, 2), to(4, 3)]);
    let (tracked, reply, natted) = (0x20, 0x28, 0x2);
    for marker in [MarkerBits::default(), MarkerBits { copied: 3, delivered: 30 }] {
        let mut planner = Planner::default();
        for (name, port) in [("pod2", 2), ("pod3", 3)] {
            planner.set_taps(&name.into(), vec![tap(name, port, Direction::ToPod)]);
        }
        planner.settle(Base { marker: Some(marker), ..base() }, &found, []);
        let of_others = !(marker.copied_mask() | marker.delivered_mask());
        for (in_port, ct_state, ct_mark, rewritten) in [
            (OfPort(2), 0, 0, false),
            (OfPort(2), tracked, 0, false),
            (OfPort(2), tracked, natted, false),
            (OfPort(2), reply, 0, false),
            (OfPort(2), reply, !natted, false),
            (OfPort(2), reply, natted, true),
            (OfPort(2), reply, u128::MAX, true),
            (OfPort::ANY, 0, 0, true),
            (OfPort::ANY, reply, 0, true),
            (OfPort::ANY, reply, natted, true),
            (OfPort::CONTROLLER, 0, 0, true),
            (OfPort::CONTROLLER, reply, 0, true),
        ] {
            let copied = marker.copied_mask();
            for (copied_on_entry, reg10, flag) in
                [(false, 0, 1), (true, copied, 1), (false, 0, 0), (true, copied, 0)]
            {
                // Without OVN's flag that lets it loop back, nothing was turned around: it is the clone of a frame.
                let clone =
                    in_port == OfPort::ANY && flag == 0 && (ct_state, ct_mark) != (reply, natted);
                let rewritten = rewritten && !clone;
                let of_others = of_others & !1 | flag;
                // Port 5 is no Pod's that is mirrored.
                for receivers in [[3, 4], [4, 3], [5, 3], [3, 5]] {
                    let reg10 = reg10 | of_others;
                    let mut frame = Delivered { reg10, in_port, ct_state, ct_mark };
                    let copies: usize =
                        receivers.iter().map(|port| frame.deliver(planner.plan(), *port)).sum();
                    let wanted = usize::from(!copied_on_entry || rewritten);
                    assert_eq!(copies, wanted, "{frame:?} to {receivers:?}");
                    assert_eq!(frame.reg10 & of_others, of_others, "bits of others: {frame:?}");
                }
            }
        }
    }
}

/// A flow of OVN's that marks packets.
fn mark(table: u8, datapath: u64) -> Flow {
    let eth_type = Field { class: 0x8000, number: 5, width: 2, experimenter: 0 };
    let fields = vec![
        MatchField::exact(Field::METADATA, datapath.into()),
        MatchField::exact(eth_type, 0x0800),
    ];
    let set = Action::SetField(MatchField::masked(Field::IP_DSCP, 10, 0x3f));
    let actions = vec![set, Action::resubmit(TableId(18 + table))];
    Flow::new(key(TableId(17 + table), 100, fields), Cookie(0x1234), actions)
}

#[test]
fn a_switch_has_the_flows_for_marked_packets_as_long_as_deliveries_in_it_are_copied() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let mut pipeline = Pipeline::default();
    pipeline.insert(&mark(0, 1));
    pipeline.insert(&mark(1, 2));
    let base = Base { pipeline: Arc::new(pipeline), ..base() };
    let mut planner = Planner::default();
    let tables = |planner: &Planner| -> BTreeSet<u8> {
        planner.plan().flows.iter().map(|flow| flow.key.table.0).collect()
    };
    planner.set_taps(&"pod".into(), vec![tap("pod", 2, Direction::FromPod)]);
    planner.settle(base.clone(), &found, []);
    assert_eq!(
        tables(&planner),
        [0].into(),
        "nothing forgets a copy where none is made on delivery"
    );
    planner.set_taps(&"pod".into(), vec![tap("pod", 2, Direction::ToPod)]);
    planner.settle(base.clone(), &found, []);
    assert_eq!(tables(&planner), [0, 17, 18, 65].into(), "of its own switch only");
    planner.set_taps(&"pod".into(), vec![]);
    planner.settle(base, &found, []);
    assert_eq!(tables(&planner), [0].into());
}

#[test]
fn a_nested_container_has_flows_with_its_tag_and_one_that_forgets_it() {
    let tag = vec![
        Action::PushVlan(0x8100),
        Action::SetField(MatchField::exact(Field::VLAN_VID, 0x102a)),
        Action::output(OfPort(2)),
        Action::PopVlan,
    ];
    let found = deliveries(&[
        delivery_flow(65, 3, vec![Action::output(OfPort(2))]),
        delivery_flow(65, 4, tag),
    ]);
    let plan = planned(&Direction::BOTH.map(|direction| tap("parent", 2, direction)), &found);
    assert_eq!(plan.rejected().count(), 0);
    let own = |purpose| {
        let cookie = Cookie::new(purpose, OfPort(2));
        plan.flows.iter().filter(move |flow| flow.cookie == cookie)
    };
    assert_eq!(own(Purpose::ToPod).count(), 1 + 3, "untagged, and with each state of the bits");
    let states: BTreeSet<_> = own(Purpose::ToPod)
        .filter(|flow| flow.actions().any(|action| matches!(action, Action::Clone(_))))
        .map(|flow| {
            let before = flow.key.matching.fields().iter().find_map(|field| match field {
                MatchField::Typed { field: FLAGS, value, .. } => Some(*value),
                _ => None,
            });
            let Some(Action::SetField(MatchField::Typed { value, .. })) = flow.actions().last()
            else {
                panic!("{flow} leaves the bits as they are")
            };
            assert_eq!(before, Some(*value), "{flow} restores another state");
            *value
        })
        .collect();
    assert_eq!(states.len(), 3);
    let [forgets] = own(Purpose::Rewritten).collect::<Vec<_>>().try_into().expect("one flow");
    assert_eq!(forgets.key.matching.exact(Field::reg(14)), Some(4));
}

/// Something that happens to a small bridge.
#[derive(Clone, Debug)]
enum Step {
    Taps { name: u8, number: Option<u32>, directions: Vec<Direction> },
    Delivery { outport: u128, priority: u16, to: u32, rewrites: bool },
    Block { outport: u128, priority: u16 },
    NoDelivery { outport: u128, priority: u16 },
    Base(Base),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let directions = prop::sample::subsequence(Direction::BOTH.to_vec(), 0..=2);
    let number = prop::option::weighted(0.9, 1_u32..5);
    let priority = || prop::sample::select(vec![100_u16, 150, 1000]);
    let sinks = prop::sample::subsequence(vec![NIC, OfPort(4)], 0..=2);
    let marker = prop::option::weighted(0.8, Just(MarkerBits::default()));
    let withheld = prop_oneof![
        3 => Just(Withheld::Nothing),
        1 => Just(Withheld::Hooks),
        1 => prop::collection::btree_set((1_u32..5).prop_map(OfPort), 0..3)
            .prop_map(|ports| Withheld::Ports(ports.into())),
    ];
    let pipeline = prop::collection::btree_map(0_u8..3, 0_u64..3, 0..3).prop_map(|marks| {
        let mut pipeline = Pipeline::default();
        marks.into_iter().for_each(|(table, datapath)| pipeline.insert(&mark(table, datapath)));
        Arc::new(pipeline)
    });
    let step = prop_oneof![
        4 => (0_u8..4, number, directions)
            .prop_map(|(name, number, directions)| Step::Taps { name, number, directions }),
        4 => (0_u128..3, priority(), 1_u32..5, prop::bool::weighted(0.2)).prop_map(
            |(outport, priority, to, rewrites)| Step::Delivery { outport, priority, to, rewrites }
        ),
        1 => (0_u128..3, priority()).prop_map(|(outport, priority)| Step::Block { outport, priority }),
        2 => (0_u128..3, priority()).prop_map(|(outport, priority)| Step::NoDelivery { outport, priority }),
        1 => (sinks, marker, withheld, prop_oneof![Just(vec![]), Just(vec![1])], pipeline)
            .prop_map(|(sinks, marker, withheld, full, pipeline)| {
                let full = Arc::new(full.into_iter().collect());
                Step::Base(Base { sinks, marker, withheld, full, pipeline })
            }),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    /// However the facts came about, the plan is what follows from them, and what is told to have changed is all that
    /// did.
    #[test]
    fn the_plan_does_not_depend_on_how_it_came_about(steps in steps()) {
        let (mut planner, mut base, mut found) = (Planner::default(), base(), Deliveries::default());
        let mut all_taps = std::collections::BTreeMap::<Arc<str>, Vec<Tap>>::new();
        let mut followed = FlowSet::default();
        for step in steps {
            match step {
                Step::Taps { name, number, directions } => {
                    let name: Arc<str> = format!("pod{name}").into();
                    let tap = |direction| Tap {
                        ofport: number.map(OfPort), ..tap(&name, 0, direction)
                    };
                    let taps: Vec<_> = directions.into_iter().map(tap).collect();
                    planner.set_taps(&name, taps.clone());
                    all_taps.insert(name, taps);
                }
                Step::Delivery { outport, priority, to, rewrites } => {
                    let output = [Action::output(OfPort(to))];
                    let vlan = Action::SetField(MatchField::exact(Field::VLAN_VID, 0x1000 + outport));
                    let actions = match (rewrites, outport) {
                        (false, _) => output.to_vec(),
                        (true, 0) => vec![Action::PopVlan, output[0].clone()],
                        (true, _) => {
                            [&[Action::PushVlan(0x8100), vlan][..], &output, &[Action::PopVlan]].concat()
                        }
                    };
                    let mut flow = delivery_flow(65 + (outport % 2) as u8, outport, actions);
                    flow.key.priority = priority;
                    found.insert(&flow);
                }
                Step::Block { outport, priority } => {
                    let mut flow = delivery_flow(65 + (outport % 2) as u8, outport, vec![]);
                    flow.key.priority = priority;
                    found.insert(&flow);
                }
                Step::NoDelivery { outport, priority } => {
                    let mut flow = delivery_flow(65 + (outport % 2) as u8, outport, vec![]);
                    flow.key.priority = priority;
                    found.remove(&flow.key);
                }
                Step::Base(changed) => base = changed,
            }
            let delivered = found.take_changed();
            planner.settle(base.clone(), &found, delivered);
            let mut anew = Planner::default();
            all_taps.iter().for_each(|(name, taps)| anew.set_taps(name, taps.clone()));
            anew.settle(base.clone(), &found, []);
            prop_assert_eq!(planner.plan(), anew.plan());
            prop_assert_eq!(planner.undelivered(), anew.undelivered());
            prop_assert_eq!(planner.hooked(), anew.hooked());
            if let Changed::Keys(keys) = planner.take_changed() {
                let flows = &planner.plan().flows;
                let unsaid = diff(flows, &followed).into_iter().filter(|change| match change {
                    crate::diff::Change::Delete(key, _) => !keys.contains(key),
                    crate::diff::Change::Install(flow) => !keys.contains(&flow.key),
                });
                prop_assert_eq!(unsaid.count(), 0);
            }
            followed = planner.plan().flows.clone();
        }
    }
}
