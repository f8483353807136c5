//! No copy comes back to be copied again: a NIC that leads into the bridge is refused, and let go when it begins to.

use lab::{Agent, Node, Result, until};

/// A mirror NIC whose other end is `peer9`.
const ARGS: [&str; 2] = ["--enable-mirror", "--mirror-iface=eth9"];

fn start() -> Result<Node> {
    let node = Node::start()?;
    for line in ["link add eth9 type veth peer name peer9", "link set peer9 up"] {
        node.namespace().ip(line.split(' '))?;
    }
    Ok(node)
}

fn await_refusal(agent: &Agent<'_>, words: &str) -> Result {
    until(&format!("/readyz to say {words:?}"), || {
        agent.alive()?;
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        Ok((answer.status == 503 && answer.body.contains(words)).then_some(()))
    })
}

fn await_no_hooks(node: &Node) -> Result {
    until("the agent's flows to go", || Ok(node.hooks()?.is_empty().then_some(())))
}

/// Pods speak, and the switch is silent when they are.
fn assert_silence(node: &Node) -> Result {
    node.say_everything()?;
    until("silence", || {
        let before = node.namespace().transmissions("eth9")?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok((node.namespace().transmissions("eth9")? == before).then_some(()))
    })
}

#[test]
fn a_nic_whose_other_end_is_a_port_of_the_bridge_is_refused() -> Result {
    let node = start()?;
    node.vsctl("add-port br-int peer9".split(' '))?;
    let agent = node.launch_agent(&ARGS)?;
    await_refusal(&agent, "comes back into br-int by its port peer9")?;
    assert!(node.hooks()?.is_empty(), "{:?}", node.hooks()?);
    assert!(!node.vsctl(["list-ports", "br-int"])?.contains("eth9"), "it is not attached");
    node.vsctl("del-port br-int peer9".split(' '))?;
    agent.await_ready()?;
    agent.stop()
}

#[test]
fn a_nic_whose_other_end_becomes_a_port_is_let_go_before_copies_circle_for_long() -> Result {
    let node = start()?;
    let agent = node.agent(&ARGS)?;
    // Behind a bridge of the kernel.
    for line in [
        "link add br9 type bridge",
        "link add in9 type veth peer name out9",
        "link set in9 master br9",
        "link set peer9 master br9",
        "link set br9 up",
        "link set in9 up",
        "link set out9 up",
    ] {
        node.namespace().ip(line.split(' '))?;
    }
    node.vsctl("add-port br-int out9".split(' '))?;
    await_refusal(&agent, "comes back into br-int by its port out9")?;
    await_no_hooks(&node)?;
    assert_silence(&node)?;
    node.vsctl("del-port br-int out9".split(' '))?;
    agent.await_ready()?;
    agent.stop()
}

#[test]
fn a_nic_that_leads_to_a_pod_is_refused() -> Result {
    let node = start()?;
    node.namespace().ip("link add link a_h name eth8 type macvlan mode bridge".split(' '))?;
    let agent = node.launch_agent(&["--enable-mirror", "--mirror-iface=eth8"])?;
    await_refusal(&agent, "leaves by a_h, the port of a Pod")?;
    assert!(node.hooks()?.is_empty(), "{:?}", node.hooks()?);
    agent.stop()
}

#[test]
fn a_nic_that_leads_elsewhere_gets_its_copies() -> Result {
    let node = start()?;
    node.namespace().ip("link add br9 type bridge".split(' '))?;
    node.namespace().ip("link set peer9 master br9".split(' '))?;
    // The bridge is to be silent itself.
    let quiet = ["br9", "peer9"].map(|link| format!("net.ipv6.conf.{link}.disable_ipv6=1"));
    node.namespace().program("sysctl").args(["-q", "-w"]).args(quiet).run()?;
    node.namespace().ip("link set br9 up".split(' '))?;
    let agent = node.agent(&ARGS)?;
    // A capture begins and ends with a mark of each Pod's that it waits for.
    node.capture_at("peer9", &lab::EVERYONE)?.finish()?;
    agent.stop()
}
