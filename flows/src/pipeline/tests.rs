//! Flows as OVN 23.03 and 25.03 write them.

use super::*;
use crate::model::{Action, Cookie, Field, Match, MatchField, OfPort};

const DATAPATH: MatchField = MatchField::exact(Field::METADATA, 1);
const IP: MatchField =
    MatchField::exact(Field { class: 0x8000, number: 5, width: 2, experimenter: 0 }, 0x0800);
const FROM_PORT: MatchField = MatchField::exact(Field::reg(14), 3);

fn of_ovn(table: u8, priority: u16, fields: &[MatchField], actions: Vec<Action>) -> Flow {
    let key = FlowKey { table: TableId(table), priority, matching: Match::new(fields) };
    Flow::new(key, Cookie(0x042d_7eb8), actions)
}

fn set_dscp(value: u128) -> Action {
    Action::SetField(MatchField::masked(Field::IP_DSCP, value, 0x3f))
}

fn marks(fields: &[MatchField]) -> Flow {
    of_ovn(17, 100, fields, vec![set_dscp(10), Action::resubmit(TableId(18))])
}

fn pipeline(flows: &[Flow]) -> Pipeline {
    let mut pipeline = Pipeline::default();
    flows.iter().for_each(|flow| pipeline.insert(flow));
    pipeline
}

fn text(pipeline: &Pipeline) -> Vec<String> {
    let flows = pipeline.flows(1, MarkerBits::default());
    let mut lines: Vec<_> = flows.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn a_rule_that_marks_packets_has_flows_that_tell_whether_it_changes_them() {
    let pipeline = pipeline(&[marks(&[IP, FROM_PORT, DATAPATH])]);
    let cookie = "cookie=0x6f666d7230000000";
    let of_rule = "ip,reg14=0x3,metadata=0x1";
    let mut wanted = Vec::new();
    for state in ["0x8000000", "0x4000000"] {
        wanted.push(format!(
            "{cookie},table=17,priority=101,{of_rule},reg10={state}/0xc000000 actions=set_field:0x0/0xc000000->reg10,resubmit(,17)"
        ));
        wanted.push(format!(
            "{cookie},table=17,priority=102,{of_rule},reg10={state}/0xc000000,ip_dscp=10 actions=set_field:0xc000000/0xc000000->reg10,resubmit(,17)"
        ));
    }
    wanted.push(format!(
        "{cookie},table=18,priority=65534,reg10=0xc000000/0xc000000,metadata=0x1 actions=set_field:0x8000000/0xc000000->reg10,resubmit(,18)"
    ));
    wanted.sort();
    assert_eq!(text(&pipeline), wanted);
    assert!(pipeline.flows(2, MarkerBits::default()).is_empty(), "another switch");
}

#[test]
fn a_rule_for_one_dscp_changes_it_always_or_never() {
    let dscp = |value| MatchField::exact(Field::IP_DSCP, value);
    assert_eq!(text(&pipeline(&[marks(&[IP, DATAPATH, dscp(46)])])).len(), 2 + 1);
    assert_eq!(text(&pipeline(&[marks(&[IP, DATAPATH, dscp(10)])])).len(), 0);
}

#[test]
fn flags_of_ovn_in_the_rule_stay_in_the_match() {
    let flag = |mask| MatchField::Typed { field: Field::reg(10), value: 0x40, mask };
    let found = pipeline(&[marks(&[IP, DATAPATH, flag(Some(0x40))])]);
    assert!(text(&found).iter().any(|flow| flow.contains("reg10=0x8000040/0xc000040")));
    // All of the register, and our bits with it.
    let found = pipeline(&[marks(&[IP, DATAPATH, flag(None)])]);
    assert_eq!(text(&found).len(), 1, "{:?}", text(&found));
}

#[test]
fn what_marks_no_packets_of_a_switch_and_what_is_not_simple_is_left_alone() {
    let resubmit = || Action::resubmit(TableId(18));
    let pipeline = Pipeline::default();
    let flow = |fields: &[MatchField], actions| of_ovn(17, 100, fields, actions);
    for flow in [
        flow(&[IP, DATAPATH], vec![resubmit()]),
        flow(&[IP], vec![set_dscp(10), resubmit()]),
        flow(&[DATAPATH], vec![set_dscp(10), resubmit()]),
        flow(&[IP, DATAPATH], vec![set_dscp(10)]),
        flow(&[IP, DATAPATH], vec![set_dscp(10), resubmit(), resubmit()]),
        flow(&[IP, DATAPATH], vec![set_dscp(10), Action::resubmit(TableId(17))]),
        of_ovn(17, 65533, &[IP, DATAPATH], vec![set_dscp(10), resubmit()]),
        Flow { cookie: Cookie::OURS, ..marks(&[IP, DATAPATH]) },
    ] {
        assert!(!pipeline.is_news(&flow), "{flow}");
    }
}

#[test]
fn a_flood_that_goes_on_is_taken_for_copied_if_it_was() {
    let group = |key| MatchField::exact(Field::reg(15), key);
    let part = |number| MatchField::exact(Field::reg(6), number);
    let resumes = |number| of_ovn(40, 110, &[group(0x8000), part(number), DATAPATH], vec![]);
    let found = pipeline(&[resumes(0x9001), resumes(0x9002)]);
    assert_eq!(
        text(&found),
        [
            "cookie=0x6f666d7230000000,table=40,priority=65535,in_port=CONTROLLER,reg6=0x9000/0xfffff000,reg10=0x8000000/0xc000000,metadata=0x1 actions=set_field:0x4000000/0xc000000->reg10,resubmit(,40)"
        ]
    );
    for other in [
        of_ovn(40, 100, &[group(0x8000), DATAPATH], vec![]),
        of_ovn(40, 100, &[group(0x8000), part(1), DATAPATH], vec![]),
        of_ovn(40, 100, &[group(3), part(0x9001), DATAPATH], vec![]),
        of_ovn(40, 100, &[group(0x8000), part(0x9001)], vec![]),
    ] {
        assert!(!found.is_news(&other), "{other}");
    }
}

#[test]
fn findings_come_change_and_go_with_their_flows() {
    let rule = marks(&[IP, DATAPATH]);
    let mut found = pipeline(std::slice::from_ref(&rule));
    assert!(!found.is_news(&rule));
    let mut other = rule.clone();
    other.instructions = crate::model::Instruction::apply(vec![Action::output(OfPort(1))]);
    assert!(found.is_news(&other) && found.contains(&other.key));
    found.insert(&other);
    assert_eq!(found, Pipeline::default(), "it marks nothing any more");
    found.insert(&rule);
    found.remove(&rule.key);
    assert_eq!(found, Pipeline::default());

    let elsewhere =
        of_ovn(47, 100, &[IP, DATAPATH], vec![set_dscp(1), Action::resubmit(TableId(48))]);
    let found = pipeline(&[rule.clone(), elsewhere.clone()]);
    assert_eq!(
        found.with_table(TableId(17), Pipeline::default()),
        pipeline(std::slice::from_ref(&elsewhere))
    );
    assert_eq!(found.with_table(TableId(9), pipeline(std::slice::from_ref(&rule))), found);
}

#[test]
fn no_more_is_kept_than_a_rule_for_a_thousand_addresses() {
    let address = Field { class: 0x8000, number: 11, width: 4, experimenter: 0 };
    let many = (0..2000).map(|of| marks(&[IP, DATAPATH, MatchField::exact(address, of)]));
    let found = pipeline(&many.collect::<Vec<_>>());
    assert_eq!(text(&found).len(), MOST * 4 + 1);
}
