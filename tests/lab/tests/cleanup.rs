//! `ofmirror cleanup` takes away what a killed or a keeping agent has left, and nothing else.

use lab::{Agent, MIRROR, Node, NodeState, Result, until};

const ALL: &str = "--enable-mirror";
const NOTHING: &str = "Nothing of ofmirror's is left on br-int.\n";
/// A NIC of the host: a veth, whose other end leads nowhere.
const NIC: &str = "nic0";

/// The node with its filters, which a state does not have.
struct Found {
    state: NodeState,
    filters: Vec<String>,
}

impl Found {
    fn on(node: &Node) -> Result<Self> {
        let filters = node.program("nft").args(["list", "tables"]).run()?;
        Ok(Self { state: node.state()?, filters: filters.lines().map(str::to_owned).collect() })
    }

    /// What is not as it was.
    fn changes(&self, node: &Node) -> Result<Vec<String>> {
        let now = Self::on(node)?;
        let mut changes = now.state.changes_since(&self.state);
        changes.extend(
            (now.filters != self.filters)
                .then(|| format!("filters: {:?} instead of {:?}", now.filters, self.filters)),
        );
        Ok(changes)
    }

    /// Waits until all is as it was. The kernel and Open vSwitch take some milliseconds to see the end of a port.
    fn await_again(&self, node: &Node) -> Result {
        let mut last = Vec::new();
        until("the node to be as it was", || {
            last = self.changes(node)?;
            Ok(last.is_empty().then_some(()))
        })
        .map_err(|error| error.context(last.join("\n")))
    }
}

/// Runs it, and gives its exit status with what it says.
fn cleanup(node: &Node, args: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = node.ofmirror(&[&["cleanup"], args].concat())?;
    Ok((output.status.code(), output.stdout, output.stderr))
}

/// Has it take everything away, and gives what it says.
fn clean(node: &Node) -> Result<String> {
    let (status, told, errors) = cleanup(node, &[])?;
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{told}");
    Ok(told)
}

fn assert_told(told: &str, lines: &[&str]) {
    for line in lines {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line}\n{told}");
    }
    assert_eq!(told.lines().count(), lines.len(), "{told}");
}

#[test]
fn what_a_killed_agent_has_left_is_taken_away_and_the_node_is_as_before() -> Result {
    let node = Node::start()?;
    let before = Found::on(&node)?;
    assert_eq!(clean(&node)?, NOTHING);
    node.agent(&[ALL])?.kill()?;
    let left = Found::on(&node)?;
    let flows = node.our_flows()?.len();
    assert!(flows > 0 && !left.filters.is_empty());

    let (status, told, errors) = cleanup(&node, &["--dry-run"])?;
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let lines = [
        &format!("{flows} flows of bridge br-int"),
        "link mirror0-drain, ",
        "port mirror0 of bridge br-int, with its device",
        "table ip6 ofmirror_mirror0 of nftables",
        "table arp ofmirror_mirror0 of nftables",
    ];
    assert_told(&told, &lines.map(|line| format!("would remove {line}")).each_ref().map(|s| &**s));
    assert_eq!(left.changes(&node)?, [""; 0], "only told");

    let told = clean(&node)?;
    assert_told(&told, &lines.map(|line| format!("removed {line}")).each_ref().map(|s| &**s));
    before.await_again(&node)?;
    assert_eq!(clean(&node)?, NOTHING);
    // The next agent starts from nothing.
    node.agent(&[ALL])?.stop()?;
    before.await_again(&node)
}

#[test]
fn as_long_as_an_agent_has_the_bridge_nothing_is_taken_away() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[ALL])?;
    node.sync()?;
    let before = Found::on(&node)?;
    let refused = |agent: &Agent<'_>| -> Result {
        let (status, told, errors) = cleanup(&node, &[])?;
        assert_eq!((status, told.as_str()), (Some(1), ""));
        let who = format!("ofmirror: an agent (pid {}, started ", agent.pid()?);
        assert!(errors.starts_with(&who) && errors.contains("has bridge br-int"), "{errors}");
        assert_eq!(before.changes(&node)?, [""; 0]);
        Ok(())
    };
    refused(&agent)?;
    agent.await_ready()?;
    node.assert_copies_are_exact()?;
    // One that waits for the bridge has it as soon as the first is gone.
    let second = node.launch_agent(&[ALL])?;
    second.await_unready()?;
    agent.kill()?;
    second.await_ready()?;
    refused(&second)?;
    second.stop()
}

