//! What is copied: each distinct frame of a mirrored Pod, once, byte for byte; and Pods notice nothing of it.

use std::net::IpAddr;

use lab::{
    EVERYONE, MIRROR, Node, PodSpec, Proto, Result, SWITCHES, VIP_TCP_PORT, VIP4, VIP6, surplus,
};

#[test]
fn every_distinct_frame_of_every_pod_is_copied_exactly_once() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    node.let_ovn_speak(&capture)?;
    node.play_script()?;
    let recording = capture.finish()?;
    recording.assert_exact();
    recording.assert_covers_every_kind();
    agent.stop()
}

#[test]
fn pods_receive_exactly_what_they_receive_without_an_agent() -> Result {
    let without = Node::start()?.play_script()?;
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let with = node.play_script()?;
    agent.stop()?;
    for (pod, frames) in &without {
        assert!(frames.len() > 5, "{pod} hardly received anything");
        assert_eq!(surplus(frames, &with[pod])?, [""; 0], "{pod} lacks these");
        assert_eq!(surplus(&with[pod], frames)?, [""; 0], "{pod} has more of these");
    }
    Ok(())
}

#[test]
fn a_service_that_talks_to_itself_is_copied_in_every_form() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let backends = ["b", "c"].map(|name| node.pod(name));
    let servers = backends.iter().map(|backend| backend.serve(Proto::Tcp, VIP_TCP_PORT));
    let _servers = servers.collect::<Result<Vec<_>>>()?;
    let capture = node.capture(&["b", "c"])?;
    for vip in [VIP4, VIP6] {
        // Often enough that either backend gets to itself.
        for client in backends.iter().cycle().take(16) {
            client.exchange(Proto::Tcp, vip, VIP_TCP_PORT, 3000)?;
        }
    }
    let recording = capture.finish()?;
    recording.assert_exact();
    // A backend takes itself for the service then: what arrives at the service's port comes from the VIP.
    let to_itself = |frame: &lab::Frame| {
        let bytes = &frame.bytes;
        bytes[12..15] == [0x08, 0x00, 0x45]
            && VIP4 == IpAddr::from([bytes[26], bytes[27], bytes[28], bytes[29]])
            && bytes[36..38] == VIP_TCP_PORT.to_be_bytes()
    };
    for (name, pod) in &recording.pods {
        assert!(pod.received.iter().any(to_itself), "{name} never got to itself");
    }
    agent.stop()
}

#[test]
fn replies_of_tracked_connections_are_copied_once_whether_they_get_a_services_address_or_not()
-> Result {
    let node = Node::start()?;
    // Stateful network policies: OVN tracks all connections of Pods, in both directions.
    let mut policies = vec!["--wait=hv"];
    for switch in ["sw1", "sw2"] {
        for direction in ["from-lport", "to-lport"] {
            policies.extend(["--", "acl-add", switch, direction, "900", "ip", "allow-related"]);
        }
    }
    node.nbctl(policies)?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();

    node.revalidate()?;
    let hooks = node.hooks()?;
    let counted = |flow: &str| {
        let found = hooks.iter().find(|hook| hook.flow.contains(flow));
        found.unwrap_or_else(|| panic!("no flow {flow} in {hooks:?}")).packets
    };
    let [replies, natted] = ["ct_state=+rpl+trk", "reg10=0xc000000/0xc000000"].map(counted);
    assert!((1..replies).contains(&natted), "of {replies} tracked replies {natted} had it");
    agent.stop()
}

