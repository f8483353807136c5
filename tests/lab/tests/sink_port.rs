//! Which port of the bridge may get the copies, and that having one changes nothing for anybody else on the node.

use std::{
    fs::{self, File},
    process::Stdio,
};

use lab::{Agent, EVERYONE, Node, PodSpec, Result, SWITCHES, datapath, ensure_same, until};

const ALL: &str = "--enable-mirror";
/// The address that the node has on the Pods' network, as `ovn0` of Kube-OVN and `ovn-k8s-mp0` of OVN-Kubernetes.
const NODE_ADDRESS: &str = "10.16.0.200";
/// Bytes of a ping that fits into no NIC of 1500 bytes, but into what the userspace datapath reads at once.
const LONG: u32 = 60_000;

/// Gives the node a port of its own on the first switch, with an address.
fn add_node_port(node: &Node) -> Result {
    const MAC: &str = "02:00:00:00:10:c8";
    node.nbctl([
        "--wait=hv",
        "lsp-add",
        "sw1",
        "node-port",
        "--",
        "lsp-set-addresses",
        "node-port",
        &format!("{MAC} {NODE_ADDRESS}"),
    ])?;
    let port = format!(
        "add-port br-int ovn0 -- set Interface ovn0 type=internal mac=\"{MAC}\" external_ids:iface-id=node-port"
    );
    node.vsctl(port.split(' '))?;
    let quiet = "net.ipv6.conf.ovn0.disable_ipv6=1";
    node.namespace().program("sysctl").args(["-q", "-w", quiet]).run()?;
    let address = format!("{NODE_ADDRESS}/16");
    node.namespace().ip(["address", "add", &address, "dev", "ovn0"])?;
    node.namespace().ip(["link", "set", "ovn0", "up"])?;
    until("OVN to install the node's port", || {
        let installed = ["--if-exists", "get", "Interface", "ovn0", "external_ids:ovn-installed"];
        Ok(node.vsctl(installed)?.contains("true").then_some(()))
    })
}

/// All that somebody could change: what is in the switch and its database, and the node's links, addresses and routes.
fn estate(node: &Node) -> Result<Vec<String>> {
    let mut lines = node.estate()?;
    for command in [
        "-details -oneline link show",
        "-oneline address show",
        "-4 route show table all",
        "-6 route show table all",
    ] {
        let text = node.namespace().ip(command.split(' '))?;
        lines.extend(text.lines().map(|line| format!("ip {command}: {line}")));
    }
    // Only OpenFlow 1.0 shows NO_FLOOD.
    let ports = node.ofctl(&["-O", "OpenFlow10", "show"], [])?;
    let config = |line: &&str| line.contains("config:") || line.contains("addr:");
    lines.extend(ports.lines().filter(config).map(|line| format!("OpenFlow: {line}")));
    lines.sort();
    Ok(lines)
}

/// Fails with what differs.
fn assert_unchanged(node: &Node, before: &[String]) -> Result {
    ensure_same("the node", before, &estate(node)?)
}

/// Pings every 10 ms; none may be lost.
fn ping(from: &lab::Namespace, to: &str, size: u32) -> Result {
    let size = size.to_string();
    let ping = ["-q", "-i", "0.01", "-c", "20", "-W", "5", "-M", "do", "-s", &size, to];
    let text = from.program("ping").args(ping).run()?;
    anyhow::ensure!(text.contains(" 0% packet loss"), "{text}");
    Ok(())
}

/// Waits until all pings are answered: OVN and Open vSwitch may still be at work when a port has come.
fn await_pings(from: &lab::Namespace, to: &str, size: u32) -> Result {
    until("all pings to be answered", || Ok(ping(from, to, size).ok()))
}

/// The agent says on `/readyz` and in its log that it does not mirror, with all of these words.
fn await_refusal(agent: &Agent<'_>, words: &[&str]) -> Result {
    let mut last = String::new();
    until(&format!("/readyz to say {words:?}"), || {
        agent.alive()?;
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        last = answer.body;
        Ok((answer.status == 503 && words.iter().all(|word| last.contains(word))).then_some(()))
    })
    .map_err(|error| error.context(last))
}

