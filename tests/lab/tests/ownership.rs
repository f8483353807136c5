//! Two agents on one bridge: the first has it, the second touches nothing and takes over as soon as the first ends.

use lab::{Agent, Arrivals, EVERYONE, MIRROR, Node, Result, Service, Signal, ensure_same, until};

const ALL: &str = "--enable-mirror";
/// A second agent that would mirror to another NIC.
const SECOND: [&str; 2] = [ALL, "--mirror-iface=second0"];

/// Waits until `second` says that it is not ready, as it leaves the bridge to `first`, which mirrors to `nic`.
fn await_waiting(second: &Agent<'_>, first: &Agent<'_>, nic: &str) -> Result {
    let who = format!("another ofmirror, pid {}, started 2", first.pid()?);
    let to = format!("Z, mirrors to {nic}, has bridge br-int: ");
    until(&format!("the second agent to say {who:?}"), || {
        second.alive()?;
        let Some(answer) = second.get("/readyz")? else { return Ok(None) };
        let told = answer.body.contains(&who) && answer.body.contains(&to);
        Ok((answer.status == 503 && told).then_some(()))
    })
    .map_err(|error| error.context(second.log().unwrap_or_default()))
}

/// What the kernel has of links, in one line each, without counters.
fn links(node: &Node) -> Result<Vec<String>> {
    let text = node.namespace().ip(["-oneline", "link"])?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Everything of the node that an agent changes.
fn estate(node: &Node) -> Result<Vec<String>> {
    Ok([node.estate()?, links(node)?].concat())
}

/// Lets `work` happen while Pods talk within a switch and across a router, and nothing of it gets lost.
fn without_loss(node: &Node, work: impl FnOnce() -> Result) -> Result {
    let [a, b, c] = ["a", "b", "c"].map(|name| node.pod(name));
    let mut across = None;
    let within = a.stream_while(&b, b.ip4(), 7000, || {
        across = Some(a.stream_while(&c, c.ip4(), 7001, work)?);
        Ok(())
    })?;
    for Arrivals { lost, doubled, sent } in [Some(within), across].into_iter().flatten() {
        assert_eq!((lost, doubled), (0, 0), "of {sent}");
    }
    Ok(())
}

#[test]
fn a_second_agent_names_the_first_and_touches_nothing_whatever_its_mirror_nic() -> Result {
    let node = Node::start()?;
    let first = node.agent(&[ALL])?;
    node.say_everything()?;
    node.sync()?;
    let (before, hooks, changes) = (estate(&node)?, node.hooks()?, first.changes()?);
    for args in [&SECOND[..], &[ALL]] {
        without_loss(&node, || {
            let second = node.launch_agent(args)?;
            await_waiting(&second, &first, MIRROR)?;
            assert_eq!(second.status()?["owner"]["pid"], first.pid()?);
            node.assert_copies_are_exact()?;
            ensure_same("the node with a second agent", &before, &estate(&node)?)?;
            assert_eq!(second.changes()?, 0.0);
            assert!(first.is_ready()?);
            second.stop()
        })?;
        ensure_same("the node after a second agent", &before, &estate(&node)?)?;
    }
    assert_eq!(first.changes()?, changes, "{}", first.log()?);
    for (old, new) in hooks.iter().zip(node.hooks()?) {
        assert!(old.flow == new.flow && old.seconds <= new.seconds, "made anew: {new:?}");
    }
    let told = first.beside(&["status", ALL])?;
    let owner = format!("pid {}, started ", first.pid()?);
    assert!(told.lines().any(|line| line.starts_with("Owner ") && line.contains(&owner)), "{told}");
    first.stop()
}

#[test]
fn the_second_agent_takes_over_from_a_killed_one_without_a_gap() -> Result {
    let node = Node::start()?;
    let first = node.agent(&[ALL])?;
    let second = node.launch_agent(&[ALL])?;
    await_waiting(&second, &first, MIRROR)?;
    let capture = node.capture(&EVERYONE)?;
    let before = node.hooks()?;
    without_loss(&node, || {
        first.kill()?;
        second.await_ready()
    })?;
    assert_eq!(second.changes()?, 0.0, "{}", second.log()?);
    for (old, new) in before.iter().zip(node.hooks()?) {
        assert!(old.flow == new.flow && old.seconds <= new.seconds, "made anew: {new:?}");
    }
    drop(capture);
    node.assert_copies_are_exact()?;
    assert_eq!(second.status()?["owner"]["pid"], second.pid()?);
    assert!(second.log()?.contains("taking over"), "{}", second.log()?);
    second.stop()?;
    assert!(node.our_flows()?.is_empty());
    Ok(())
}

#[test]
fn the_second_agent_takes_over_with_a_mirror_nic_of_its_own_when_the_first_stops_or_is_killed()
-> Result {
    let node = Node::start()?;
    for kill in [false, true] {
        let first = node.agent(&[ALL])?;
        let second = node.launch_agent(&SECOND)?;
        await_waiting(&second, &first, MIRROR)?;
        without_loss(&node, || {
            if kill {
                first.kill()?
            } else {
                first.stop()?
            }
            second.await_ready()
        })?;
        let capture = node.capture_at("second0", &EVERYONE)?;
        node.say_everything()?;
        capture.finish()?.assert_exact();
        second.stop()?;
        assert!(node.our_flows()?.is_empty());
    }
    Ok(())
}

#[test]
fn whoever_has_the_bridge_keeps_it_while_the_database_restarts() -> Result {
    let node = Node::start()?;
    let first = node.agent(&[ALL])?;
    let second = node.launch_agent(&SECOND)?;
    await_waiting(&second, &first, MIRROR)?;
    let changes = first.changes()?;
    let synced = |agent: &Agent<'_>| agent.metric("ofmirror_connected{to=\"ovsdb\"}");
    for _ in 0..3 {
        node.kill(Service::Ovsdb)?;
        for agent in [&first, &second] {
            until("the loss to be noticed", || Ok((synced(agent)? == 0.0).then_some(())))?;
        }
        node.start_service(Service::Ovsdb)?;
        for agent in [&first, &second] {
            until("the database to be read", || Ok((synced(agent)? == 1.0).then_some(())))?;
        }
        first.await_ready()?;
        await_waiting(&second, &first, MIRROR)?;
    }
    node.assert_copies_are_exact()?;
    assert_eq!(first.changes()?, changes, "{}", first.log()?);
    assert_eq!(second.changes()?, 0.0, "{}", second.log()?);

    // The second is in line again, and so it is when the first ends while nobody can be told.
    node.kill(Service::Ovsdb)?;
    first.kill()?;
    node.start_service(Service::Ovsdb)?;
    second.await_ready()?;
    second.stop()
}

#[test]
fn an_agent_that_never_reached_the_database_takes_nothing_away_when_it_stops() -> Result {
    let node = Node::start()?;
    let first = node.agent(&[ALL])?;
    let before = estate(&node)?;
    assert!(before.iter().any(|line| line.contains("mirror0-drain:")), "{before:?}");
    let lost = node.launch_agent(&[ALL, "--ovsdb=unix:/nowhere/db.sock"])?;
    until("the agent to miss the database", || {
        let answer = lost.get("/readyz")?;
        Ok(answer.filter(|answer| answer.body.contains("/nowhere/db.sock")).map(drop))
    })?;
    lost.stop()?;
    ensure_same("the node", &before, &estate(&node)?)?;
    first.alive()?;
    node.assert_copies_are_exact()
}

#[test]
fn every_signal_that_ends_a_process_ends_the_agent_well() -> Result {
    let node = Node::start()?;
    let before = estate(&node)?;
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        node.agent(&[ALL])?.stop_by(signal)?;
        assert!(node.our_flows()?.is_empty(), "{signal}");
        until("the node to be as it was", || Ok((estate(&node)? == before).then_some(())))?;
    }
    Ok(())
}
