//! No Pod changes the node by frames that are copied: its routes, addresses, neighbours and rules stay as they are, whatever
//! keeps copies from the node's network stack and whatever does not.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use lab::{Agent, MIRROR, Node, Result, ensure_same, intrusion, packet_socket, until};
use nix::sys::socket::SockProtocol;

const MIRROR_ALL: &str = "--enable-mirror";
/// The bridge that takes copies where it may.
const DRAIN: &str = "mirror0-drain";

/// A node with an uplink, and an agent that can't turn IPv6 off by sysctl.
fn start() -> Result<Node> {
    let node = Node::start()?;
    node.add_uplink()?;
    Ok(node)
}

/// Whether the bridge takes what comes in by the mirror NIC.
fn await_drain(node: &Node, there: bool) -> Result {
    until("the mirror NIC to belong to the agent's bridge, or not", || {
        let link = node.namespace().ip(["link", "show", MIRROR])?;
        Ok((link.contains(&format!(" master {DRAIN} ")) == there).then_some(()))
    })
}

/// Has a mirrored Pod send all that may change a host, and compares the node before and after.
fn assert_unchanged(node: &Node, agent: &Agent<'_>) -> Result {
    assert_unchanged_by(node, agent, MIRROR)
}

/// The same where copies come in by `nic`.
fn assert_unchanged_by(node: &Node, agent: &Agent<'_>, nic: &str) -> Result {
    let link = node.namespace().ip(["-details", "link", "show", nic])?;
    let sysctl = format!("net.ipv6.conf.{nic}.disable_ipv6");
    let ipv6 = node.namespace().program("sysctl").args(["-n", &sysctl]).run()?;
    ensure!(ipv6.trim() == "0", "IPv6 is off on the NIC, so nothing is proven: {link}");
    let before = node.namespace().host_state()?;
    let capture = node.capture_at(nic, &["a"])?;
    for _ in 0..2 {
        for frame in intrusion()? {
            node.pod("a").inject(&frame)?;
            capture.await_copy("the intruder's frame", |copy| copy == frame)?;
        }
    }
    // Packet sockets get a frame before the node's own protocols do, which are done with it before they get the next one.
    let last = intrusion()?.pop().expect("there are frames");
    let copies = |frames: &[lab::Frame]| frames.iter().filter(|copy| copy.bytes == last).count();
    let seen = copies(&capture.copies()?);
    node.pod("a").inject(&last)?;
    until("the last copy", || Ok((copies(&capture.copies()?) > seen).then_some(())))?;
    agent.alive()?;
    ensure_same("the node", &before, &node.namespace().host_state()?)
}

#[test]
fn these_frames_do_change_a_host_that_takes_them() -> Result {
    let node = Node::start_bare()?;
    node.add_uplink()?;
    node.namespace().ip("link add in0 type veth peer name in1".split(' '))?;
    for link in ["in0", "in1"] {
        node.namespace().ip(["link", "set", link, "up"])?;
    }
    until("a default route by the intruder", || {
        for frame in intrusion()? {
            node.namespace().inject("in1", &frame)?;
        }
        let state = node.namespace().host_state()?;
        let has = |words: &str| state.iter().any(|line| line.contains(words));
        // More specific routes are only taken where a sysctl lets them.
        Ok((has("default via fe80::bad dev in0") && has("2001:db8:bad::/64 dev in0")).then_some(()))
    })
}

#[test]
fn with_the_bridge_no_pod_changes_the_node() -> Result {
    let node = start()?;
    let agent = node.confined_agent(&[MIRROR_ALL])?;
    await_drain(&node, true)?;
    assert_unchanged(&node, &agent)?;
    agent.stop()
}

#[test]
fn with_a_packet_socket_for_one_protocol_no_pod_changes_the_node() -> Result {
    let node = start()?;
    let agent = node.confined_agent(&[MIRROR_ALL])?;
    await_drain(&node, true)?;
    let _listener = node.namespace().inside(|| packet_socket(MIRROR, Some(SockProtocol::EthIp)))?;
    await_drain(&node, false)?;
    assert_unchanged(&node, &agent)?;
    agent.stop()
}

#[test]
fn with_copies_for_the_host_no_pod_changes_the_node() -> Result {
    let node = start()?;
    let agent = node.confined_agent(&[MIRROR_ALL, "--host-stack=reached"])?;
    await_drain(&node, false)?;
    assert_unchanged(&node, &agent)?;
    agent.stop()
}

#[test]
fn with_a_filter_or_a_device_on_the_nic_no_pod_changes_the_node() -> Result {
    let node = start()?;
    let agent = node.confined_agent(&[MIRROR_ALL])?;
    await_drain(&node, true)?;
    node.namespace().program("tc").args(["qdisc", "add", "dev", MIRROR, "clsact"]).run()?;
    let filter = "ingress u32 match u32 0 0 action mirred egress mirror dev lo";
    let tc = node.namespace().program("tc").args(["filter", "add", "dev", MIRROR]);
    tc.args(filter.split(' ')).run()?;
    // Nothing announces filters; what changes the link makes the agent look at once.
    node.namespace().ip(["link", "set", MIRROR, "alias", "seen"])?;
    await_drain(&node, false)?;
    assert_unchanged(&node, &agent)?;
    node.namespace().program("tc").args(["qdisc", "del", "dev", MIRROR, "clsact"]).run()?;
    node.namespace().ip(["link", "set", MIRROR, "alias", "free"])?;
    await_drain(&node, true)?;

    // A device on it that takes nothing for itself: what it leaves goes on to the host.
    agent.stop()?;
    let agent = node.confined_agent(&[MIRROR_ALL, "--host-stack=reached"])?;
    let ip = |line: String| node.namespace().ip(line.split(' ')).map(drop);
    ip(format!("link add link {MIRROR} name upon type macvlan mode bridge"))?;
    assert_unchanged(&node, &agent)?;
    ip("link del upon".to_owned())?;
    agent.stop()
}

