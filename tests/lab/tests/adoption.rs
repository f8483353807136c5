//! The end of an agent, and the next one: killed, it is not missed; told to stop, it leaves nothing; the next one takes
//! over what is right and mends what is not.

use std::time::Instant;

use lab::{Agent, EVERYONE, HOOKS, Hook, MIRROR, Node, Result, Service, until};

const ALL: &[&str] = &["--enable-mirror"];

fn is_on_bridge(node: &Node) -> Result<bool> {
    Ok(node.vsctl(["list-ports", "br-int"])?.lines().any(|port| port == MIRROR))
}

/// Each flow of `before` that is still there has never been away: it counts on from where it was.
fn assert_went_on_counting(before: &[Hook], after: &[Hook]) {
    for old in before {
        if let Some(new) = after.iter().find(|new| new.flow == old.flow) {
            let goes_on = new.packets >= old.packets && new.seconds >= old.seconds;
            assert!(goes_on, "{old:?} was put in again: {new:?}");
        }
    }
}

fn flows(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(|hook| hook.flow.as_str()).collect()
}

/// The agent found everything right, and changed nothing.
fn assert_changed_nothing(agent: &Agent<'_>) -> Result {
    assert_eq!(agent.changes()?, 0.0, "{}", agent.log()?);
    assert!(!agent.log()?.contains("flows changed"), "{}", agent.log()?);
    Ok(())
}

#[test]
fn a_killed_agent_is_not_missed_and_the_next_one_takes_over_its_flows() -> Result {
    let node = Node::start()?;
    let agent = node.agent(ALL)?;
    let capture = node.capture(&EVERYONE)?;
    node.pod("a").ping(node.pod("c").ip6())?;
    agent.kill()?;
    node.say_everything()?;
    let before = node.hooks()?;
    assert_eq!(before.len(), HOOKS);
    assert!(before.iter().filter(|hook| hook.packets > 0).count() > EVERYONE.len());

    let next = node.agent(ALL)?;
    let after = node.hooks()?;
    assert_eq!(flows(&before), flows(&after));
    assert_went_on_counting(&before, &after);
    assert_changed_nothing(&next)?;
    node.pod("b").ping(node.pod("d").ip4())?;
    // Before the kill, without an agent, while the next one took over, and after that: not a copy is missing.
    capture.finish()?.assert_exact();
    Ok(())
}

#[test]
fn a_pod_that_is_made_again_while_no_agent_runs_works_at_once_and_is_mirrored_by_the_next_agent()
-> Result {
    let node = Node::start()?;
    node.agent(ALL)?.kill()?;
    let before = node.hooks()?;
    let old = node.ofport(node.pod("b").interface())?;

    let again = node.replug_pod("b")?;
    let new = node.ofport(again.interface())?;
    assert_ne!(new, old);
    for peer in ["a", "c"].map(|name| node.pod(name)) {
        for (from, to) in [(&peer, &again), (&again, &peer)] {
            for ip in to.ips() {
                from.ping(ip)?;
            }
        }
    }
    assert_eq!(flows(&node.hooks()?), flows(&before), "nobody was there to change them");

    let next = node.agent(ALL)?;
    let after = node.hooks()?;
    assert_eq!(after.len(), before.len());
    assert_went_on_counting(&before, &after);
    let stale: Vec<_> =
        before.iter().filter(|hook| !flows(&after).contains(&hook.flow.as_str())).collect();
    let at_old_port = |hook: &&&Hook| hook.flow.contains(&format!("in_port={old} "));
    assert!(stale.iter().any(|hook| at_old_port(&hook)), "{stale:?}");
    assert!(stale.len() <= 2, "only the flows of one port were wrong: {stale:?}");
    assert_eq!(node.unhooked()?, Vec::<String>::new());
    node.assert_copies_are_exact()?;
    next.alive()
}

#[test]
fn an_agent_that_is_told_to_stop_leaves_nothing_and_disturbs_nobody() -> Result {
    let node = Node::start()?;
    let before = node.dump_flows("")?;
    let agent = node.agent(ALL)?;
    assert!(is_on_bridge(&node)?);
    node.pod("a").ping(node.pod("b").ip4())?;

    let asked = Instant::now();
    agent.stop()?;
    println!("everything was gone {:.0} ms after SIGTERM", asked.elapsed().as_secs_f64() * 1e3);
    assert!(node.hooks()?.is_empty());
    assert_eq!(node.dump_flows("")?, before);
    assert!(!is_on_bridge(&node)?);
    let links = node.namespace().program("ip").args(["-brief", "link"]);
    until("the device to go", || Ok((!links.run()?.contains(MIRROR)).then_some(())))?;
    node.pod("a").ping(node.pod("b").ip4())
}

#[test]
fn an_agent_that_is_to_keep_its_flows_leaves_a_mirror_that_works() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror", "--on-exit", "keep"])?;
    let before = node.hooks()?;
    agent.stop()?;
    assert!(is_on_bridge(&node)?);
    node.assert_copies_are_exact()?;
    let after = node.hooks()?;
    assert_eq!(flows(&before), flows(&after));
    assert_went_on_counting(&before, &after);
    assert_changed_nothing(&node.agent(ALL)?)
}

#[test]
fn an_agent_stops_when_told_to_although_switch_and_database_are_away() -> Result {
    let node = Node::start()?;
    let agent = node.agent(ALL)?;
    node.kill(Service::Vswitchd)?;
    node.kill(Service::Ovsdb)?;
    agent.await_unready()?;
    agent.stop()
}
