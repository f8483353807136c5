//! Made-up frames, the same whenever they are played, to compare what Pods receive then.

use std::{
    collections::BTreeMap,
    iter,
    net::{IpAddr, UdpSocket},
};

use anyhow::Context as _;
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpHeaders, PacketBuilder, PacketBuilderStep,
};

use crate::{
    EVERYONE, Mac, Node, Pod, Result, SWITCHES, VIP_TCP_PORT, VIP_UDP_PORT, VIP4, VIP6,
    services::free,
    topology::{NOBODY, REJECTED_PORT},
    until,
};

const BROADCAST: Mac = Mac([0xff; 6]);
/// The UDP port at which every Pod listens and never answers.
const SILENT_PORT: u16 = 9000;
/// A port at which nobody listens; the kernel answers a TCP SYN to it.
const CLOSED_PORT: u16 = 9001;
/// Where DHCP servers answer to.
const DHCP_CLIENT_PORT: u16 = 68;
/// The port that the made-up packets come from.
const SOURCE_PORT: u16 = 40_000;
/// An Ethernet payload, in bytes.
const MTU: usize = 1500;

/// A frame that a Pod sends.
struct Line {
    from: Pod,
    frame: Vec<u8>,
    /// Who receives something because of it, be it the frame itself or an answer.
    reaches: Vec<Pod>,
}

impl Node {
    /// Plays a script in which Pods send all kinds of frames one after the other, and gives what each Pod received of it
    /// and of the answers to it. Where a kernel has a free choice, that is blanked: the identification of IPv4 packets
    /// (and thereby their header's checksum) and the flow label of IPv6 packets. Group memberships that kernels announce
    /// when it suits them are left out.
    ///
    /// # Errors
    /// Something does not arrive within a minute.
    pub fn play_script(&self) -> Result<BTreeMap<String, Vec<Vec<u8>>>> {
        let pods = self.pods();
        let names: Vec<_> = pods.iter().map(Pod::name).collect();
        for pod in &pods {
            self.know_neighbours(pod)?;
        }
        let _listening = pods.iter().map(Pod::keep_silent).collect::<Result<Vec<_>>>()?;
        let capture = self.watch_wires(&names)?;
        for (number, line) in self.script().into_iter().enumerate() {
            let heard = |pod: &Pod| {
                let frames = capture.received(pod.name())?;
                Ok(frames.iter().filter(|frame| !is_membership(&frame.bytes)).count())
            };
            let before = line.reaches.iter().map(heard).collect::<Result<Vec<_>>>()?;
            line.from.inject(&line.frame)?;
            for (pod, before) in line.reaches.iter().zip(before) {
                until(&format!("line {number} of the script to reach {}", pod.name()), || {
                    self.alive()?;
                    Ok((heard(pod)? > before).then_some(()))
                })?;
            }
        }
        let recording = capture.finish()?;
        let received = recording.pods.into_iter().map(|(name, frames)| {
            let frames = frames.received.into_iter().map(|frame| frame.bytes);
            let mut frames: Vec<_> =
                frames.filter(|frame| !is_membership(frame)).map(blank).collect();
            frames.sort_unstable();
            (name, frames)
        });
        Ok(received.collect())
    }

    /// So that kernels never have to ask.
    fn know_neighbours(&self, pod: &Pod) -> Result {
        let switch = pod.switch();
        let gateways = [switch.gateway4.into(), switch.gateway6.into()];
        let gateways = gateways.map(|ip: IpAddr| (ip, switch.gateway_mac));
        let others = self.pods().into_iter().filter(|other| other.switch() == switch);
        let others = others.flat_map(|other| other.ips().map(|ip| (ip, other.mac())));
        let lines = others
            .chain(gateways)
            .map(|(ip, mac)| format!("neigh replace {ip} lladdr {mac} dev eth0 nud permanent\n"));
        pod.namespace().ip_batch(&lines.collect::<String>())
    }

