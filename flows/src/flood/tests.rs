use super::*;
use crate::model::{Cookie, FlowKey, Match, MatchField};

const DATAPATH: u64 = 1;
const T: TableId = TableId(65);

fn flow(table: u8, fields: Vec<MatchField>, actions: Vec<Action>) -> Flow {
    let key = FlowKey { table: TableId(table), priority: 100, matching: Match::new(fields) };
    Flow::new(key, Cookie(1), actions)
}

fn metadata() -> MatchField {
    MatchField::exact(Field::METADATA, DATAPATH.into())
}

/// A group's flow in `table` with so many receivers.
fn group(table: u8, number: u128, receivers: u64) -> Flow {
    let one = Action::resubmit(TableId(41));
    let actions = (0..receivers).map(|_| one.clone()).collect();
    flow(table, vec![metadata(), MatchField::exact(OUTPORT, number)], actions)
}

/// OVN 23.03 on a node: 13 tables from 41 on for each receiver, some of which are a router's.
fn floods(ports: u64, routers: u64) -> Floods {
    let mut floods = Floods::default();
    for table in (8..52).chain([65]) {
        floods.look_at(&flow(table, vec![metadata()], vec![]));
    }
    floods.look_at(&flow(64, vec![], vec![Action::resubmit(T)]));
    let mut remote = vec![Action::resubmit(TableId(41)); routers as usize];
    remote.push(Action::resubmit(TableId(40)));
    floods.look_at(&flow(39, vec![metadata(), MatchField::exact(OUTPORT, 0x8000)], remote));
    floods.look_at(&group(40, 0x8000, ports));
    floods.look_at(&group(40, 0x8004, ports));
    floods
}

fn is_near(floods: &Floods, then: u64, now: u64) -> bool {
    let ports = [(DATAPATH, Ports { then, now, table: T })].into();
    floods.near_limit(&ports).contains(&DATAPATH)
}

#[test]
fn only_a_switch_whose_floods_may_just_arrive_is_near_the_limit() {
    // 304 ports and 7 routers take 4,097 lookups, the first of which does not count.
    assert!(is_near(&floods(304, 7), 304, 304));
    for (ports, routers) in [(110, 7), (250, 1), (250, 7), (280, 7), (290, 1), (350, 1), (500, 7)] {
        assert!(
            !is_near(&floods(ports, routers), ports, ports),
            "{ports} ports, {routers} routers"
        );
    }
    for (ports, routers) in [(315, 0), (310, 1), (300, 7), (304, 6)] {
        assert!(is_near(&floods(ports, routers), ports, ports), "{ports} ports, {routers} routers");
    }
}

#[test]
fn ports_that_came_since_the_flows_were_read_count_too() {
    let floods = floods(250, 7);
    assert!(!is_near(&floods, 250, 270));
    assert!(is_near(&floods, 250, 300));
    assert!(!is_near(&floods, 250, 100));
}

#[test]
fn a_flood_that_ovn_does_in_several_goes_is_as_long_as_the_longest() {
    let mut floods = floods(0, 1);
    for first in [0x9000, 0x9001, 0x9002] {
        let mut part = group(40, 0x8000, 105);
        let fields = part.key.matching.fields().iter().cloned();
        part.key.matching = fields.chain([MatchField::exact(Field::reg(6), first)]).collect();
        floods.look_at(&part);
    }
    assert!(!is_near(&floods, 310, 310));
}

#[test]
fn a_datapath_without_deliveries_or_without_floods_is_not_near() {
    assert_eq!(floods(304, 7).near_limit(&BTreeMap::new()), BTreeSet::new());
    assert!(!is_near(&Floods::default(), 304, 304));
}
