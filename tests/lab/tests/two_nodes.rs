//! Pods on different nodes: the agents of both copy what passes between them.

use std::net::IpAddr;

use lab::{NODE_IPS, NODE_PORT_OF_B, NODE_PORT_OF_C, Proto, Result, TwoNodes, VIP4};

/// How many echo requests an address gets.
const PINGS: usize = 3;

#[test]
fn what_passes_between_nodes_is_copied_exactly_once_on_each() -> Result {
    let nodes = TwoNodes::start()?;
    let [first, second] = nodes.nodes();
    let _agents = [first.agent(&["--enable-mirror"])?, second.agent(&["--enable-mirror"])?];
    let captures = [first.capture(&["a", "b"])?, second.capture(&["c"])?];
    let (a, c) = (first.pod("a"), second.pod("c"));
    let _server = c.serve(Proto::Tcp, 80)?;
    let pinged = [c.ip4(), NODE_IPS[0], NODE_IPS[1]];
    for ip in pinged {
        a.program("ping").args(["-c", &PINGS.to_string(), "-i", "0.2", &ip.to_string()]).run()?;
    }
    a.exchange(Proto::Tcp, VIP4, 80, 3000)?;
    let [on_first, on_second] = captures.map(lab::Capture::finish);
    let (on_first, on_second) = (on_first?, on_second?);
    on_first.assert_exact();
    on_second.assert_exact();
    // Without a router between them, both see the same.
    for recording in [&on_first, &on_second] {
        let between = |frame: &&lab::Frame| is_ping(&frame.bytes, [a.ip4(), c.ip4()]);
        assert_eq!(recording.mirror.iter().filter(between).count(), PINGS);
    }
    Ok(())
}

#[test]
fn a_node_port_leads_to_pods_on_its_node_and_elsewhere() -> Result {
    let nodes = TwoNodes::start()?;
    let [first, second] = nodes.nodes();
    for (pod, port) in [(first.pod("b"), NODE_PORT_OF_B), (second.pod("c"), NODE_PORT_OF_C)] {
        let answer = pod.program("busybox").args(["nc", "-l", "-p", "80", "-e", "hostname"]);
        let mut server = answer.command().spawn()?;
        let target = [NODE_IPS[1].to_string(), port.to_string()];
        let asked = lab::until("the node port to answer", || {
            let client = first.program("busybox").args(["nc", "-w", "5"]).args(target.clone());
            let heard = client.output()?.stdout;
            Ok((!heard.is_empty()).then_some(()))
        });
        let _ = server.kill();
        server.wait()?;
        asked?;
    }
    Ok(())
}

/// Whether a frame is an echo request over IPv4 from one to the other.
fn is_ping(frame: &[u8], [from, to]: [IpAddr; 2]) -> bool {
    let ip = |at: usize| IpAddr::from([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    frame.len() > 34 && frame[23] == 1 && frame[34] == 8 && ip(26) == from && ip(30) == to
}
