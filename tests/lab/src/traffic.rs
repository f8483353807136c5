//! What Pods say to each other and to many.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    Capture, EVERYONE, Node, Pod, Proto, Result, SWITCHES, VIP_TCP_PORT, VIP_UDP_PORT, VIP4, VIP6,
    services::free,
    topology::{NOBODY, REJECTED_PORT},
};

/// The port of broadcasts and multicasts.
const GROUP_PORT: u16 = 5000;
/// A multicast group of IPv4, of the kind that is for local use.
const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
/// A multicast group of IPv6, site-local and not assigned.
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x77);

impl Pod {
    /// Sends three echo requests and needs all answers.
    ///
    /// # Errors
    /// An answer is missing.
    pub fn ping(&self, ip: IpAddr) -> Result {
        self.ping_with(ip, 56, 3)
    }

    /// Sends `count` echo requests with `length` bytes of data, never in fragments, and needs all answers.
    ///
    /// # Errors
    /// An answer is missing.
    pub fn ping_with(&self, ip: IpAddr, length: u16, count: u16) -> Result {
        let [length, count] = [length, count].map(|number| number.to_string());
        self.program("ping")
            .args(["-n", "-q", "-M", "do", "-i", "0.01", "-W", "30", "-s", &length, "-c", &count])
            .arg(ip.to_string())
            .run()?;
        Ok(())
    }

    /// Sends one echo request to an address that nobody has, and does not wait for an answer.
    ///
    /// # Errors
    /// ping cannot be started.
    pub fn ping_nobody(&self, ip: IpAddr) -> Result {
        self.program("ping").args(["-n", "-c", "1", "-W", "0.01"]).arg(ip.to_string()).output()?;
        Ok(())
    }

    /// Forgets the MAC addresses of all neighbours, so that the next packets need ARP and ND again.
    ///
    /// # Errors
    /// Whatever `ip` says.
    pub fn forget_neighbours(&self) -> Result {
        self.namespace().ip(["neigh", "flush", "all"]).map(drop)
    }

    /// Sends a datagram to a broadcast address; every one of `receivers` must get it.
    ///
    /// # Errors
    /// One does not within half a minute.
    pub fn broadcast(&self, to: Ipv4Addr, receivers: &[&Self]) -> Result {
        self.to_group(to.into(), receivers)
    }

    /// Sends a datagram to a multicast group that `receivers` have joined; every one must get it.
    ///
    /// # Errors
    /// One does not within half a minute.
    pub fn multicast(&self, group: IpAddr, receivers: &[&Self]) -> Result {
        self.to_group(group, receivers)
    }

    fn to_group(&self, to: IpAddr, receivers: &[&Self]) -> Result {
        let listening = receivers.iter().map(|pod| Ok((pod.name(), pod.listen(to)?)));
        let listening = listening.collect::<Result<Vec<_>>>()?;
        let text = format!("from {} to {to}", self.name());
        self.namespace().inside(|| {
            let own = if to.is_ipv4() { self.ip4() } else { self.ip6() };
            let socket = UdpSocket::bind((own, 0))?;
            socket.set_broadcast(true)?;
            socket.send_to(text.as_bytes(), (to, GROUP_PORT))?;
            Ok(())
        })?;
        for (name, socket) in listening {
            let mut buffer = [0; 2048];
            let length = socket.recv(&mut buffer).with_context(|| format!("{text}, at {name}"))?;
            ensure!(&buffer[..length] == text.as_bytes(), "{name} got something else");
        }
        Ok(())
    }

    fn listen(&self, to: IpAddr) -> Result<UdpSocket> {
        self.namespace().inside(|| {
            let socket = match to {
                IpAddr::V4(group) => {
                    let socket = free(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GROUP_PORT)))?;
                    if group.is_multicast() {
                        let IpAddr::V4(own) = self.ip4() else { unreachable!("it is IPv4") };
                        socket.join_multicast_v4(&group, &own)?;
                    }
                    socket
                }
                IpAddr::V6(group) => {
                    let socket = free(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, GROUP_PORT)))?;
                    socket.join_multicast_v6(&group, nix::net::if_::if_nametoindex("eth0")?)?;
                    socket
                }
            };
            socket.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(socket)
        })
    }

    /// Gets an address by DHCP, without using it.
    ///
    /// # Errors
    /// There is no offer, or no acknowledgement.
    pub fn lease(&self) -> Result<IpAddr> {
        let said = self
            .program("busybox")
            .args(["udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-s", "/bin/true"])
            .output()?
            .stderr;
        let lease = said.split("lease of ").nth(1).and_then(|rest| rest.split([' ', ',']).next());
        let lease = lease.with_context(|| format!("{} got no lease: {said}", self.name()))?;
        lease.parse().with_context(|| format!("{lease} is no address"))
    }
}

