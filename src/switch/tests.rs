use std::sync::LazyLock;

use flows::{
    model::{Action, Cookie, Field, FlowKey, Match, MatchField, Purpose},
    ofp::{
        AsyncEvent, FlowDesc, FlowFlags, FlowMonitorRequest, FlowRemoved, FlowStats, OfpError,
        RemovedReason, Timeouts,
    },
};

use super::*;

mod crowded;

/// No time passes, however long the machine takes.
fn now() -> Instant {
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    *NOW
}

const NIC: OfPort = OfPort(9);

fn flow(table: u8, priority: u16, cookie: Cookie, fields: Vec<MatchField>, to: u32) -> Flow {
    let key = FlowKey { table: TableId(table), priority, matching: Match::new(fields) };
    Flow::new(key, cookie, vec![Action::output(OfPort(to))])
}

fn ours(port: u32) -> Flow {
    let bits = MarkerBits::default();
    let bits = u128::from(bits.copied_mask() | bits.delivered_mask());
    let marked = MatchField::masked(Field::reg(MarkerBits::REGISTER), 0, bits);
    let fields = vec![MatchField::exact(Field::IN_PORT, port.into()), marked];
    flow(0, 65534, Cookie::new(Purpose::FromPod, OfPort(port)), fields, NIC.0)
}

fn foreign(port: u32) -> Flow {
    Flow { cookie: Cookie(0x1234), ..ours(port) }
}

/// OVN's flow that delivers to `port`.
fn delivery(table: u8, port: u32) -> Flow {
    let fields =
        vec![MatchField::exact(Field::reg(15), port.into()), MatchField::exact(Field::METADATA, 1)];
    flow(table, 100, Cookie(0x1234), fields, port)
}

/// A flow of somebody who matches on these bits of our register.
fn looks_at(bits: u32) -> Flow {
    let fields =
        vec![MatchField::masked(Field::reg(MarkerBits::REGISTER), bits.into(), bits.into())];
    flow(20, 50, Cookie(0x1234), fields, 1)
}

fn new(wanted: Option<MarkerBits>) -> Switch {
    let features = Features {
        datapath_id: 1,
        buffers: 0,
        tables: 254,
        auxiliary_id: 0,
        capabilities: 0,
        reserved: 0,
    };
    Switch::new(features, wanted)
}

/// What is asked, but for how the mirror port is, what it has counted and how many flows there are, which is answered: few.
fn asked(switch: &mut Switch) -> Vec<(Tag, MultipartRequest)> {
    let mut asked = Vec::new();
    while let Some((tag, request)) = switch.poll_request(now()) {
        match tag {
            Tag::Sink => answer(switch, tag, MultipartReply::PortStats(vec![]), false),
            Tag::SinkState => answer(switch, tag, MultipartReply::PortDesc(vec![]), false),
            Tag::Sizes => answer(switch, tag, MultipartReply::TableStats(vec![]), false),
            Tag::Others => answer(switch, tag, MultipartReply::FlowMonitor(vec![]), false),
            _ => asked.push((tag, request)),
        }
    }
    asked
}

fn tags(switch: &mut Switch) -> Vec<Tag> {
    asked(switch).into_iter().map(|(tag, _)| tag).collect()
}

fn answer(switch: &mut Switch, tag: Tag, body: MultipartReply, more: bool) {
    switch.handle(Event::Part { tag, body, more }, now());
}

fn describe(flow: &Flow) -> FlowDesc {
    FlowDesc {
        flow: flow.clone(),
        flags: FlowFlags::empty(),
        timeouts: Timeouts::default(),
        importance: 0,
        stats: FlowStats::default(),
    }
}

/// Answers a request to read flows.
fn read(switch: &mut Switch, tag: Tag, flows: &[Flow]) {
    let body = MultipartReply::FlowDesc(flows.iter().map(describe).collect());
    answer(switch, tag, body, false);
}

/// Answers a request to monitor flows.
fn initial(switch: &mut Switch, tag: Tag, flows: &[Flow]) {
    let there =
        |flow: &Flow| FlowUpdate::Initial { flow: flow.clone(), timeouts: Timeouts::default() };
    answer(switch, tag, MultipartReply::FlowMonitor(flows.iter().map(there).collect()), false);
}

