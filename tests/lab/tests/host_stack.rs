//! Copies on the mirror NIC are for packet sockets; the node's own network stack gets none of them unless so asked.

use std::{io, net::UdpSocket, os::fd::AsRawFd as _, time::Duration};

use etherparse::PacketBuilder;
use lab::{EVERYONE, MIRROR, Node, Result, packet_socket, until};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockProtocol, recv, setsockopt, sockopt::BindToDevice},
};

const SPARED: [&str; 1] = ["--enable-mirror"];
const REACHED: [&str; 2] = ["--enable-mirror", "--host-stack=reached"];
/// The bridge that is down and takes the copies.
const DRAIN: &str = "mirror0-drain";
/// Where a service of the node listens at all its addresses, as a DHCP server does.
const SERVICE: u16 = 6767;

/// Starts to listen at the mirror NIC alone: what Pods send comes in by their own NICs, too, where the userspace datapath leaves
/// it to the host.
fn service(node: &Node) -> Result<UdpSocket> {
    // A strict kernel would not take the copies for reasons of its own.
    let lenient = ["all", MIRROR].map(|nic| format!("net.ipv4.conf.{nic}.rp_filter=0"));
    node.namespace().program("sysctl").args(["-q", "-w"]).args(lenient).run()?;
    let socket = node.namespace().inside(|| {
        let socket = UdpSocket::bind(("0.0.0.0", SERVICE))?;
        setsockopt(&socket, BindToDevice, &MIRROR.into())?;
        Ok(socket)
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What a service has heard since it was asked.
fn heard(service: &UdpSocket) -> Result<Vec<String>> {
    let mut heard = Vec::new();
    let mut room = [0; 64];
    loop {
        match service.recv(&mut room) {
            Ok(length) => heard.push(String::from_utf8_lossy(&room[..length]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has Pod a say something to everybody.
fn broadcast(node: &Node, words: &str) -> Result {
    node.pod("a").namespace().inside(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_broadcast(true)?;
        socket.send_to(words.as_bytes(), ("255.255.255.255", SERVICE))?;
        Ok(())
    })
}

/// A datagram of Pod a's for everybody, with a hardware address of its own.
fn frame(node: &Node, to: [u8; 6], words: &str) -> Result<Vec<u8>> {
    let packet = PacketBuilder::ethernet2(node.pod("a").mac().0, to)
        .ipv4([10, 16, 0, 11], [255; 4], 64)
        .udp(SERVICE, SERVICE);
    let mut frame = Vec::new();
    packet.write(&mut frame, words.as_bytes())?;
    Ok(frame)
}

fn await_drain(node: &Node, there: bool) -> Result {
    until("the mirror NIC to belong to the agent's bridge, or not", || {
        let link = node.namespace().ip(["link", "show", MIRROR])?;
        Ok((link.contains(&format!(" master {DRAIN} ")) == there).then_some(()))
    })
}

#[test]
fn no_service_of_the_node_hears_a_copy_unless_so_asked_and_tcpdump_hears_all() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&REACHED)?;
    let reached = service(&node)?;
    until("the service to hear what is copied", || {
        broadcast(&node, "for all")?;
        std::thread::sleep(Duration::from_millis(20));
        Ok(heard(&reached)?.contains(&"for all".to_owned()).then_some(()))
    })?;
    drop(reached);
    agent.stop()?;

    let agent = node.agent(&SPARED)?;
    await_drain(&node, true)?;
    let spared = service(&node)?;
    let capture = node.capture(&EVERYONE)?;
    // Bridges leave to the host what is for bridges, unless told otherwise.
    let to_bridges = "for bridges, by LLDP's address";
    node.pod("a").inject(&frame(&node, [1, 0x80, 0xc2, 0, 0, 0x0e], to_bridges)?)?;
    capture.await_copy(to_bridges, |frame| frame.ends_with(to_bridges.as_bytes()))?;
    for words in ["first for the Pods", "then for the Pods"] {
        broadcast(&node, words)?;
        capture.await_copy(words, |frame| frame.ends_with(words.as_bytes()))?;
    }
    // Packet sockets hear a frame before the stack does; of the last one it may be about to.
    let heard = heard(&spared)?;
    assert!(!heard.iter().any(|words| words == "first for the Pods" || words == to_bridges));
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn what_is_put_on_the_mirror_nic_gets_copies_still() -> Result {
    let node = Node::start()?;
    node.agent(&[&REACHED[..], &["--on-exit=keep"]].concat())?.stop()?;
    let ip = |line: &str| node.namespace().ip(line.split(' ')).map(drop);
    ip(&format!("link add link {MIRROR} name upon type macvlan mode bridge"))?;
    ip("link set upon up")?;
    let agent = node.agent(&SPARED)?;
    let capture = node.capture_at("upon", &["a"])?;
    broadcast(&node, "for all")?;
    capture.await_copy("what is put on the NIC", |frame| frame.ends_with(b"for all"))?;
    drop(capture);
    await_drain(&node, false)?;
    ip("link del upon")?;
    await_drain(&node, true)?;
    agent.stop()
}

#[test]
fn a_packet_socket_for_one_protocol_gets_copies_too() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&SPARED)?;
    await_drain(&node, true)?;
    let listener = node.namespace().inside(|| packet_socket(MIRROR, Some(SockProtocol::EthIp)))?;
    await_drain(&node, false)?;
    until("it to hear a copy", || {
        broadcast(&node, "for all")?;
        let mut frame = [0; 1500];
        loop {
            match recv(listener.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                Ok(length) if frame[..length].ends_with(b"for all") => return Ok(Some(())),
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    })?;
    drop(listener);
    await_drain(&node, true)?;
    agent.stop()
}

#[test]
fn a_bridge_that_somebody_removes_comes_back() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&SPARED)?;
    await_drain(&node, true)?;
    node.namespace().ip(["link", "del", DRAIN])?;
    await_drain(&node, true)?;

    // One that bears another name is no less ours, and goes with the agent.
    node.namespace().ip(["link", "set", DRAIN, "name", "renamed"])?;
    let flows = node.our_flows()?;
    node.ofctl(&["del-flows"], [lab::OURS])?;
    // It is ready still for the moment in which they are gone.
    until("as many to be back", || Ok((node.our_flows()?.len() == flows.len()).then_some(())))?;
    agent.await_ready()?;
    assert_eq!(node.our_flows()?, flows);
    node.namespace().ip(["link", "show", "renamed"])?;
    agent.stop()?;
    for bridge in [DRAIN, "renamed"] {
        assert!(node.namespace().ip(["link", "show", bridge]).is_err(), "{bridge} is left");
    }
    Ok(())
}
