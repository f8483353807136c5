//! The metrics of mirrored traffic agree with what is on the mirror NIC, through all that happens to flows.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::Context as _;
use lab::{
    Agent, Capture, HOOKS, KERNELS_DATAPATH, MIRROR, Node, OURS, Result, Service, datapath, until,
};

/// Packets or bytes by Pod, port and direction.
type Totals = BTreeMap<[String; 3], u64>;

const PACKETS: &str = "ofmirror_mirrored_packets_total";
const BYTES: &str = "ofmirror_mirrored_bytes_total";

fn totals(agent: &Agent<'_>, metric: &str) -> Result<Totals> {
    let body = agent.get("/metrics")?.context("the agent does not listen")?.body;
    let lines = body.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    let parse = |line: &str| {
        let (labels, value) = line.split_once("} ")?;
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let key = [label("pod")?, label("interface")?, label("direction")?];
        Some((key, value.parse::<f64>().ok()? as u64))
    };
    lines.map(|line| parse(line).with_context(|| format!("not a series: {line}"))).collect()
}

/// Packets and bytes that the host's kernel got by the mirror NIC, Ethernet headers included.
fn arrived(node: &Node) -> Result<[u64; 2]> {
    let read = |counter: &str| -> Result<u64> {
        let path = format!("/sys/class/net/{MIRROR}/statistics/{counter}");
        let text = node.program("cat").arg(path).run()?;
        Ok(text.trim().parse()?)
    };
    let [packets, bytes] = [read("rx_packets")?, read("rx_bytes")?];
    // The kernel counts what its own datapath sends to an internal port without the Ethernet header, and with it what is written
    // to a tap device.
    let header = if datapath() == KERNELS_DATAPATH { 14 } else { 0 };
    Ok([packets, bytes + header * packets])
}

/// Waits until all that arrived has been counted, and nothing else.
fn await_agreement(node: &Node, agent: &Agent<'_>) -> Result {
    let sums = || -> Result<[u64; 2]> {
        Ok([totals(agent, PACKETS)?.values().sum(), totals(agent, BYTES)?.values().sum()])
    };
    let agree = until("the metrics to agree with the NIC", || {
        agent.alive()?;
        Ok((sums()? == arrived(node)?).then_some(()))
    });
    agree.or_else(|error| {
        Err(error.context(format!("counted {:?}, arrived {:?}", sums()?, arrived(node)?)))
    })
}

/// A capture, and what had arrived before its first frame.
fn capture<'a>(node: &'a Node, pods: &[&str]) -> Result<(Capture<'a>, [u64; 2])> {
    until("a capture that begins between two copies", || {
        let before = arrived(node)?;
        let capture = node.watch(pods)?;
        Ok((arrived(node)? == before).then_some((capture, before)))
    })
}

/// Waits until all that arrived since has been captured, and all that ever did been counted.
fn await_all(node: &Node, agent: &Agent<'_>, capture: &Capture<'_>, before: [u64; 2]) -> Result {
    until("the capture to have all copies", || {
        let copies = capture.copies()?;
        let bytes = copies.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
        let captured = [before[0] + copies.len() as u64, before[1] + bytes];
        Ok((captured == arrived(node)?).then_some(()))
    })?;
    await_agreement(node, agent)
}

#[test]
fn the_totals_agree_to_the_packet_with_a_capture_on_the_mirror_nic() -> Result {
    let node = Node::start()?;
    node.revalidate()?;
    for pod in ["a", "c"] {
        node.annotate(pod)?;
    }
    let agent = node.agent(&[])?;
    let (capture, before) = capture(&node, &["a", "c"])?;
    node.say_everything()?;
    await_agreement(&node, &agent)?;
    let copies = capture.copies()?;
    assert!(!copies.is_empty());
    let packets: u64 = totals(&agent, PACKETS)?.values().sum();
    let bytes: u64 = totals(&agent, BYTES)?.values().sum();
    let captured = copies.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
    assert_eq!([packets, bytes], [before[0] + copies.len() as u64, before[1] + captured]);
    // And each series with what the switch counted for that Pod.
    let counters = node.counters()?;
    for (pod, from_pod) in &counters.from_pod {
        let key = |direction: &str| [pod.clone(), format!("{pod}_h"), direction.to_owned()];
        let series = totals(&agent, PACKETS)?;
        assert_eq!(series[&key("from_pod")], *from_pod, "{series:?}");
        assert_eq!(series[&key("to_pod")], counters.to_pod[pod], "{series:?}");
    }
    for (metric, expected) in [
        ("ofmirror_copies_offered_total", packets),
        ("ofmirror_copies_delivered_total", packets),
        ("ofmirror_mirror_port_bytes_total", bytes),
    ] {
        until(metric, || Ok((agent.metric(metric)? as u64 == expected).then_some(())))?;
    }
    assert_eq!(losses(&agent)?, [0.0; 2]);
    agent.stop()
}