fn refuse(switch: &mut Switch, tag: Tag) {
    let error = OfpError {
        // OFPBRC_BAD_MULTIPART.
        kind: 1,
        code: 2,
        experimenter: 0,
        data: bytes::Bytes::new(),
    };
    switch.handle(Event::Refused { tag, error: RequestError::Switch(error) }, now());
}

fn update(switch: &mut Switch, update: FlowUpdate) {
    switch.handle(Event::Updates(vec![update]), now());
}

fn added(flow: Flow) -> FlowUpdate {
    FlowUpdate::Added { flow, timeouts: Timeouts::default() }
}

fn removed(flow: Flow) -> FlowUpdate {
    FlowUpdate::Removed { flow, reason: RemovedReason::Delete, timeouts: Timeouts::default() }
}

/// Answers all monitors' requests that wait, with nothing.
fn answer_all(switch: &mut Switch) {
    loop {
        let tags = tags(switch);
        if tags.is_empty() {
            return;
        }
        for tag in tags {
            initial(switch, tag, &[]);
        }
    }
}

/// Those of `wanted` that nothing delivers to.
fn missing(switch: &Switch, wanted: &[OfPort]) -> BTreeSet<OfPort> {
    let deliveries = switch.deliveries();
    wanted.iter().copied().filter(|port| deliveries.to(*port).next().is_none()).collect()
}

fn follow(switch: &mut Switch, sink: Option<OfPort>, wanted: &[OfPort]) {
    switch.follow(sink, &missing(switch, wanted));
}

fn tick(switch: &mut Switch, wanted: &[OfPort]) {
    switch.handle_tick(&missing(switch, wanted));
}

/// A switch that has told these flows of ours.
fn known(flows: &[Flow]) -> Switch {
    let mut switch = new(None);
    assert_eq!(tags(&mut switch), [Tag::Scan]);
    read(&mut switch, Tag::Scan, flows);
    assert_eq!(tags(&mut switch), [Tag::Hooks]);
    initial(&mut switch, Tag::Hooks, &[]);
    assert_eq!(tags(&mut switch), [Tag::Reread]);
    read(&mut switch, Tag::Reread, flows);
    follow(&mut switch, None, &[]);
    assert_eq!(tags(&mut switch), []);
    follow(&mut switch, None, &[]);
    assert!(switch.is_known() && switch.is_settled());
    switch
}

/// A switch without flow monitors that has told these flows of ours.
fn polled(flows: &[Flow]) -> Switch {
    let mut switch = new(None);
    asked(&mut switch);
    read(&mut switch, Tag::Scan, flows);
    asked(&mut switch);
    refuse(&mut switch, Tag::Hooks);
    let requests = asked(&mut switch);
    assert!(matches!(requests[..], [(Tag::Reread, MultipartRequest::FlowDesc(_))]), "{requests:?}");
    read(&mut switch, Tag::Reread, flows);
    follow(&mut switch, None, &[]);
    assert!(switch.is_known() && switch.is_settled());
    switch
}

fn observed(switch: &Switch) -> Vec<u32> {
    let mut ports: Vec<_> = switch
        .observed()
        .iter()
        .map(|flow| flow.cookie.purpose().expect("only ours are observed").1.0)
        .collect();
    ports.sort_unstable();
    ports
}

fn monitors(request: &MultipartRequest) -> &[FlowMonitorRequest] {
    let MultipartRequest::FlowMonitor(monitors) = request else { panic!("{request:?}") };
    monitors
}

