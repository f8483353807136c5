use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Instant,
};

use flows::{
    model::{Cookie, Field, Flow, FlowKey, Match, MatchField, Purpose, TableId},
    ofp::{Features, FlowDesc, FlowFlags, FlowStats, MultipartReply, Timeouts},
};

use kube::runtime::watcher;
use proptest::prelude::*;

use super::*;
use crate::{
    annotation::{MIRROR_ANNOTATION, Marks},
    cluster::{PodMeta, Source},
    openflow::session::Event,
    ovsdb::{Bridge, ConnectionError, Interface, Ofport, Port, Snapshot, Uuid},
    pods::Pod,
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
        fail_mode: Some("secure".to_owned()),
        ports: numbers.iter().map(|number| uuid(2, *number)).collect(),
        ..Bridge::default()
    };
    ovsdb::State {
        connection: ovsdb::Connection::Synced,
        snapshot: Snapshot::from_rows([bridge], ports, interfaces, []),
        ..ovsdb::State::default()
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
    switch.handle(Event::Part { tag, body, more: false }, now());
}

/// No time passes, however long the machine takes.
fn now() -> Instant {
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    *NOW
}

/// A switch that has told that it has this flow of ours, and no other.
fn known_switch() -> Switch {
    let mut switch = fresh_switch();
    let ask = |switch: &mut Switch| while switch.poll_request(now()).is_some() {};
    ask(&mut switch);
    answer(&mut switch, Tag::Others, MultipartReply::FlowMonitor(vec![]));
    answer(&mut switch, Tag::Sizes, MultipartReply::TableStats(vec![]));
    ask(&mut switch);
    answer(&mut switch, Tag::Scan, MultipartReply::FlowDesc(vec![]));
    let fields = [MatchField::exact(Field::IN_PORT, 2)];
    let key = FlowKey { table: TableId(0), priority: 65534, matching: Match::new(fields) };
    let flow = Flow::new(key, Cookie::new(Purpose::FromPod, OfPort(2)), vec![]);
    ask(&mut switch);
    answer(&mut switch, Tag::Hooks, MultipartReply::FlowMonitor(vec![]));
    ask(&mut switch);
    answer(&mut switch, Tag::Sizes, MultipartReply::TableStats(vec![]));
    ask(&mut switch);
    let stats = FlowStats::default();
    let there = FlowDesc {
        flow,
        flags: FlowFlags::empty(),
        timeouts: Timeouts::default(),
        importance: 0,
        stats,
    };
    answer(&mut switch, Tag::Reread, MultipartReply::FlowDesc(vec![there]));
    switch
}

/// The switch answers everything that is asked of it, and has nothing to tell.
fn settle(world: &mut World) {
    loop {
        world.follow();
        let switch = world.switch_mut().unwrap();
        if switch.is_settled() {
            return;
        }
        while let Some((tag, _)) = switch.poll_request(now()) {
            answer(switch, tag, MultipartReply::FlowMonitor(vec![]));
        }
    }
}

fn purposes(plan: &Plan) -> BTreeSet<(Purpose, OfPort)> {
    plan.flows.cookies().filter_map(Cookie::purpose).collect()
}

/// The flows of the plan, by their purpose, once all that changed is taken in.
fn planned(world: &mut World) -> Option<BTreeSet<(Purpose, OfPort)>> {
    world.follow();
    world.plan().map(purposes)
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
        assert_eq!(planned(&mut world), None, "without source {missing}");
    }
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    let plan = world.plan().unwrap();
    assert_eq!(purposes(plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))].into());
    assert_eq!(plan.rejected().count(), 1, "nothing is known to deliver to the port");
}

#[test]
fn without_a_mirror_port_no_flow_is_wanted_any_more() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    world.set_sink(sink(None));
    assert_eq!(planned(&mut world), Some([].into()));
    assert_eq!(world.plan().unwrap().rejected().count(), 0);
    let changes = world.changes().unwrap();
    assert!(matches!(changes[..], [Change::Delete(..)]), "what is there is deleted: {changes:?}");
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
    assert_eq!(planned(&mut world), Some([(Purpose::Guard, NIC)].into()));
    let rejected = world.plan().unwrap().rejected().count();
    assert_eq!(
        (rejected, world.wanted_pods(), world.mirrored_pods()),
        (1, 1, 0),
        "it is told all the same"
    );
    assert!(world.switch().unwrap().is_settled(), "nothing is to be asked that was not");
    world.set_audience(audience(Some(true)));
    world.follow();
    let plan = world.plan().unwrap();
    assert_eq!(purposes(plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))].into());
}