    fn script(&self) -> Vec<Line> {
        let [a, b, c, d, e] = EVERYONE.map(|name| self.pod(name));
        let [sw1, _] = &SWITCHES;
        let mut script = Vec::new();
        let mut add = |from: &Pod, frame: Vec<u8>, reaches: &[&Pod]| {
            let reaches = reaches.iter().map(|pod| (*pod).clone()).collect();
            script.push(Line { from: from.clone(), frame, reaches });
        };
        for (from, to) in [(&a, &b), (&a, &c), (&d, &c), (&d, &e)] {
            for ip in to.ips() {
                let header = if ip.is_ipv4() { 20 } else { 40 };
                for length in [0, 1, 100, MTU - header - 8] {
                    add(from, udp(from, ip, SILENT_PORT, length), &[to]);
                }
                add(from, echo(from, ip, 64), &[to, from]);
                add(from, echo(from, ip, MTU - header - 8), &[to, from]);
                add(from, syn(from, ip, CLOSED_PORT), &[to, from]);
            }
        }
        // The reset that closes each attempt comes back from the VIP.
        for client in [&a, &d] {
            for vip in [VIP4, VIP6] {
                add(client, syn(client, vip, VIP_TCP_PORT), &[client]);
            }
        }
        for from in [&a, &c] {
            for ip in d.ips() {
                add(from, syn(from, ip, REJECTED_PORT), &[from]);
                add(from, udp(from, ip, REJECTED_PORT, 20), &[from]);
            }
        }
        for ip in [b.ip4(), sw1.gateway4.into()] {
            add(&a, arp(&a, ip), &[&a]);
        }
        for ip in [b.ip6(), sw1.gateway6.into()] {
            add(&a, solicitation(&a, ip), &[&a]);
        }
        add(&a, arp(&a, sw1.ip4(NOBODY).into()), &[&b, &e]);
        add(&a, udp(&a, [10, 16, 255, 255].into(), SILENT_PORT, 30), &[&b, &e]);
        add(&e, udp(&e, [239, 1, 2, 3].into(), SILENT_PORT, 30), &[&a, &b]);
        let group = IpAddr::from([0xff15, 0, 0, 0, 0, 0, 0, 0x77]);
        add(&b, udp(&b, group, SILENT_PORT, 30), &[&a, &e]);
        add(&e, dhcp_discover(&e), &[&e]);
        add(&a, other_protocol(&a, b.mac()), &[&b]);
        add(&a, other_protocol(&a, BROADCAST), &[&b, &e]);
        // The network drops what has a VLAN tag, or a stranger's address, or is for nobody.
        let tag = [0x81, 0x00, 0x00, 0x05];
        let plain = udp(&a, b.ip4(), SILENT_PORT, 50);
        add(&a, [&plain[..12], &tag, &plain[12..]].concat(), &[]);
        add(&a, udp(&a, [192, 0, 2, 1].into(), SILENT_PORT, 50), &[]);
        for vip in [VIP4, VIP6] {
            add(&a, udp(&a, vip, VIP_UDP_PORT, 40), &[]);
        }
        // Whatever a Pod sent before this has passed when this arrives.
        for (from, others) in
            [(&a, [&b, &e].as_slice()), (&b, &[&a, &e]), (&c, &[&d]), (&d, &[&c]), (&e, &[&a, &b])]
        {
            add(from, other_protocol(from, BROADCAST), others);
        }
        script
    }
}

impl Pod {
    /// Listens, so that the kernel does not complain to senders, and never answers. OVN 25.03 would complain of the
    /// complaint about a DHCP offer, some time.
    fn keep_silent(&self) -> Result<[UdpSocket; 3]> {
        self.namespace().inside(|| {
            let listen = |port| free(|| UdpSocket::bind(("::", port)));
            Ok([listen(SILENT_PORT)?, listen(VIP_UDP_PORT)?, listen(DHCP_CLIENT_PORT)?])
        })
    }
}

/// Up to the IP header, by way of the router where need be.
fn ip_to(from: &Pod, to: IpAddr, hops: u8) -> PacketBuilderStep<IpHeaders> {
    let mac = match to {
        IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[2..] == [255, 255] => BROADCAST,
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, x, y, z] = ip.octets();
            Mac([1, 0, 0x5e, x & 0x7f, y, z])
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let [.., w, x, y, z] = ip.octets();
            Mac([0x33, 0x33, w, x, y, z])
        }
        // The last bytes of a Pod's address are those of its MAC address.
        IpAddr::V4(ip) if ip.octets()[..2] == from.switch().gateway4.octets()[..2] => {
            let [.., y, z] = ip.octets();
            Mac([2, 0, 0, 0x10, y, z])
        }
        IpAddr::V6(ip) if ip.segments()[..4] == from.switch().gateway6.segments()[..4] => {
            let [.., y, z] = ip.octets();
            Mac([2, 0, 0, 0x10, y, z])
        }
        _ => from.switch().gateway_mac,
    };
    let ethernet = PacketBuilder::ethernet2(from.mac().0, mac.0);
    match (from.ip4(), from.ip6(), to) {
        (IpAddr::V4(own), _, IpAddr::V4(to)) => ethernet.ipv4(own.octets(), to.octets(), hops),
        (_, IpAddr::V6(own), IpAddr::V6(to)) => ethernet.ipv6(own.octets(), to.octets(), hops),
        _ => unreachable!("a Pod has an address of each kind"),
    }
}