#[test]
fn all_flows_are_read_before_ours_are_watched() {
    let mut switch = new(None);
    assert!(!switch.is_settled());
    assert!(matches!(asked(&mut switch)[..], [(Tag::Scan, MultipartRequest::FlowDesc(_))]));
    assert!(!switch.is_settled(), "asked is not answered");
    assert_eq!(switch.marker(), None);

    answer(&mut switch, Tag::Scan, MultipartReply::FlowDesc(vec![]), true);
    assert_eq!(asked(&mut switch), [], "another part is to come");
    read(&mut switch, Tag::Scan, &[ours(2), delivery(65, 3)]);
    assert_eq!(switch.marker(), Some(MarkerBits::default()));
    let requests = asked(&mut switch);
    let [(Tag::Hooks, request)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(monitors(request).len(), 2, "whatever the marker's R is to be");
    initial(&mut switch, Tag::Hooks, &[]);
    follow(&mut switch, None, &[]);
    assert!(!switch.is_known(), "what changed before the monitor began is still to come");

    assert_eq!(tags(&mut switch), [Tag::Reread]);
    read(&mut switch, Tag::Reread, &[ours(2)]);
    follow(&mut switch, None, &[]);
    assert!(switch.is_known() && switch.is_settled());
    assert_eq!(observed(&switch), [2]);
}

#[test]
fn nothing_is_known_before_the_tables_of_all_ports_to_follow_have_been_read() {
    let mut switch = new(None);
    let tunnel = 7;
    asked(&mut switch);
    let found = [ours(2), delivery(65, 2), delivery(66, 3), delivery(39, tunnel)];
    read(&mut switch, Tag::Scan, &found);
    asked(&mut switch);
    initial(&mut switch, Tag::Hooks, &[]);
    asked(&mut switch);
    read(&mut switch, Tag::Reread, &[ours(2)]);
    let wanted = [OfPort(2), OfPort(3), OfPort(4)];
    for table in [65, 66].map(TableId) {
        follow(&mut switch, None, &wanted);
        assert!(!switch.is_known(), "table {table} is still to be read");
        let requests = asked(&mut switch);
        assert_eq!(requests.last().map(|(tag, _)| *tag), Some(Tag::Table(table)));
        answer_watches(&mut switch, &requests);
        read(&mut switch, Tag::Table(table), &found);
    }
    follow(&mut switch, None, &wanted);
    assert!(switch.is_known(), "nothing delivers to port 4, and the tunnel is nobody's");
    assert_eq!(switch.deliveries().to(OfPort(3)).count(), 1);
}

/// Answers those of `requests` that are for a monitor.
fn answer_watches(switch: &mut Switch, requests: &[(Tag, MultipartRequest)]) {
    for _ in requests.iter().filter(|(tag, _)| *tag == Tag::Watch) {
        initial(switch, Tag::Watch, &[]);
    }
}

#[test]
fn the_table_in_which_a_probed_port_is_delivered_to_is_watched_for_all() {
    let mut switch = known(&[]);
    follow(&mut switch, Some(NIC), &[OfPort(2), OfPort(3)]);
    assert_eq!(tags(&mut switch), [Tag::Guard, Tag::Watch, Tag::Probe(OfPort(2))]);
    initial(&mut switch, Tag::Guard, &[]);
    initial(&mut switch, Tag::Watch, &[]);
    read(&mut switch, Tag::Probe(OfPort(2)), &[delivery(65, 2)]);
    assert_eq!(tags(&mut switch), [Tag::Watch, Tag::Table(TableId(65))]);
    initial(&mut switch, Tag::Watch, &[]);
    read(&mut switch, Tag::Table(TableId(65)), &[delivery(65, 2), delivery(65, 3)]);
    assert_eq!(tags(&mut switch), [Tag::Probe(OfPort(2))], "its other half");
    read(&mut switch, Tag::Probe(OfPort(2)), &[]);
    assert_eq!(switch.deliveries().to(OfPort(3)).count(), 1);
    assert_eq!(asked(&mut switch), [], "the table is watched already");

    follow(&mut switch, Some(NIC), &[OfPort(2), OfPort(3)]);
    let requests = asked(&mut switch);
    let [(Tag::Watch, request)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(monitors(request), [FlowMonitorRequest::delete(3)], "the probe has done its work");

    update(&mut switch, removed(delivery(65, 3)));
    assert_eq!(switch.deliveries().to(OfPort(3)).count(), 0);
    update(&mut switch, added(delivery(65, 4)));
    assert_eq!(switch.deliveries().to(OfPort(4)).count(), 1);
}

#[test]
fn a_new_port_is_expected_where_the_others_are_delivered_to_and_only_then_looked_for_elsewhere() {
    let mut switch = known(&[]);
    let wanted = [OfPort(2), OfPort(3)];
    follow(&mut switch, None, &wanted[..1]);
    asked(&mut switch);
    update(&mut switch, added(delivery(65, 2)));
    initial(&mut switch, Tag::Watch, &[]);
    read(&mut switch, Tag::Probe(OfPort(2)), &[]);
    follow(&mut switch, None, &wanted[..1]);
    assert_eq!(tags(&mut switch), [Tag::Watch, Tag::Watch, Tag::Table(TableId(65))]);
    read(&mut switch, Tag::Table(TableId(65)), &[delivery(65, 2)]);
    answer_all(&mut switch);

    follow(&mut switch, None, &wanted);
    assert_eq!(asked(&mut switch), [], "a probe costs the switch a look at many flows");
    initial(&mut switch, Tag::Watch, &[]);
    initial(&mut switch, Tag::Watch, &[]);
    tick(&mut switch, &wanted);
    assert_eq!(tags(&mut switch), [Tag::Watch, Tag::Probe(OfPort(3))], "it may be another table");

    update(&mut switch, removed(delivery(65, 2)));
    initial(&mut switch, Tag::Watch, &[]);
    read(&mut switch, Tag::Probe(OfPort(3)), &[]);
    answer_all(&mut switch);
    let gone = [OfPort(2)];
    follow(&mut switch, None, &gone);
    let tags = tags(&mut switch);
    assert_eq!(tags, [Tag::Watch, Tag::Probe(OfPort(2))], "a new OVN may use another table");
}

#[test]
fn a_switch_that_does_not_answer_is_asked_nothing_more_however_long_that_lasts() {
    for mut switch in [known(&[]), polled(&[])] {
        let wanted = [OfPort(2), OfPort(3)];
        follow(&mut switch, Some(NIC), &wanted);
        while switch.poll_request(now()).is_some() {}
        for _ in 0..10 {
            tick(&mut switch, &wanted);
            switch.read_sink();
            follow(&mut switch, Some(NIC), &wanted);
            assert_eq!(asked(&mut switch), []);
        }
    }
}

#[test]
fn a_port_that_is_never_delivered_to_does_not_hide_the_others() {
    let mut switch = known(&[]);
    let wanted = [OfPort(2), OfPort(3), OfPort(4)];
    follow(&mut switch, None, &wanted);
    let mut probed = vec![switch.delivery.probed()];
    for _ in 0..3 {
        answer_all(&mut switch);
        tick(&mut switch, &wanted);
        follow(&mut switch, None, &wanted);
        probed.push(switch.delivery.probed());
    }
    assert_eq!(probed, [2, 3, 4, 2].map(|port| Some(OfPort(port))));
}

#[test]
fn a_flow_of_ours_that_somebody_removes_is_lost_once() {
    let mut switch = known(&[ours(2), ours(3)]);
    assert_eq!(switch.loss(), None);
    update(&mut switch, removed(ours(2)));
    update(&mut switch, removed(ours(2)));
    assert_eq!(observed(&switch), [3]);
    assert_eq!(switch.loss().map(|loss| loss.flows), Some(1));
    update(&mut switch, removed(ours(3)));
    assert_eq!(switch.take_loss().map(|loss| loss.flows), Some(2));
    assert_eq!(switch.loss(), None);
}

#[test]
fn what_we_removed_ourselves_is_no_loss() {
    let mut switch = known(&[ours(2)]);
    switch.applied(&[Change::Delete(ours(2).key, ours(2).cookie), Change::Install(ours(3))]);
    assert_eq!(observed(&switch), [3]);
    update(&mut switch, removed(ours(2)));
    assert_eq!(switch.loss(), None);
}

#[test]
fn a_flow_of_others_is_never_observed() {
    let mut switch = known(&[]);
    update(&mut switch, added(foreign(2)));
    initial(&mut switch, Tag::Guard, &[foreign(3)]);
    switch.reread();
    read(&mut switch, Tag::Reread, &[foreign(4)]);
    assert_eq!(observed(&switch), Vec::<u32>::new());
    assert_eq!(switch.loss(), None);
}

#[test]
fn a_flow_of_others_in_the_place_of_ours_is_a_loss() {
    let mut switch = known(&[ours(2)]);
    update(&mut switch, added(foreign(2)));
    assert_eq!(observed(&switch), Vec::<u32>::new());
    assert_eq!(switch.loss().map(|loss| loss.flows), Some(1));
}

#[test]
fn a_flow_that_went_unnoticed_is_found_missing_when_ours_are_read_again() {
    let mut switch = known(&[ours(2), ours(3)]);
    switch.reread();
    switch.reread();
    assert_eq!(tags(&mut switch), [Tag::Reread], "one reading at a time");
    read(&mut switch, Tag::Reread, &[ours(3)]);
    assert_eq!(observed(&switch), [3]);
    assert_eq!(switch.loss().map(|loss| loss.flows), Some(1));
}

#[test]
fn a_reading_tells_nothing_of_flows_that_changed_meanwhile_and_all_of_the_others() {
    let mut switch = known(&[ours(2), ours(4), ours(5)]);
    switch.reread();
    assert_eq!(tags(&mut switch), [Tag::Reread]);
    switch.applied(&[Change::Install(ours(3)), Change::Delete(ours(4).key, ours(4).cookie)]);
    update(&mut switch, added(foreign(6)));
    read(&mut switch, Tag::Reread, &[ours(2), ours(4)]);
    assert_eq!(observed(&switch), [2, 3], "it was read before flow 3 came and flow 4 went");
    assert_eq!(switch.take_loss().map(|loss| loss.flows), Some(1), "flow 5 went unnoticed");
    assert_eq!(asked(&mut switch), [], "what a change costs is not another reading of all");
    let census = switch.take_counted().expect("it counts for flow 2");
    let [reading] = &census.readings[..] else { panic!("{census:?}") };
    assert_eq!(reading.key, ours(2).key);
    assert_eq!(census.unsure, HashSet::from([ours(3).key, ours(4).key]));
}

#[test]
fn a_switch_that_could_not_keep_up_is_read_again() {
    let mut switch = known(&[ours(2)]);
    update(&mut switch, FlowUpdate::Paused);
    assert_eq!(asked(&mut switch), []);
    update(&mut switch, FlowUpdate::Resumed);
    assert_eq!(tags(&mut switch), [Tag::Reread]);
}

#[test]
fn a_refused_reading_does_not_keep_the_next_from_being_asked() {
    let mut switch = known(&[]);
    switch.reread();
    asked(&mut switch);
    refuse(&mut switch, Tag::Reread);
    assert!(switch.is_settled());
    switch.reread();
    assert_eq!(tags(&mut switch), [Tag::Reread]);
}

#[test]
fn without_flow_monitors_the_switch_is_to_tell_of_removals_and_ours_are_read_then() {
    let mut switch = polled(&[ours(2)]);
    let Some(Message::SetAsync(masks)) = switch.poll_message() else { panic!("no mask") };
    let unmasked: Vec<_> = masks.iter().filter(|mask| mask.reasons != 0).collect();
    let events: Vec<_> = unmasked.iter().map(|mask| mask.event).collect();
    assert_eq!(events, [AsyncEvent::PORT_STATUS, AsyncEvent::FLOW_REMOVED]);
    assert!(matches!(switch.poll_message(), Some(Message::SetConfig { miss_send_len: 1.., .. })));
    let Flow { key, cookie, .. } = ours(2);
    let removed = FlowRemoved {
        key,
        cookie,
        reason: RemovedReason::Delete,
        timeouts: Timeouts::default(),
        stats: FlowStats::default(),
    };
    switch.handle(Event::FlowRemoved(removed), now());
    assert_eq!(tags(&mut switch), [Tag::Reread]);
}

#[test]
fn without_flow_monitors_ours_are_read_at_each_tick() {
    let mut switch = polled(&[ours(2)]);
    assert_eq!(switch.watching(), Watching::Polling);
    assert_eq!(observed(&switch), [2]);
    tick(&mut switch, &[]);
    assert_eq!(tags(&mut switch), [Tag::Reread]);
    read(&mut switch, Tag::Reread, &[]);
    assert_eq!(observed(&switch), Vec::<u32>::new());
    assert_eq!(switch.loss().map(|loss| loss.flows), Some(1));
}

#[test]
fn without_flow_monitors_a_delivery_that_is_gone_is_forgotten_at_the_next_tick() {
    let mut switch = polled(&[]);
    follow(&mut switch, Some(NIC), &[OfPort(2)]);
    assert_eq!(tags(&mut switch), [Tag::Probe(OfPort(2))], "no monitor for the guard");
    read(&mut switch, Tag::Probe(OfPort(2)), &[delivery(65, 2)]);
    assert_eq!(tags(&mut switch), [Tag::Table(TableId(65))]);
    read(&mut switch, Tag::Table(TableId(65)), &[delivery(65, 2), delivery(65, 3)]);
    assert_eq!(switch.deliveries().to(OfPort(3)).count(), 1);
    assert_eq!(tags(&mut switch), [Tag::Probe(OfPort(2))]);
    read(&mut switch, Tag::Probe(OfPort(2)), &[]);

    tick(&mut switch, &[OfPort(2)]);
    assert_eq!(tags(&mut switch), [Tag::Reread]);
    read(&mut switch, Tag::Reread, &[]);
    assert_eq!(tags(&mut switch), [Tag::Table(TableId(65))]);
    read(&mut switch, Tag::Table(TableId(65)), &[delivery(65, 2)]);
    assert_eq!(switch.deliveries().to(OfPort(2)).count(), 1);
    assert_eq!(switch.deliveries().to(OfPort(3)).count(), 0);
}

#[test]
fn when_the_marker_bits_are_taken_others_serve() {
    let mut switch = new(None);
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[looks_at(1 << 27)]);
    assert_eq!(switch.marker(), Some(MarkerBits { copied: 31, delivered: 30 }));
    assert_eq!(switch.conflicts(), []);
    assert_eq!(tags(&mut switch), [Tag::Hooks]);
}

#[test]
fn marker_bits_that_somebody_takes_later_are_given_up() {
    let mut switch = known(&[ours(2)]);
    switch.rescan();
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[looks_at(1 << 26)]);
    assert_eq!(switch.marker(), Some(MarkerBits { copied: 31, delivered: 30 }));
    let requests = asked(&mut switch);
    let [(Tag::Hooks, request)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(monitors(request).len(), 4, "the old monitors go, new ones come");
}

#[test]
fn bits_asked_for_that_are_taken_are_named_and_none_are_used() {
    let wanted = MarkerBits { copied: 5, delivered: 4 };
    let mut switch = new(Some(wanted));
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[looks_at(1 << 4), ours(2)]);
    assert_eq!(switch.marker(), None);
    assert_eq!(asked(&mut switch), []);
    let texts: Vec<_> = switch.conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["other flows use bits 5 (copied) and 4 (delivered) of reg10 (of that register they use \
          0x00000010): choose others with --marker-bits, or auto"]
    );
    follow(&mut switch, None, &[]);
    assert!(switch.is_known(), "flows left by another agent can be removed");
    assert_eq!(observed(&switch), [2]);
}

