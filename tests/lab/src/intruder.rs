//! Frames by which a Pod might change the node that gets copies of them, and what there is to change.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

use crate::{Namespace, Node, Result};

/// The node's addresses and routers on its uplink, as [`Node::add_uplink`] makes it.
const NODE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NODE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// Who the intruder says it is.
const INTRUDER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xbad);
const INTRUDER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
const INTRUDER: [u8; 6] = [2, 0, 0, 0, 0x0b, 0xad];

const EVERYBODY: [u8; 6] = [0xff; 6];
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// What is told from the node's state: links of Pods, by which the userspace datapath lets frames get to the host, too.
const POD_LINK: &str = "_h";

impl Node {
    /// Gives the node an uplink `up0` with addresses, default routes and neighbours of both families, and lets it take packets with
    /// whatever source address.
    ///
    /// # Errors
    /// `ip` or `sysctl` fails.
    pub fn add_uplink(&self) -> Result {
        self.namespace().ip_batch(&format!(
            "link add up0 type veth peer name up1
             link set up0 addrgenmode none
             link set up1 addrgenmode none
             link set up0 up
             link set up1 up
             address add {NODE4}/24 dev up0
             address add {NODE6}/64 dev up0 nodad
             route add default via {ROUTER4}
             route add default via {ROUTER6}
             neigh replace {ROUTER4} lladdr 02:00:00:00:00:fe dev up0
             neigh replace {ROUTER6} lladdr 02:00:00:00:00:fe dev up0"
        ))?;
        self.namespace()
            .sysctl(["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"])
    }
}

impl Namespace {
    /// Routes of all tables, rules, addresses and neighbours of both families, one a line, but for those of Pods' own links.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn host_state(&self) -> Result<Vec<String>> {
        let mut state = Vec::new();
        for what in [
            "-4 route show table all",
            "-6 route show table all",
            "-6 route show cache",
            "-4 rule show",
            "-6 rule show",
            "-oneline address show",
            "-4 neigh show nud all",
            "-6 neigh show nud all",
        ] {
            let lines = self.ip(what.split(' '))?;
            let kept = lines.lines().filter(|line| {
                // A host's own groups are no neighbours.
                let group = line.starts_with("ff02::") || line.starts_with("224.0.0.");
                !group && !line.split([' ', '@']).any(|word| word.ends_with(POD_LINK))
            });
            state.extend(kept.map(|line| {
                let words = line.split_whitespace().filter(|word| !word.ends_with("sec"));
                format!("{what}: {}", words.collect::<Vec<_>>().join(" "))
            }));
        }
        state.sort_unstable();
        Ok(state)
    }
}