#[test]
fn a_nic_that_an_agent_attached_comes_off_the_bridge_and_stays_on_the_node() -> Result {
    let node = Node::start()?;
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip("link add nic0 mtu 1500 type veth peer name far0 mtu 1500")?;
    ip("link set nic0 up")?;
    ip("link set far0 up")?;
    let ports = node.vsctl(["list-ports", "br-int"])?;
    let mirror_to = format!("--mirror-iface={NIC}");
    node.agent(&[ALL, &mirror_to, "--on-exit=keep"])?.stop()?;
    assert!(!node.our_flows()?.is_empty(), "they are kept");
    let told = clean(&node)?;
    assert!(told.contains("removed port nic0 of bridge br-int, whose device stays\n"), "{told}");
    assert!(told.contains("removed table ip6 ofmirror_nic0 of nftables\n"), "{told}");
    assert!(node.our_flows()?.is_empty());
    assert_eq!(node.vsctl(["list-ports", "br-int"])?, ports);
    ip("link show nic0")?;
    assert_eq!(clean(&node)?, NOTHING);
    Ok(())
}

/// Things that look as if they were ours: on another bridge, or with our names.
const FOREIGN: &str = r#"
ovs-vsctl add-br other -- set Bridge other datapath_type=TYPE
ovs-vsctl add-port other mirror9 -- set Interface mirror9 type=internal -- set Port mirror9 external_ids:owner=ofmirror
ovs-ofctl add-flow unix:$OVS_RUNDIR/other.mgmt cookie=0x6f666d7200000001,table=0,priority=5,in_port=77,actions=drop
ip link add mirror0-drain2 type bridge
ip link add mirror9-drain type bridge
ip link set mirror9-drain address 02:6f:66:6d:69:72
nft add table ip6 ofmirror_rules
nft 'add chain ip6 ofmirror_rules in { type filter hook prerouting priority -450; }'
nft add rule ip6 ofmirror_rules in iifname nowhere drop comment '"mine"'
nft add table ip6 ofmirror_mirror9
nft 'add chain ip6 ofmirror_mirror9 in { type filter hook prerouting priority -450; }'
nft add rule ip6 ofmirror_mirror9 in iifname mirror9 drop comment '"copies on mirror9 must not change the node: all"'
ovs-vsctl add-port br-int span0 -- set Interface span0 type=internal -- set Port span0 external_ids:ofmirror-sink=true
"#;

#[test]
fn what_others_have_made_stays_whatever_it_is_called() -> Result {
    let node = Node::start()?;
    let lines = FOREIGN.replace("TYPE", &lab::datapath());
    node.tool("bash").args(["-euc", &lines]).run()?;
    for link in ["other", "mirror9", "span0"] {
        node.quiet(link)?;
    }
    let foreign = Found::on(&node)?;
    assert_eq!(clean(&node)?, NOTHING);
    assert_eq!(foreign.changes(&node)?, [""; 0]);
    // A port that an administrator gives for copies is changed for good, and stays.
    let mirror_to_span = [ALL, "--mirror-iface=span0"];
    node.agent(&mirror_to_span)?.stop()?;
    let before = Found::on(&node)?;
    assert_eq!(before.filters, foreign.filters);
    node.agent(&mirror_to_span)?.kill()?;
    let told = clean(&node)?;
    assert!(told.contains("flows of bridge br-int\n") && !told.contains("port span0"), "{told}");
    before.await_again(&node)?;

    node.agent(&[ALL])?.kill()?;
    let now = Found::on(&node)?;
    assert!(now.filters.iter().any(|table| table.ends_with(&format!("ofmirror_{MIRROR}"))));
    clean(&node)?;
    before.await_again(&node)
}

#[test]
fn while_flows_may_be_left_all_else_stays_and_that_is_told() -> Result {
    let node = Node::start()?;
    node.agent(&[ALL])?.kill()?;
    let before = Found::on(&node)?;
    let nowhere = "--openflow=unix:/nowhere/br-int.mgmt";
    let (status, told, errors) = cleanup(&node, &[nowhere])?;
    assert_eq!((status, told.as_str()), (Some(1), ""));
    assert!(errors.contains("can't tell whether flows are left: can't connect"), "{errors}");
    assert_eq!(before.changes(&node)?, [""; 0]);
    clean(&node)?;
    assert!(node.our_flows()?.is_empty());
    Ok(())
}
