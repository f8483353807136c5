//! The OpenFlow side of the agent against switches that break the protocol: each time it says why, holds no more
//! memory than before, and goes on when the switch is sane again.
#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]

#[path = "hostile_switch/peer.rs"]
mod peer;

use std::{future::pending, time::Duration};

use bytes::{Bytes, BytesMut};
use flows::{
    marker::MarkerBits,
    model::{Cookie, Flow, FlowKey, Instruction, Match, TableId},
    ofp::{
        FlowDesc, FlowFilter, FlowFlags, FlowMod, FlowStats, Message, MultipartReply,
        MultipartRequest, OfpError, Timeouts,
    },
};
use metrics::Metrics;
use ofmirror::{
    agent::{Agent, Manners},
    endpoint::Endpoint,
    health::Health,
    inquiry,
    openflow::{connection::ConnectionError, link::Link, session::Event},
    selection::{NamespaceRule, Wish},
    settings::{MirrorWhen, PodSource, Settings},
    sink::host_stack::HostStack,
};
use peer::{Peer, accept_and_greet, during, resident, wire};
use rust_ofp::{ofp_message::OfpMessage as _, openflow0x01::message::Message as Message10};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    sync::watch,
    time::{Instant, sleep},
};

/// What a process may grow by while gigabytes go past it; it is shared by tests that run at the same time.
const GROWTH: usize = 48 << 20;
/// Messages of 64 KB that make a gigabyte.
const GIGABYTE: usize = 1 << 14;

/// Connects, writes `bytes` and keeps the connection open.
fn writes(bytes: Vec<u8>) -> impl AsyncFnOnce(UnixStream) -> UnixStream {
    async move |mut stream| {
        let _ = stream.write_all(&bytes).await;
        stream
    }
}

/// Writes `bytes` and hangs up.
fn writes_and_closes(bytes: Vec<u8>) -> impl AsyncFnOnce(UnixStream) {
    async move |mut stream| {
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    }
}

fn contains(text: &str, words: &str) {
    assert!(text.contains(words), "{words:?} is not in {text:?}");
}

