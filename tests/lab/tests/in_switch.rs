//! Frames that OVN rewrites, floods in parts, mirrors or withholds within one logical switch.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::Context as _;
use lab::{EVERYONE, Mac, Node, PodSpec, Result, SWITCHES, until};

/// Two Pods on one switch, and a node without anything else.
fn two_pods(node: &Node) -> Result {
    node.nbctl(["ls-add", SWITCHES[0].name])?;
    node.add_pods(&[PodSpec::new("f", &SWITCHES[0], 21), PodSpec::new("g", &SWITCHES[0], 22)])?;
    Ok(())
}

/// Rules of OVN's that mark packets: `SWITCH DIRECTION PRIORITY MATCH DSCP`.
fn add_marks(node: &Node, rules: &[[&str; 5]]) -> Result {
    let mut command = vec!["--wait=hv".to_owned()];
    for [switch, direction, priority, matching, dscp] in rules {
        let dscp = format!("dscp={dscp}");
        let rule = ["--", "qos-add", switch, direction, priority, matching, dscp.as_str()];
        command.extend(rule.map(str::to_owned));
    }
    node.nbctl(command)?;
    Ok(())
}

#[test]
fn what_ovn_marks_is_copied_in_both_forms_and_once_where_they_are_the_same() -> Result {
    let node = Node::start()?;
    add_marks(
        &node,
        &[
            ["sw1", "from-lport", "100", "inport == \"a.default\" && ip4", "10"],
            ["sw1", "from-lport", "90", "ip", "12"],
            ["sw1", "to-lport", "100", "outport == \"b.default\" && ip", "20"],
            [
                "sw2",
                "to-lport",
                "80",
                "ip4.src == {10.16.0.11, 10.16.0.12} && ip4.dst == {10.17.0.13, 10.17.0.14}",
                "30",
            ],
        ],
    )?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    let recording = capture.finish()?;
    recording.assert_exact();
    // The first byte of an IPv4 header that has the DSCP.
    for (pod, dscp) in [("b", 20), ("e", 12), ("c", 30)] {
        let marked =
            |frame: &lab::Frame| frame.bytes[12..14] == [8, 0] && frame.bytes[15] >> 2 == dscp;
        let received = &recording.pods[pod].received;
        assert!(received.iter().any(marked), "{pod} got nothing with {dscp}");
    }
    agent.stop()
}

