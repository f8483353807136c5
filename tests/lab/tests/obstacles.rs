//! What others may have put in the agent's way: it says what is wrong and does no harm, and goes on once it can.

use lab::{Agent, MIRROR, Node, Peer, Result, until};

const ALL: &str = "--enable-mirror";
/// Bits 26 and 27 of reg10, which the agent takes if it can.
const USUAL_BITS: u32 = 0b11 << 26;

/// `/readyz` says no, with these words.
fn await_complaint(agent: &Agent<'_>, words: &str) -> Result {
    until(&format!("/readyz to say {words:?}"), || {
        agent.alive()?;
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        Ok((answer.status == 503 && answer.body.contains(words)).then_some(()))
    })
}

fn await_no_hooks(node: &Node) -> Result {
    until("the agent's flows to go", || Ok(node.hooks()?.is_empty().then_some(())))
}

/// Makes the mirror port and a Mirror record that sends to it, as Kube-OVN does.
fn add_mirror(node: &Node, selects: &str) -> Result {
    let port = "--may-exist add-port br-int mirror0 -- set Interface mirror0 type=internal";
    let record = format!(
        "--id=@p get Port mirror0 -- --id=@m create Mirror name=m0 output_port=@p {selects} -- add Bridge br-int mirrors @m"
    );
    node.vsctl(format!("{port} -- {record}").split_whitespace())?;
    Ok(())
}

/// All bits of reg10 that the agent's flows look at, but for bit 0, OVN's own loopback flag.
fn bits_in_use(node: &Node) -> Result<u32> {
    let mut bits = 0;
    for hook in node.hooks()? {
        if let Some((_, rest)) = hook.flow.split_once("reg10=") {
            let value = rest.split([',', ' ']).next().unwrap_or_default();
            let mask = value.split_once('/').map_or("0xffffffff", |(_, mask)| mask);
            bits |= u32::from_str_radix(mask.trim_start_matches("0x"), 16)?;
        }
    }
    Ok(bits & !1)
}

#[test]
fn a_mirror_record_that_copies_to_our_nic_too_is_an_error_and_there_are_no_double_copies() -> Result
{
    let node = Node::start()?;
    add_mirror(&node, "select_all=true")?;
    let agent = node.launch_agent(&[ALL])?;
    await_complaint(&agent, "Mirror record \"m0\"")?;
    await_complaint(&agent, "--replace-mirrors")?;
    assert!(node.hooks()?.is_empty());

    // Without the record nothing says any more that the port is there for copies.
    node.vsctl(["clear", "Bridge", "br-int", "mirrors"])?;
    await_complaint(&agent, "external_ids:ofmirror-sink=true")?;
    node.vsctl(["set", "Port", MIRROR, "external_ids:ofmirror-sink=true"])?;
    agent.await_ready()?;
    node.assert_copies_are_exact()?;
    // One that comes later is found, too.
    add_mirror(&node, "select_all=true")?;
    await_complaint(&agent, "Mirror record \"m0\"")?;
    await_no_hooks(&node)
}

#[test]
fn a_mirror_record_on_our_nic_selects_nothing_any_more_if_asked_for_and_no_other_is_touched()
-> Result {
    let node = Node::start()?;
    add_mirror(&node, "select_all=true")?;
    node.vsctl(
        "add-port br-int span0 -- set Interface span0 type=internal -- --id=@p get Port span0 \
         -- --id=@m create Mirror name=other select_dst_port=@p output_port=@p \
         -- add Bridge br-int mirrors @m"
            .split_whitespace(),
    )?;
    let _agent = node.agent(&[ALL, "--replace-mirrors"])?;
    let selected =
        |name: &str| node.vsctl(["get", "Mirror", name, "select_all", "select_dst_port"]);
    assert_eq!(selected("m0")?.split_whitespace().collect::<Vec<_>>(), ["false", "[]"]);
    assert!(!selected("other")?.contains("[]"), "{}", selected("other")?);
    node.assert_copies_are_exact()
}

#[test]
fn a_mirror_record_that_selects_nothing_is_worth_a_warning_only() -> Result {
    let node = Node::start()?;
    add_mirror(&node, "")?;
    let agent = node.agent(&[ALL])?;
    let log = agent.log()?;
    let warned = log.lines().any(|line| line.contains("WARN") && line.contains("selects nothing"));
    assert!(warned, "{log}");
    node.assert_copies_are_exact()
}

#[test]
fn bits_that_others_use_are_left_to_them() -> Result {
    let node = Node::start()?;
    node.add_flows("table=200,priority=5,reg10=0x8000000/0x8000000,actions=drop\n")?;
    let agent = node.agent(&[ALL])?;
    let bits = bits_in_use(&node)?;
    assert_eq!(bits.count_ones(), 2, "{bits:#x}");
    assert_eq!(bits & (1 << 27), 0, "{bits:#x}");
    node.assert_copies_are_exact()?;
    agent.stop()?;

    // Bits that were asked for and are not free are not used.
    let agent = node.launch_agent(&[ALL, "--marker-bits=27,26"])?;
    await_complaint(&agent, "bits 27 (copied) and 26 (delivered) of reg10")?;
    assert!(node.hooks()?.is_empty());
    node.ofctl(&["del-flows"], ["table=200"])?;
    agent.await_ready()?;
    assert_eq!(bits_in_use(&node)?, USUAL_BITS);
    Ok(())
}

