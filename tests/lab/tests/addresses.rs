//! Who reaches what of the agent by HTTP: the node's own programs all of it, others `/metrics` alone.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use lab::{Agent, HttpAnswer, Namespace, Node, Result, until};

/// What serves what tells who is watched.
const PATHS: [&str; 4] = ["/", "/status", "/healthz", "/readyz"];
/// The node's address on a wire, and that of who is at the other end.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Lays a wire between the node and another namespace, which is a neighbour's then.
fn lay_wire(node: &Node) -> Result<Namespace> {
    let neighbour = node.pod("e").namespace().clone();
    let add = ["link", "add", "wire0", "type", "veth", "peer", "name", "wire0", "netns"];
    node.namespace().ip(add.into_iter().chain([neighbour.name()]))?;
    for (namespace, address) in [(node.namespace(), NODE), (&neighbour, NEIGHBOUR)] {
        namespace.ip(["addr", "add", &format!("{address}/24"), "dev", "wire0"])?;
        namespace.ip(["link", "set", "wire0", "up"])?;
    }
    Ok(neighbour)
}

fn get(namespace: &Namespace, address: SocketAddr, path: &str) -> Result<HttpAnswer> {
    HttpAnswer::get(namespace, address, path)?.with_context(|| format!("nobody is at {address}"))
}

/// The node's own programs get everything at localhost, the neighbour `/metrics` alone at the node's address.
fn assert_kept_apart(agent: &Agent<'_>, node: &Node, neighbour: &Namespace, port: u16) -> Result {
    let at = SocketAddr::from((NODE, port));
    let metrics = |who| HttpAnswer::get(who, at, "/metrics");
    until("the agent to be ready", || {
        agent.alive()?;
        let answer = metrics(neighbour)?.filter(|answer| answer.status == 200);
        Ok(answer.filter(|answer| answer.body.contains("\nofmirror_ready 1\n")))
    })?;
    for who in [neighbour, node.namespace()] {
        for path in PATHS {
            let answer = get(who, at, path)?;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            assert!(answer.body.contains("--status-addr"), "{path}: {answer:?}");
        }
        assert_eq!(metrics(who)?.map(|answer| answer.status), Some(200));
    }
    assert_eq!(agent.address(), format!("127.0.0.1:{port}"));
    assert!(agent.status()?.to_string().contains(r#""pod":"a""#), "{}", agent.status()?);
    for path in PATHS.iter().chain(&["/metrics"]) {
        assert_eq!(agent.get(path)?.map(|answer| answer.status), Some(200), "{path}");
    }
    let status = agent.beside(&["status", "--enable-mirror"])?;
    assert!(status.contains("Agent     ready"), "{status}");
    Ok(())
}

#[test]
fn who_is_no_program_of_the_node_gets_metrics_and_nothing_else() -> Result {
    let node = Node::start()?;
    let neighbour = lay_wire(&node)?;
    for (address, port) in
        [(NODE.to_string(), 9701), ("0.0.0.0".to_owned(), 9702), ("[::]".to_owned(), 9703)]
    {
        let metrics = format!("--metrics-addr={address}:{port}");
        let agent = node.launch_agent(&["--enable-mirror", &metrics])?;
        assert_kept_apart(&agent, &node, &neighbour, port).with_context(|| metrics)?;
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn everything_is_served_elsewhere_if_so_asked() -> Result {
    let node = Node::start()?;
    let neighbour = lay_wire(&node)?;
    let address = SocketAddr::from((NODE, 9704));
    let flags = [format!("--metrics-addr={address}"), format!("--status-addr={address}")];
    let agent = node.launch_agent(&["--enable-mirror", &flags[0], &flags[1]])?;
    until("the agent to be ready", || {
        agent.alive()?;
        let answer = HttpAnswer::get(&neighbour, address, "/readyz")?;
        Ok(answer.filter(|answer| answer.status == 200))
    })?;
    for path in PATHS.iter().chain(&["/metrics"]) {
        assert_eq!(get(&neighbour, address, path)?.status, 200, "{path}");
    }
    assert_eq!(agent.get("/")?, None, "it was not asked to listen at localhost");
    agent.stop()
}
