//! Somebody who undoes what the agent does, again and again: the agent says so, and does it over more and more seldom.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use lab::{Agent, Arrivals, MIRROR, Node, Result, until};

const ALL: &str = "--enable-mirror";
/// How long the other side goes on after the agent has said that there is a fight.
const GOES_ON: Duration = Duration::from_secs(10);
/// How often the agent does the same at once before it makes pauses: the first time, and six times over.
const AT_ONCE: u32 = 7;

/// How often the agent may have done the same in a fight of this length: pauses are of 1 s, 2 s, 4 s and so on.
fn most(fight: Duration) -> u32 {
    AT_ONCE + (fight.as_secs() + 2).next_power_of_two().ilog2()
}

/// Lets `undo` undo what the agent does whenever it is done, which it tells by a yes, until the agent has complained for a
/// while. Meanwhile Pods lose nothing, and afterwards all is well again. Returns how often the agent may have done it over.
fn fight(node: &Node, agent: &Agent<'_>, undo: impl Fn() -> Result<bool>) -> Result<u32> {
    let [a, b, c] = ["a", "b", "c"].map(|name| node.pod(name));
    let (begun, undone) = (Instant::now(), Cell::new(0));
    let complaint = || -> Result<bool> {
        undone.set(undone.get() + u32::from(undo()?));
        agent.alive()?;
        let answer = agent.get("/readyz")?;
        Ok(answer.is_some_and(|answer| answer.body.contains("again and again")))
    };
    let mut across = None;
    let within = a.stream_while(&b, b.ip4(), 7000, || {
        across = Some(a.stream_while(&c, c.ip4(), 7001, || {
            until("a complaint", || Ok(complaint()?.then_some(()))).map_err(|error| {
                error.context(format!(
                    "undone {} times\n{}",
                    undone.get(),
                    agent.log().unwrap_or_default()
                ))
            })?;
            let told = Instant::now();
            while told.elapsed() < GOES_ON {
                assert!(complaint()?, "it was taken back although the fight goes on");
            }
            Ok(())
        })?);
        Ok(())
    })?;
    let fought = begun.elapsed();
    for Arrivals { sent, lost, doubled } in [Some(within), across].into_iter().flatten() {
        assert_eq!((lost, doubled), (0, 0), "of {sent}");
    }
    let undone = undone.get();
    println!("undone {undone} times within {fought:?}");
    assert!(undone > 0);
    assert!(undone <= most(fought), "{undone} times within {fought:?}");

    agent.await_ready()?;
    until("the end of the fight in the log", || {
        Ok(agent.log()?.contains("no longer: ").then_some(()))
    })?;
    let log = agent.log()?;
    let told = log.lines().filter(|line| line.contains("again and again"));
    let warned = told.filter(|line| line.contains("WARN")).count();
    assert_eq!(warned, 1, "{log}");
    node.assert_copies_are_exact()?;
    Ok(most(fought))
}

#[test]
fn whoever_removes_our_flows_again_and_again_is_named_and_no_race_is_run_with_him() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    let (flows, before) = (node.our_flows()?.len(), agent.changes()?);
    let most = fight(&node, &agent, || {
        let there = !node.our_flows()?.is_empty();
        node.ofctl(&["del-flows"], [lab::OURS])?;
        Ok(there)
    })?;
    let changes = agent.changes()? - before;
    // Once more at the end of the fight.
    assert!(changes <= f64::from(most + 1) * flows as f64, "{changes} changes of {flows} flows");
    // The log tells of each loss only as long as that is none of a fight.
    let log = agent.log()?;
    assert!(log.matches("all are back").count() <= AT_ONCE as usize + 1, "{log}");
    agent.stop()
}

#[test]
fn whoever_removes_one_flow_again_and_again_holds_up_no_other() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    let sent_by = |name: &str| -> Result<String> {
        Ok(format!(",in_port={} ", node.ofport(node.pod(name).interface())?))
    };
    let (one, other) = (sent_by("b")?, sent_by("c")?);
    let found = |which: &str| -> Result<Option<String>> {
        Ok(node.our_flows()?.into_iter().find(|flow| flow.contains(which)))
    };
    let flow = found(&one)?.expect("the agent copies what b sends");
    let (head, _) = flow.split_once(" actions=").expect("a flow has actions");
    let parts = head.split([',', ' ']).filter(|part| !part.is_empty());
    let parts = parts.filter(|part| !part.starts_with("cookie=") && *part != "send_flow_rem");
    let matching = parts.collect::<Vec<_>>().join(",");
    fight(&node, &agent, || {
        let there = found(&one)?.is_some();
        node.ofctl(&["--strict", "del-flows"], [matching.as_str()])?;
        assert!(found(&other)?.is_some(), "{:?}", node.our_flows()?);
        Ok(there)
    })?;
    agent.stop()
}

#[test]
fn whoever_installs_flows_with_our_mark_again_and_again_is_named() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    // As another version of the agent would, of another mirror port's.
    let flow = "cookie=0x6f666d7210000fff,table=0,priority=65534,reg10=0/0x4000000,in_port=4000";
    fight(&node, &agent, || {
        let gone = node.dump_flows("table=0,in_port=4000")?.is_empty();
        node.ofctl(&["add-flow"], [format!("{flow},actions=resubmit(,250)").as_str()])?;
        Ok(gone)
    })?;
    until("the flow to go", || {
        Ok(node.dump_flows("table=0,in_port=4000")?.is_empty().then_some(()))
    })?;
    agent.stop()
}

#[test]
fn whoever_turns_arp_on_again_and_again_is_named() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    fight(&node, &agent, || {
        let off = node.namespace().ip(["link", "show", MIRROR])?.contains("NOARP");
        node.namespace().ip(["link", "set", MIRROR, "arp", "on"])?;
        Ok(off)
    })?;
    agent.stop()
}

#[test]
fn whoever_removes_the_mirror_port_again_and_again_is_named() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    fight(&node, &agent, || {
        let ports = node.vsctl(["list-ports", "br-int"])?;
        let there = ports.lines().any(|port| port == MIRROR);
        node.vsctl(["--if-exists", "del-port", "br-int", MIRROR])?;
        Ok(there)
    })?;
    agent.stop()
}