#[test]
fn a_register_without_two_free_bits_is_told() {
    let mut switch = new(None);
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[looks_at(!1)]);
    assert_eq!(switch.marker(), None);
    let text = switch.conflicts()[0].to_string();
    assert!(text.contains("so much of reg10 (0xfffffffe) that no two bits are free"), "{text}");
}

#[test]
fn a_foreign_flow_as_high_as_ours_is_a_conflict_in_the_tables_that_matter() {
    let mut switch = new(None);
    asked(&mut switch);
    let high = |table| flow(table, 65534, Cookie(1), vec![], 1);
    read(&mut switch, Tag::Scan, &[high(0), high(7), high(65)]);
    assert_eq!(switch.conflicts().len(), 1, "nothing is delivered in table 65 yet");
    asked(&mut switch);
    update(&mut switch, added(delivery(65, 2)));
    let text: Vec<_> = switch.conflicts().iter().map(ToString::to_string).collect();
    assert!(text[0].starts_with("table 65 has a foreign flow of priority 65534"), "{text:?}");
    assert!(text[1].starts_with("table 0 has a foreign flow of priority 65534"), "{text:?}");
}

#[test]
fn a_foreign_flow_in_front_of_ours_is_a_conflict_from_its_report_on_and_until_it_goes() {
    let mut switch = known(&[ours(2)]);
    let high = flow(0, 65535, Cookie(1), vec![MatchField::exact(Field::IN_PORT, 9)], 1);
    update(&mut switch, added(high.clone()));
    let text = switch.conflicts()[0].to_string();
    assert!(text.starts_with("table 0 has a foreign flow of priority 65535 (in_port=9)"), "{text}");
    update(&mut switch, added(flow(0, 100, Cookie(1), vec![], 1)));
    update(&mut switch, removed(high));
    assert_eq!(switch.conflicts(), []);
}

