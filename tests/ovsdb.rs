//! The OVSDB client against a real `ovsdb-server`, without a switch: each test has its own server.
#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]

#[path = "ovsdb/server.rs"]
mod server;

use std::{collections::BTreeMap, path::Path};

use ofmirror::{
    endpoint::Endpoint,
    ovsdb::{
        Bridge, Cause, Client, Connection, Interface, Lock, Mirror, Ofport, OvsdbError, Rejection,
        Snapshot, State,
        mirror_port::{self, NewPort, PortKind},
    },
};
use server::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
};

/// Starts a client and waits for its first read.
async fn synced_client(server: &Server) -> (Client, watch::Receiver<State>) {
    let (client, task) = Client::new(server.endpoint());
    tokio::spawn(task);
    let mut states = client.states();
    states.wait_for(State::is_synced).await.unwrap();
    (client, states)
}

/// Waits until the database is in sync and looks as described.
async fn until(states: &mut watch::Receiver<State>, is: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let seen = states.wait_for(|state| state.is_synced() && is(&state.snapshot)).await;
    seen.unwrap().snapshot.clone()
}

fn interface<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Interface {
    snapshot.interface_named(name).unwrap()
}

fn ids(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn mirror0() -> NewPort {
    NewPort {
        name: "mirror0".to_owned(),
        kind: PortKind::Internal,
        mtu_request: Some(1400),
        external_ids: ids(&[("ofmirror", "true")]),
    }
}

fn rejection(error: OvsdbError) -> Rejection {
    match error {
        OvsdbError::Rejected(rejection) => rejection,
        other => panic!("not a rejection: {other}"),
    }
}

#[tokio::test]
async fn the_first_read_shows_what_is_there() {
    let server = Server::start();
    server.vsctl(
        "add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure \
         protocols=OpenFlow13,OpenFlow15 \
         -- add-port br-int pod1 -- set port pod1 external_ids:owner=cni \
         -- set interface pod1 type=internal external_ids:iface-id=pod1.default mtu_request=1400 \
         -- --id=@pod1 get port pod1 -- --id=@out get port br-int \
         -- --id=@m create mirror name=m0 select_dst_port=@pod1 output_port=@out select_vlan=7,9 \
         -- set bridge br-int mirrors=@m",
    );
    let (_client, states) = synced_client(&server).await;
    let snapshot = states.borrow().snapshot.clone();

    let bridge = snapshot.bridge("br-int").unwrap();
    assert_eq!(bridge.datapath_type, "netdev");
    assert_eq!(bridge.fail_mode.as_deref(), Some("secure"));
    assert_eq!(Vec::from_iter(&bridge.protocols), ["OpenFlow13", "OpenFlow15"]);
    let mut ports: Vec<_> = snapshot.ports_of(bridge).map(|port| port.name.as_str()).collect();
    ports.sort_unstable();
    assert_eq!(ports, ["br-int", "pod1"]);

    let port = snapshot.port_named("pod1").unwrap();
    assert_eq!(port.external_ids, ids(&[("owner", "cni")]));
    assert_eq!(snapshot.bridge_of(&port.uuid), Some(bridge));
    let interfaces: Vec<_> = snapshot.interfaces_of(port).collect();
    let pod1 = interface(&snapshot, "pod1");
    assert_eq!(interfaces, [pod1]);
    assert_eq!(
        *pod1,
        Interface {
            uuid: pod1.uuid,
            name: "pod1".to_owned(),
            kind: "internal".to_owned(),
            external_ids: ids(&[("iface-id", "pod1.default")]),
            mtu_request: Some(1400),
            ..Interface::default()
        }
    );

    let mirror = snapshot.mirrors_of(bridge).next().unwrap();
    assert!(mirror.selects());
    assert_eq!(mirror.name, "m0");
    assert_eq!(Vec::from_iter(mirror.select_dst_port.iter().copied()), [port.uuid]);
    assert_eq!(mirror.output_port, snapshot.port_named("br-int").map(|port| port.uuid));
    assert_eq!(Vec::from_iter(mirror.select_vlan.iter().copied()), [7, 9]);
    assert_eq!(snapshot.faults().count(), 0);
}

#[tokio::test]
async fn ports_are_seen_as_they_come_and_go() {
    let server = Server::start();
    let (_client, mut states) = synced_client(&server).await;
    let has = |name| move |snapshot: &Snapshot| snapshot.interface_named(name).is_some();

    server.vsctl("add-br br-int -- add-port br-int pod1");
    until(&mut states, has("pod1")).await;
    server.vsctl("add-port br-int pod2 -- add-port br-int pod3");
    let snapshot = until(&mut states, has("pod3")).await;
    assert_eq!(snapshot.ports_of(snapshot.bridge("br-int").unwrap()).count(), 4);

    server.vsctl("del-port br-int pod2");
    let snapshot = until(&mut states, |snapshot| !has("pod2")(snapshot)).await;
    assert_eq!(snapshot.ports_of(snapshot.bridge("br-int").unwrap()).count(), 3);
    assert!(snapshot.port_named("pod2").is_none());

    server.vsctl("del-br br-int");
    let snapshot = until(&mut states, |snapshot| snapshot.bridges().count() == 0).await;
    assert_eq!((snapshot.ports().count(), snapshot.interfaces().count()), (0, 0));
}

#[tokio::test]
async fn each_change_of_an_interface_is_seen() {
    let server = Server::start();
    server.vsctl("add-br br-int -- add-port br-int pod1");
    let (_client, mut states) = synced_client(&server).await;

    let external_ids: &[(&str, &[(&str, &str)])] = &[
        ("external_ids:a=1", &[("a", "1")]),
        ("external_ids:b=2", &[("a", "1"), ("b", "2")]),
        ("external_ids:a=3", &[("a", "3"), ("b", "2")]),
        ("external_ids:c=4 external_ids:b=5", &[("a", "3"), ("b", "5"), ("c", "4")]),
        (r#"external_ids={"d"="\"}]{"}"#, &[("d", "\"}]{")]),
    ];
    for &(change, expected) in external_ids {
        server.vsctl(&format!("set interface pod1 {change}"));
        let expected = ids(expected);
        until(&mut states, |now| interface(now, "pod1").external_ids == expected).await;
    }
    server.vsctl("remove interface pod1 external_ids d");
    until(&mut states, |now| interface(now, "pod1").external_ids.is_empty()).await;

    for (change, expected) in [
        ("set interface pod1 ofport=7", Ofport::Number(7)),
        ("set interface pod1 ofport=8", Ofport::Number(8)),
        ("set interface pod1 ofport=-1", Ofport::Failed),
        ("clear interface pod1 ofport", Ofport::Unset),
    ] {
        server.vsctl(change);
        until(&mut states, |now| interface(now, "pod1").ofport == expected).await;
    }

    server.vsctl("set interface pod1 type=geneve mtu_request=9000");
    until(&mut states, |now| {
        let pod1 = interface(now, "pod1");
        pod1.kind == "geneve" && pod1.mtu_request == Some(9000)
    })
    .await;
}

#[tokio::test]
async fn each_change_of_a_set_is_seen() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let (_client, mut states) = synced_client(&server).await;
    let steps: &[(&str, &[&str])] = &[
        ("set bridge br-int protocols=OpenFlow13", &["OpenFlow13"]),
        ("add bridge br-int protocols OpenFlow15", &["OpenFlow13", "OpenFlow15"]),
        ("remove bridge br-int protocols OpenFlow13", &["OpenFlow15"]),
        ("set bridge br-int protocols=OpenFlow10,OpenFlow14", &["OpenFlow10", "OpenFlow14"]),
        ("clear bridge br-int protocols", &[]),
    ];
    for &(change, expected) in steps {
        server.vsctl(change);
        until(&mut states, |now| {
            now.bridge("br-int").unwrap().protocols.iter().eq(expected.iter())
        })
        .await;
    }
}

#[tokio::test]
async fn a_value_out_of_range_stops_nothing_and_is_named_until_it_is_mended() {
    let server = Server::start();
    server.vsctl("add-br br-int -- add-port br-int pod1 -- set interface pod1 ofport=3");
    let (_client, mut states) = synced_client(&server).await;

    server.vsctl("set interface pod1 mtu=-5");
    let snapshot = until(&mut states, |now| now.faults().count() == 1).await;
    let fault = snapshot.faults().next().unwrap();
    let pod1 = interface(&snapshot, "pod1");
    assert_eq!((fault.table, fault.uuid, fault.column), ("Interface", pod1.uuid, "mtu"));
    assert!(fault.problem.contains("-5"), "{fault}");
    assert_eq!((pod1.mtu, pod1.ofport), (None, Ofport::Number(3)));

    server.vsctl("set interface pod1 mtu=1500");
    let snapshot = until(&mut states, |now| now.faults().count() == 0).await;
    assert_eq!(interface(&snapshot, "pod1").mtu, Some(1500));
}

#[tokio::test]
async fn a_restarted_server_is_read_anew() {
    let mut server = Server::start();
    server.vsctl("add-br br-int -- add-port br-int pod1 -- add-port br-int pod2");
    let (client, mut states) = synced_client(&server).await;

    server.stop();
    states.wait_for(|state| !state.is_synced()).await.unwrap();
    let state = states.borrow().clone();
    assert!(matches!(state.connection, Connection::Connecting { reason: Some(_) }), "{state:?}");
    assert!(state.snapshot.interface_named("pod1").is_some(), "the last state is still known");
    let error = client.transact(Vec::new()).await.unwrap_err();
    assert!(matches!(error, OvsdbError::NotConnected), "{error}");

    server.change_unseen("del-port br-int pod1 -- add-port br-int pod3");
    server.run();
    let snapshot = until(&mut states, |now| now.interface_named("pod3").is_some()).await;
    assert!(snapshot.interface_named("pod1").is_none());
    assert!(snapshot.interface_named("pod2").is_some());
}

/// A way to the server on which something can be said to the client in the server's name, between two messages.
async fn forge(server: &Server, folder: &Path) -> (Endpoint, mpsc::Sender<&'static str>) {
    let Endpoint::Unix(real) = server.endpoint() else { panic!("a socket") };
    let path = folder.join("between.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (forgeries, mut forged) = mpsc::channel::<&'static str>(1);
    tokio::spawn(async move {
        // There is no second connection.
        let (client, _) = listener.accept().await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) =
            UnixStream::connect(real).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let mut bytes = vec![0; 1 << 16];
        loop {
            tokio::select! {
                read = from_server.read(&mut bytes) => {
                    let count = read.unwrap();
                    to_client.write_all(&bytes[..count]).await.unwrap();
                }
                Some(text) = forged.recv() => to_client.write_all(text.as_bytes()).await.unwrap(),
            }
        }
    });
    (Endpoint::Unix(path), forgeries)
}

#[tokio::test]
async fn a_copy_that_is_out_of_step_is_read_anew_and_the_lock_stays() {
    let server = Server::start();
    server.vsctl("add-br br0");
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, forgeries) = forge(&server, folder.path()).await;
    let (client, task) = Client::with_lock(endpoint, "ofmirror_test".to_owned());
    tokio::spawn(task);
    let mut states = client.states();
    states.wait_for(|state| state.is_synced() && state.lock == Lock::Held).await.unwrap();
    states.mark_unchanged();

    let update = r#"{"id":null,"method":"update2","params":[null,
        {"Port":{"00000000-0000-0000-0000-00000000000a":{"delete":null}}}]}"#;
    forgeries.send(update).await.unwrap();
    states.changed().await.unwrap();
    let state = states.borrow_and_update().clone();
    assert!(state.is_synced() && state.lock == Lock::Held, "{state:?}");
    assert!(state.snapshot.bridge("br0").is_some());
    server.vsctl("add-br br1");
    until(&mut states, |snapshot| snapshot.bridge("br1").is_some()).await;
}

