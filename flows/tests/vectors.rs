//! Messages as Open vSwitch 3.1.0 and its tools sent them, read and written back byte for byte.
//!
//! `vectors/` has one file a message: hex with a word on each part, after `#` comments that say who sent it and what
//! `ovs-ofctl ofp-print` makes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flows::delivery::{Delivery, LastStep};
use flows::model::{
    Action, Cookie, Field, Flow, FlowKey, Instruction, Match, MatchField, OfPort, TableId,
};
use flows::ofp::{
    BundleCommand, BundleFlags, FlowDesc, FlowFilter, FlowFlags, FlowMod, FlowMonitorCommand,
    FlowMonitorRequest, FlowRemoved, FlowStats, FlowUpdate, GROUP_ANY, Message, MonitorFlags,
    MultipartReply, MultipartRequest, OfpError, PortConfig, PortName, PortReason, PortState,
    RemovedReason, Timeouts, VERSION, Versions,
};

/// A message with its header.
struct Vector {
    type_code: u8,
    xid: u32,
    body: Vec<u8>,
}

fn parse(text: &str) -> Vector {
    let bytes: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert_eq!(bytes[0], VERSION);
    assert_eq!(usize::from(bytes[2]) << 8 | usize::from(bytes[3]), bytes.len());
    let xid = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
    Vector { type_code: bytes[1], xid, body: bytes[8..].to_vec() }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn load(name: &str) -> Vector {
    parse(&fs::read_to_string(folder().join(name).with_extension("txt")).unwrap())
}

fn all() -> impl Iterator<Item = (String, Vector)> {
    let files: Vec<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 30, "{} vectors", files.len());
    files.into_iter().map(|file| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, parse(&fs::read_to_string(file).unwrap()))
    })
}

fn encode(message: &Message, xid: u32) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(xid, &mut out).unwrap();
    out.freeze()
}

/// That the vector is `message`, in both directions.
#[track_caller]
fn assert_is(name: &str, message: &Message) {
    let vector = load(name);
    assert_eq!(Message::decode(vector.type_code, &vector.body).as_ref(), Ok(message));
    assert_eq!(message.type_code(), vector.type_code);
    assert_eq!(encode(message, vector.xid), vector.body);
}

const M: OfPort = OfPort(2);
const COPIED: u128 = 0x0800_0000;
const DELIVERED: u128 = 0x0400_0000;
const BOTH: u128 = COPIED | DELIVERED;

const fn set(value: u128, mask: u128) -> Action {
    Action::SetField(MatchField::Typed { field: Field::reg(10), value, mask: Some(mask) })
}

fn flow(cookie: u64, table: u8, fields: &[MatchField], actions: &[Action]) -> Flow {
    let priority = if actions.is_empty() { 65535 } else { 65534 };
    let key = FlowKey { table: TableId(table), priority, matching: Match::new(fields) };
    Flow::new(key, Cookie(cookie), actions.to_vec())
}

fn from_pod(port: u32) -> Flow {
    flow(
        0x6f66_6d72_1000_0000 | u64::from(port),
        0,
        &[
            MatchField::exact(Field::IN_PORT, port.into()),
            MatchField::masked(Field::reg(10), 0, COPIED),
        ],
        &[Action::output(M), set(COPIED, COPIED), Action::resubmit(TableId(0))],
    )
}

fn to_pod() -> Flow {
    flow(
        0x6f66_6d72_2000_0001,
        65,
        &[
            MatchField::exact(Field::METADATA, 3),
            MatchField::exact(Field::reg(15), 2),
            MatchField::masked(Field::reg(10), 0, BOTH),
        ],
        &[Action::output(M), set(BOTH, BOTH), Action::resubmit(TableId(65)), set(0, 0x0400_0000)],
    )
}

/// A flow for what was rewritten since it was copied, by one of the signs of that.
fn rewritten(signs: &[MatchField], clear: bool) -> Flow {
    let mut fields = vec![
        MatchField::exact(Field::METADATA, 3),
        MatchField::exact(Field::reg(15), 2),
        MatchField::masked(Field::reg(10), COPIED, BOTH),
    ];
    fields.extend_from_slice(signs);
    let mut actions = vec![Action::output(M), set(BOTH, BOTH), Action::resubmit(TableId(65))];
    if clear {
        actions.push(set(0, 0x0400_0000));
    }
    flow(0x6f66_6d72_3000_0001, 65, &fields, &actions)
}

