//! A node of a large cluster: from the annotation of a Pod to the hooks that copy its packets, and the memory that the
//! Pods cost the agent.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use flows::model::{OfPort, Purpose, TableId};

use super::{
    delivery_table,
    observer::{Observer, Sighting},
    process::Memory,
    samples::Measure,
    say,
};
use crate::{Agent, Cluster, Node, PodObject, Result, daemon::Daemon, until};

/// Pods of this node, and of the whole cluster.
const PODS: u16 = 250;
const CLUSTER: usize = 5_000;
/// Other nodes that the rest of the Pods are on.
const NODES: usize = 19;
/// Pods that are made by one command.
const BATCH: usize = 500;
/// Pods that are annotated, one after the other.
const ANNOTATIONS: usize = 200;
/// Where kubectl passes on what is asked of the API server, within the node's namespace.
const PROXY: u16 = 8001;

const NAMESPACE: &str = "default";
const ANNOTATION: &str = "ovn.kubernetes.io/mirror";

/// Plays the scene.
pub(super) fn play() -> Result<Vec<Measure>> {
    say("bringing up a node of a large cluster");
    let node = Node::start()?;
    node.add_bare_ports(PODS)?;
    let cluster = Cluster::start(&node)?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    cluster.kubectl(["apply", "-k", &deploy.display().to_string()])?;
    let account = cluster.service_account("ofmirror-system", "ofmirror")?;
    populate(&cluster)?;
    let proxy = Proxy::start(&cluster)?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let before = Memory::of(agent.pid()?)?;
    let times = annotate(&node, &proxy, &agent)?;
    let after = Memory::of(agent.pid()?)?;
    agent.stop()?;
    Ok(vec![
        Measure::new("annotation: until both hooks are installed", "ms", times),
        Measure::new("memory: 250 Pods of 5,000, none mirrored", "MB", [before.resident]),
        Measure::new("memory: 250 Pods of 5,000, 200 mirrored", "MB", [after.resident]),
    ])
}

/// Makes the objects of this node's Pods, which are named like its ports, and of all others.
fn populate(cluster: &Cluster<'_>) -> Result {
    say("making 5,000 Pods");
    let here = (0..PODS).map(|number| (format!("bare{number}"), cluster.node().name().to_owned()));
    let others = (usize::from(PODS)..CLUSTER)
        .map(|number| (format!("other{number}"), format!("other-node{}", number % NODES)));
    let names: Vec<_> = here.chain(others).collect();
    for batch in names.chunks(BATCH) {
        let objects: Vec<_> = batch
            .iter()
            .map(|(name, node)| PodObject {
                namespace: NAMESPACE,
                name,
                node,
                annotations: &[],
                host_network: false,
            })
            .collect();
        cluster.create_pods(&objects)?;
    }
    Ok(())
}

/// Annotates Pods one by one; gives the milliseconds from the request to the last of its two hooks.
fn annotate(node: &Node, proxy: &Proxy<'_>, agent: &Agent<'_>) -> Result<Vec<f64>> {
    say("annotating 200 of them");
    let (mut observer, _) = Observer::watch(node, &[TableId(0), delivery_table(node)?])?;
    let mut times = Vec::new();
    for number in 0..ANNOTATIONS {
        agent.alive()?;
        let name = format!("bare{number}");
        let port = OfPort(node.ofport(&name)?.into());
        let asked = Instant::now();
        proxy.annotate(&name)?;
        let (mut from, mut to) = (None, None);
        while from.is_none() || to.is_none() {
            let Sighting { at, flow, there: true } = observer.next()? else { continue };
            match flow.cookie.purpose() {
                Some((Purpose::FromPod, of)) if of == port => from = Some(at),
                Some((Purpose::ToPod, of)) if of == port => to = Some(at),
                _ => {}
            }
        }
        let last = from.max(to).context("both have been seen")?;
        times.push((last - asked).as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// `kubectl proxy`, to which a plain request can be sent at a known moment.
struct Proxy<'a> {
    node: &'a Node,
    _daemon: Daemon,
}

impl<'a> Proxy<'a> {
    fn start(cluster: &Cluster<'a>) -> Result<Self> {
        let node = cluster.node();
        let command = cluster.kubectl_command(["proxy", &format!("--port={PROXY}")]);
        let daemon = Daemon::new("kubectl proxy", command, node.log_folder().join("proxy.log"));
        daemon.start()?;
        until("kubectl proxy to listen", || {
            daemon.alive()?;
            node.namespace().inside(|| Ok(TcpStream::connect(("127.0.0.1", PROXY)).ok().map(drop)))
        })?;
        Ok(Self { node, _daemon: daemon })
    }

    fn annotate(&self, pod: &str) -> Result {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
        let patch = format!(r#"{{"metadata":{{"annotations":{{"{ANNOTATION}":"true"}}}}}}"#);
        let request = format!(
            "PATCH {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{patch}",
            patch.len()
        );
        let answer = self.node.namespace().inside(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", PROXY))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the API server refused: {answer}");
        Ok(())
    }
}