/// Bytes without meaning, always the same for a seed: from a small generator.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_only_speaks_openflow_1_0_is_named_with_the_remedy() {
    let mut peer = Peer::start();
    let hello = Message10::marshal(1, Message10::Hello);
    let error = peer.complaint(writes(hello)).await;
    contains(&error, "the switch speaks OpenFlow 1.0, not OpenFlow 1.5");
    contains(&error, "OpenFlow15");
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_not_taken_for_a_switch() {
    let mut peer = Peer::start();
    let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    contains(&peer.complaint(writes(page)).await, "is it a switch?");
    contains(&peer.complaint(writes(vec![0xff; 1 << 20])).await, "is it a switch?");
    for seed in 0..100 {
        let early = peer.complaint(writes(noise(seed, 100_000))).await;
        let late = peer.late_complaint(writes(noise(seed, 100_000))).await;
        assert!(!early.is_empty() && !late.is_empty());
    }
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_message_and_then_silence_is_given_up_in_time() {
    let mut peer = Peer::start();
    let half = wire(6, 0, 1, &[0; 100])[..50].to_vec();
    let before = Instant::now();
    contains(&peer.complaint(writes(half.clone())).await, "did not finish the OpenFlow handshake");
    assert!(before.elapsed() < Duration::from_secs(6), "{:?}", before.elapsed());
    let before = Instant::now();
    contains(&peer.late_complaint(writes(half)).await, "silent for 60 s");
    assert!(before.elapsed() < Duration::from_secs(63), "{:?}", before.elapsed());
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_drip_without_end_are_not_a_sign_of_life() {
    let mut peer = Peer::start();
    let drip = async |mut stream: UnixStream| {
        for byte in wire(6, 10, 0, &[0; 60_000]) {
            sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    contains(&peer.late_complaint(drip).await, "silent for 60 s");
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn a_length_of_seven_is_refused() {
    let mut peer = Peer::start();
    let seven = vec![6, 0, 0, 7, 0, 0, 0, 1];
    contains(&peer.complaint(writes(seven.clone())).await, "7 bytes long");
    contains(&peer.late_complaint(writes(seven)).await, "7 bytes long");
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_in_the_middle_of_a_message_is_an_end() {
    let mut peer = Peer::start();
    for length in [0, 1, 7, 8, 9, 107] {
        let cut = wire(6, 10, 1, &[0; 100])[..length].to_vec();
        let words = if length == 0 { "closed the connection" } else { "connection broke" };
        contains(&peer.complaint(writes_and_closes(cut.clone())).await, words);
        contains(&peer.late_complaint(writes_and_closes(cut)).await, words);
    }
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn gigabytes_of_zeros_are_refused_at_the_first_eight() {
    let mut peer = Peer::start();
    let zeros =
        async |mut stream: UnixStream| while stream.write_all(&[0; 1 << 16]).await.is_ok() {};
    let before = resident();
    contains(&peer.complaint(zeros).await, "0 bytes long");
    contains(&peer.late_complaint(zeros).await, "0 bytes long");
    assert!(resident() < before + GROWTH);
    peer.meet().await;
}

#[tokio::test]
async fn gigabytes_of_messages_without_sense_take_no_memory() {
    /// Hello, error, echo reply, packet-in, multipart reply, barrier reply, and one that does not exist.
    const TYPES: [u8; 7] = [0, 1, 3, 10, 19, 21, 200];
    let mut peer = Peer::start();
    let mut switch = peer.meet().await;
    let before = resident();
    let flood = async {
        for type_code in TYPES {
            switch.flood(&wire(6, type_code, 0x7fff_ffff, &noise(1, 65_000)), GIGABYTE / 4).await;
        }
        // After all of that, the connection is the same as before.
        switch.say(5, Message::EchoRequest(Bytes::from_static(b"well?"))).await;
        assert_eq!(switch.hear().await, Message::EchoReply(Bytes::from_static(b"well?")));
    };
    let listen = async {
        loop {
            match peer.link.next().await {
                Ok(Event::Stray(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    during(listen, flood).await;
    assert!(resident() < before + GROWTH, "from {before} to {}", resident());
}

#[tokio::test]
async fn a_switch_that_asks_for_echoes_and_never_reads_takes_no_memory() {
    let mut peer = Peer::start();
    let mut switch = peer.meet().await;
    let before = resident();
    let request = wire(6, 2, 1, &[0; 65_000]);
    during(peer.link.next(), switch.flood(&request, GIGABYTE / 4)).await;
    assert!(resident() < before + GROWTH, "from {before} to {}", resident());
}

#[tokio::test]
async fn an_answer_that_never_ends_its_parts_is_passed_on_part_by_part() {
    const PARTS: u32 = 20_000;
    let mut peer = Peer::start();
    let mut switch = peer.meet().await;
    peer.link.connection().unwrap().ask(7, MultipartRequest::FlowDesc(FlowFilter::default()));
    let before = resident();
    let answer = async {
        let asked = switch.next().await.unwrap();
        let part = || MultipartReply::Raw { kind: 0, body: Bytes::from_static(&[0; 10_000]) };
        for _ in 0..PARTS {
            switch.say(asked.xid, Message::MultipartReply { more: true, body: part() }).await;
        }
        pending::<()>().await;
    };
    let count = async {
        for _ in 0..PARTS {
            let event = peer.link.next().await.unwrap();
            assert!(matches!(event, Event::Part { tag: 7, more: true, .. }), "{event:?}");
        }
    };
    during(answer, count).await;
    assert!(resident() < before + GROWTH, "from {before} to {}", resident());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_no_known_request_is_told_and_the_connection_stays() {
    let mut peer = Peer::start();
    let mut switch = peer.meet().await;
    let error = OfpError { kind: 1, code: 5, experimenter: 0, data: Bytes::from_static(b"what?") };
    switch.say(0xdead_beef, Message::Error(error)).await;
    let told = peer.link.next().await.unwrap();
    let Event::Stray(error) = told else { panic!("{told:?}") };
    contains(&error.to_string(), "OFPBRC_EPERM");
    switch.say(3, Message::EchoRequest(Bytes::new())).await;
    during(peer.link.next(), async {
        assert_eq!(switch.hear().await, Message::EchoReply(Bytes::new()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_answers_no_echo_is_left_and_found_again() {
    let mut peer = Peer::start();
    let before = Instant::now();
    let error = peer.late_complaint(async |stream| stream).await;
    contains(&error, "silent for 60 s");
    assert!(before.elapsed() >= Duration::from_secs(60));
    let mut switch = peer.meet().await;
    // One that answers keeps its connection, for as long as it does.
    let answer = async {
        for _ in 0..100 {
            let frame = switch.next().await.unwrap();
            let Ok(Message::EchoRequest(data)) = Message::decode(frame.type_code, &frame.body)
            else {
                panic!("{frame:?}")
            };
            switch.say(frame.xid, Message::EchoReply(data)).await;
        }
    };
    during(async { panic!("{:?}", peer.link.next().await) }, answer).await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_never_reads_is_heard_all_the_same_and_left_when_it_answers_nothing() {
    let mut peer = Peer::start();
    let mut switch = peer.meet().await;
    // More than a socket holds.
    let flow = |priority| {
        let key = FlowKey { table: TableId(0), priority, matching: Match::default() };
        FlowMod::add(Flow { key, cookie: Cookie(0), instructions: Instruction::apply(vec![]) })
    };
    assert!(peer.link.connection().unwrap().commit(1, (0..20_000).map(flow)));
    let asked = Instant::now();
    let speak = async {
        loop {
            let error = OfpError { kind: 1, code: 5, experimenter: 0, data: Bytes::new() };
            switch.say(0, Message::Error(error)).await;
            sleep(Duration::from_secs(1)).await;
        }
    };
    let mut heard = 0;
    let error = during(speak, async {
        loop {
            match peer.link.next().await {
                Ok(Event::Stray(_)) => heard += 1,
                Ok(event) => panic!("{event:?}"),
                Err(error) => return error.to_string(),
            }
        }
    })
    .await;
    assert!(heard >= 29, "{heard}");
    contains(&error, "not answered a request for 30 s");
    assert!(asked.elapsed() < Duration::from_secs(31));
    drop(switch);
    peer.meet().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_grow_to_seconds_and_shrink_again_after_a_good_connection() {
    let mut peer = Peer::start();
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        peer.complaint(writes_and_closes(vec![])).await;
        pauses.push(last.elapsed());
        last = Instant::now();
    }
    // The first attempt is at once; jitter adds up to as much again.
    assert!(pauses[0] < Duration::from_millis(10), "{pauses:?}");
    for (index, pause) in pauses.iter().enumerate().skip(1) {
        let least = Duration::from_millis(50 << (index - 1)).min(Duration::from_secs(2));
        assert!(*pause >= least && *pause <= 2 * least + Duration::from_millis(10), "{pauses:?}");
    }
    drop(peer.meet().await);
    assert!(matches!(peer.link.next().await, Err(ConnectionError::Closed)));
    let lost = Instant::now();
    peer.meet().await;
    assert!(lost.elapsed() < Duration::from_millis(110), "{:?}", lost.elapsed());
}

/// A whole agent that is pointed at the peer and finds no OVSDB; gives its health.
fn agent(peer: &Peer) -> (impl Future, watch::Receiver<Health>) {
    let (sender, health) = watch::channel(Health::default());
    let settings = Settings {
        wish: Wish { bridge: "br-int".into(), all: true, namespaces: NamespaceRule::default() },
        nic_must_exist: false,
        nic: "hostile0".into(),
        run_folder: "/nonexistent".into(),
        ovsdb: Endpoint::Unix("/nonexistent/db.sock".into()),
        openflow: peer.endpoint(),
        marker: None::<MarkerBits>,
        pods: PodSource::Ovsdb,
        when: MirrorWhen::Always,
    };
    let manners = Manners {
        replace_mirrors: false,
        host_stack: HostStack::Reached,
        keep_on_exit: true,
        overhead_probe: None,
    };
    let (_nobody, inquiries) = inquiry::channel::<_, ()>();
    let agent = Agent::start(settings, manners, Metrics::new(), sender, inquiries);
    (agent.expect("no API server is asked").run(pending()), health)
}

/// A peer whose only client is the agent.
fn lonely_peer() -> Peer {
    let mut peer = Peer::start();
    peer.link = Link::new(Endpoint::Unix("/nonexistent/br-int.mgmt".into()));
    peer
}

async fn await_problem(health: &mut watch::Receiver<Health>, words: &str) {
    let told = |health: &Health| health.problems.iter().any(|problem| problem.contains(words));
    assert!(!health.wait_for(told).await.unwrap().ready);
}

#[tokio::test]
async fn the_agent_tells_what_is_wrong_with_each_switch_and_goes_on_with_a_sane_one() {
    let peer = lonely_peer();
    let (agent, mut health) = agent(&peer);
    let story = async {
        let old = Message10::marshal(1, Message10::Hello);
        let cases = [
            (old, "OpenFlow: the switch speaks OpenFlow 1.0"),
            (vec![6, 0, 0, 7, 0, 0, 0, 1], "7 bytes long"),
            (noise(3, 100_000), "OpenFlow: "),
            (vec![0; 1 << 20], "0 bytes long"),
        ];
        for (bytes, words) in cases {
            let (mut stream, _) = peer.listener.accept().await.unwrap();
            let _ = stream.write_all(&bytes).await;
            await_problem(&mut health, words).await;
        }
        let _switch = accept_and_greet(&peer.listener).await;
        let sane = |health: &Health| health.problems.iter().all(|p| !p.starts_with("OpenFlow"));
        let health = health.wait_for(sane).await.unwrap();
        // OVSDB is still missing, and nothing is claimed to be mirrored.
        assert!(!health.ready && !health.complete, "{health:?}");
        contains(&health.problems.join("\n"), "OVSDB: ");
    };
    during(agent, story).await;
}

/// The body of an answer of many flows, after which more are promised.
fn endless_flows() -> Vec<u8> {
    let key = FlowKey { table: TableId(0), priority: 100, matching: Match::default() };
    let flow = Flow { key, cookie: Cookie(1), instructions: Instruction::apply(vec![]) };
    let description = FlowDesc {
        flow,
        flags: FlowFlags::default(),
        timeouts: Timeouts::default(),
        importance: 0,
        stats: FlowStats::default(),
    };
    let body = MultipartReply::FlowDesc(vec![description; 500]);
    let mut bytes = BytesMut::new();
    Message::MultipartReply { more: true, body }.encode(0, &mut bytes).unwrap();
    bytes.to_vec()
}

#[tokio::test]
async fn the_agent_stays_small_and_awake_under_a_flood() {
    let peer = lonely_peer();
    let (agent, health) = agent(&peer);
    let story = async {
        let mut switch = accept_and_greet(&peer.listener).await;
        let asked = switch.next().await.unwrap();
        let before = resident();
        // An answer to the agent's first question, for all flows, that never ends, and packets that nobody asked for.
        let parts = wire(6, 19, asked.xid, &endless_flows());
        let packets = wire(6, 10, 0, &[0; 20_000]);
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut awake = 0;
        let flood = async {
            for _ in 0..GIGABYTE / 8 {
                switch.flood(&parts, 1).await;
                switch.flood(&packets, 1).await;
            }
        };
        let others = async {
            loop {
                ticks.tick().await;
                awake += 1;
            }
        };
        during(others, flood).await;
        assert!(awake > 1, "nothing else had a turn");
        assert!(resident() < before + GROWTH, "from {before} to {}", resident());
        assert!(!health.borrow().ready);
    };
    during(agent, story).await;
}