#[test]
fn the_datapaths_flows_of_what_is_not_tracked_read_no_mark_of_connections() -> Result {
    let node = Node::start_bare()?;
    // Without load balancers and policies, by which OVN reads it itself.
    node.nbctl(["ls-add", SWITCHES[0].name])?;
    let pods = [PodSpec::new("f", &SWITCHES[0], 21), PodSpec::new("g", &SWITCHES[0], 22)];
    let [f, g] = node.add_pods(&pods)?.try_into().expect("two Pods");
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&["f", "g"])?;
    let _servers = (g.serve(Proto::Tcp, 8080)?, g.serve(Proto::Udp, 8081)?);
    for ip in g.ips() {
        f.ping(ip)?;
        f.exchange(Proto::Tcp, ip, 8080, 10_000)?;
        f.exchange(Proto::Udp, ip, 8081, 10_000)?;
    }
    let flows = node.appctl(["dpif/dump-flows", "--names", "br-int"])?;
    capture.finish()?.assert_exact();
    for pod in [&f, &g] {
        let from_pod = format!("in_port({}),", pod.interface());
        let copying = flows.lines().filter(|flow| flow.contains(&from_pod));
        assert!(copying.count() > 0, "none from {}:\n{flows}", pod.name());
    }
    assert!(!flows.contains("ct_mark"), "{flows}");
    agent.stop()
}

#[test]
fn fragments_are_copied_as_they_are() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let a = node.pod("a");
    let capture = node.capture(&["a", "b", "c"])?;
    for to in ["b", "c"].map(|name| node.pod(name)) {
        let _server = to.serve(Proto::Udp, 8081)?;
        for ip in to.ips() {
            a.exchange_datagram(ip, 8081, 4000)?;
        }
    }
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn the_mirror_port_grows_with_the_longest_frames_of_pods() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let jumbo = |name, host| PodSpec { mtu: 9000, ..PodSpec::new(name, &SWITCHES[0], host) };
    let [f, g] = node.add_pods(&[jumbo("f", 21), jumbo("g", 22)])?.try_into().expect("two Pods");
    lab::until("the mirror port's MTU", || {
        let link = node.namespace().ip(["link", "show", MIRROR])?;
        let grown = link.contains("mtu 9000 ") && node.unhooked()?.is_empty();
        Ok((grown && agent.is_ready()?).then_some(()))
    })?;
    let capture = node.capture(&[&EVERYONE[..], &["f", "g"]].concat())?;
    let _server = g.serve(Proto::Udp, 8081)?;
    for (ip, headers) in g.ips().into_iter().zip([28, 48]) {
        f.exchange_datagram(ip, 8081, 9000 - headers)?;
    }
    let recording = capture.finish()?;
    recording.assert_exact();
    let longest = recording.mirror.iter().filter(|frame| frame.bytes.len() == 9014);
    assert_eq!(longest.count(), 4, "a datagram and its echo, of IPv4 and of IPv6");
    agent.stop()
}

#[test]
fn the_flows_counters_agree_with_the_wires_and_with_the_copies() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let before = node.counters()?;
    node.say_everything()?;
    let counted = node.counters()?.since(&before);
    assert_eq!(counted.copied(), counted.copies);
    assert_eq!(counted.from_pod, counted.sent, "what Pods send is copied when they send it");
    for (pod, delivered) in &counted.to_pod {
        // The rest was copied when another Pod sent it, or on its delivery to another receiver.
        assert!((1..counted.received[pod]).contains(delivered), "{pod}: {counted:?}");
    }
    assert!(counted.rewritten > 0, "nothing was rewritten in place");
    agent.stop()
}

#[test]
fn nothing_enters_the_bridge_by_the_mirror_port() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let before = node.counters()?;
    let capture = node.watch_wires(&EVERYONE)?;
    let intruder =
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[0x88, 0xb5], b"let me in", &[0; 50]].concat();
    for _ in 0..10 {
        node.namespace().inject(MIRROR, &intruder)?;
    }
    lab::until("the flow that guards the mirror port to count", || {
        Ok((node.counters()?.since(&before).guarded == 10).then_some(()))
    })?;
    for (pod, frames) in capture.finish()?.pods {
        assert!(frames.received.iter().all(|frame| frame.bytes != intruder), "{pod} got it");
    }
    agent.stop()
}
