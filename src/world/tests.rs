use std::{collections::BTreeSet, sync::Arc, time::Instant};

use flows::{
    model::{Cookie, Field, Flow, FlowKey, Match, MatchField, Purpose, TableId},
    ofp::{Features, FlowUpdate, MultipartReply, Timeouts},
};

use kube::runtime::watcher;

use super::*;
use crate::{
    cluster::{MIRROR_ANNOTATION, PodMeta, Source},
    openflow::session::Event,
    ovsdb::{Bridge, ConnectionError, Interface, Ofport, Port, Uuid},
    selection::NamespaceRule,
    switch::Tag,
};

const NIC: OfPort = OfPort(9);

fn wish(all: bool) -> Wish {
    Wish { bridge: "br-int".to_owned(), all, namespaces: NamespaceRule::default() }
}

fn world(all: bool) -> World {
    World::new(wish(all), None)
}

/// Pods' ports by OpenFlow number; the first is annotated.
fn database(numbers: &[u16]) -> ovsdb::State {
    let uuid = |kind: u128, number: u16| Uuid::from_u128(kind << 64 | u128::from(number));
    let interfaces = numbers.iter().enumerate().map(|(place, number)| Interface {
        uuid: uuid(1, *number),
        name: format!("pod{number}"),
        ofport: Ofport::Number(*number),
        mtu: Some(1400 + u32::from(*number)),
        external_ids: [
            ("iface-id".to_owned(), format!("lsp{number}")),
            (MIRROR_ANNOTATION.to_owned(), if place == 0 { "true" } else { "" }.to_owned()),
        ]
        .into(),
        ..Interface::default()
    });
    let ports = numbers.iter().map(|number| Port {
        uuid: uuid(2, *number),
        name: format!("pod{number}"),
        interfaces: BTreeSet::from([uuid(1, *number)]),
        ..Port::default()
    });
    let bridge = Bridge {
        uuid: uuid(3, 0),
        name: "br-int".to_owned(),
        ports: numbers.iter().map(|number| uuid(2, *number)).collect(),
        ..Bridge::default()
    };
    ovsdb::State {
        connection: ovsdb::Connection::Synced,
        snapshot: Snapshot::from_rows([bridge], ports, interfaces, []),
    }
}

fn away(state: &ovsdb::State) -> ovsdb::State {
    let reason = Some(Arc::new(ConnectionError::Closed));
    ovsdb::State { connection: ovsdb::Connection::Connecting { reason }, ..state.clone() }
}

fn sink(ofport: Option<OfPort>) -> SinkState {
    SinkState { known: true, ofport, ..SinkState::default() }
}

fn fresh_switch() -> Switch {
    let features = Features {
        datapath_id: 1,
        buffers: 0,
        tables: 254,
        auxiliary_id: 0,
        capabilities: 0,
        reserved: 0,
    };
    Switch::new(features, None)
}

fn answer(switch: &mut Switch, tag: Tag, body: MultipartReply) {
    switch.handle(Event::Part { tag, body, more: false }, Instant::now());
}

/// A switch that has told that it has this flow of ours, and no other.
fn known_switch() -> Switch {
    let mut switch = fresh_switch();
    answer(&mut switch, Tag::Scan, MultipartReply::FlowDesc(vec![]));
    let fields = [MatchField::exact(Field::IN_PORT, 2)];
    let key = FlowKey { table: TableId(0), priority: 65534, matching: Match::new(fields) };
    let flow = Flow::new(key, Cookie::new(Purpose::FromPod, OfPort(2)), vec![]);
    let there = FlowUpdate::Initial { flow, timeouts: Timeouts::default() };
    answer(&mut switch, Tag::Hooks, MultipartReply::FlowMonitor(vec![there]));
    switch
}

/// The switch answers everything that is asked of it, and has nothing to tell.
fn settle(world: &mut World) {
    world.follow();
    let switch = world.switch_mut().unwrap();
    while let Some((tag, _)) = switch.poll_request() {
        answer(switch, tag, MultipartReply::FlowMonitor(vec![]));
    }
    world.follow();
}

