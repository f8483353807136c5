//! The agent, an OVN node and an API server together: what people do with kubectl happens on the wire.

use lab::{Agent, Cluster, Node, Proto, Result, until};

const MIRROR: &str = "ovn.kubernetes.io/mirror";

/// The flows that one mirrored Pod needs: the guard, one for each direction, four for frames rewritten in place.
const ONE_POD: usize = 7;
/// Those that stay without any: the guard.
const NO_POD: usize = 1;

/// Waits until the switch has this many flows of ours, and the agent wants no others.
fn await_flows(node: &Node, agent: &Agent<'_>, flows: usize) -> Result {
    until(&format!("{flows} flows"), || {
        agent.alive()?;
        let told = agent.metric("ofmirror_flows_installed")? == flows as f64;
        Ok((told && node.our_flows()?.len() == flows).then_some(()))
    })
}

/// The reasons of a Pod's Events, without those of others.
fn reasons(cluster: &Cluster<'_>, pod: &str) -> Result<Vec<String>> {
    let events = cluster.events("default", pod)?;
    Ok(events.into_iter().map(|event| event.reason).collect())
}

#[test]
fn an_annotation_by_kubectl_starts_and_ends_copies() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    for name in ["a", "b"] {
        cluster.create_pod("default", name, &[])?;
    }
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let [a, b] = ["a", "b"].map(|name| node.pod(name));
    let _server = b.serve(Proto::Tcp, 8080)?;
    let mut conversation = a.converse(b.ip4(), 8080)?;
    let capture = node.watch(&["a"])?;
    conversation.say(10)?;
    assert_eq!(capture.copies()?.len(), 0);

    cluster.annotate_pod("default", "a", &format!("{MIRROR}=true"))?;
    await_flows(&node, &agent, ONE_POD)?;
    conversation.say(10)?;
    until("copies", || Ok((!capture.copies()?.is_empty()).then_some(())))?;
    until("an Event", || Ok((reasons(&cluster, "a")? == ["MirrorStarted"]).then_some(())))?;
    let event = &cluster.events("default", "a")?[0];
    let port = node.ofport(a.interface())?;
    let said = format!("copied to mirror0 of {}, from a_h (OpenFlow port {port})", node.name());
    assert!(event.message.contains(&said), "{event:?}");

    cluster.annotate_pod("default", "a", &format!("{MIRROR}-"))?;
    await_flows(&node, &agent, NO_POD)?;
    node.revalidate()?;
    let before = capture.copies()?.len();
    conversation.say(10)?;
    assert_eq!(capture.copies()?.len(), before);
    let both = ["MirrorStarted", "MirrorStopped"];
    until("the Event of its end", || Ok((reasons(&cluster, "a")? == both).then_some(())))?;
    agent.stop()
}
