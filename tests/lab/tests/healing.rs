//! Whoever removes or changes flows of ours: they are back at once, the agent says so, and nobody else notices.

use std::time::Instant;

use lab::{Agent, Arrivals, Node, Proto, Result, Service, ensure_same, until};

/// Waits until our flows are these again, and the agent knows. It is ready also while a Pod awaits its port, so flows come first.
fn await_flows(node: &Node, agent: &Agent<'_>, flows: &[String]) -> Result {
    until("our flows to be as they were", || {
        agent.alive()?;
        Ok((node.our_flows()? == flows && agent.is_ready()?).then_some(()))
    })
}

/// What the agent says that it lost: times, and flows.
fn losses(agent: &Agent<'_>) -> Result<(f64, f64)> {
    Ok((agent.metric("ofmirror_flow_losses_total")?, agent.metric("ofmirror_flows_lost_total")?))
}

/// Metrics and log must tell the same of every loss.
fn assert_losses_are_told(agent: &Agent<'_>) -> Result {
    let (times, _) = losses(agent)?;
    assert_eq!(agent.metric("ofmirror_restore_seconds_count")?, times);
    assert!(agent.metric("ofmirror_restore_seconds_sum")? > 0.0);
    let log = agent.log()?;
    let told = log.lines().filter(|line| line.contains("removed or changed flows of ours"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len() as f64, times, "{log}");
    assert!(told.iter().all(|line| line.contains("without_ms=")), "{told:?}");
    Ok(())
}

#[test]
fn all_flows_are_back_after_ovn_controller_restarted_twice_in_a_row() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    node.restart(Service::Controller)?;
    // So that the second costs as many.
    until("our flows to be back", || Ok((node.our_flows()? == flows).then_some(())))?;
    node.restart(Service::Controller)?;
    until("both losses to be told", || {
        agent.alive()?;
        Ok((losses(&agent)?.1 >= 2.0 * flows.len() as f64).then_some(()))
    })?;
    assert_eq!(node.our_flows()?, flows, "it was told before all flows were back");
    agent.await_ready()?;
    assert_losses_are_told(&agent)?;
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn a_restart_of_ovn_controller_under_traffic_costs_pods_no_more_than_without_an_agent() -> Result {
    // If the agent makes no difference, all of one kind are worse than all of the other once in 12,870 runs.
    const ROUNDS: usize = 8;
    let node = Node::start()?;
    let [a, b, c] = ["a", "b", "c"].map(|name| node.pod(name));
    let _server = b.serve(Proto::Tcp, 8090)?;
    let mut conversation = a.converse(b.ip4(), 8090)?;
    let mut restart = || -> Result<u32> {
        let mut under = |to: &lab::Pod| -> Result<u32> {
            let Arrivals { lost, doubled, .. } = a.stream_while(to, to.ip4(), 7000, || {
                node.restart(Service::Controller)?;
                conversation.say(10)
            })?;
            assert_eq!(doubled, 0, "datagrams arrived twice");
            Ok(lost)
        };
        Ok(under(&b)? + under(&c)?)
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(restart()?);
        let agent = node.agent(&["--enable-mirror"])?;
        let flows = node.our_flows()?;
        with.push(restart()?);
        await_flows(&node, &agent, &flows)?;
        assert_losses_are_told(&agent)?;
        agent.stop()?;
    }
    assert!(with.iter().min() <= without.iter().max(), "lost {with:?} with, {without:?} without");

    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    restart()?;
    await_flows(&node, &agent, &flows)?;
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn flows_removed_by_hand_are_back_and_others_stay_untouched() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let (flows, foreign) = (node.our_flows()?, node.foreign_flows_with_age()?);
    let mut lost = 0.0;
    let one_at_a_time = flows.iter().map(|flow| (vec!["--strict", "del-flows"], matching(flow), 1));
    let all = [(vec!["del-flows"], lab::OURS.to_owned(), flows.len())];
    for (command, which, number) in one_at_a_time.chain(all) {
        node.ofctl(&command, [which.as_str()])?;
        lost += number as f64;
        until(&format!("the loss of {which} to be told"), || {
            agent.alive()?;
            Ok((losses(&agent)?.1 == lost).then_some(()))
        })?;
        await_flows(&node, &agent, &flows)?;
    }
    assert_losses_are_told(&agent)?;
    assert_untouched(&node, &foreign)?;
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn the_time_for_which_ovns_own_flows_stay_away_is_not_told_as_that_of_ours() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    node.kill(Service::Controller)?;
    let wiped = Instant::now();
    // As Open vSwitch does by itself when somebody sets the bridge's fail mode.
    node.ofctl(&["del-flows"], [])?;
    until("our flows that need none of OVN's", || {
        let back = node.our_flows()?.len() > 1 && agent.metric("ofmirror_flows_missing")? == 0.0;
        Ok(back.then_some(()))
    })?;
    let waiting = Instant::now();
    // The agent looks once a second as long as the loss is not over.
    let looks = || agent.metric("ofmirror_reconcile_seconds_count");
    let before = looks()?;
    until("a second to pass", || Ok((looks()? >= before + 2.0).then_some(())))?;
    let waited = waiting.elapsed();
    assert_eq!(losses(&agent)?.0, 0.0, "it is not over");
    node.start_service(Service::Controller)?;
    await_flows(&node, &agent, &flows)?;
    until("the loss to be told", || Ok((losses(&agent)?.0 > 0.0).then_some(())))?;
    assert_losses_are_told(&agent)?;
    let told = agent.metric("ofmirror_restore_seconds_sum")?;
    let since = wiped.elapsed();
    assert!(
        told + waited.as_secs_f64() <= since.as_secs_f64(),
        "{told} s were told, {waited:?} of {since:?} went by without OVN's flows"
    );
    agent.stop()
}

#[test]
fn flows_changed_by_hand_are_put_right_and_others_stay_untouched() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let (flows, foreign) = (node.our_flows()?, node.foreign_flows_with_age()?);
    let mut changes = 0.0;
    for flow in &flows {
        // What it does, and whose it is.
        for (command, cookie) in
            [(["--strict", "mod-flows"].as_slice(), ""), (&["add-flow"], "cookie=0x123,")]
        {
            // To an empty table; ovn-controller aborts on packets that it has not sent for.
            let changed = format!("{cookie}{},actions=resubmit(,250)", matching(flow));
            node.ofctl(command, [changed.as_str()])?;
            changes += 1.0;
            until(&format!("the change to {changed} to be told"), || {
                agent.alive()?;
                Ok((losses(&agent)?.0 == changes).then_some(()))
            })?;
            await_flows(&node, &agent, &flows)?;
        }
    }
    assert_losses_are_told(&agent)?;
    assert_untouched(&node, &foreign)?;
    node.assert_copies_are_exact()?;
    agent.stop()
}