impl Node {
    /// Captures all five Pods and the mirror port while [`Self::say_everything`], and demands that the copies are exact.
    ///
    /// # Errors
    /// Something does not arrive, or a capture fails.
    ///
    /// # Panics
    /// A frame has too few or too many copies.
    pub fn assert_copies_are_exact(&self) -> Result {
        let capture = self.capture(&EVERYONE)?;
        self.say_everything()?;
        capture.finish()?.assert_exact();
        Ok(())
    }

    /// All kinds of traffic between the five Pods, one after the other: within a switch, routed, by the services'
    /// VIPs, IPv4 and IPv6, ICMP, TCP, UDP, ARP and ND, broadcast, multicast, frames as long as the MTU allows, rejected
    /// packets, DHCP. Whatever is sent must arrive.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn say_everything(&self) -> Result {
        let [a, b, c, d, e] = EVERYONE.map(|name| self.pod(name));
        for pod in [&a, &b, &c, &d, &e] {
            pod.forget_neighbours()?;
        }
        for (from, to) in [(&a, &b), (&a, &c), (&c, &d), (&d, &e), (&e, &b)] {
            for ip in to.ips() {
                from.ping(ip)?;
            }
        }
        self.say_to_services(&[&a, &d, &e])?;
        for (from, to) in [(&a, &b), (&b, &c), (&d, &c), (&e, &d)] {
            let _servers = (to.serve(Proto::Tcp, 8080)?, to.serve(Proto::Udp, 8081)?);
            for ip in to.ips() {
                from.exchange(Proto::Tcp, ip, 8080, 100_000)?;
                from.exchange(Proto::Udp, ip, 8081, 10_000)?;
                // An Ethernet payload of 1500 bytes, less the headers of IP and UDP or ICMP.
                let longest = if ip.is_ipv4() { 1500 - 20 - 8 } else { 1500 - 40 - 8 };
                from.exchange_datagram(ip, 8081, longest.into())?;
                from.ping_with(ip, longest, 1)?;
            }
        }
        a.broadcast(Ipv4Addr::new(10, 16, 255, 255), &[&b, &e])?;
        d.broadcast(Ipv4Addr::BROADCAST, &[&c])?;
        e.multicast(GROUP4.into(), &[&a, &b])?;
        b.multicast(GROUP6.into(), &[&a, &e])?;
        for from in [&c, &a] {
            for ip in d.ips() {
                from.expect_rejection(Proto::Tcp, ip, REJECTED_PORT)?;
                from.expect_rejection(Proto::Udp, ip, REJECTED_PORT)?;
            }
        }
        ensure!(e.lease()? == e.ip4(), "DHCP offers an address that is not the Pod's");
        Ok(())
    }

    /// Makes OVN itself speak to all Pods of the first switch: the router looks for neighbours that nobody is, by ARP and
    /// ND, and advertises itself. Waits for a copy of each, so at least one Pod of that switch must be mirrored.
    ///
    /// # Errors
    /// A copy is missing.
    pub fn let_ovn_speak(&self, capture: &Capture<'_>) -> Result {
        let [switch, _] = &SWITCHES;
        let gateway = switch.gateway_mac.0;
        let from_router = |bytes: &[u8]| bytes[6..12] == gateway;
        /// Where the type of an ICMPv6 message is, in a frame without IPv6 extension headers.
        const ICMP6_TYPE: usize = 54;
        const ICMP6: u8 = 58;
        let icmp6 = |bytes: &[u8], kind: u8| {
            from_router(bytes)
                && bytes[12..14] == [0x86, 0xdd]
                && bytes[20] == ICMP6
                && bytes.get(ICMP6_TYPE) == Some(&kind)
        };
        let asker = self.pod("c");
        asker.ping_nobody(switch.ip4(NOBODY).into())?;
        asker.ping_nobody(switch.ip6(NOBODY).into())?;
        capture.await_copy("the router's ARP request", |bytes| {
            from_router(bytes)
                && bytes[12..14] == [0x08, 0x06]
                && bytes.ends_with(&switch.ip4(NOBODY).octets())
        })?;
        capture.await_copy("the router's neighbour solicitation", |bytes| icmp6(bytes, 135))?;
        self.advertise_router()?;
        capture.await_copy("a router advertisement", |bytes| icmp6(bytes, 134))?;
        Ok(())
    }

    /// Many exchanges with the services, so that both backends get some.
    fn say_to_services(&self, clients: &[&Pod]) -> Result {
        let mut servers = Vec::new();
        for backend in ["b", "c"].map(|name| self.pod(name)) {
            servers.push(backend.serve(Proto::Tcp, VIP_TCP_PORT)?);
            servers.push(backend.serve(Proto::Udp, VIP_UDP_PORT)?);
        }
        for client in clients {
            for vip in [VIP4, VIP6] {
                for _ in 0..4 {
                    client.exchange(Proto::Tcp, vip, VIP_TCP_PORT, 5000)?;
                    client.exchange(Proto::Udp, vip, VIP_UDP_PORT, 3000)?;
                }
            }
        }
        Ok(())
    }
}