#[test]
fn while_the_database_is_away_its_last_known_state_counts() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2]));
    world.set_sink(sink(Some(NIC)));
    world.set_switch(known_switch());
    settle(&mut world);
    let before = planned(&mut world);
    world.set_ovsdb(away(&database(&[2])));
    assert_eq!(planned(&mut world), before);
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
        (ports, world.wanted_pods(), world.pods().len())
    };
    assert_eq!(mirrored(false), (vec![OfPort(2)], 1, 2));
    assert_eq!(mirrored(true), (vec![OfPort(2), OfPort(3)], 2, 2));
}

#[test]
fn whose_a_port_is_does_not_depend_on_the_mirror_port() {
    let mut world = world(true);
    world.set_ovsdb(database(&[2, 3]));
    let of = |world: &World| Some(world.mirrored_port(OfPort(3))?.pod().to_string());
    assert_eq!(of(&world).as_deref(), Some("lsp3"), "what is counted is booked for somebody");
    world.set_ovsdb(database(&[2]));
    assert_eq!(of(&world), None);
}

#[test]
fn the_mirror_port_must_carry_what_the_largest_pod_port_does() {
    let mut world = world(false);
    assert_eq!(
        world.demand().mtu,
        0,
        "a port that is made before would have a smaller MTU than others"
    );
    world.set_ovsdb(database(&[]));
    assert_eq!(world.demand().mtu, 1500);
    world.set_ovsdb(database(&[2, 3]));
    assert_eq!(world.demand().mtu, 1403, "whether it is mirrored or not");
}

#[test]
fn nothing_is_done_on_a_bridge_that_is_not_ovns() {
    let mut world = world(true);
    world.set_sink(sink(Some(NIC)));
    let mut state = database(&[2]);
    let row = state.snapshot.bridge("br-int").cloned().unwrap();
    world.set_ovsdb(state.clone());
    world.set_switch(known_switch());
    settle(&mut world);
    assert!(world.plan().is_some());
    state.snapshot = Snapshot::from_rows([Bridge { fail_mode: None, ..row }], [], [], []);
    world.set_ovsdb(state);
    settle(&mut world);
    assert!(world.plan().is_none() && world.changes().is_none());
    assert_eq!(world.demand().mtu, 0);
    assert!(world.problems()[0].contains("--bridge"), "{:?}", world.problems());
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
        marks: Marks::read([(MIRROR_ANNOTATION, value)]),
        ..PodMeta::default()
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
    assert_eq!(purposes(plan), [(Purpose::Guard, NIC), (Purpose::FromPod, OfPort(2))].into());
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
    let before = planned(&mut world);
    world.hear(News::Failed(Source::Pods, "it went".to_owned()));
    world.hear(News::Pods(watcher::Event::Init));
    assert_eq!(planned(&mut world), before);
    assert_eq!((world.problems(), world.remarks().len()), (vec![], 1));
    assert!(world.remarks()[0].contains("no answer about Pods: it went"), "{:?}", world.remarks());
    world.hear(News::Answered(Source::Pods));
    assert_eq!(world.remarks(), [""; 0]);
}

