//! What agents cost the API server, and what its objects cost an agent.

use std::fs;

use anyhow::Context as _;
use lab::{Agent, Cluster, DaemonSet, Node, PodObject, Result, until};

const MIRROR: &str = "ovn.kubernetes.io/mirror";
/// What the API server lets an object have of annotations is 256 KiB in all.
const LONG: usize = 240 << 10;

/// The most memory that the agent has had, in bytes.
fn peak(agent: &Agent<'_>) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kilobytes.with_context(|| status.clone())?.trim().parse::<u64>()? << 10)
}

/// The memory limit of the container, in bytes.
fn limit(set: &DaemonSet) -> Result<u64> {
    let limit = set.at("/containers/0/resources/limits/memory")?.as_str().context("no text")?;
    let mebibytes = limit.strip_suffix("Mi").with_context(|| limit.to_owned())?;
    Ok(mebibytes.parse::<u64>()? << 20)
}

#[test]
fn what_is_listed_is_answered_from_the_api_servers_cache() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_pod("default", "a", &[(MIRROR, "true")])?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    cluster.ofmirror(&account, &agent, &["status"])?;
    let lists = until("both lists of the agent and of the command", || {
        let asked = cluster.uris("ofmirror-system", "ofmirror")?;
        let lists: Vec<_> = asked.into_iter().filter(|uri| !uri.contains("watch=true")).collect();
        let of = |path| lists.iter().filter(|uri| uri.starts_with(path)).count();
        let all = of("/api/v1/pods?") >= 2 && of("/api/v1/namespaces?") >= 2;
        Ok(all.then_some(lists.clone()))
    })?;
    for list in lists.iter().filter(|uri| uri.starts_with("/api/v1/")) {
        // A limit has API servers before 1.34 read from etcd whatever version is asked for.
        let cached = list.contains("resourceVersion=0&") && !list.contains("limit=");
        assert!(cached, "{list}");
    }
    agent.stop()
}

#[test]
fn long_annotations_of_all_namespaces_and_pods_leave_half_of_the_memory_limit_free() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy("")?;
    let set = cluster.daemon_set()?;
    let long = "x".repeat(LONG);
    let annotations = [(MIRROR, &*long)];
    for tens in 0..30 {
        let names: Vec<_> = (0..10).map(|one| format!("long-{tens}{one}")).collect();
        cluster.create_namespaces(&names, &annotations)?;
    }
    let names: Vec<_> = (0..50).map(|number| format!("long-{number}")).collect();
    for names in names.chunks(10) {
        let pod = |name| PodObject {
            namespace: "default",
            name,
            node: node.name(),
            annotations: &annotations,
            host_network: false,
        };
        cluster.create_pods(&names.iter().map(|name| pod(name)).collect::<Vec<_>>())?;
    }
    cluster.create_pod("default", "a", &[(MIRROR, "true")])?;

    let agent = cluster.launch_container(&set, &["--node-name", node.name()])?;
    node.await_hooked(&agent, &["a_h"])?;
    // The value is told to whoever wrote it, as far as an Event has room.
    let event = cluster.await_event("default", "long-0", "MirrorAnnotationInvalid")?;
    assert!(event.message.contains("=\"xxx"), "{event:?}");
    let (peak, limit) = (peak(&agent)?, limit(&set)?);
    assert!(peak < limit / 2, "{} of {} MiB", peak >> 20, limit >> 20);
    agent.stop()
}
