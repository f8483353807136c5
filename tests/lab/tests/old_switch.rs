//! Open vSwitch before 3.0 has no flow monitors on OpenFlow 1.5: the agent looks at the flows once a second there.

use lab::{Agent, Node, OURS, Peer, Result, Service, until};

/// Waits until our flows are those of the Pods' ports as they are now, and the agent knows.
fn await_hooks(node: &Node, agent: &Agent<'_>) -> Result {
    let mut ports = Vec::new();
    for pod in node.pods() {
        ports.push(node.ofport(pod.interface())?);
    }
    until("hooks for all Pods, and no others", || {
        agent.alive()?;
        let flows = node.our_flows()?;
        let cookie = |kind: u64, port: u16| {
            format!("cookie={:#x},", 0x6f66_6d72_u64 << 32 | kind << 28 | u64::from(port))
        };
        let has = |kind, port| flows.iter().any(|flow| flow.starts_with(&cookie(kind, port)));
        let hooked = ports.iter().all(|port| has(1, *port) && has(2, *port));
        // Besides: the guard, and four for frames that were rewritten in place.
        Ok((hooked && flows.len() == 2 * ports.len() + 5 && agent.is_ready()?).then_some(()))
    })
}

#[test]
fn without_flow_monitors_the_flows_are_polled() -> Result {
    let node = Node::start()?;
    let foreign = node.foreign_flows_with_age()?;
    let proxy = node.proxy("old", Peer::WithoutMonitors)?;
    let agent = node.agent(&["--enable-mirror", "--openflow", &proxy.endpoint()])?;
    await_hooks(&node, &agent)?;
    assert!(proxy.refused() > 0, "no monitor was asked for");
    let log = agent.log()?;
    assert_eq!(log.matches("no flow monitors (Open vSwitch before 3.0)").count(), 1, "{log}");
    assert_eq!(node.foreign_flows_with_age()?.len(), foreign.len());
    node.assert_copies_are_exact()?;

    let losses = || agent.metric("ofmirror_flow_losses_total");
    let mut before = losses()?;
    let mut told = || {
        until("the loss to be told", || Ok((losses()? > before).then_some(())))?;
        before = losses()?;
        await_hooks(&node, &agent)
    };
    node.ofctl(&["del-flows"], [OURS])?;
    told()?;
    node.ofctl(&["mod-flows"], [&format!("{OURS},actions=drop")[..]])?;
    told()?;
    node.restart(Service::Controller)?;
    told()?;
    node.assert_copies_are_exact()?;

    // Another port number, to which OVN delivers by another flow.
    let before = node.ofport(node.pod("e").interface())?;
    let replugged = node.replug_pod("e")?;
    assert_ne!(node.ofport(replugged.interface())?, before);
    await_hooks(&node, &agent)?;
    node.assert_copies_are_exact()?;
    agent.stop()?;
    assert_eq!(node.our_flows()?, [""; 0]);
    Ok(())
}