/// Something that happens on a node with four ports and as many Pods.
#[derive(Clone, Debug)]
enum Happening {
    /// These ports are on the bridge, each with a number and the Pod that it says it is of.
    Ports(Vec<(u8, u16, u8, bool)>),
    /// A Pod is there with this annotation, perhaps with a virtual machine that has the name of another.
    Pod(u8, &'static str, Option<u8>),
    NoPod(u8),
    Namespace(&'static str),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let mark = || prop::sample::select(vec!["true", "false", "", "?"]);
    let port = (0_u8..4, 1_u16..5, 0_u8..4, any::<bool>());
    let happening = prop_oneof![
        3 => prop::collection::vec(port, 0..5).prop_map(Happening::Ports),
        3 => (0_u8..4, mark(), prop::option::weighted(0.3, 0_u8..4))
            .prop_map(|(pod, mark, machine)| Happening::Pod(pod, mark, machine)),
        1 => (0_u8..4).prop_map(Happening::NoPod),
        1 => mark().prop_map(Happening::Namespace),
    ];
    prop::collection::vec(happening, 1..20)
}

fn rows(ports: &[(u8, u16, u8, bool)]) -> ovsdb::State {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup_by_key(|(name, ..)| *name);
    let uuid = |kind: u128, name: u8| Uuid::from_u128(kind << 64 | u128::from(name));
    let interfaces = ports.iter().map(|(name, ofport, pod, installed)| Interface {
        uuid: uuid(1, *name),
        name: format!("p{name}"),
        ofport: Ofport::Number(*ofport),
        mtu: Some(1400 + u32::from(*ofport)),
        external_ids: [
            ("iface-id".to_owned(), format!("pod{pod}.shop")),
            ("ovn-installed".to_owned(), installed.to_string()),
        ]
        .into(),
        ..Interface::default()
    });
    let rows = ports.iter().map(|(name, ..)| Port {
        uuid: uuid(2, *name),
        name: format!("p{name}"),
        interfaces: BTreeSet::from([uuid(1, *name)]),
        ..Port::default()
    });
    let bridge = Bridge {
        uuid: uuid(3, 0),
        name: "br-int".to_owned(),
        fail_mode: Some("secure".to_owned()),
        ports: ports.iter().map(|(name, ..)| uuid(2, *name)).collect(),
        ..Bridge::default()
    };
    ovsdb::State {
        connection: ovsdb::Connection::Synced,
        snapshot: Snapshot::from_rows([bridge], rows, interfaces, []),
        ..ovsdb::State::default()
    }
}

proptest! {
    /// Whatever happened, what is known in the end follows from how things are, and not from how they came about.
    #[test]
    fn the_world_does_not_depend_on_how_it_came_about(happenings in happenings()) {
        let fresh = || {
            let mut world = World::new(wish(false), Some(Cluster::new()));
            world.set_sink(sink(Some(NIC)));
            world.set_switch(known_switch());
            world
        };
        let listing = |world: &mut World, pods: &BTreeMap<Pod, PodMeta>, namespace: &'static str| {
            let marks = Marks::read([(MIRROR_ANNOTATION, namespace)]);
            world.hear(News::Pods(watcher::Event::Init));
            for (pod, meta) in pods {
                world.hear(News::Pods(watcher::Event::InitApply((pod.clone(), meta.clone()))));
            }
            world.hear(News::Pods(watcher::Event::InitDone));
            world.hear(News::Namespaces(watcher::Event::Init));
            world.hear(News::Namespaces(watcher::Event::InitApply(("shop".into(), marks))));
            world.hear(News::Namespaces(watcher::Event::InitDone));
        };
        let (mut pods, mut namespace, mut database) = (BTreeMap::new(), "", rows(&[]));
        let mut world = fresh();
        world.set_ovsdb(database.clone());
        listing(&mut world, &pods, namespace);
        for happening in happenings {
            match happening {
                Happening::Ports(ports) => {
                    database = rows(&ports);
                    world.set_ovsdb(database.clone());
                }
                Happening::Pod(number, mark, machine) => {
                    let pod = Pod::new("shop", &format!("pod{number}"));
                    let meta = PodMeta {
                        uid: format!("uid{number}").into(),
                        marks: Marks::read([(MIRROR_ANNOTATION, mark)]),
                        virtual_machine: machine.map(|machine| format!("pod{machine}").into()),
                        ..PodMeta::default()
                    };
                    pods.insert(pod.clone(), meta.clone());
                    world.hear(News::Pods(watcher::Event::Apply((pod, meta))));
                }
                Happening::NoPod(number) => {
                    let pod = Pod::new("shop", &format!("pod{number}"));
                    pods.remove(&pod);
                    world.hear(News::Pods(watcher::Event::Delete((pod, PodMeta::default()))));
                }
                Happening::Namespace(mark) => {
                    namespace = mark;
                    let marks = Marks::read([(MIRROR_ANNOTATION, mark)]);
                    world.hear(News::Namespaces(watcher::Event::Apply(("shop".into(), marks))));
                }
            }
            settle(&mut world);
            let mut anew = fresh();
            anew.set_ovsdb(database.clone());
            listing(&mut anew, &pods, namespace);
            while anew.plan().is_none() {
                // Each port that nothing delivers to is asked for.
                settle(&mut anew);
            }
            prop_assert_eq!(world.pods().collect::<Vec<_>>(), anew.pods().collect::<Vec<_>>());
            prop_assert_eq!(world.wanted_pods(), anew.wanted_pods());
            prop_assert_eq!(world.mirrored_pods(), anew.mirrored_pods());
            prop_assert_eq!(world.demand().mtu, anew.demand().mtu);
            prop_assert_eq!(world.plan().cloned(), anew.plan().cloned());
            prop_assert_eq!(world.changes().map(|changes| changes.len()), anew.changes().map(|changes| changes.len()));
            prop_assert_eq!(world.reports(), anew.reports());
        }
    }
}
