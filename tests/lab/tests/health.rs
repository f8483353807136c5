//! The metrics of the agent's health, through what changes it.

use std::time::{SystemTime, UNIX_EPOCH};

use lab::{Agent, Node, Result, Service, until};

/// Whether the agent says that it is connected, and since when, in seconds since 1970.
fn connection(agent: &Agent<'_>, to: &str) -> Result<(bool, f64)> {
    let metric = |name: &str| agent.metric(&format!("ofmirror_{name}{{to=\"{to}\"}}"));
    Ok((metric("connected")? == 1.0, metric("connection_changed_timestamp_seconds")?))
}

/// Waits until `/status` says that the bridge answers, or does not.
fn until_status_says_connected(agent: &Agent<'_>, connected: bool) -> Result {
    until("/status to tell whether the bridge answers", || {
        Ok((agent.status()?["openflow"]["connected"] == connected).then_some(()))
    })
}

#[test]
fn a_lost_connection_is_told_with_its_time_and_as_an_error_and_so_is_its_return() -> Result {
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let (connected, since) = connection(&agent, "openflow")?;
    assert!(connected && since > started, "{since}");
    let database = connection(&agent, "ovsdb")?;
    assert!(database.0);
    assert!(agent.metric("ofmirror_errors_total{reason=\"openflow\"}").is_err(), "none so far");

    node.kill(Service::Vswitchd)?;
    let lost = until("the loss to be told", || {
        let (connected, since) = connection(&agent, "openflow")?;
        Ok((!connected).then_some(since))
    })?;
    assert!(lost > since, "{lost} {since}");
    assert!(agent.metric("ofmirror_errors_total{reason=\"openflow\"}")? >= 1.0);
    node.start_service(Service::Vswitchd)?;
    agent.await_ready()?;
    let (connected, back) = connection(&agent, "openflow")?;
    assert!(connected && back > lost, "{back} {lost}");
    assert_eq!(connection(&agent, "ovsdb")?, database, "nothing happened to that");
    agent.stop()
}

#[test]
fn a_switch_that_stands_still_is_told_of_and_keeps_its_connection() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    let changes = agent.metric("ofmirror_flow_changes_total{result=\"committed\"}")?;

    node.hold(Service::Vswitchd)?;
    let answer = until("the stall to be told", || {
        agent.alive()?;
        Ok(agent.get("/readyz")?.filter(|answer| answer.status != 200))
    })?;
    assert!(answer.body.contains("OpenFlow: the switch has been silent for 10 s"), "{answer:?}");
    assert!(!connection(&agent, "openflow")?.0);
    until_status_says_connected(&agent, false)?;

    node.go_on(Service::Vswitchd)?;
    agent.await_ready()?;
    assert!(connection(&agent, "openflow")?.0);
    until_status_says_connected(&agent, true)?;
    assert!(agent.metric("ofmirror_errors_total{reason=\"openflow\"}").is_err(), "it was not lost");
    assert_eq!(node.our_flows()?, flows);
    assert_eq!(agent.metric("ofmirror_flow_changes_total{result=\"committed\"}")?, changes);
    agent.stop()
}

#[test]
fn flows_are_told_as_the_switch_has_them_with_how_long_it_took() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?.len() as f64;
    let metric = |name: &str| agent.metric(&format!("ofmirror_{name}"));
    let counts = [metric("flows_desired")?, metric("flows_installed")?, metric("flows_missing")?];
    assert_eq!(counts, [flows, flows, 0.0]);
    assert!(metric("flow_changes_total{result=\"committed\"}")? >= flows);
    for what in ["reconcile", "install"] {
        let [count, sum] = ["count", "sum"].map(|part| metric(&format!("{what}_seconds_{part}")));
        let (count, sum) = (count?, sum?);
        assert!(count >= 1.0 && sum > 0.0 && sum / count < 10.0, "{what}: {sum} s, {count} times");
    }
    let resident = agent.metric("process_resident_memory_bytes")?;
    assert!((1e6..1e9).contains(&resident), "{resident}");
    agent.stop()
}

#[test]
fn a_mirror_nic_that_goes_is_told() -> Result {
    let node = Node::start()?;
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip("link add eth9 type veth peer name eth9p")?;
    ip("link set eth9p up")?;
    let agent = node.agent(&["--enable-mirror", "--mirror-iface=eth9"])?;
    assert_eq!(agent.metric("ofmirror_mirror_nic_up")?, 1.0);
    ip("link del eth9")?;
    until("the loss to be told", || {
        agent.alive()?;
        Ok((agent.metric("ofmirror_mirror_nic_up")? == 0.0).then_some(()))
    })?;
    Ok(())
}