#[test]
fn a_port_of_the_node_or_of_a_pod_is_refused_and_nobody_notices() -> Result {
    let node = Node::start()?;
    add_node_port(&node)?;
    let datapath = datapath();
    node.vsctl(
        format!("add-br other -- set Bridge other datapath_type={datapath}").split_whitespace(),
    )?;
    node.vsctl(
        "add-port br-int patch0 -- set Interface patch0 type=patch options:peer=patch1 \
         -- add-port other patch1 -- set Interface patch1 type=patch options:peer=patch0 \
         -- add-port br-int tunnel0 -- set Interface tunnel0 type=geneve options:remote_ip=127.0.0.9 \
         -- add-port br-int plain0 -- set Interface plain0 type=internal"
            .split_whitespace(),
    )?;
    let (a, b) = (node.pod("a"), node.pod("b"));
    let pings = || -> Result {
        ping(node.namespace(), &b.ip4().to_string(), 56)?;
        ping(a.namespace(), &b.ip4().to_string(), 56)
    };
    until("OVN to have settled", || Ok(pings().ok()))?;
    let before = estate(&node)?;
    for (nic, marked, words) in [
        ("ovn0", false, ["ovn0", "iface-id"]),
        ("ovn0", true, ["ovn0", "iface-id"]),
        (a.interface(), false, [a.interface(), "iface-id"]),
        (a.interface(), true, [a.interface(), "iface-id"]),
        ("patch0", true, ["patch0", "patch"]),
        ("tunnel0", true, ["tunnel0", "geneve"]),
        ("plain0", false, ["plain0", "external_ids:ofmirror-sink=true"]),
        ("other", false, ["other", "a bridge"]),
    ] {
        let mark = |command: &str, value: &str| {
            let mark = format!("external_ids{value}");
            let arguments = match command {
                "set" => vec![command, "Port", nic, &mark],
                _ => vec![command, "Port", nic, "external_ids", "ofmirror-sink"],
            };
            if marked { node.vsctl(arguments).map(drop) } else { Ok(()) }
        };
        mark("set", ":ofmirror-sink=true")?;
        let agent = node.launch_agent(&[ALL, "--mirror-iface", nic])?;
        await_refusal(&agent, &words)?;
        pings()?;
        assert_eq!(node.our_flows()?, [""; 0]);
        agent.stop()?;
        mark("remove", "")?;
        pings()?;
        assert_unchanged(&node, &before)?;
    }
    Ok(())
}

#[test]
fn a_port_that_is_marked_for_it_gets_the_copies_unless_it_has_an_address() -> Result {
    let node = Node::start()?;
    node.vsctl(
        "add-port br-int span0 -- set Interface span0 type=internal \
         -- set Port span0 external_ids:ofmirror-sink=true"
            .split_whitespace(),
    )?;
    node.namespace().ip(["address", "add", "192.0.2.7/24", "dev", "span0"])?;
    let before = estate(&node)?;
    let agent = node.launch_agent(&[ALL, "--mirror-iface=span0"])?;
    await_refusal(&agent, &["span0 has the address 192.0.2.7/24"])?;
    assert_unchanged(&node, &before)?;
    node.namespace().ip(["address", "del", "192.0.2.7/24", "dev", "span0"])?;
    agent.await_ready()?;
    let capture = node.capture_at("span0", &["a", "b"])?;
    ping(node.pod("a").namespace(), &node.pod("b").ip4().to_string(), 56)?;
    assert!(!capture.finish()?.mirror.is_empty());

    // Whoever takes the mark away takes the port back.
    node.vsctl("remove Port span0 external_ids ofmirror-sink".split(' '))?;
    await_refusal(&agent, &["span0", "ofmirror-sink=true"])?;
    until("the agent's flows to go", || Ok(node.our_flows()?.is_empty().then_some(())))?;
    agent.stop()?;
    assert!(node.vsctl(["list-ports", "br-int"])?.contains("span0"), "it is not the agent's");
    Ok(())
}

/// Two Pods of this MTU are all that there is on the bridge, beside the node's own port.
fn jumbo_node(mtu: u16) -> Result<Node> {
    let node = Node::start()?;
    add_node_port(&node)?;
    for name in EVERYONE {
        node.remove_pod(name)?;
    }
    let pod = |name, host| PodSpec { mtu, ..PodSpec::new(name, &SWITCHES[0], host) };
    node.add_pods(&[pod("f", 21), pod("g", 22)])?;
    until("Open vSwitch to give the node's port the Pods' MTU", || {
        Ok(node.namespace().ip(["link", "show", "ovn0"])?.contains("mtu 8900").then_some(()))
    })?;
    Ok(node)
}

/// A macvlan on a device of 1500 bytes: the kernel refuses to give it more.
fn add_small_nic(node: &Node) -> Result {
    for command in [
        "link add lower0 type veth peer name lower0-far",
        "link add small0 link lower0 type macvlan",
        "link set lower0 up",
        "link set lower0-far up",
    ] {
        node.namespace().ip(command.split(' '))?;
        if command.contains("add lower0") {
            let quiet =
                ["lower0", "lower0-far"].map(|nic| format!("net.ipv6.conf.{nic}.disable_ipv6=1"));
            node.namespace().program("sysctl").args(["-q", "-w"]).args(quiet).run()?;
        }
    }
    Ok(())
}

