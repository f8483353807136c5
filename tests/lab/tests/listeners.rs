//! With `--mirror-when=listened` nothing is copied for nobody, and everything for whoever listens.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use lab::{Agent, MIRROR, Node, Proto, Result, Service, packet_socket, until};
use nix::sys::socket::SockProtocol;

const LISTENED: &[&str] = &["--enable-mirror", "--mirror-when=listened"];
const PAUSED: &str = "ofmirror_mirroring_paused";
const LISTENERS: &str = "ofmirror_listeners";

/// A tcpdump on the mirror NIC that is ended when dropped.
struct Tcpdump(Child);

impl Tcpdump {
    /// Starts one with `args`, and waits until it listens.
    fn start(node: &Node, args: &[&str]) -> Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", node.namespace().name(), "tcpdump", "-n", "-w", "/dev/null"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no stderr")?;
        let tcpdump = Self(child);
        let mut said = String::new();
        for line in BufReader::new(stderr).lines() {
            said.push_str(&line?);
            if said.contains("listening on") {
                return Ok(tcpdump);
            }
        }
        anyhow::bail!("tcpdump does not listen: {said}")
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

/// Waits until the agent has none of its flows in the switch but the guard of the mirror port.
fn await_pause(node: &Node, agent: &Agent<'_>) -> Result {
    until("the pause", || {
        agent.alive()?;
        let paused = agent.metric(PAUSED)? == 1.0 && agent.is_ready()?;
        Ok((paused && node.our_flows()?.len() == 1).then_some(()))
    })?;
    assert!(node.our_flows()?[0].contains("actions=drop"), "{:?}", node.our_flows()?);
    Ok(())
}

/// Waits until everything is mirrored by as many flows as an agent has that always mirrors, and the agent says so.
fn await_flows(node: &Node, agent: &Agent<'_>, flows: usize) -> Result {
    until("all hooks", || {
        agent.alive()?;
        let mirroring = agent.metric(PAUSED)? == 0.0 && agent.is_ready()?;
        let all = node.our_flows()?.len() == flows && node.unhooked()?.is_empty();
        Ok((mirroring && all).then_some(()))
    })
}

/// Nothing that Pods say is copied.
fn assert_nothing_is_copied(node: &Node) -> Result {
    let before = node.counters()?;
    node.say_everything()?;
    let since = node.counters()?.since(&before);
    assert!(since.sent.values().sum::<u64>() > 50, "they say a lot: {since:?}");
    assert_eq!((since.copies, since.copied(), since.guarded), (0, 0, 0), "{since:?}");
    Ok(())
}

/// How many flows an agent has that always mirrors.
fn flows_of_always(node: &Node) -> Result<usize> {
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?.len();
    agent.stop()?;
    Ok(flows)
}

#[test]
fn copies_begin_and_end_with_tcpdump_and_are_exact_in_between() -> Result {
    let node = Node::start()?;
    let flows = flows_of_always(&node)?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    assert_eq!(agent.metric(LISTENERS)?, 0.0);
    assert_nothing_is_copied(&node)?;
    let ready = agent.get("/readyz")?.context("the agent does not listen")?;
    assert_eq!(ready.body, "ready\npaused: nobody listens on the mirror NIC\n");

    for args in [["-i", MIRROR].as_slice(), &["-p", "-i", MIRROR], &["-i", "any"]] {
        let tcpdump = Tcpdump::start(&node, args)?;
        await_flows(&node, &agent, flows)?;
        until("the listener to be told", || Ok((agent.metric(LISTENERS)? == 1.0).then_some(())))?;
        drop(tcpdump);
        await_pause(&node, &agent)?;
    }

    // The capture listens itself, but its first mark does not wait for the hooks.
    let tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
    await_flows(&node, &agent, flows)?;
    node.assert_copies_are_exact()?;
    drop(tcpdump);
    await_pause(&node, &agent)?;
    assert_nothing_is_copied(&node)?;
    agent.stop()
}

#[test]
fn whoever_listens_to_something_else_is_no_listener() -> Result {
    let node = Node::start()?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    let _elsewhere = Tcpdump::start(&node, &["-i", "lo"])?;
    node.say_everything()?;
    assert_eq!((agent.metric(LISTENERS)?, agent.metric(PAUSED)?), (0.0, 1.0));
    assert_nothing_is_copied(&node)?;
    agent.stop()
}

#[test]
fn a_socket_whose_nic_has_gone_hides_no_listener() -> Result {
    let node = Node::start()?;
    let flows = flows_of_always(&node)?;
    // As a dead Pod's veth leaves one to ovs-vswitchd, and a new veth one to an IDS.
    node.namespace().ip("link add gone0 type veth peer name gone1".split(' '))?;
    let protocols = [SockProtocol::EthAll, SockProtocol::EthIp];
    let _stale = protocols.map(|protocol| {
        node.namespace().inside(|| packet_socket("gone0", Some(protocol))).expect("gone0 is there")
    });
    node.namespace().ip(["link", "del", "gone0"])?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    assert_eq!(agent.metric(LISTENERS)?, 0.0);
    until("copies to be kept from the host", || {
        let link = node.namespace().ip(["link", "show", MIRROR])?;
        Ok(link.contains(" master mirror0-drain ").then_some(()))
    })?;
    let tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
    await_flows(&node, &agent, flows)?;
    until("the listener to be told", || Ok((agent.metric(LISTENERS)? == 1.0).then_some(())))?;
    drop(tcpdump);
    await_pause(&node, &agent)?;
    agent.stop()
}

