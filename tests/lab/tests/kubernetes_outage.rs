//! The API server goes away and comes back: copies go on meanwhile, everybody can see what is wrong, and what was missed
//! is made up for.

use lab::{Agent, Capture, Cluster, Component, Hook, Node, OURS, Result, until};

const MIRROR: &str = "ovn.kubernetes.io/mirror";
const TRUE: &[(&str, &str)] = &[(MIRROR, "true")];
const CONNECTED: &str = r#"ofmirror_connected{to="kubernetes"}"#;

/// What is told of an outage in `/readyz` and the log.
const AWAY: &str = "Kubernetes: no answer about Pods: ";

/// The whole control plane dies.
fn lose_control_plane(cluster: &Cluster<'_>) -> Result {
    cluster.kill(Component::ApiServer)?;
    cluster.kill(Component::Etcd)
}

fn regain_control_plane(cluster: &Cluster<'_>) -> Result {
    cluster.start_component(Component::Etcd)?;
    cluster.start_component(Component::ApiServer)
}

/// Waits until the agent's log has this line, or part of one.
fn await_log(agent: &Agent<'_>, text: &str) -> Result {
    until(&format!("{text:?} in the log"), || {
        agent.alive()?;
        Ok(agent.log()?.contains(text).then_some(()))
    })
}

/// How often the agent got a list of its Pods.
fn lists_of_pods(cluster: &Cluster<'_>) -> Result<usize> {
    let mut requests = cluster.requests("ofmirror-system", "ofmirror")?;
    requests.retain(|request| request.verb == "list" && request.resource == "pods");
    Ok(requests.iter().filter(|request| request.status == 200).count())
}

fn flows(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(|hook| hook.flow.as_str()).collect()
}

/// Whatever is said, these Pods' frames are copied exactly.
fn assert_exact(node: &Node, capture: Capture<'_>) -> Result {
    node.say_everything()?;
    capture.finish()?.assert_exact();
    Ok(())
}

#[test]
fn mirroring_goes_on_without_the_api_server_and_makes_up_for_what_it_missed() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    for pod in ["a", "c", "e"] {
        cluster.create_pod("default", pod, TRUE)?;
    }
    for pod in ["b", "d"] {
        cluster.create_pod("default", pod, &[])?;
    }
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let before = node.hooks()?;
    let capture = node.capture(&["a", "c", "e"])?;
    lose_control_plane(&cluster)?;
    until("the agent to notice", || Ok((agent.metric(CONNECTED)? == 0.0).then_some(())))?;
    assert_exact(&node, capture)?;
    assert_eq!(flows(&node.hooks()?), flows(&before));
    await_log(&agent, AWAY)?;
    let answer = agent.readiness()?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("ready\n"), "{answer:?}");
    assert!(answer.body.contains(AWAY), "{answer:?}");
    assert!(answer.body.contains("; mirroring goes on with what was known\n"), "{answer:?}");

    // What somebody takes away comes back without asking the API server.
    node.ofctl(&["del-flows"], [OURS])?;
    node.await_hooked(&agent, &["a_h", "c_h", "e_h"])?;
    assert_exact(&node, node.capture(&["a", "c", "e"])?)?;

    // Attempts fail for other reasons than the first, which is no end.
    assert!(!agent.log()?.contains("no longer: Kubernetes"), "{}", agent.log()?);

    // What happens while the agent can't hear it. An API server that was started later knows nothing of the time before,
    // so no watch can tell that Pod a went, but only a new list, in which it is missing.
    agent.hold()?;
    regain_control_plane(&cluster)?;
    cluster.delete_pod("default", "a")?;
    cluster.annotate_pod("default", "b", &format!("{MIRROR}=true"))?;
    cluster.annotate_pod("default", "c", &format!("{MIRROR}-"))?;
    cluster.restart(Component::ApiServer)?;
    agent.go_on()?;
    node.await_hooked(&agent, &["b_h", "e_h"])?;
    assert_eq!(lists_of_pods(&cluster)?, 2);
    until("the agent to hear again", || Ok((agent.metric(CONNECTED)? == 1.0).then_some(())))?;
    cluster.annotate_pod("default", "d", &format!("{MIRROR}=true"))?;
    node.await_hooked(&agent, &["b_h", "d_h", "e_h"])?;
    await_log(&agent, &format!("no longer: {AWAY}"))?;
    assert_eq!(agent.readiness()?.body, "ready\n");
    assert_exact(&node, node.capture(&["b", "d", "e"])?)?;
    agent.stop()
}

#[test]
fn an_agent_that_starts_without_the_api_server_waits_and_takes_nothing_away() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    for pod in ["a", "d"] {
        cluster.create_pod("default", pod, TRUE)?;
    }
    let launch = || cluster.launch_agent(&account, &[], &["--node-name", node.name()]);
    let agent = launch()?;
    agent.await_ready()?;
    let before = node.hooks()?;
    let capture = node.capture(&["a", "d"])?;

    // The next one adopts what is there.
    agent.kill()?;
    let agent = launch()?;
    agent.await_ready()?;
    assert_eq!(agent.changes()?, 0.0, "{}", agent.log()?);
    agent.kill()?;

    lose_control_plane(&cluster)?;
    let agent = launch()?;
    agent.await_listening()?;
    until("the agent to say what it waits for", || {
        agent.alive()?;
        let answer = agent.readiness()?;
        assert_eq!(answer.status, 503, "{answer:?}");
        let says_why = answer.body.contains(AWAY) && answer.body.contains("Connection refused");
        Ok(says_why.then_some(()))
    })?;
    node.say_everything()?;
    assert_eq!(agent.metric(CONNECTED)?, 0.0);
    assert_eq!(flows(&node.hooks()?), flows(&before));

    regain_control_plane(&cluster)?;
    agent.await_ready()?;
    assert_eq!(agent.metric(CONNECTED)?, 1.0);
    assert_eq!(agent.changes()?, 0.0, "{}", agent.log()?);
    // Not a copy is missing: not without an agent, nor without an API server.
    assert_exact(&node, capture)?;
    let after = node.hooks()?;
    for (old, new) in before.iter().zip(&after) {
        let went_on =
            new.flow == old.flow && new.packets >= old.packets && new.seconds >= old.seconds;
        assert!(went_on, "{old:?} was put in again: {new:?}");
    }
    agent.stop()
}