/// Frames that change a host which takes them for its own: router advertisements with a default route, a prefix, more
/// specific routes and name servers, neighbour discovery, redirects, ARP, an offer of DHCP and a few for groups.
///
/// # Errors
/// A frame can't be written.
pub fn intrusion() -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    let mut icmp6 =
        |to: [u8; 6], from: Ipv6Addr, target: Ipv6Addr, kind: u8, rest: [u8; 4], payload: &[u8]| {
            let unknown = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: rest };
            let packet = PacketBuilder::ethernet2(INTRUDER, to)
                .ipv6(from.octets(), target.octets(), 255)
                .icmpv6(unknown);
            let mut frame = Vec::new();
            packet.write(&mut frame, payload)?;
            frames.push(frame);
            Result::Ok(())
        };
    let advertisement = advertisement();
    for (to, target) in [
        (ALL_NODES, ALL_NODES6),
        (EVERYBODY, ALL_NODES6),
        // For the node itself, in a frame for everybody.
        (EVERYBODY, NODE6),
    ] {
        icmp6(to, INTRUDER6, target, 134, [64, 0, 0x07, 0x08], &advertisement)?;
    }
    let source = [&[1, 1][..], &INTRUDER].concat();
    let asked = [&NODE6.octets()[..], &source].concat();
    icmp6(EVERYBODY, INTRUDER6, NODE6, 135, [0; 4], &asked)?;
    icmp6(ALL_NODES, INTRUDER6, ALL_NODES6, 135, [0; 4], &asked)?;
    let target = [&[2, 1][..], &INTRUDER].concat();
    for claimed in [ROUTER6, INTRUDER6] {
        let claim = [&claimed.octets()[..], &target].concat();
        icmp6(ALL_NODES, INTRUDER6, ALL_NODES6, 136, [0xa0, 0, 0, 0], &claim)?;
        icmp6(EVERYBODY, claimed, NODE6, 136, [0xe0, 0, 0, 0], &claim)?;
    }
    let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9);
    let redirect = [&INTRUDER6.octets()[..], &elsewhere.octets(), &target].concat();
    icmp6(EVERYBODY, INTRUDER6, NODE6, 137, [0; 4], &redirect)?;
    // A query for members of groups.
    icmp6(ALL_NODES, INTRUDER6, ALL_NODES6, 130, [0; 4], &[0; 16])?;

    // A redirect of IPv4, about a packet that the node might have sent.
    let mut about = Vec::new();
    PacketBuilder::ipv4(NODE4.octets(), [198, 51, 100, 9], 64)
        .udp(4000, 53)
        .write(&mut about, &[])?;
    let unknown = Icmpv4Type::Unknown { type_u8: 5, code_u8: 1, bytes5to8: INTRUDER4.octets() };
    let redirect = PacketBuilder::ethernet2(INTRUDER, EVERYBODY)
        .ipv4(ROUTER4.octets(), NODE4.octets(), 64)
        .icmpv4(unknown);
    let mut frame = Vec::new();
    redirect.write(&mut frame, &about)?;
    frames.push(frame);

    let offer = PacketBuilder::ethernet2(INTRUDER, EVERYBODY)
        .ipv4(INTRUDER4.octets(), [255; 4], 64)
        .udp(67, 68);
    let mut frame = Vec::new();
    offer.write(&mut frame, &offered())?;
    frames.push(frame);

    for (operation, sender, target) in [
        (1, INTRUDER4, NODE4),
        (1, INTRUDER4, INTRUDER4),
        (2, INTRUDER4, INTRUDER4),
        (2, ROUTER4, NODE4),
        (1, ROUTER4, ROUTER4),
    ] {
        let mut frame =
            [&EVERYBODY[..], &INTRUDER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
        for part in [&INTRUDER[..], &sender.octets(), &EVERYBODY, &target.octets()] {
            frame.extend(part);
        }
        frames.push(frame);
    }
    Ok(frames)
}

/// What an advertisement says: timers, its sender's address, a prefix for addresses, two routes, an MTU, a name server.
fn advertisement() -> Vec<u8> {
    let day = 86_400_u32.to_be_bytes();
    let mut options = vec![0; 8];
    options.extend([1, 1]);
    options.extend(INTRUDER);
    options.extend([3, 4, 64, 0xc0]);
    options.extend([day, day, [0; 4]].concat());
    options.extend(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0).octets());
    for network in [0xbad1, 0xbad2] {
        options.extend([24, 2, 64, 0x08]);
        options.extend(day);
        options.extend(&Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, 0).octets()[..8]);
    }
    options.extend([5, 1, 0, 0, 0, 0, 0x05, 0x00]);
    options.extend([25, 3, 0, 0]);
    options.extend(day);
    options.extend(INTRUDER6.octets());
    options
}

/// An offer of an address by DHCP (RFC 2131 section 2), with a router.
fn offered() -> Vec<u8> {
    let mut offer = vec![0; 236];
    offer[..4].copy_from_slice(&[2, 1, 6, 0]);
    offer[16..20].copy_from_slice(&INTRUDER4.octets());
    offer.extend([99, 130, 83, 99, 53, 1, 2, 3, 4]);
    offer.extend(INTRUDER4.octets());
    offer.push(255);
    offer
}