#[test]
fn packets_that_bear_the_mark_already_are_copied_once() -> Result {
    let node = Node::start_bare()?;
    two_pods(&node)?;
    add_marks(&node, &[["sw1", "from-lport", "100", "ip4", "10"]])?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&["f", "g"])?;
    let (f, g) = (node.pod("f"), node.pod("g"));
    f.ping(g.ip4())?;
    // 40 is 10 in the upper six bits.
    f.program("ping").args(["-c", "5", "-i", "0.2", "-Q", "40", &g.ip4().to_string()]).run()?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn rules_that_come_and_go_are_followed() -> Result {
    let node = Node::start_bare()?;
    two_pods(&node)?;
    add_marks(&node, &[["sw1", "from-lport", "100", "inport == \"f.default\" && ip4", "10"]])?;
    let agent = node.agent(&["--enable-mirror"])?;
    let ours = |wanted: usize| {
        until(&format!("{wanted} flows for rules that mark"), || {
            let flows = node.our_flows()?;
            let of_rules =
                flows.iter().filter(|flow| flow.contains(",ip,") || flow.contains(" ip,"));
            Ok((of_rules.count() == wanted).then_some(()))
        })
    };
    ours(4)?;
    add_marks(&node, &[["sw1", "from-lport", "200", "inport == \"g.default\" && ip4", "11"]])?;
    ours(8)?;
    let capture = node.capture(&["f", "g"])?;
    node.pod("g").ping(node.pod("f").ip4())?;
    capture.finish()?.assert_exact();
    node.nbctl(["--wait=hv", "qos-del", "sw1"])?;
    ours(0)?;
    let capture = node.capture(&["f", "g"])?;
    node.pod("g").ping(node.pod("f").ip4())?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn broadcasts_to_more_ports_than_ovn_serves_at_once_are_copied_once() -> Result {
    let node = Node::start()?;
    // Besides a, b and e: a kubelet's limit is 110.
    node.add_bare_ports(107)?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    let recording = capture.finish()?;
    recording.assert_exact();
    agent.stop()
}

#[test]
fn what_ovn_keeps_from_a_port_is_not_copied() -> Result {
    let node = Node::start_bare()?;
    two_pods(&node)?;
    let (f, g) = (node.pod("f"), node.pod("g"));
    let port = node.ofport(g.interface())?;
    let delivered = |blocked: bool| {
        until("OVN to block the port, or not", || {
            let flows = node.dump_flows("")?;
            let to_g = flows.iter().find(|flow| flow.ends_with(&format!("actions=output:{port}")));
            let to_g = to_g.context("no delivery")?;
            let of_port =
                to_g.split(' ').find(|part| part.contains("reg15=")).context("no match")?;
            let of_port = of_port.trim_start_matches("priority=100");
            let drops =
                flows.iter().any(|flow| flow.contains(of_port) && flow.contains("priority=1000"));
            Ok((drops == blocked).then_some(()))
        })
    };
    let agent = node.agent(&["--enable-mirror"])?;
    // A virtual machine that is on its way here: its main node is another one, which does not exist.
    node.tool("ovn-sbctl").args(["chassis-add", "other", "geneve", "127.0.0.2"]).run()?;
    let chassis = format!("options:requested-chassis=other,{}", node.name());
    node.nbctl([
        "--wait=sb",
        "set",
        "Logical_Switch_Port",
        &g.logical_port(),
        &chassis,
        "options:activation-strategy=rarp",
    ])?;
    delivered(true)?;
    until("the flow that copies what g gets to go", || {
        let unhooked = node.unhooked()?;
        Ok(matches!(&unhooked[..], [one] if one.starts_with("what g_h receives")).then_some(()))
    })?;
    assert!(agent.is_ready()?, "nothing is missing");
    let capture = node.capture(&["f"])?;
    let wire = node.watch_wires(&["g"])?;
    for _ in 0..5 {
        f.broadcast(Ipv4Addr::new(10, 16, 255, 255), &[])?;
    }
    assert_eq!(wire.finish()?.pods["g"].received, [], "OVN blocks the port");
    capture.finish()?.assert_exact();
    agent.stop()
}

/// A frame of no protocol in particular, that says who sends it and to whom.
fn frame(from: (&str, [u8; 6]), to: (&str, [u8; 6]), vlan: Option<u8>) -> Vec<u8> {
    let mut frame = [to.1, from.1].concat();
    frame.extend(vlan.into_iter().flat_map(|vlan| [0x81, 0, 0, vlan]));
    frame.extend([0x88, 0xb5]);
    let mut words = format!("from {} to {}", from.0, to.0).into_bytes();
    words.resize(80, 0);
    [frame, words].concat()
}

#[test]
fn nested_containers_are_copied_as_they_are_on_the_wire_of_the_pod_that_they_go_by() -> Result {
    let node = Node::start()?;
    let (k, l) = (("k", [2, 0, 0, 0x20, 0, 1]), ("l", [2, 0, 0, 0x20, 0, 2]));
    let mut command = vec!["--wait=hv".to_owned()];
    for ((name, mac), tag) in [(k, "42"), (l, "43")] {
        let mac = Mac(mac).to_string();
        let add =
            ["--", "lsp-add", "sw1", name, "a.default", tag, "--", "lsp-set-addresses", name, &mac];
        command.extend(add.map(str::to_owned));
    }
    node.nbctl(command)?;
    let agent = node.agent(&["--enable-mirror"])?;
    let pod = |name| (name, node.pod(name).mac().0);
    let (a, b, e, all) = (pod("a"), pod("b"), pod("e"), ("all", [0xff; 6]));
    let capture = node.capture(&EVERYONE)?;
    let say =
        |by: &str, from, to, vlan| node.pod(by).namespace().inject("eth0", &frame(from, to, vlan));
    for _ in 0..3 {
        for to in [a, b, l, all] {
            say("a", k, to, Some(42))?;
        }
        for to in [a, e, k, all] {
            say("a", l, to, Some(43))?;
        }
        for to in [b, k, l, all] {
            say("a", a, to, None)?;
        }
        for to in [a, k, l, e, all] {
            say("b", b, to, None)?;
        }
    }
    node.say_everything()?;
    let recording = capture.finish()?;
    recording.assert_exact();
    let on_wire = &recording.pods["a"];
    for (from, to, vlan) in
        [(b, k, 42), (a, l, 43), (k, l, 43), (b, all, 42), (a, all, 42), (k, all, 43)]
    {
        let wanted = frame(from, to, Some(vlan));
        let got = on_wire.received.iter().filter(|frame| frame.bytes == wanted);
        assert_eq!(got.count(), 3, "from {} to {}", from.0, to.0);
    }
    agent.stop()
}

#[test]
fn a_nested_container_is_copied_whoever_else_is_not_mirrored() -> Result {
    let node = Node::start()?;
    let k = ("k", [2, 0, 0, 0x20, 0, 1]);
    node.nbctl(
        "--wait=hv lsp-add sw1 k a.default 42 -- lsp-set-addresses k 02:00:00:20:00:01".split(' '),
    )?;
    let pod = |name| (name, node.pod(name).mac().0);
    let (b, all) = (pod("b"), ("all", [0xff; 6]));
    for mirrored in [["a", "e"], ["a", "b"]] {
        let agent = node.launch_agent(&[])?;
        for name in mirrored {
            node.annotate(name)?;
        }
        agent.await_ready()?;
        let capture = node.capture(&mirrored)?;
        for _ in 0..3 {
            for to in [k, all] {
                node.pod("b").namespace().inject("eth0", &frame(b, to, None))?;
            }
            for to in [b, all] {
                node.pod("a").namespace().inject("eth0", &frame(k, to, Some(42)))?;
            }
        }
        capture.finish()?.assert_exact();
        agent.stop()?;
        mirrored.iter().try_for_each(|name| node.unannotate(name))?;
    }
    Ok(())
}

#[test]
fn what_ovn_mirrors_itself_is_copied_once() -> Result {
    let node = Node::start_bare()?;
    two_pods(&node)?;
    node.add_pod(&PodSpec::new("h", &SWITCHES[0], 23))?;
    // OVN before 25.09 mirrors to no logical port: it refuses to, or does nothing.
    let add = ["mirror-add", "m", "lport", "both", "h.default"];
    if node.nbctl(add).is_err() {
        return Ok(());
    }
    node.nbctl(["--wait=hv", "lsp-attach-mirror", "f.default", "m"])?;
    let clones = |flow: &String| flow.contains("clone(set_field:ANY->in_port");
    if !node.dump_flows("")?.iter().any(clones) {
        return Ok(());
    }
    let agent = node.agent(&["--enable-mirror"])?;
    let (f, g) = (node.pod("f"), node.pod("g"));
    // OVN answers for the other Pod's addresses itself, and mirrors that before it delivers it.
    g.ips().into_iter().try_for_each(|ip| f.ping(ip))?;
    f.ips().into_iter().try_for_each(|ip| g.ping(ip))?;
    let capture = node.capture(&["f", "g", "h"])?;
    for ip in g.ips() {
        f.ping_with(ip, 100, 5)?;
    }
    let recording = capture.finish()?;
    recording.assert_exact();
    let to_g = |frame: &&lab::Frame| frame.bytes[..6] == g.mac().0;
    assert!(recording.pods["h"].received.iter().filter(to_g).count() >= 10, "OVN mirrors");
    agent.stop()
}

#[test]
fn whatever_else_ovn_does_within_a_switch_is_copied_exactly() -> Result {
    let node = Node::start()?;
    // Answers to names and to ARP for others, tags that pass, addresses that nobody has, groups that OVN knows.
    node.nbctl([
        "--wait=hv",
        "--id=@d",
        "create",
        "DNS",
        "records={\"pod.example\"=\"10.16.0.12\"}",
        "--",
        "add",
        "Logical_Switch",
        "sw1",
        "dns_records",
        "@d",
        "--",
        "set",
        "Logical_Switch",
        "sw1",
        "other_config:vlan-passthru=true",
        "other_config:mcast_snoop=true",
        "other_config:mcast_flood_unregistered=true",
        "--",
        "set",
        "Logical_Switch_Port",
        "sw1-r",
        "options:arp_proxy=10.16.7.7",
        "--",
        "add",
        "Logical_Switch_Port",
        "b.default",
        "addresses",
        "unknown",
        "--",
        "add",
        "Logical_Switch_Port",
        "e.default",
        "addresses",
        "unknown",
    ])?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    let [a, b] = ["a", "b"].map(|name| node.pod(name));
    // RFC 1035, section 4.1: a question for one address.
    let question =
        [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x03pod\x07example\0", &[0, 1, 0, 1]]
            .concat();
    let answer = a.namespace().inside(|| {
        let socket = UdpSocket::bind((a.ip4(), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.send_to(&question, (b.ip4(), 53))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok(answer[..length].to_vec())
    })?;
    assert!(answer.ends_with(&[10, 16, 0, 12]), "{answer:?}");
    a.ping_nobody(Ipv4Addr::new(10, 16, 7, 7).into())?;
    let [from_a, to_b] = [&a, &b].map(|pod| (pod.name(), pod.mac().0));
    let nobody = ("nobody", [2, 0, 0, 0x30, 0, 1]);
    for (to, vlan) in [(to_b, Some(7)), (nobody, None), (nobody, Some(7))] {
        a.namespace().inject("eth0", &frame(from_a, to, vlan))?;
    }
    node.say_everything()?;
    node.let_ovn_speak(&capture)?;
    let recording = capture.finish()?;
    recording.assert_exact();
    for (to, vlan) in [(to_b, Some(7)), (nobody, None)] {
        let wanted = frame(from_a, to, vlan);
        let got = recording.pods["b"].received.iter().any(|frame| frame.bytes == wanted);
        assert!(got, "to {} {vlan:?}", to.0);
    }
    agent.stop()
}
