use super::*;

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
    flows.iter().for_each(|flow| assert!(deliveries.insert(flow)));
    deliveries
}

fn planned(taps: &[Tap], deliveries: &Deliveries) -> Plan {
    plan(&Input { taps, sinks: &[NIC], deliveries, marker: MarkerBits::default() })
}

fn purposes(plan: &Plan) -> Vec<(Purpose, OfPort)> {
    plan.flows.iter().map(|flow| flow.cookie.purpose().expect("ours")).collect()
}

#[test]
fn without_taps_only_the_mirror_port_is_guarded() {
    let plan = planned(&[], &Deliveries::default());
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC)]);
    assert_eq!(plan.flows[0].actions().count(), 0, "drops");
}

#[test]
fn a_port_has_a_flow_for_each_direction_and_each_delivery_table_three() {
    let found = deliveries(&[
        delivery_flow(65, 3, vec![Action::output(OfPort(2))]),
        delivery_flow(89, 4, vec![Action::output(OfPort(3))]),
    ]);
    let taps =
        [2, 3].map(|n| Direction::BOTH.map(|direction| tap(&format!("pod{n}"), n, direction)));
    let plan = planned(taps.as_flattened(), &found);
    assert_eq!(plan.rejected, []);
    assert_eq!(plan.flows.len(), 1 + 2 * 2 + 2 * 3);
    for table in [65, 89] {
        let in_table = plan.flows.iter().filter(|flow| flow.key.table == TableId(table));
        assert_eq!(in_table.count(), 1 + 3, "table {table}");
    }
}

#[test]
fn no_flow_outputs_to_anything_but_the_mirror_port() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let plan = planned(&Direction::BOTH.map(|direction| tap("pod", 2, direction)), &found);
    let outputs: Vec<_> = plan
        .flows
        .iter()
        .flat_map(Flow::actions)
        .filter_map(|action| match action {
            Action::Output { port, .. } => Some(*port),
            _ => None,
        })
        .collect();
    assert_eq!(outputs, [NIC, NIC]);
}

#[test]
fn every_flow_but_the_guard_hands_the_packet_back_to_its_table() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let plan = planned(&Direction::BOTH.map(|direction| tap("pod", 2, direction)), &found);
    for flow in &plan.flows[1..] {
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
        plan.rejected.iter().map(|rejected| (&*rejected.port, rejected.reason.name())).collect();
    assert_eq!(
        reasons,
        [
            ("new", "no_ofport"),
            ("controller", "reserved_ofport"),
            ("mirror0", "is_sink"),
            ("parent", "rewriting_delivery"),
            ("stale", "shared_ofport"),
            ("unbound", "no_delivery"),
        ]
    );
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))]);
}

#[test]
fn no_two_flows_have_the_same_key() {
    let found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    let twice = [tap("pod", 2, Direction::ToPod), tap("pod", 2, Direction::ToPod)];
    let plan = planned(&twice, &found);
    let keys: HashSet<_> = plan.flows.iter().map(|flow| &flow.key).collect();
    assert_eq!(keys.len(), plan.flows.len());
}

#[test]
fn a_delivery_moves_with_its_flow() {
    let mut found = deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]);
    assert!(found.insert(&delivery_flow(65, 3, vec![Action::output(OfPort(5))])));
    assert_eq!(found.to(OfPort(2)), []);
    assert_eq!(found.to(OfPort(5)).len(), 1);
    assert!(!found.insert(&delivery_flow(65, 3, vec![Action::output(OfPort(5))])), "nothing new");
    assert!(found.insert(&delivery_flow(65, 3, vec![])), "it drops now");
    assert_eq!(found.to(OfPort(5)), []);
}

#[test]
fn neither_a_flow_of_ours_nor_one_for_some_packets_only_is_a_delivery() {
    let ours = planned(
        &[tap("pod", 2, Direction::ToPod)],
        &deliveries(&[delivery_flow(65, 3, vec![Action::output(OfPort(2))])]),
    );
    assert!(ours.flows.iter().all(|flow| Delivery::of(flow).is_none()));
    let mut narrow = delivery_flow(65, 3, vec![Action::output(OfPort(2))]);
    narrow.key.matching = narrow
        .key
        .matching
        .fields()
        .iter()
        .cloned()
        .chain([MatchField::exact(Field::IN_PORT, 1)])
        .collect();
    assert_eq!(Delivery::of(&narrow), None);
}