#[test]
fn a_foreign_flow_that_comes_during_a_scan_is_not_forgotten_by_its_end() {
    let mut switch = known(&[ours(2)]);
    switch.rescan();
    assert_eq!(tags(&mut switch), [Tag::Scan]);
    update(&mut switch, added(flow(0, 65535, Cookie(1), vec![], 1)));
    read(&mut switch, Tag::Scan, &[ours(2)]);
    assert_eq!(switch.conflicts().len(), 1);
}

/// A rule of OVN's that marks packets.
fn mark(table: u8, dscp: u128) -> Flow {
    let eth_type = Field { class: 0x8000, number: 5, width: 2, experimenter: 0 };
    let fields = vec![MatchField::exact(Field::METADATA, 1), MatchField::exact(eth_type, 0x0800)];
    let mut rule = flow(table, 100, Cookie(0x1234), fields, 1);
    let set = Action::SetField(MatchField::masked(Field::IP_DSCP, dscp, 0x3f));
    let actions = vec![set, Action::resubmit(TableId(table + 1))];
    rule.instructions = flows::model::Instruction::apply(actions);
    rule
}

/// A flow by which OVN goes on with a flood.
fn resumes(part: u128) -> Flow {
    let fields = vec![
        MatchField::exact(Field::METADATA, 1),
        MatchField::exact(Field::reg(15), 0x8000),
        MatchField::exact(Field::reg(6), part),
    ];
    flow(40, 110, Cookie(0x1234), fields, 1)
}