/// What the mirror port says that it dropped, and could not send.
fn losses(agent: &Agent<'_>) -> Result<[f64; 2]> {
    let metric = |what: &str| agent.metric(&format!("ofmirror_mirror_port_{what}_total"));
    Ok([metric("drops")?, metric("errors")?])
}

#[test]
fn copies_that_the_mirror_port_loses_are_told_and_no_others() -> Result {
    let node = silent_node()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let [a, b] = ["a", "b"].map(|name| node.pod(name));
    // A frame that no protocol of the host's kernel takes is no less delivered.
    let unknown = [&[0xff; 6][..], &a.mac().0, &[0x88, 0xb5], &[0; 46]].concat();
    a.inject(&unknown)?;
    await_agreement(&node, &agent)?;
    let lost = || -> Result<f64> {
        let metric = |what: &str| agent.metric(&format!("ofmirror_copies_{what}_total"));
        Ok(metric("offered")? - metric("delivered")?)
    };
    let await_lost = |number: f64| {
        until("copies to be offered and not delivered", || Ok((lost()? == number).then_some(())))
            .or_else(|error| Err(error.context(format!("{} were, not {number}", lost()?))))
    };
    await_lost(0.0)?;
    assert_eq!(losses(&agent)?, [0.0; 2]);

    // The agent would mend either at once.
    agent.hold()?;
    node.namespace().ip(["link", "set", MIRROR, "down"])?;
    speak(&node)?;
    node.namespace().ip(["link", "set", MIRROR, "up"])?;
    agent.go_on()?;
    await_lost(10.0)?;
    if datapath() == KERNELS_DATAPATH {
        // Whether the kernel counts what is for an internal port that is down depends on its version.
        agent.hold()?;
        node.vsctl(["set", "Interface", MIRROR, "mtu_request=1000"])?;
        a.ping_with(b.ip4(), 1200, 3)?;
        agent.go_on()?;
        await_lost(16.0)?;
        until("the port's own word", || Ok((losses(&agent)?[1] > 0.0).then_some(())))?;
        assert_eq!(losses(&agent)?[1], 6.0);
    } else {
        // A tap device takes frames of any length.
        until("the port's own word", || Ok((losses(&agent)? == [10.0, 0.0]).then_some(())))?;
    }
    agent.stop()
}

#[test]
fn the_totals_go_on_whatever_happens_to_flows_and_ports() -> Result {
    let node = Node::start()?;
    node.revalidate()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let wipe = || node.ofctl(&["del-flows"], [OURS]).map(drop);
    let disturbances: [(&str, &dyn Fn() -> Result); 5] = [
        ("nothing", &|| Ok(())),
        ("somebody wipes our flows", &wipe),
        ("ovn-controller restarts", &|| node.restart(Service::Controller)),
        ("the annotation goes and comes", &|| {
            node.unannotate("a")?;
            until("our flows to go", || Ok((node.our_flows()?.len() == 1).then_some(())))?;
            node.annotate("a")
        }),
        ("the Pod's port gets another number", &|| {
            node.replug_pod("a")?;
            // The new port's kernel has said which groups it listens to.
            node.revalidate()?;
            node.annotate("a")
        }),
    ];
    let mut before = Totals::new();
    for (what, disturb) in disturbances {
        disturb().with_context(|| what.to_owned())?;
        agent.await_ready()?;
        until("both hooks", || Ok((node.our_flows()?.len() == 7).then_some(())))?;
        node.say_everything()?;
        await_agreement(&node, &agent).with_context(|| what.to_owned())?;
        let now = totals(&agent, PACKETS)?;
        for (series, packets) in &before {
            assert!(now[series] >= *packets, "{series:?} went back when {what}");
        }
        assert!(now.values().sum::<u64>() > before.values().sum(), "nothing counted after {what}");
        before = now;
    }
    let ports: Vec<_> = before.keys().map(|[_, port, _]| port.as_str()).collect();
    assert_eq!(ports.len(), 4, "the former port's totals are still there: {ports:?}");
    agent.stop()
}

