//! The agent and the node's daemons in every order: whatever goes, comes, or is late, the mirror converges without
//! help, and `/readyz` tells the truth all the while.

use lab::{Agent, HOOKS, Node, Result, Service, until};

/// What `/readyz` begins its lines with, by the service that is away.
const NO_SWITCH: &str = "OpenFlow: ";
const NO_DATABASE: &str = "OVSDB: ";

/// OVN has brought all its flows and the agent all of its own: every frame is copied exactly once.
fn assert_converged(node: &Node, agent: &Agent<'_>) -> Result {
    until("OVN's flows to be back", || {
        let flows = node.dump_flows("table=0")?;
        let are_ovns = |flow: &String| !flow.starts_with("cookie=0x6f666d72");
        Ok(flows.iter().any(are_ovns).then_some(()))
    })?;
    node.sync()?;
    until("all hooks", || Ok(node.unhooked()?.is_empty().then_some(())))?;
    agent.await_ready()?;
    assert_eq!(node.hooks()?.len(), HOOKS);
    node.assert_copies_are_exact()
}

#[test]
fn the_switch_is_restarted() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    agent.honest_during(&node, |witness| {
        for _ in 0..2 {
            node.kill(Service::Vswitchd)?;
            witness.without(NO_SWITCH, || Ok(()))?;
            node.start_service(Service::Vswitchd)?;
            assert_converged(&node, &agent)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_database_is_restarted() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    agent.honest_during(&node, |witness| {
        for _ in 0..2 {
            node.kill(Service::Ovsdb)?;
            // The switch has stopped, too: on the userspace datapath ovs-vswitchd moves packets where it waits for the
            // database.
            witness.without(NO_DATABASE, || Ok(()))?;
            node.start_service(Service::Ovsdb)?;
            assert_converged(&node, &agent)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn both_are_restarted_in_either_order() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    agent.honest_during(&node, |witness| {
        for switch_first in [true, false] {
            node.kill(Service::Vswitchd)?;
            node.kill(Service::Ovsdb)?;
            witness.without(NO_SWITCH, || witness.without(NO_DATABASE, || Ok(())))?;
            if switch_first {
                node.launch(Service::Vswitchd)?;
                node.start_service(Service::Ovsdb)?;
                node.await_service(Service::Vswitchd)?;
            } else {
                node.start_service(Service::Ovsdb)?;
                witness.without(NO_SWITCH, || Ok(()))?;
                node.start_service(Service::Vswitchd)?;
            }
            assert_converged(&node, &agent)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_switch_is_not_there_when_the_agent_starts() -> Result {
    let node = Node::start()?;
    node.stop(Service::Vswitchd)?;
    let agent = node.launch_agent(&["--enable-mirror"])?;
    agent.await_listening()?;
    agent.honest_during(&node, |witness| {
        witness.without("br-int.mgmt: No such file", || Ok(()))?;
        node.start_service(Service::Vswitchd)?;
        assert_converged(&node, &agent)
    })?;
    Ok(())
}

#[test]
fn the_database_is_not_there_when_the_agent_starts_and_nothing_is_touched_before() -> Result {
    let node = Node::start()?;
    node.stop(Service::Ovsdb)?;
    let agent = node.launch_agent(&["--enable-mirror"])?;
    agent.await_listening()?;
    agent.honest_during(&node, |witness| {
        witness.without("OVSDB: cannot connect", || Ok(()))?;
        assert_eq!(agent.changes()?, 0.0);
        node.start_service(Service::Ovsdb)?;
        assert_converged(&node, &agent)
    })?;
    Ok(())
}

#[test]
fn the_agent_is_there_before_everything() -> Result {
    let node = Node::start_bare()?;
    let services = [Service::Controller, Service::Northd, Service::Vswitchd, Service::Ovsdb];
    for service in services {
        node.stop(service)?;
    }
    let agent = node.launch_agent(&["--enable-mirror"])?;
    agent.await_listening()?;
    agent.honest_during(&node, |witness| {
        witness.without(NO_SWITCH, || witness.without(NO_DATABASE, || Ok(())))?;
        for service in services.into_iter().rev() {
            node.start_service(service)?;
        }
        node.populate()?;
        assert_converged(&node, &agent)
    })?;
    Ok(())
}