#[test]
fn a_table_with_rules_that_mark_packets_is_watched_once_a_scan_has_found_one() {
    let mut switch = known(&[]);
    switch.rescan();
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[mark(17, 10), mark(17, 10)]);
    assert_eq!(tags(&mut switch), [Tag::Watch, Tag::Table(TableId(17))]);
    initial(&mut switch, Tag::Watch, &[]);
    read(&mut switch, Tag::Table(TableId(17)), &[mark(17, 10)]);
    let found = Arc::clone(switch.pipeline());
    assert!(found.contains(&mark(17, 10).key));

    update(&mut switch, added(mark(17, 10)));
    assert!(Arc::ptr_eq(&found, switch.pipeline()), "that is no news");
    update(&mut switch, added(mark(17, 20)));
    assert_ne!(&found, switch.pipeline(), "it marks otherwise");
    update(&mut switch, removed(mark(17, 20)));
    assert_eq!(**switch.pipeline(), Pipeline::default());
    assert_eq!(asked(&mut switch), [], "the table is watched already");
}

#[test]
fn floods_that_ovn_sends_in_parts_are_reported_wherever_they_are() {
    let mut switch = known(&[]);
    update(&mut switch, added(resumes(0x9001)));
    assert!(switch.pipeline().contains(&resumes(0x9001).key));
    assert_eq!(asked(&mut switch), [], "their table is not watched");
    update(&mut switch, removed(resumes(0x9001)));
    assert_eq!(**switch.pipeline(), Pipeline::default());
}

#[test]
fn without_flow_monitors_rules_that_mark_packets_are_read_at_each_tick() {
    let mut switch = polled(&[]);
    switch.rescan();
    asked(&mut switch);
    read(&mut switch, Tag::Scan, &[mark(17, 10)]);
    asked(&mut switch);
    read(&mut switch, Tag::Table(TableId(17)), &[mark(17, 10)]);
    assert!(switch.pipeline().contains(&mark(17, 10).key));
    tick(&mut switch, &[]);
    // One reading at a time.
    assert_eq!(tags(&mut switch), [Tag::Reread]);
    read(&mut switch, Tag::Reread, &[]);
    assert_eq!(tags(&mut switch), [Tag::Table(TableId(17))]);
    read(&mut switch, Tag::Table(TableId(17)), &[]);
    assert_eq!(**switch.pipeline(), Pipeline::default());
}