fn purposes(plan: &Plan) -> Vec<(Purpose, OfPort)> {
    plan.flows.iter().filter_map(|flow| flow.cookie.purpose()).collect()
}

#[test]
fn nothing_is_planned_until_every_source_is_known() {
    for missing in 0..4 {
        let mut world = world(true);
        if missing != 0 {
            world.set_ovsdb(database(&[2]));
        }
        if missing != 1 {
            world.set_sink(sink(Some(NIC)));
        }
        match missing {
            2 => {}
            3 => world.set_switch(fresh_switch()),
            _ => world.set_switch(known_switch()),
        }
        assert_eq!(world.plan().map(|plan| plan.flows), None, "without source {missing}");
    }
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    world.follow();
    assert!(world.plan().is_none(), "nobody knows yet what is delivered to the port");
    settle(&mut world);
    let plan = world.plan().unwrap();
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))]);
    assert_eq!(plan.rejected.len(), 1, "nothing is known to deliver to the port");
}

#[test]
fn without_a_mirror_port_no_flow_is_wanted_any_more() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    world.set_sink(sink(None));
    let plan = world.plan().unwrap();
    assert_eq!((plan.flows, plan.rejected), (vec![], vec![]));
    let observed = world.switch().unwrap().observed();
    assert_eq!(flows::diff::diff(&[], observed).len(), 1, "what is there is deleted");
}

#[test]
fn while_nobody_listens_only_the_mirror_port_is_guarded_and_all_is_ready_for_who_will() {
    let audience = |wanted| Audience { wanted, ..Audience::default() };
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    world.set_audience(audience(None));
    settle(&mut world);
    assert!(world.plan().is_none(), "what a former agent installed stays until it is known");
    world.set_audience(audience(Some(false)));
    let paused = world.plan().unwrap();
    assert_eq!(purposes(&paused), [(Purpose::Guard, NIC)]);
    assert_eq!((paused.rejected.len(), world.mirrored_pods()), (1, 1), "it is told all the same");
    world.follow();
    assert!(world.switch().unwrap().is_settled(), "nothing is to be asked that was not");
    world.set_audience(audience(Some(true)));
    let plan = world.plan().unwrap();
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))]);
}

#[test]
fn while_the_database_is_away_its_last_known_state_counts() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    let before = world.plan().unwrap().flows;
    world.set_ovsdb(away(&database(&[2])));
    assert_eq!(world.plan().unwrap().flows, before);
    assert_eq!(world.problems(), ["OVSDB: the server closed the connection"]);
}

#[test]
fn a_database_that_was_never_read_counts_for_nothing() {
    let mut world = world(true);
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    world.set_ovsdb(away(&ovsdb::State::default()));
    assert!(world.plan().is_none());
}

#[test]
fn a_lost_switch_is_told_with_the_reason_and_nothing_is_planned_for_it() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    let first = world.demand();
    world.lose_switch("it went".to_owned());
    assert!(world.plan().is_none());
    assert_eq!(world.problems(), ["OpenFlow: it went"]);
    world.set_switch(known_switch());
    assert_ne!(world.demand(), first, "a new connection may be to a switch that has forgotten");
}

#[test]
fn only_annotated_pods_are_mirrored_unless_all_are_wished_for() {
    let mirrored = |all| {
        let mut world = world(all);
        world.set_ovsdb(database(&[2, 3]));
        let ports: Vec<_> = world.mirrored().filter_map(|selected| selected.port.ofport).collect();
        (ports, world.mirrored_pods(), world.pods().len())
    };
    assert_eq!(mirrored(false), (vec![OfPort(2)], 1, 2));
    assert_eq!(mirrored(true), (vec![OfPort(2), OfPort(3)], 2, 2));
}

#[test]
fn the_mirror_port_must_carry_what_the_largest_pod_port_does() {
    let mut world = world(false);
    assert_eq!(world.demand().mtu, 1500);
    world.set_ovsdb(database(&[2, 3]));
    assert_eq!(world.demand().mtu, 1403, "whether it is mirrored or not");
}