/// The flow of the plan that reads the mark of a tracked reply's connection.
fn tracked_reply() -> Flow {
    let fields = [
        MatchField::masked(Field::CT_STATE, 0x28, 0x28),
        MatchField::masked(Field::reg(10), COPIED, BOTH),
    ];
    let natted_to_copied = Action::CopyField {
        bits: 1,
        source: Field::CT_MARK,
        source_offset: 1,
        destination: Field::reg(10),
        destination_offset: 27,
    };
    let actions = [set(DELIVERED, DELIVERED), natted_to_copied, Action::resubmit(TableId(65))];
    flow(0x6f66_6d72_3000_0000, 65, &fields, &actions)
}

fn in_bundle(message: Message) -> Message {
    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    Message::BundleAdd { bundle_id: 0, flags, message: Box::new(message) }
}

fn multipart(body: MultipartReply) -> Message {
    Message::MultipartReply { more: false, body }
}

#[test]
fn every_vector_is_written_back_byte_for_byte() {
    for (name, vector) in all() {
        let message = Message::decode(vector.type_code, &vector.body);
        let message = message.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!matches!(message, Message::Raw { .. }), "{name}");
        assert_eq!(message.type_code(), vector.type_code, "{name}");
        assert_eq!(encode(&message, vector.xid), vector.body, "{name}");
    }
}