#[test]
fn no_bits_left_is_an_error_until_there_are_some() -> Result {
    let node = Node::start()?;
    node.add_flows("table=200,priority=5,reg10=0x12345678,actions=drop\n")?;
    let agent = node.launch_agent(&[ALL])?;
    await_complaint(&agent, "no two bits are free")?;
    assert!(node.hooks()?.is_empty());
    node.ofctl(&["del-flows"], ["table=200"])?;
    agent.await_ready()?;
    node.assert_copies_are_exact()
}

#[test]
fn a_foreign_flow_as_high_as_ours_is_named_and_left_alone() -> Result {
    let node = Node::start()?;
    node.add_flows("table=0,priority=65535,in_port=4000,actions=drop\n")?;
    let agent = node.launch_agent(&[ALL])?;
    await_complaint(&agent, "table 0 has a foreign flow of priority 65535")?;
    assert_eq!(node.dump_flows("table=0,in_port=4000")?.len(), 1);
    node.ofctl(&["--strict", "del-flows"], ["table=0,priority=65535,in_port=4000"])?;
    agent.await_ready()?;
    node.assert_copies_are_exact()
}

#[test]
fn a_bridge_that_does_not_exist_yet_is_waited_for() -> Result {
    let node = Node::start()?;
    let agent = node.launch_agent(&[ALL, "--bridge=br-late", "--mirror-iface=late0"])?;
    await_complaint(&agent, "there is no bridge br-late")?;
    await_complaint(&agent, "br-late.mgmt")?;
    assert!(node.hooks()?.is_empty(), "flows on another bridge");

    node.vsctl(
        "add-br br-late -- set Bridge br-late datapath_type=netdev fail_mode=secure \
         -- add-port br-late pod0 -- set Interface pod0 type=internal external_ids:iface-id=pod0"
            .split_whitespace(),
    )?;
    let port = node.ofport("pod0")?;
    let ofctl = |args: &[&str]| {
        let bridge = format!("unix:{}", node.run_folder().join("br-late.mgmt").display());
        let [command, rest @ ..] = args else { unreachable!("there is a command") };
        let tool = node.tool("ovs-ofctl").args(["-O", "OpenFlow15", command]).arg(bridge);
        tool.args(rest.iter().copied()).run()
    };
    let delivery = format!("table=65,priority=100,reg15=1,metadata=1,actions=output:{port}");
    ofctl(&["add-flow", &delivery])?;
    agent.await_ready()?;
    // What pod0 sends, what it receives, four for frames rewritten in place, and the guard.
    until("the flows", || {
        let flows = ofctl(&["dump-flows"])?;
        Ok((flows.matches("cookie=0x6f666d72").count() == 7).then_some(()))
    })?;
    assert!(node.hooks()?.is_empty());
    assert!(node.vsctl(["list-ports", "br-int"])?.lines().all(|port| port != MIRROR));
    Ok(())
}

#[test]
fn a_flow_that_the_switch_refuses_is_named_and_the_others_are_installed() -> Result {
    let node = Node::start()?;
    let port = node.ofport(node.pod("b").interface())?;
    let proxy = node.proxy("crowded", Peer::Crowded(0x6f66_6d72_1000_0000 | u64::from(port)))?;
    let agent = node.launch_agent(&[ALL, "--openflow", &proxy.endpoint()])?;
    await_complaint(&agent, "OFPFMFC_TABLE_FULL")?;
    await_complaint(&agent, &format!("in_port={port},"))?;
    until("all other flows", || Ok((node.unhooked()? == ["what b_h sends"]).then_some(())))?;
    assert_eq!(proxy.refused(), 1);
    // It gets another chance.
    agent.await_ready()?;
    node.assert_copies_are_exact()
}

#[test]
fn an_agent_whose_changes_the_switch_does_not_answer_is_not_ready() -> Result {
    let node = Node::start()?;
    let proxy = node.proxy("forgetful", Peer::Forgetful)?;
    let agent = node.launch_agent(&[ALL, "--openflow", &proxy.endpoint()])?;
    agent.await_listening()?;
    agent.honest_during(&node, |witness| {
        witness.without("flows are not all installed yet", || {
            until("a bundle", || Ok((proxy.refused() > 0).then_some(())))?;
            assert!(node.hooks()?.is_empty());
            Ok(())
        })?;
        proxy.disconnect();
        agent.await_ready()
    })?;
    node.assert_copies_are_exact()
}