#[tokio::test]
async fn the_client_may_start_before_the_server() {
    let mut server = Server::start();
    server.stop();
    let (client, task) = Client::new(server.endpoint());
    tokio::spawn(task);
    let mut states = client.states();
    states
        .wait_for(|state| {
            matches!(&state.connection, Connection::Connecting { reason: Some(error) }
                if error.reason() == "connect")
        })
        .await
        .unwrap();
    server.run();
    states.wait_for(State::is_synced).await.unwrap();
}

#[tokio::test]
async fn a_made_port_is_seen_and_removed_again() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let (client, mut states) = synced_client(&server).await;
    let bridge: Bridge = states.borrow().snapshot.bridge("br-int").unwrap().clone();

    let results = client.transact(mirror_port::create_port(&bridge, &mirror0())).await.unwrap();
    let snapshot = until(&mut states, |now| now.port_named("mirror0").is_some()).await;
    let port = snapshot.port_named("mirror0").unwrap();
    assert!(results.iter().any(|result| result.uuid == Some(port.uuid)));
    assert_eq!(port.external_ids, ids(&[("ofmirror", "true")]));
    assert_eq!(snapshot.bridge_of(&port.uuid).unwrap().name, "br-int");
    let nic = interface(&snapshot, "mirror0");
    assert_eq!((nic.kind.as_str(), nic.mtu_request), ("internal", Some(1400)));

    client.transact(mirror_port::request_mtu(nic, Some(9000))).await.unwrap();
    until(&mut states, |now| interface(now, "mirror0").mtu_request == Some(9000)).await;
    client.transact(mirror_port::request_mtu(nic, None)).await.unwrap();
    until(&mut states, |now| interface(now, "mirror0").mtu_request.is_none()).await;

    let marks = ids(&[("ofmirror", "2"), ("node", "n1")]);
    client.transact(mirror_port::set_external_ids(port, &marks)).await.unwrap();
    until(&mut states, |now| now.port_named("mirror0").unwrap().external_ids == marks).await;

    let unmarked = mirror_port::remove_port(&bridge, port, ("ofmirror", "true"));
    let rejected = rejection(client.transact(unmarked).await.unwrap_err());
    assert_eq!(rejected.cause, Cause::TimedOut);
    client.transact(mirror_port::remove_port(&bridge, port, ("ofmirror", "2"))).await.unwrap();
    let snapshot = until(&mut states, |now| now.port_named("mirror0").is_none()).await;
    assert!(snapshot.interface_named("mirror0").is_none());
}