#[test]
fn with_a_bridge_that_can_not_be_had_no_pod_changes_the_node() -> Result {
    let node = start()?;
    // Somebody else's, of the same name.
    let theirs = format!("link add {DRAIN} type veth peer name theirs");
    node.namespace().ip(theirs.split(' '))?;
    let agent = node.confined_agent(&[MIRROR_ALL])?;
    until("the refusal to be told", || {
        Ok(agent.log()?.contains("which is not ofmirror's").then_some(()))
    })?;
    await_drain(&node, false)?;
    assert_unchanged(&node, &agent)?;
    agent.stop()
}

#[test]
fn a_filter_that_somebody_flushes_is_back_and_goes_with_the_agent() -> Result {
    let node = start()?;
    let agent = node.confined_agent(&[MIRROR_ALL, "--host-stack=reached"])?;
    assert_unchanged(&node, &agent)?;
    // Tables are listed in the order in which they were made.
    let filters = || {
        let text = node.namespace().program("nft").args(["list", "ruleset"]).run()?;
        let mut tables: Vec<_> = text.split("table ").map(str::trim).collect();
        tables.sort_unstable();
        Result::Ok(tables.join("\n"))
    };
    let whole = filters()?;
    ensure!(whole.contains(&format!("iifname \"{MIRROR}\"")), "{whole}");
    node.namespace().program("nft").args(["flush", "ruleset"]).run()?;
    until("the filter to be back", || Ok((filters()? == whole).then_some(())))?;
    assert_unchanged(&node, &agent)?;
    agent.kill()?;
    ensure!(filters()? == whole, "who is killed leaves it: {}", filters()?);
    let agent = node.confined_agent(&[MIRROR_ALL])?;
    until("the filter of the next one", || {
        let filters = filters()?;
        Ok((filters != whole && filters.contains(MIRROR)).then_some(()))
    })?;
    agent.stop()?;
    ensure!(filters()?.trim().is_empty(), "{}", filters()?);
    Ok(())
}

#[test]
fn with_a_nic_whose_other_end_is_on_the_node_no_pod_changes_the_node() -> Result {
    let node = start()?;
    for line in [
        "link add eth9 type veth peer name peer9",
        "link set peer9 addrgenmode none",
        "link set peer9 up",
    ] {
        node.namespace().ip(line.split(' '))?;
    }
    for host_stack in ["spared", "reached"] {
        let host_stack = format!("--host-stack={host_stack}");
        let agent = node.confined_agent(&[MIRROR_ALL, "--mirror-iface=eth9", &host_stack])?;
        assert_unchanged_by(&node, &agent, "peer9")?;
        agent.stop()?;
    }
    Ok(())
}

/// Somebody who owns the table that the agent's filter would have: the kernel lets nobody else change it.
struct Owner(Child);

impl Owner {
    fn start(node: &Node) -> Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", node.name(), "nft", "--interactive"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut commands = child.stdin.take().context("no stdin")?;
        writeln!(commands, "add table ip6 ofmirror_{MIRROR} {{ flags owner; }}")?;
        commands.flush()?;
        child.stdin = Some(commands);
        let owner = Self(child);
        until("somebody to own the table", || {
            let tables = node.namespace().program("nft").args(["list", "tables"]).run()?;
            Ok(tables.contains(MIRROR).then_some(()))
        })?;
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

#[test]
fn where_nothing_holds_nothing_is_copied_and_a_bridge_that_is_needed_stays() -> Result {
    let node = start()?;
    let _owner = Owner::start(&node)?;
    let theirs = format!("link add {DRAIN} type veth peer name theirs");
    node.namespace().ip(theirs.split(' '))?;
    let agent = node.launch_confined_agent(&[MIRROR_ALL])?;
    until("the agent to say that nothing holds", || {
        agent.alive()?;
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        let told = answer.body.contains(&format!("nothing is copied to {MIRROR}"));
        Ok((answer.status == 503 && told).then_some(()))
    })?;
    ensure!(node.hooks()?.is_empty(), "{:?}", node.hooks()?);

    node.namespace().ip(["link", "del", DRAIN])?;
    node.namespace().ip(["link", "set", MIRROR, "alias", "free"])?;
    agent.await_ready()?;
    await_drain(&node, true)?;
    let _listener = node.namespace().inside(|| packet_socket(MIRROR, Some(SockProtocol::EthIp)))?;
    until("the listener to be told", || {
        Ok((agent.metric("ofmirror_listeners")? >= 1.0).then_some(()))
    })?;
    node.namespace().ip(["link", "set", MIRROR, "alias", "listened"])?;
    assert_unchanged(&node, &agent)?;
    await_drain(&node, true)?;
    agent.stop()
}