#[test]
fn a_new_agent_does_not_count_again_what_its_predecessor_has() -> Result {
    let node = silent_node()?;
    node.annotate("a")?;
    node.agent(&[])?.kill()?;
    speak(&node)?;
    let unseen: u64 = node.counters()?.copies;
    assert!(unseen > 0, "the flows of the former agent are still there");
    let agent = node.agent(&[])?;
    until("the flows to be read", || Ok((!totals(&agent, PACKETS)?.is_empty()).then_some(())))?;
    assert_eq!(totals(&agent, PACKETS)?.values().sum::<u64>(), 0);
    speak(&node)?;
    let copies = node.counters()?.copies - unseen;
    until("what came since to be counted", || {
        Ok((totals(&agent, PACKETS)?.values().sum::<u64>() == copies).then_some(()))
    })?;
    agent.stop()
}

/// A node on which no kernel says anything unasked, as of its groups.
fn silent_node() -> Result<Node> {
    let node = Node::start()?;
    for pod in node.pods() {
        pod.program("sysctl").args(["-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1"]).run()?;
    }
    Ok(node)
}

/// Lets Pod a speak to all of its switch, by which no kernel is made to ask for an address later, and waits until the switch
/// has counted it.
fn speak(node: &Node) -> Result {
    let [a, b] = ["a", "b"].map(|name| node.pod(name));
    for _ in 0..10 {
        a.broadcast(Ipv4Addr::BROADCAST, &[&b])?;
    }
    node.revalidate()
}

#[test]
fn the_totals_stay_exact_while_hooks_are_lifted_and_put_back() -> Result {
    let node = silent_node()?;
    let agent = node.agent(&["--enable-mirror", "--overhead-probe=10s/4s"])?;
    let (capture, before) = capture(&node, &["a"])?;
    for _ in 0..2 {
        until("hooks to be lifted", || Ok((node.hooks()?.len() < HOOKS).then_some(())))?;
        speak(&node)?;
        until("all hooks", || Ok(node.unhooked()?.is_empty().then_some(())))?;
        let copied = arrived(&node)?[0];
        speak(&node)?;
        assert!(arrived(&node)?[0] >= copied + 10, "not while hooks are lifted");
        await_all(&node, &agent, &capture, before)?;
    }
    capture.finish()?;
    agent.stop()
}

#[test]
fn the_totals_stay_exact_while_listeners_come_and_go() -> Result {
    let node = silent_node()?;
    let agent = node.agent(&["--enable-mirror", "--mirror-when=listened"])?;
    for _ in 0..3 {
        until("the pause", || {
            let paused = agent.metric("ofmirror_mirroring_paused")? == 1.0 && agent.is_ready()?;
            // All but the guard of the mirror port.
            Ok((paused && node.hooks()?.len() == 1).then_some(()))
        })?;
        speak(&node)?;
        let (capture, before) = capture(&node, &["a"])?;
        until("all hooks", || Ok(node.unhooked()?.is_empty().then_some(())))?;
        speak(&node)?;
        await_all(&node, &agent, &capture, before)?;
        assert!(arrived(&node)?[0] >= before[0] + 10);
        // Hooks stay for a while. Of this the agent may hear only when they go, and they don't go in its midst.
        agent.hold()?;
        capture.finish()?;
        speak(&node)?;
        agent.go_on()?;
    }
    await_agreement(&node, &agent)?;
    agent.stop()
}