#[tokio::test]
async fn a_device_of_the_host_is_attached_with_its_type_left_empty() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let (client, mut states) = synced_client(&server).await;
    let bridge = states.borrow().snapshot.bridge("br-int").unwrap().clone();
    let port = NewPort { kind: PortKind::Device, mtu_request: None, ..mirror0() };
    client.transact(mirror_port::create_port(&bridge, &port)).await.unwrap();
    let snapshot = until(&mut states, |now| now.port_named("mirror0").is_some()).await;
    let nic = interface(&snapshot, "mirror0");
    assert_eq!((nic.kind.as_str(), nic.mtu_request), ("", None));
}

#[tokio::test]
async fn of_two_agents_that_make_the_port_one_is_told_that_it_lost() {
    let server = Server::start();
    server.vsctl("add-br br-int -- add-br br-ex");
    let (one, mut states) = synced_client(&server).await;
    let (two, _) = synced_client(&server).await;
    let snapshot = states.borrow().snapshot.clone();
    let bridge = |name| snapshot.bridge(name).unwrap();

    let (first, second) = tokio::join!(
        one.transact(mirror_port::create_port(bridge("br-int"), &mirror0())),
        two.transact(mirror_port::create_port(bridge("br-ex"), &mirror0())),
    );
    let loser = match (first, second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => rejection(error),
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(loser.cause, Cause::TimedOut);
    assert_eq!((loser.index, loser.operation.as_deref()), (1, Some("wait on Port")));
    let snapshot = until(&mut states, |now| now.port_named("mirror0").is_some()).await;
    assert_eq!(snapshot.ports().filter(|port| port.name == "mirror0").count(), 1);
}

#[tokio::test]
async fn nothing_is_added_to_a_bridge_that_was_replaced() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let (client, mut states) = synced_client(&server).await;
    let before = states.borrow().snapshot.bridge("br-int").unwrap().clone();
    server.vsctl("del-br br-int -- add-br br-int");
    until(&mut states, |now| now.bridge("br-int").is_some_and(|now| now.uuid != before.uuid)).await;
    let rejected = client.transact(mirror_port::create_port(&before, &mirror0())).await;
    let rejected = rejection(rejected.unwrap_err());
    assert_eq!(rejected.operation.as_deref(), Some("wait on Bridge"));
    assert!(states.borrow().snapshot.port_named("mirror0").is_none());
}