#[test]
fn a_nic_that_would_lower_the_mtu_of_others_is_not_attached() -> Result {
    let node = jumbo_node(8900)?;
    add_small_nic(&node)?;
    let pod = node.pod("f");
    let pings = || ping(node.namespace(), &pod.ip4().to_string(), 8000);
    await_pings(node.namespace(), &pod.ip4().to_string(), 8000)?;
    let before = estate(&node)?;
    let agent = node.launch_agent(&[ALL, "--mirror-iface=small0"])?;
    await_refusal(&agent, &["small0", "1500", "8900"])?;
    pings()?;
    assert_unchanged(&node, &before)?;
    // Where a Pod is that small itself it lowers nobody: what fits is mirrored, and the rest is told.
    node.add_pods(&[PodSpec::new("h", &SWITCHES[0], 23), PodSpec::new("i", &SWITCHES[0], 24)])?;
    agent.await_ready()?;
    let log = agent.log()?;
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("8900")), "{log}");
    ping(node.pod("h").namespace(), &node.pod("i").ip4().to_string(), 1400)?;
    // When the small Pods leave it would keep the others small, so it is taken off again.
    for pod in ["h", "i"] {
        node.remove_pod(pod)?;
    }
    await_refusal(&agent, &["small0", "1500", "8900"])?;
    until("the node's port to be as long as before", || {
        Ok(node.namespace().ip(["link", "show", "ovn0"])?.contains("mtu 8900").then_some(()))
    })?;
    pings()?;
    agent.stop()
}

#[test]
fn attaching_a_nic_lowers_nobodys_mtu_for_a_moment() -> Result {
    let node = jumbo_node(8900)?;
    node.namespace().ip("link add nic0 type veth peer name nic0-far".split(' '))?;
    node.namespace().ip(["link", "set", "nic0-far", "up"])?;
    let file = node.folder().join("monitor");
    let mut monitor =
        node.namespace().program("ip").args(["-oneline", "monitor", "link"]).command();
    let mut monitor = monitor.stdout(Stdio::from(File::create(&file)?)).spawn()?;
    let told = |words: &str| -> Result<bool> { Ok(fs::read_to_string(&file)?.contains(words)) };
    until("the monitor to listen", || {
        node.namespace().ip("link add marker0 type bridge".split(' '))?;
        let heard = told("marker0")?;
        node.namespace().ip("link del marker0".split(' '))?;
        Ok(heard.then_some(()))
    })?;
    let agent = node.agent(&[ALL, "--mirror-iface=nic0"])?;
    agent.stop()?;
    node.namespace().ip("link add marker1 type bridge".split(' '))?;
    until("the monitor to tell of all", || Ok(told("marker1")?.then_some(())))?;
    monitor.kill()?;
    monitor.wait()?;
    let monitored = fs::read_to_string(&file)?;
    let dips = monitored.lines().filter(|line| {
        let of_others = [": ovn0", ": br-int"].iter().any(|name| line.contains(name));
        of_others && !line.contains("mtu 8900 ")
    });
    assert_eq!(dips.collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

#[test]
fn a_pod_port_longer_than_the_nic_can_be_loses_its_long_frames_only() -> Result {
    let node = Node::start()?;
    // Open vSwitch's tap can't be as long as a veth.
    let longest = |name, host| PodSpec { mtu: 65535, ..PodSpec::new(name, &SWITCHES[0], host) };
    node.add_pods(&[longest("f", 21), longest("g", 22)])?;
    add_small_nic(&node)?;
    for (nic, far) in [("mirror0", "mirror0"), ("small0", "lower0-far")] {
        let agent = node.agent(&[ALL, "--mirror-iface", nic])?;
        let log = agent.log()?;
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains("65535")), "{log}");
        let capture = node.capture_at(far, &EVERYONE)?;
        node.say_everything()?;
        capture.finish()?.assert_exact();
        await_pings(node.pod("f").namespace(), &node.pod("g").ip4().to_string(), LONG)?;
        if nic == "small0" {
            until("the long copies to be counted as lost", || {
                let count = |name: &str| agent.metric(&format!("ofmirror_{name}_total"));
                let lost = count("copies_offered")? - count("copies_delivered")?;
                Ok((lost >= 40.0).then_some(()))
            })?;
        }
        agent.stop()?;
    }
    Ok(())
}