#[test]
fn what_happens_during_a_pause_is_made_up_for_when_somebody_listens() -> Result {
    let node = Node::start()?;
    let flows = flows_of_always(&node)?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;

    node.restart(Service::Controller)?;
    until("the loss of the guard to be told", || {
        agent.alive()?;
        Ok((agent.metric("ofmirror_flow_losses_total")? >= 1.0).then_some(()))
    })?;
    await_pause(&node, &agent)?;
    let tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
    await_flows(&node, &agent, flows)?;
    drop(tcpdump);
    await_pause(&node, &agent)?;
    agent.stop()?;

    // One agent ends in a pause and the next one begins in it; then one begins while somebody listens.
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    agent.kill()?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    assert_nothing_is_copied(&node)?;
    agent.kill()?;
    let _tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
    let agent = node.agent(LISTENED)?;
    await_flows(&node, &agent, flows)?;
    assert!(!agent.log()?.contains("mirroring is paused"), "it has never been: {}", agent.log()?);
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn pods_notice_nothing_of_a_pause() -> Result {
    let node = Node::start()?;
    let [a, b] = ["a", "b"].map(|name| node.pod(name));
    let _server = b.serve(Proto::Tcp, 8090)?;
    let mut conversation = a.converse(b.ip4(), 8090)?;
    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    let arrivals = a.stream_while(&b, b.ip4(), 7000, || {
        for _ in 0..3 {
            let tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
            until("hooks", || Ok((node.our_flows()?.len() > 1).then_some(())))?;
            conversation.say(10)?;
            drop(tcpdump);
            await_pause(&node, &agent)?;
        }
        Ok(())
    })?;
    assert_eq!((arrivals.lost, arrivals.doubled), (0, 0));
    agent.stop()
}

#[test]
fn always_means_always() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    until("nobody to be counted", || {
        let answer = agent.get("/metrics")?.context("the agent does not listen")?;
        Ok(answer.body.contains("\nofmirror_listeners 0\n").then_some(()))
    })?;
    let before = node.counters()?;
    node.say_everything()?;
    let since = node.counters()?.since(&before);
    assert!(since.copies > 50 && since.copies == since.copied(), "{since:?}");
    assert_eq!((agent.metric(PAUSED)?, node.our_flows()?), (0.0, flows));
    let tcpdump = Tcpdump::start(&node, &["-i", MIRROR])?;
    until("tcpdump to be counted", || Ok((agent.metric(LISTENERS)? == 1.0).then_some(())))?;
    drop(tcpdump);
    agent.stop()
}

#[test]
fn where_copies_may_leave_unseen_they_are_always_made() -> Result {
    // What is behind a veth may be anywhere; a macvlan and a tc filter take copies without a packet socket.
    let node = Node::start()?;
    let name = node.namespace().name().to_owned();
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip("link add eth9 type veth peer name eth9p")?;
    ip("link set eth9p up")?;
    let agent =
        node.agent(&["--enable-mirror", "--mirror-when=listened", "--mirror-iface=eth9"])?;
    assert_always(&node, &agent, "eth9 is no internal port of the bridge")?;
    agent.stop()?;
    ip("link del eth9")?;

    let agent = node.agent(&[LISTENED, &["--host-stack=reached"]].concat())?;
    await_pause(&node, &agent)?;
    ip(&format!("link add link {MIRROR} name upon type macvlan"))?;
    assert_always(&node, &agent, "the device upon on it")?;
    ip("link del upon")?;
    await_pause(&node, &agent)?;
    agent.stop()?;

    let agent = node.agent(LISTENED)?;
    await_pause(&node, &agent)?;
    let tc = |line: &str| {
        let status = Command::new("ip")
            .args(["netns", "exec", &name, "tc"])
            .args(line.split(' '))
            .status()
            .context("no tc")?;
        ensure!(status.success(), "tc {line}: {status}");
        Ok(())
    };
    tc(&format!("qdisc add dev {MIRROR} clsact"))?;
    let to_lo = "ingress u32 match u32 0 0 action mirred egress mirror dev lo";
    tc(&format!("filter add dev {MIRROR} {to_lo}"))?;
    // Nothing announces filters; what changes the link makes the agent look at once, and not within a minute.
    ip(&format!("link set {MIRROR} alias seen"))?;
    assert_always(&node, &agent, "tc filters")?;
    agent.stop()
}

fn assert_always(node: &Node, agent: &Agent<'_>, why: &str) -> Result {
    until("hooks for whoever is there", || {
        agent.alive()?;
        let ready = agent.get("/readyz")?.context("the agent does not listen")?;
        let told = ready.status == 200 && ready.body.contains(why);
        Ok((told && agent.metric(PAUSED)? == 0.0).then_some(()))
    })?;
    assert_eq!(node.unhooked().map(|missing| missing.len())?, 0);
    assert!(agent.metric(LISTENERS).is_err(), "nobody can count them");
    Ok(())
}