#[tokio::test]
async fn a_value_against_the_schema_is_refused_with_the_operation_named() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let (client, states) = synced_client(&server).await;
    let bridge = states.borrow().snapshot.bridge("br-int").unwrap().clone();
    let port = NewPort { mtu_request: Some(0), ..mirror0() };
    let error = client.transact(mirror_port::create_port(&bridge, &port)).await.unwrap_err();
    let text = error.to_string();
    let rejected = rejection(error);
    assert_eq!(rejected.cause, Cause::ConstraintViolation);
    assert_eq!((rejected.index, rejected.operation.as_deref()), (3, Some("insert into Interface")));
    assert!(text.contains("insert into Interface: constraint violation"), "{text}");

    // Without the waits, the second port of a name is refused only at the commit.
    let same_name = NewPort { name: "br-int".to_owned(), ..mirror0() };
    let unguarded = mirror_port::create_port(&bridge, &same_name).split_off(3);
    let rejected = rejection(client.transact(unguarded).await.unwrap_err());
    assert_eq!((rejected.cause, rejected.operation), (Cause::ConstraintViolation, None));
}

#[tokio::test]
async fn mirrors_of_others_select_nothing_any_more_and_stay() {
    let server = Server::start();
    server.vsctl(
        "add-br br-int -- --id=@p get port br-int \
         -- --id=@a create mirror name=m0 select_all=true select_dst_port=@p select_src_port=@p \
         -- --id=@b create mirror name=m1 -- set bridge br-int mirrors=@a,@b",
    );
    let (client, mut states) = synced_client(&server).await;
    let snapshot = states.borrow().snapshot.clone();
    let m0: Vec<_> = snapshot.mirrors().filter(|mirror| mirror.selects()).collect();
    assert_eq!(m0.len(), 1);
    client.transact(mirror_port::empty_mirrors(m0.iter().copied())).await.unwrap();
    let selects = |now: &Snapshot| now.mirrors().any(Mirror::selects);
    let emptied = until(&mut states, |now| !selects(now)).await;
    assert_eq!(emptied.mirrors().count(), 2);
    // Gone meanwhile: not a failure.
    server.vsctl("clear bridge br-int mirrors");
    client.transact(mirror_port::empty_mirrors(m0)).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_interfaces_are_read_and_followed() {
    let server = Server::start();
    server.add_pod_ports("br-int", 10_000);
    let (_client, mut states) = synced_client(&server).await;
    let snapshot = states.borrow().snapshot.clone();
    let bridge = snapshot.bridge("br-int").unwrap();
    let read = snapshot.ports_of(bridge).flat_map(|port| snapshot.interfaces_of(port));
    assert_eq!(read.filter(|nic| nic.external_ids["iface-id"].starts_with("ns_")).count(), 10_000);

    server.vsctl("set interface pod77 ofport=77 -- del-port br-int pod78");
    let now = until(&mut states, |now| now.interface_named("pod78").is_none()).await;
    assert_eq!(interface(&now, "pod77").ofport, Ofport::Number(77));
    // Older snapshots stay as they were.
    assert_eq!(interface(&snapshot, "pod77").ofport, Ofport::Unset);
    assert_eq!(interface(&snapshot, "pod78").name, "pod78");
}

#[tokio::test]
async fn the_task_ends_on_request_and_with_the_last_handle() {
    let server = Server::start();
    let (client, task) = Client::new(server.endpoint());
    let task = tokio::spawn(task);
    client.states().wait_for(State::is_synced).await.unwrap();
    client.shutdown();
    task.await.unwrap();
    let error = client.transact(Vec::new()).await.unwrap_err();
    assert!(matches!(error, OvsdbError::Stopped), "{error}");

    let (client, task) = Client::new(server.endpoint());
    let task = tokio::spawn(task);
    let mut states = client.clone().states();
    states.wait_for(State::is_synced).await.unwrap();
    drop(client);
    task.await.unwrap();
    assert!(states.changed().await.is_err());
}

#[tokio::test]
async fn the_servers_probes_are_answered() {
    let server = Server::start();
    server.vsctl("add-br br-int");
    let endpoint = server.probing_endpoint();
    let (client, task) = Client::new(endpoint.clone());
    tokio::spawn(task);
    let mut states = client.states();
    states.wait_for(State::is_synced).await.unwrap();
    states.mark_unchanged();

    // Whoever stays silent is asked, and cut off; the client connected before and must not be.
    let mut silent = endpoint.connect().await.unwrap();
    let mut heard = String::new();
    silent.read_to_string(&mut heard).await.unwrap();
    assert!(heard.contains("echo"), "{heard}");
    assert!(!states.has_changed().unwrap(), "{:?}", states.borrow().connection);
}