#[test]
fn a_whole_life_leaves_everything_of_others_as_it_was() -> Result {
    let node = Node::start()?;
    node.say_everything()?;
    node.sync()?;
    let (before, foreign) = (node.estate()?, node.foreign_flows_with_age()?);
    let agent = node.agent(&["--enable-mirror"])?;
    let flows = node.our_flows()?;
    node.say_everything()?;
    node.ofctl(&["del-flows"], [lab::OURS])?;
    await_flows(&node, &agent, &flows)?;
    assert_untouched(&node, &foreign)?;
    agent.stop()?;
    ensure_same("the estate of others", &before, &node.estate()?)?;
    assert_untouched(&node, &foreign)?;
    for link in [lab::MIRROR, "mirror0-drain"] {
        assert!(node.namespace().ip(["link", "show", link]).is_err(), "{link} is left");
    }
    Ok(())
}

/// A flow's table, priority and match, as they stand in a dump.
fn matching(flow: &str) -> String {
    let (head, _) = flow.split_once(" actions=").expect("a flow has actions");
    let parts = head.split([',', ' ']).filter(|part| !part.is_empty());
    let parts = parts.filter(|part| !part.starts_with("cookie=") && *part != "send_flow_rem");
    parts.collect::<Vec<_>>().join(",")
}

/// The same flows of others are there, and none was made anew.
fn assert_untouched(node: &Node, before: &[(String, f64)]) -> Result {
    let now = node.foreign_flows_with_age()?;
    let flows =
        |aged: &[(String, f64)]| aged.iter().map(|(flow, _)| flow.clone()).collect::<Vec<_>>();
    ensure_same("flows of others", &flows(before), &flows(&now))?;
    for ((flow, age), (_, before)) in now.iter().zip(before) {
        assert!(age >= before, "made anew: {flow}");
    }
    Ok(())
}
