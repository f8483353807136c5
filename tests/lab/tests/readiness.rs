//! The agent is ready when copies reach the mirror NIC, and says what is missing when they don't: installed flows prove nothing.

use lab::{Agent, MIRROR, Node, Peer, Result, until};

const ALL: &str = "--enable-mirror";

/// Waits until `/readyz` answers with this status, and a line that has all of these words.
fn await_answer(agent: &Agent<'_>, status: u16, words: &[&str]) -> Result {
    let mut last = None;
    until(&format!("/readyz to answer {status} and {words:?}"), || {
        agent.alive()?;
        last = agent.get("/readyz")?;
        let Some(answer) = &last else { return Ok(None) };
        let told = answer.body.lines().any(|line| words.iter().all(|word| line.contains(word)));
        Ok((answer.status == status && told).then_some(()))
    })
    .map_err(|error| error.context(format!("{last:?}\n{}", agent.log().unwrap_or_default())))
}

/// Waits until `/readyz` says "ready" and nothing is mirrored only in part.
fn await_whole(agent: &Agent<'_>) -> Result {
    until("the agent to mirror everything", || {
        agent.alive()?;
        let answer = agent.get("/readyz")?;
        Ok(answer.filter(|answer| answer.body == "ready\n").map(drop))
    })
}

/// Ten echo requests from Pod a to Pod b, whether they arrive or not.
fn ping(node: &Node) -> Result {
    let to = node.pod("b").ip4().to_string();
    let ping = node.pod("a").program("ping").args(["-q", "-c", "10", "-i", "0.01", "-W", "1", &to]);
    // An error says that some were lost, which is not the point here.
    let _ = ping.run();
    Ok(())
}

#[test]
fn a_foreign_flow_that_comes_in_front_of_ours_later_is_named_at_once_and_its_end_too() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    for (table, foreign) in [("0", "table=0,priority=65535,ip"), ("T", "priority=65534,udp")] {
        let foreign = match table {
            "T" => format!("table={},{foreign}", delivery_table(&node)?),
            _ => foreign.to_owned(),
        };
        let ofctl = |args: &[&str], flow: &str| node.ofctl(args, [flow]);
        ofctl(&["add-flow"], &format!("{foreign},actions=drop"))?;
        await_answer(&agent, 503, &["has a foreign flow of priority 6553"])?;
        assert_eq!(agent.metric("ofmirror_ready")?, 0.0);
        ofctl(&["--strict", "del-flows"], &foreign)?;
        agent.await_ready()?;
    }
    node.assert_copies_are_exact()?;
    agent.stop()
}

/// The table in which OVN delivers.
fn delivery_table(node: &Node) -> Result<String> {
    let flows = node.our_flows()?;
    let delivered = flows.iter().find(|flow| flow.contains("reg15="));
    let table = delivered.and_then(|flow| flow.split("table=").nth(1));
    let table = table.and_then(|rest| rest.split([',', ' ']).next());
    Ok(table.unwrap_or("65").to_owned())
}

#[test]
fn a_mirror_port_that_somebody_blocks_gets_copies_again() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    node.ofctl(&["mod-port"], [MIRROR, "no-forward"])?;
    await_answer(&agent, 200, &["degraded: ", "mirror0", "went down 1 times"])?;
    let ports = node.ofctl(&["show"], [])?;
    assert!(!ports.contains("NO_FWD"), "{ports}");
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn a_mirror_nic_without_a_carrier_is_not_ready_and_a_flap_is_remembered() -> Result {
    let node = Node::start()?;
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip("link add eth9 type veth peer name eth9p")?;
    ip("link set eth9p up")?;
    let agent = node.agent(&[ALL, "--mirror-iface=eth9"])?;
    await_whole(&agent)?;
    ip("link set eth9p down")?;
    await_answer(&agent, 503, &["eth9", "no carrier"])?;
    assert_eq!(agent.metric("ofmirror_mirror_nic_up")?, 0.0);
    ip("link set eth9p up")?;
    await_answer(&agent, 200, &["degraded: ", "eth9", "went down 1 times"])?;
    assert_eq!(agent.metric("ofmirror_degraded")?, 1.0);
    agent.stop()
}

#[test]
fn a_pod_of_which_nothing_reaches_its_copy_flow_is_named_also_where_nothing_reports_the_flow_in_front()
-> Result {
    let node = Node::start()?;
    // Without flow monitors the switch reports no foreign flow. What the port has received and its flow has not shows it.
    let proxy = node.proxy("old", Peer::WithoutMonitors)?;
    let agent = node.agent(&[ALL, "--openflow", &proxy.endpoint()])?;
    await_whole(&agent)?;
    let pod = node.pod("a");
    let foreign = format!("table=0,priority=65535,in_port={}", node.ofport(pod.interface())?);
    node.ofctl(&["add-flow"], [&*format!("{foreign},actions=drop")])?;
    let named = format!("degraded: default/a {}", pod.interface());
    until("Pod a and the flow in front to be named", || {
        agent.alive()?;
        ping(&node)?;
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        let taps = agent.status()?;
        let told = taps["degraded"].to_string().contains(&named["degraded: ".len()..]);
        let flow = answer.body.contains("table 0 has a foreign flow of priority 65535");
        Ok((answer.status == 503 && flow && told).then_some(()))
    })?;
    let taps = agent.status()?["taps"].to_string();
    assert!(taps.contains("its copy flow saw none of them"), "{taps}");

    node.ofctl(&["--strict", "del-flows"], [&*foreign])?;
    until("Pod a to be mirrored again", || {
        ping(&node)?;
        let answer = agent.get("/readyz")?;
        Ok(answer.filter(|answer| answer.body == "ready\n").map(drop))
    })?;
    agent.stop()
}

#[test]
fn copies_that_never_arrive_are_counted_against_those_that_were_made() -> Result {
    let node = Node::start()?;
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip("link add eth9 type veth peer name eth9p")?;
    ip("link set eth9p up")?;
    let agent = node.agent(&[ALL, "--mirror-iface=eth9"])?;
    await_whole(&agent)?;
    // The device is up and has a carrier, and drops all that is sent to it.
    let tc = node.namespace().program("tc");
    tc.args("qdisc add dev eth9 root blackhole".split(' ')).run()?;
    until("the loss to be noticed", || {
        agent.alive()?;
        ping(&node)?;
        let answer = agent.get("/readyz")?;
        Ok(answer.filter(|answer| answer.body.contains("copies: eth9 ")).map(drop))
    })?;
    agent.stop()
}

#[test]
fn a_port_that_cannot_be_mirrored_leaves_the_agent_ready_and_degraded() -> Result {
    let node = Node::start()?;
    node.vsctl(
        "add-port br-int lost -- set Interface lost type=internal external_ids:iface-id=shop_lost"
            .split_whitespace(),
    )?;
    let agent = node.agent(&[ALL])?;
    await_answer(&agent, 200, &["degraded: ", "lost", "OVN has no flow that delivers"])?;
    assert_eq!(agent.metric("ofmirror_ready")?, 1.0);
    assert_eq!(agent.metric("ofmirror_degraded")?, 1.0);
    node.vsctl(["del-port", "br-int", "lost"])?;
    await_whole(&agent)?;
    assert_eq!(agent.metric("ofmirror_degraded")?, 0.0);
    agent.stop()
}