#[test]
fn what_is_wrong_with_the_mirror_port_is_told() {
    let mut world = world(false);
    world.set_sink(SinkState { problem: Some("it is gone".to_owned()), ..sink(None) });
    assert_eq!(world.problems(), ["OVSDB: connecting", "OpenFlow: connecting"], "a guess only");
    world.set_ovsdb(database(&[]));
    assert_eq!(world.problems(), ["OpenFlow: connecting", "it is gone"]);
}

/// A world with a cluster in which the first Pod port's Pod is annotated; nothing else is known of it.
fn listed(world: &mut World) {
    let meta = |value| PodMeta {
        uid: "u".into(),
        marks: crate::cluster::Marks::read([(MIRROR_ANNOTATION, value)]),
        virtual_machine: None,
    };
    world.hear(News::Pods(watcher::Event::Init));
    for (name, value) in [("lsp2", "true"), ("lsp3", "false")] {
        let pod = Pod::new("shop", name);
        world.hear(News::Pods(watcher::Event::InitApply((pod, meta(value)))));
    }
    world.hear(News::Pods(watcher::Event::InitDone));
    world.hear(News::Namespaces(watcher::Event::Init));
    world.hear(News::Namespaces(watcher::Event::InitDone));
    world.hear(News::Answered(Source::Pods));
    world.hear(News::Answered(Source::Namespaces));
}

/// As [`database`], with the logical ports of Pods in a namespace.
fn database_of_pods(numbers: &[u16]) -> ovsdb::State {
    let state = database(numbers);
    let rows = |interface: &Interface| {
        let mut interface = interface.clone();
        let id = format!("{}.shop", interface.external_ids["iface-id"]);
        interface.external_ids.insert("iface-id".to_owned(), id);
        interface
    };
    let snapshot = &state.snapshot;
    let bridge = snapshot.bridge("br-int").unwrap();
    let ports: Vec<_> = snapshot.ports_of(bridge).cloned().collect();
    let interfaces: Vec<_> =
        ports.iter().flat_map(|port| snapshot.interfaces_of(port)).map(rows).collect();
    let snapshot = Snapshot::from_rows([bridge.clone()], ports, interfaces, []);
    ovsdb::State { snapshot, ..state }
}

#[test]
fn nothing_is_planned_until_the_api_server_has_told_all() {
    let mut world = World::new(wish(true), Some(Cluster::new()));
    world.set_ovsdb(database_of_pods(&[2, 3]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    assert!(world.plan().is_none(), "what a former agent installed must stay");
    assert!(
        !world.switch().unwrap().is_known(),
        "nobody has asked where OVN delivers to which Pods"
    );
    assert_eq!(world.problems(), ["Kubernetes: no answer about Pods: connecting"]);
    listed(&mut world);
    assert!(world.plan().is_none(), "its flow for deliveries would be taken for needless");
    settle(&mut world);
    let plan = world.plan().unwrap();
    assert_eq!(purposes(&plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))]);
    assert_eq!(world.problems(), [""; 0]);
}

#[test]
fn while_the_api_server_is_away_its_last_word_counts_and_is_no_reason_to_be_unready() {
    let mut world = World::new(wish(false), Some(Cluster::new()));
    world.set_ovsdb(database_of_pods(&[2, 3]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    listed(&mut world);
    settle(&mut world);
    let before = world.plan().unwrap().flows;
    world.hear(News::Failed(Source::Pods, "it went".to_owned()));
    world.hear(News::Pods(watcher::Event::Init));
    assert_eq!(world.plan().unwrap().flows, before);
    assert_eq!((world.problems(), world.remarks().len()), (vec![], 1));
    assert!(world.remarks()[0].contains("no answer about Pods: it went"), "{:?}", world.remarks());
    world.hear(News::Answered(Source::Pods));
    assert_eq!(world.remarks(), [""; 0]);
}
