use std::time::Duration;

use flows::{
    model::{Action, Cookie, Field, FlowKey, Match, MatchField, OfPort, TableId},
    ofp::{FlowFlags, FlowStats, Timeouts},
};

use super::*;

fn flow(port: u32, fields: Vec<MatchField>, actions: Vec<Action>) -> Flow {
    let key = FlowKey { table: TableId(0), priority: 65534, matching: Match::new(fields) };
    Flow::new(key, Cookie::new(Purpose::FromPod, OfPort(port)), actions)
}

fn described(flow: Flow, stats: FlowStats) -> FlowDesc {
    FlowDesc {
        flow,
        flags: FlowFlags::empty(),
        timeouts: Timeouts::default(),
        importance: 0,
        stats,
    }
}

fn nobodys(_: &Flow) -> String {
    String::new()
}

#[test]
fn a_flow_is_printed_as_dump_flows_prints_it() {
    let fields = vec![MatchField::exact(Field::IN_PORT, 2)];
    let stats = FlowStats {
        duration: Some(Duration::from_millis(61_005)),
        packets: Some(7),
        bytes: Some(686),
        ..FlowStats::default()
    };
    assert_eq!(
        counted(&described(flow(2, fields, vec![Action::output(OfPort(9))]), stats), |_| {
            " # shop/web".to_owned()
        }),
        "cookie=0x6f666d7210000002, duration=61.005s, table=0, n_packets=7, n_bytes=686, \
         priority=65534,in_port=2 actions=output:9 # shop/web\n"
    );
}

#[test]
fn a_flow_without_match_and_actions_is_printed_so_that_it_can_be_read_back() {
    assert_eq!(
        counted(&described(flow(2, vec![], vec![]), FlowStats::default()), nobodys),
        "cookie=0x6f666d7210000002, table=0, n_packets=0, n_bytes=0, priority=65534 actions=drop\n"
    );
}

#[test]
fn a_difference_reads_like_that_of_diff_first_what_goes() {
    let of = |port| flow(port, vec![MatchField::exact(Field::IN_PORT, port.into())], vec![]);
    let difference = Difference { missing: vec![of(2)], superfluous: vec![of(3)] };
    assert_eq!(
        changes(&difference, nobodys),
        "-cookie=0x6f666d7210000003,table=0,priority=65534,in_port=3 actions=drop\n\
         +cookie=0x6f666d7210000002,table=0,priority=65534,in_port=2 actions=drop\n"
    );
    assert_eq!(changes(&Difference::default(), nobodys), "");
}