#[test]
fn a_message_cut_short_anywhere_is_refused_or_a_whole_shorter_one() {
    let mut refused = 0;
    for (name, vector) in all() {
        for length in 0..vector.body.len() {
            let cut = &vector.body[..length];
            match Message::decode(vector.type_code, cut) {
                Ok(message) => {
                    // A list that ends earlier, or an error's data, which may be anything.
                    assert_eq!(encode(&message, vector.xid), cut, "{name} cut at {length}");
                    let any = matches!(message, Message::Error(_) | Message::EchoRequest(_));
                    assert!(any || length % 8 == 0, "{name} cut at {length}");
                }
                Err(error) => {
                    assert!(error.at <= length, "{name} cut at {length}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 3000, "{refused}");
}

#[test]
fn hellos_tell_the_versions_that_are_spoken() {
    assert_is("hello_of_switch", &Message::Hello { versions: None });
    assert_is("hello_of_controller", &Message::Hello { versions: Some(Versions::OURS) });
}

#[test]
fn the_switch_tells_its_features() {
    let vector = load("features_reply");
    let message = Message::decode(vector.type_code, &vector.body);
    let Ok(Message::FeaturesReply(features)) = message else { panic!("{message:?}") };
    assert_eq!(features.datapath_id, 0xaabb_ccdd_ee01);
    assert_eq!(features.tables, 254);
}

#[test]
fn asynchronous_messages_are_switched_on() {
    assert_is("set_config", &Message::SetConfig { flags: 0, miss_send_len: 128 });
}

#[test]
fn hooks_are_added_in_a_bundle() {
    let asked = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    let told = BundleFlags::empty();
    for (name, command, flags) in [
        ("bundle_open_request", BundleCommand::OpenRequest, asked),
        ("bundle_open_reply", BundleCommand::OpenReply, told),
        ("bundle_commit_request", BundleCommand::CommitRequest, asked),
        ("bundle_commit_reply", BundleCommand::CommitReply, told),
    ] {
        assert_is(name, &Message::BundleControl { bundle_id: 0, command, flags });
    }
    let guard = flow(0x6f66_6d72_4000_0002, 0, &[MatchField::exact(Field::IN_PORT, 2)], &[]);
    let reply =
        [MatchField::masked(Field::CT_STATE, 0x28, 0x28), MatchField::masked(Field::CT_MARK, 2, 2)];
    let port = |port: OfPort| [MatchField::exact(Field::IN_PORT, port.0.into())];
    for (name, flow) in [
        ("bundle_add_from_pod", from_pod(1)),
        ("bundle_add_to_pod", to_pod()),
        ("bundle_add_to_pod_in_port_any", rewritten(&port(OfPort::ANY), true)),
        ("bundle_add_to_pod_in_port_controller", rewritten(&port(OfPort::CONTROLLER), false)),
        ("bundle_add_to_pod_reply", rewritten(&reply, false)),
        ("bundle_add_tracked_reply", tracked_reply()),
        ("bundle_add_guard", guard),
    ] {
        // The match of ovs-ofctl is in its own order, so only what is read can be compared.
        let vector = load(name);
        let message = in_bundle(Message::FlowMod(FlowMod::add(flow)));
        assert_eq!(Message::decode(vector.type_code, &vector.body), Ok(message), "{name}");
    }
}

#[test]
fn tags_are_pushed_and_popped() {
    let nested = [MatchField::exact(Field::reg(15), 5), MatchField::exact(Field::METADATA, 1)];
    let tag = |port| {
        let vlan = MatchField::exact(Field::VLAN_VID, 0x102a);
        vec![Action::PushVlan(0x8100), Action::SetField(vlan), Action::output(port)]
    };
    let delivery_actions = [tag(OfPort(1)), vec![Action::PopVlan]].concat();
    let mut delivery = flow(0xec40_6eb0, 65, &nested, &delivery_actions);
    delivery.key.priority = 100;
    let step = Delivery::of(&delivery).map(|delivery| delivery.last_step);
    assert_eq!(step, Some(LastStep::Tagged { ethertype: 0x8100, vlan: 0x102a }));
    let copied = [
        &[
            MatchField::exact(Field::IN_PORT, OfPort::ANY.0.into()),
            MatchField::masked(Field::reg(10), 0, BOTH),
        ][..],
        &nested,
    ]
    .concat();
    let look_again = Action::Resubmit { in_port: OfPort::LOCAL, table: TableId(65) };
    let actions = [Action::Clone(tag(OfPort(9))), set(DELIVERED, BOTH), look_again, set(0, BOTH)];
    let mut copy = flow(0x6f66_6d72_2000_0001, 65, &copied, &actions);
    copy.key.priority = 65535;
    for (name, flow) in
        [("flow_mod_add_delivery_to_nested", delivery), ("flow_mod_add_to_nested", copy)]
    {
        let vector = load(name);
        let message = Message::FlowMod(FlowMod::add(flow));
        assert_eq!(Message::decode(vector.type_code, &vector.body), Ok(message), "{name}");
    }
}

#[test]
fn flows_are_deleted_by_cookie() {
    let tag = 0x6f66_6d72_0000_0000;
    let mask = 0xffff_ffff_0000_0000;
    let mut delete = FlowMod::delete_by_cookie(Cookie(tag), mask);
    delete.flow.key.priority = 0x8000; // The default of ovs-ofctl; it means nothing to a deletion.
    assert_is("flow_mod_delete", &Message::FlowMod(delete));
    let key = FlowKey {
        table: TableId(0),
        priority: 65535,
        matching: Match::new([MatchField::exact(Field::IN_PORT, 2)]),
    };
    let delete = FlowMod::delete_strict(key, Cookie(tag), mask);
    assert_is("flow_mod_delete_strict", &Message::FlowMod(delete));
}

#[test]
fn the_switch_describes_its_flows_with_counters() {
    let filter = FlowFilter {
        cookie: Cookie(0x6f66_6d72_2000_0000),
        cookie_mask: 0xffff_ffff_f000_0000,
        ..FlowFilter::default()
    };
    let request = MultipartRequest::FlowDesc(filter);
    assert_is("flow_desc_request", &Message::MultipartRequest(request));
    let flow = FlowDesc {
        flow: to_pod(),
        flags: FlowFlags::empty(),
        timeouts: Timeouts::default(),
        importance: 0,
        stats: FlowStats {
            duration: Some(Duration::from_millis(38)),
            idle: Some(Duration::ZERO),
            packets: Some(0),
            bytes: Some(0),
            ..FlowStats::default()
        },
    };
    let vector = load("flow_desc_reply");
    let message = Message::decode(vector.type_code, &vector.body);
    assert_eq!(message, Ok(multipart(MultipartReply::FlowDesc(vec![flow]))));
}

#[test]
fn a_flow_monitor_tells_every_change() {
    let request = FlowMonitorRequest {
        monitor_id: 0,
        command: FlowMonitorCommand::Add,
        flags: MonitorFlags::INITIAL
            | MonitorFlags::ADD
            | MonitorFlags::REMOVED
            | MonitorFlags::MODIFY
            | MonitorFlags::INSTRUCTIONS
            | MonitorFlags::ONLY_OWN,
        table: TableId::ALL,
        out_port: OfPort::ANY,
        out_group: GROUP_ANY,
        matching: Match::default(),
    };
    let request = MultipartRequest::FlowMonitor(vec![request]);
    let timeouts = Timeouts::default();
    let from_pod = from_pod(5);
    let mut modified = from_pod.clone();
    modified.instructions = Instruction::apply(vec![Action::output(M)]);
    let removed =
        FlowUpdate::Removed { flow: modified.clone(), reason: RemovedReason::Delete, timeouts };
    assert_is("flow_monitor_request", &Message::MultipartRequest(request));
    for (name, update) in [
        ("flow_monitor_initial", FlowUpdate::Initial { flow: to_pod(), timeouts }),
        ("flow_monitor_added", FlowUpdate::Added { flow: from_pod, timeouts }),
        ("flow_monitor_modified", FlowUpdate::Modified { flow: modified, timeouts }),
        ("flow_monitor_removed", removed),
    ] {
        let vector = load(name);
        let message = Message::decode(vector.type_code, &vector.body);
        assert_eq!(message, Ok(multipart(MultipartReply::FlowMonitor(vec![update]))), "{name}");
    }
}

#[test]
fn a_flow_that_goes_tells_its_last_counters() {
    let vector = load("flow_removed");
    let message = Message::decode(vector.type_code, &vector.body);
    let Ok(Message::FlowRemoved(FlowRemoved { key, cookie, reason, timeouts, stats })) = message
    else {
        panic!("{message:?}")
    };
    assert_eq!((key, cookie), (from_pod(5).key, from_pod(5).cookie));
    assert_eq!((reason, timeouts), (RemovedReason::Delete, Timeouts::default()));
    assert_eq!((stats.packets, stats.bytes, stats.flows), (Some(0), Some(0), None));
}

#[test]
fn ports_are_told_when_they_come_and_go() {
    for (name, expected) in
        [("port_status_add", PortReason::Add), ("port_status_delete", PortReason::Delete)]
    {
        let vector = load(name);
        let message = Message::decode(vector.type_code, &vector.body);
        let Ok(Message::PortStatus { reason, port }) = message else { panic!("{message:?}") };
        assert_eq!((reason, port.port, port.name), (expected, OfPort(3), PortName::from("p3")));
    }
    let request = MultipartRequest::PortDesc(OfPort::ANY);
    assert_is("port_desc_request", &Message::MultipartRequest(request));
    let vector = load("port_desc_reply");
    let message = Message::decode(vector.type_code, &vector.body);
    let Ok(Message::MultipartReply { body: MultipartReply::PortDesc(ports), .. }) = message else {
        panic!("{message:?}")
    };
    let mut names: Vec<_> = ports.iter().map(|port| (port.port, port.name.to_string())).collect();
    names.sort();
    assert_eq!(
        names,
        [(OfPort(1), "p1".into()), (OfPort(2), "p2".into()), (OfPort::LOCAL, "br-int".into())]
    );
    let p1 = ports.iter().find(|port| port.port == OfPort(1)).unwrap();
    assert_eq!(p1.mac, [0xaa, 0x55, 0xaa, 0x55, 0, 0x0f]);
    assert_eq!((p1.config, p1.state), (PortConfig::empty(), PortState::LIVE));
}

#[test]
fn ports_tell_what_they_have_counted() {
    let request = MultipartRequest::PortStats(OfPort(1));
    assert_is("port_stats_request", &Message::MultipartRequest(request));
    let vector = load("port_stats_reply");
    let message = Message::decode(vector.type_code, &vector.body);
    let Ok(Message::MultipartReply { body: MultipartReply::PortStats(ports), .. }) = message else {
        panic!("{message:?}")
    };
    assert_eq!((ports.len(), ports[0].port, ports[0].rx_packets), (1, OfPort(1), Some(0)));
    assert_eq!(ports[0].tx_dropped, None, "which the port doesn't know");
    assert_eq!(ports[0].duration, Some(Duration::from_millis(451_326)));
}

#[test]
fn errors_carry_the_request_that_failed() {
    for (name, text, request) in [
        ("error_bad_out_group", "bad action: OFPBAC_BAD_OUT_GROUP", 14),
        ("error_bundle_failed", "bundle failed: OFPBFC_MSG_FAILED", 33),
    ] {
        let vector = load(name);
        let message = Message::decode(vector.type_code, &vector.body);
        let Ok(Message::Error(error @ OfpError { .. })) = message else { panic!("{message:?}") };
        assert_eq!(error.to_string(), text);
        assert_eq!(error.data[..2], [VERSION, request]);
    }
}

#[test]
fn barriers_are_empty() {
    assert_is("barrier_request", &Message::BarrierRequest);
    assert_is("barrier_reply", &Message::BarrierReply);
}
