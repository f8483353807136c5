//! The agent may do what the role of `deploy/` says. It does all of that and nothing else, and whoever takes a right away
//! is told which.

use std::collections::BTreeSet;

use anyhow::Context as _;
use lab::{Agent, Cluster, Node, Request, Result, until};
use serde_json::{Value, json};

const MIRROR: &str = "ovn.kubernetes.io/mirror";
const CONNECTED: &str = r#"ofmirror_connected{to="kubernetes"}"#;
const NAMESPACE: &str = "ofmirror-system";

/// A verb, a group of the API and a resource of it.
type Right = (String, String, String);

/// What the role allows.
fn rights(cluster: &Cluster<'_>) -> Result<BTreeSet<Right>> {
    let role = cluster.kubectl(["get", "clusterrole", "ofmirror", "-o", "json"])?;
    let role: Value = serde_json::from_str(&role)?;
    let list = |rule: &Value, key: &str| -> Result<Vec<String>> {
        let list = rule[key].as_array().with_context(|| format!("no {key} in {rule}"))?;
        list.iter().map(|item| Ok(item.as_str().context("no text")?.to_owned())).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        for verb in list(rule, "verbs")? {
            for group in list(rule, "apiGroups")? {
                for resource in list(rule, "resources")? {
                    rights.insert((verb.clone(), group.clone(), resource));
                }
            }
        }
    }
    Ok(rights)
}

/// Lets the role allow this, and waits until that counts for `right`.
fn allow(cluster: &Cluster<'_>, rights: &BTreeSet<Right>, right: &Right) -> Result {
    let rule = |(verb, group, resource): &Right| json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "ofmirror"},
        "rules": rights.iter().map(rule).collect::<Vec<_>>(),
    });
    cluster.kubectl_with_input(["replace", "-f", "-"], &role.to_string())?;
    let (verb, group, resource) = right;
    let resource = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
    let who = format!("--as=system:serviceaccount:{NAMESPACE}:ofmirror");
    let answer = if rights.contains(right) { "yes" } else { "no" };
    until(&format!("{answer:?} to {right:?}"), || {
        let question = cluster.kubectl_command(["auth", "can-i", verb, &resource, "-A", &who]);
        Ok((question.output()?.stdout.trim() == answer).then_some(()))
    })
}

/// Has the agent tell of Pod d what it told before, when that was over meanwhile.
fn provoke_a_repeated_event(cluster: &Cluster<'_>) -> Result {
    const TOLD: &str = "MirrorAnnotationInvalid";
    cluster.annotate_pod("default", "d", &format!("{MIRROR}=yes"))?;
    cluster.await_event("default", "d", TOLD)?;
    cluster.annotate_pod("default", "d", &format!("{MIRROR}-"))?;
    // What is told of e shows that the end of d's was heard.
    cluster.annotate_pod("default", "e", &format!("{MIRROR}=no"))?;
    cluster.await_event("default", "e", TOLD)?;
    cluster.annotate_pod("default", "d", &format!("{MIRROR}=yes"))
}

#[test]
fn the_agent_asks_for_all_that_its_role_allows_and_for_nothing_else() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    let rights = rights(&cluster)?;
    for pod in ["a", "d", "e"] {
        cluster.create_pod("default", pod, &[])?;
    }
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    cluster.annotate_pod("default", "a", &format!("{MIRROR}=true"))?;
    cluster.await_event("default", "a", "MirrorStarted")?;
    provoke_a_repeated_event(&cluster)?;
    until("the repeated Event to be counted", || {
        let events = cluster.events("default", "d")?;
        Ok((events.len() == 1 && events[0].count == 2).then_some(()))
    })?;
    agent.stop()?;

    let requests = cluster.requests(NAMESPACE, "ofmirror")?;
    let used =
        requests.into_iter().map(|Request { verb, group, resource, .. }| (verb, group, resource));
    assert_eq!(used.collect::<BTreeSet<_>>(), rights);
    Ok(())
}

#[test]
fn a_right_that_is_missing_is_named_and_its_coming_is_noticed() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    let rights = rights(&cluster)?;
    for pod in ["a", "b", "d", "e"] {
        cluster.create_pod("default", pod, &[])?;
    }
    for right in &rights {
        let (verb, _, resource) = right;
        let without: BTreeSet<_> = rights.iter().filter(|other| *other != right).cloned().collect();
        allow(&cluster, &without, right)?;
        let agent = cluster.launch_agent(&account, &[], &["--node-name", node.name()])?;
        agent.await_listening()?;
        let words = format!("cannot {verb} resource {resource:?}");
        match (verb.as_str(), resource.as_str()) {
            // Nobody knows which Pods there are.
            ("list", _) => await_reason(&agent, 503, &words)?,
            // They were known once.
            ("watch", _) => await_reason(&agent, 200, &words)?,
            ("create", "events") => {
                agent.await_ready()?;
                cluster.annotate_pod("default", "a", &format!("{MIRROR}=true"))?;
            }
            ("patch", "events") => {
                agent.await_ready()?;
                provoke_a_repeated_event(&cluster)?;
            }
            _ => panic!("{right:?} is not known to this test"),
        }
        until(&format!("{words:?} in the log"), || {
            agent.alive()?;
            Ok(agent.log()?.contains(&words).then_some(()))
        })?;
        // Not again and again, nor in a form for programmers.
        let log = agent.log()?;
        let told: Vec<_> = log.lines().filter(|line| line.contains(&words)).collect();
        assert!(told.len() == 1 && !told[0].contains("Status {"), "{log}");
        if verb == "create" {
            assert_eq!(cluster.events("default", "a")?, []);
            // As with an API server that has just started, and has not read the roles yet.
            let refused = || -> Result<usize> {
                let requests = cluster.requests(NAMESPACE, "ofmirror")?;
                Ok(requests
                    .iter()
                    .filter(|request| request.verb == "create" && request.status == 403)
                    .count())
            };
            let before = refused()?;
            cluster.annotate_pod("default", "b", &format!("{MIRROR}=true"))?;
            until("another refusal", || Ok((refused()? > before).then_some(())))?;
            // It asks again for a few seconds only.
            agent.hold()?;
            allow(&cluster, &rights, right)?;
            agent.go_on()?;
            cluster.await_event("default", "b", "MirrorStarted")?;
        }
        if verb == "list" || verb == "watch" {
            assert_eq!(agent.metric(CONNECTED)?, 0.0);
            allow(&cluster, &rights, right)?;
            until("the agent to hear", || {
                agent.alive()?;
                let well = agent.metric(CONNECTED)? == 1.0;
                Ok((well && agent.readiness()?.body == "ready\n").then_some(()))
            })?;
        }
        agent.stop()?;
    }
    Ok(())
}

/// Waits until `/readyz` gives this reason, with this status.
fn await_reason(agent: &Agent<'_>, status: u16, words: &str) -> Result {
    until(&format!("{words:?} in /readyz with {status}"), || {
        agent.alive()?;
        let answer = agent.readiness()?;
        Ok((answer.body.contains(words) && answer.status == status).then_some(()))
    })
}