fn udp(from: &Pod, to: IpAddr, port: u16, length: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
    let mut frame = Vec::new();
    let packet = ip_to(from, to, 64).udp(SOURCE_PORT, port);
    packet.write_to_vec(&mut frame, &payload).expect("it is short enough");
    frame
}

fn syn(from: &Pod, to: IpAddr, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = ip_to(from, to, 64).tcp(SOURCE_PORT, port, 1_000_000, 65_000).syn();
    packet.write_to_vec(&mut frame, &[]).expect("it is short enough");
    frame
}

fn echo(from: &Pod, to: IpAddr, length: usize) -> Vec<u8> {
    let (mut frame, payload) = (Vec::new(), vec![0x5a; length]);
    let ip = ip_to(from, to, 64);
    let written = match to {
        IpAddr::V4(_) => ip.icmpv4_echo_request(7, 1).write_to_vec(&mut frame, &payload),
        IpAddr::V6(_) => ip.icmpv6_echo_request(7, 1).write_to_vec(&mut frame, &payload),
    };
    written.expect("it is short enough");
    frame
}

fn arp(from: &Pod, wanted: IpAddr) -> Vec<u8> {
    let (IpAddr::V4(own), IpAddr::V4(wanted)) = (from.ip4(), wanted) else {
        unreachable!("ARP is for IPv4")
    };
    let request = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &from.mac().0,
        &own.octets(),
        &[0; 6],
        &wanted.octets(),
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.mac().0, BROADCAST.0)
        .arp(request.expect("addresses have their lengths"))
        .write_to_vec(&mut frame)
        .expect("it is short enough");
    frame
}

/// A neighbour solicitation (RFC 4861 section 4.3) with the sender's link-layer address.
fn solicitation(from: &Pod, wanted: IpAddr) -> Vec<u8> {
    let IpAddr::V6(wanted) = wanted else { unreachable!("ND is for IPv6") };
    let [.., x, y, z] = wanted.octets();
    let group = IpAddr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let payload = [&wanted.octets()[..], &[1, 1], &from.mac().0].concat();
    let mut frame = Vec::new();
    let packet = ip_to(from, group, 255).icmpv6_raw(135, 0, [0; 4]);
    packet.write_to_vec(&mut frame, &payload).expect("it is short enough");
    frame
}

/// A DHCPDISCOVER (RFC 2131).
fn dhcp_discover(from: &Pod) -> Vec<u8> {
    let mut payload = vec![1, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe];
    payload.extend([0; 20]);
    payload.extend(from.mac().0);
    payload.extend([0; 10 + 64 + 128]);
    payload.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.mac().0, BROADCAST.0)
        .ipv4([0; 4], [255; 4], 64)
        .udp(DHCP_CLIENT_PORT, 67)
        .write_to_vec(&mut frame, &payload)
        .expect("it is short enough");
    frame
}

/// A frame of an EtherType for local experiments (IEEE 802, 0x88b5).
fn other_protocol(from: &Pod, to: Mac) -> Vec<u8> {
    let payload = iter::repeat_n(0xa5, 46);
    to.0.into_iter().chain(from.mac().0).chain([0x88, 0xb5]).chain(payload).collect()
}

/// Whether a frame is an IGMP or MLD message.
fn is_membership(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&2),
        // MLD comes with a hop-by-hop option, and nothing in the script does.
        Some([0x86, 0xdd]) => frame.get(20) == Some(&0),
        _ => false,
    }
}

/// Blanks what a kernel chooses freely.
fn blank(mut frame: Vec<u8>) -> Vec<u8> {
    let free = match frame.get(12..14) {
        Some([0x08, 0x00]) => &[18, 19, 24, 25][..],
        // The traffic class shares the first of these bytes, and is always zero here.
        Some([0x86, 0xdd]) => &[15, 16, 17],
        _ => &[],
    };
    for at in free {
        frame[*at] = 0;
    }
    frame
}

/// The frames that one run has more of, in tcpdump's words.
///
/// # Errors
/// tcpdump fails.
pub fn surplus(of: &[Vec<u8>], over: &[Vec<u8>]) -> Result<Vec<String>> {
    let count = |frames: &[Vec<u8>], frame: &[u8]| frames.iter().filter(|f| *f == frame).count();
    let more: Vec<_> = of
        .iter()
        .filter(|frame| count(of, frame) > count(over, frame))
        .map(Vec::as_slice)
        .collect();
    crate::pcap::describe(&more).context("cannot describe frames")
}
