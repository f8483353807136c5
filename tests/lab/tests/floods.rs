//! Floods that are nearly as long as Open vSwitch allows.

use lab::{Agent, Node, Result, SWITCHES, until};

/// The most lookups of a packet, with the first.
const MOST: usize = 4097;
/// How many routers there are besides the one that the lab has.
const ROUTERS: u8 = 6;

/// A broadcast's lookups, and whether it arrives.
fn flood(node: &Node) -> Result<(usize, bool)> {
    let port = node.ofport("bare0")?;
    let broadcast = "dl_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=1,arp_spa=10.16.3.232,arp_tpa=10.16.99.99";
    let source = "dl_src=02:00:00:10:03:e8,arp_sha=02:00:00:10:03:e8";
    let frame = format!("in_port={port},{broadcast},{source}");
    let trace = node.appctl(["ofproto/trace", "br-int", &frame])?;
    let lookups = trace.lines().filter(|line| {
        let (number, rest) = line.trim_start().split_once(". ").unwrap_or_default();
        !rest.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    Ok((lookups.count(), !trace.contains("over 4096 resubmit actions")))
}

/// Waits until the ports on the switch are copied from, or not.
fn await_hooks(node: &Node, agent: &Agent<'_>, wanted: bool) -> Result {
    let filter = format!("table=0,in_port={}", node.ofport("bare0")?);
    until(if wanted { "hooks" } else { "no hooks" }, || {
        agent.alive()?;
        let flows = node.dump_flows(&filter)?;
        let there = flows.iter().any(|flow| flow.contains("priority=65534"));
        Ok((there == wanted).then_some(()))
    })
}

#[test]
fn a_flood_that_just_arrives_without_hooks_has_none_and_arrives() -> Result {
    let node = Node::start_for_thousands()?;
    node.populate()?;
    let switch = SWITCHES[0].name;
    for router in 0..ROUTERS {
        let port = format!("more{router}");
        let commands = format!(
            "lr-add {port}r -- lrp-add {port}r {port} 02:00:00:20:00:0{router} 10.16.250.{router}/16 -- \
             lsp-add {switch} {port}s -- lsp-set-type {port}s router -- lsp-set-addresses {port}s router -- \
             lsp-set-options {port}s router-port={port}"
        );
        node.nbctl(commands.split(' '))?;
    }
    node.add_bare_ports(200)?;
    let (few, _) = flood(&node)?;
    node.add_bare_ports(60)?;
    let (before, arrives) = flood(&node)?;
    assert!(arrives, "{before} lookups");
    let each = (before - few) / 60;

    let agent = node.launch_agent(&["--enable-mirror"])?;
    await_hooks(&node, &agent, true)?;
    let (lookups, arrives) = flood(&node)?;
    assert!(arrives && lookups > before, "{lookups} lookups with hooks, {before} without");

    // As many ports as a broadcast can be for.
    let more = (MOST - before) / each;
    node.add_bare_ports(u16::try_from(more)?)?;
    await_hooks(&node, &agent, false)?;
    let (lookups, arrives) = flood(&node)?;
    assert!(arrives, "{lookups} lookups");
    assert_eq!(lookups, before + more * each, "as without us");
    let status = agent.status()?.to_string();
    assert!(status.contains("4096 lookups that Open vSwitch allows"), "{status}");

    // Far too many for a broadcast: it is lost without us too.
    node.add_bare_ports(50)?;
    await_hooks(&node, &agent, true)?;
    let (_, arrives) = flood(&node)?;
    assert!(!arrives);
    agent.stop()?;
    let (_, arrives) = flood(&node)?;
    assert!(!arrives, "nor does it arrive without hooks");
    Ok(())
}
