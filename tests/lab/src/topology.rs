//! The network that every test finds: a router, two switches, five Pods, services, DHCP, a rejecting ACL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Mac, Node, PodSpec, Result};

/// A logical switch.
#[derive(Debug, PartialEq, Eq)]
pub struct Switch {
    /// Its name in OVN.
    pub name: &'static str,
    /// The router's IPv4 address on it; the subnet is a /16.
    pub gateway4: Ipv4Addr,
    /// The router's IPv6 address on it; the subnet is a /64.
    pub gateway6: Ipv6Addr,
    /// The router's MAC address on it.
    pub gateway_mac: Mac,
}

/// The Pods of a node that [`Node::start`] gives.
pub const EVERYONE: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The switches: `sw1` with Pods a, b and e, `sw2` with c and d.
pub const SWITCHES: [Switch; 2] = [
    Switch {
        name: "sw1",
        gateway4: Ipv4Addr::new(10, 16, 0, 1),
        gateway6: Ipv6Addr::new(0xfd00, 0x10, 0x16, 0, 0, 0, 0, 1),
        gateway_mac: Mac([2, 0, 0, 1, 0, 1]),
    },
    Switch {
        name: "sw2",
        gateway4: Ipv4Addr::new(10, 17, 0, 1),
        gateway6: Ipv6Addr::new(0xfd00, 0x10, 0x17, 0, 0, 0, 0, 1),
        gateway_mac: Mac([2, 0, 0, 1, 0, 2]),
    },
];

/// The service's IPv4 address; its backends are b (on `sw1`) and c (on `sw2`).
pub const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// The service's IPv6 address.
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x10));
/// The service's TCP port; the backends listen on the same.
pub const VIP_TCP_PORT: u16 = 80;
/// The service's UDP port; the backends listen on the same.
pub const VIP_UDP_PORT: u16 = 53;
/// TCP and UDP packets to Pod d with this destination port are rejected by an ACL.
pub(crate) const REJECTED_PORT: u16 = 7777;
/// A host that no Pod is.
pub(crate) const NOBODY: u16 = 99;

impl Switch {
    /// The IPv4 address of a host on this switch.
    pub(crate) fn ip4(&self, host: u16) -> Ipv4Addr {
        let [a, b, ..] = self.gateway4.octets();
        let [c, d] = host.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// The IPv6 address of a host on this switch.
    pub(crate) fn ip6(&self, host: u16) -> Ipv6Addr {
        let mut segments = self.gateway6.segments();
        segments[7] = host;
        segments.into()
    }
}

/// Builds the network on an empty node.
pub(crate) fn build(node: &Node) -> Result {
    let mut commands: Vec<String> = Vec::new();
    let mut add = |line: String| {
        commands.push("--".to_owned());
        commands.extend(line.split_whitespace().map(|word| word.replace('+', " ")));
    };
    add("lr-add router".into());
    for switch in &SWITCHES {
        let Switch { name, gateway4, gateway6, gateway_mac } = switch;
        add(format!("ls-add {name}"));
        add(format!("lrp-add router r-{name} {gateway_mac} {gateway4}/16 {gateway6}/64"));
        add(format!("lsp-add {name} {name}-r"));
        add(format!(
            "set Logical_Switch_Port {name}-r type=router options:router-port=r-{name} addresses=router"
        ));
    }
    for (name, protocol, port) in [("lb-tcp", "tcp", VIP_TCP_PORT), ("lb-udp", "udp", VIP_UDP_PORT)]
    {
        let backends = |version: fn(&Switch, u16) -> String| {
            format!("{}:{port},{}:{port}", version(&SWITCHES[0], 12), version(&SWITCHES[1], 13))
        };
        let four = backends(|switch, host| switch.ip4(host).to_string());
        let six = backends(|switch, host| format!("[{}]", switch.ip6(host)));
        add(format!("lb-add {name} {VIP4}:{port} {four} {protocol}"));
        add(format!("lb-add {name} [{VIP6}]:{port} {six} {protocol}"));
        for switch in &SWITCHES {
            add(format!("ls-lb-add {} {name}", switch.name));
        }
    }
    for protocol in ["tcp", "udp"] {
        add(format!(
            "acl-add sw2 to-lport 1000 outport==\"d.default\"+&&+{protocol}.dst=={REJECTED_PORT} reject"
        ));
    }
    node.nbctl(commands)?;
    let [first, second] = &SWITCHES;
    node.add_pods(&[
        PodSpec::new("a", first, 11),
        PodSpec::new("b", first, 12),
        PodSpec::new("c", second, 13),
        PodSpec::new("d", second, 14),
        PodSpec::new("e", first, 15),
    ])?;
    offer_dhcp(node, "e")
}

/// Lets OVN answer a Pod's DHCP requests with the address that it has.
fn offer_dhcp(node: &Node, pod: &str) -> Result {
    let pod = node.pod(pod);
    let Switch { gateway4, gateway_mac, .. } = pod.switch();
    let options = node.nbctl([
        "create",
        "DHCP_Options",
        "cidr=10.16.0.0/16",
        &format!("options:server_id={gateway4}"),
        &format!("options:server_mac=\"{gateway_mac}\""),
        "options:lease_time=3600",
        &format!("options:router={gateway4}"),
    ])?;
    node.nbctl(["lsp-set-dhcpv4-options", &pod.logical_port(), options.trim()])?;
    node.sync()
}

impl Node {
    /// Lets the router send periodic IPv6 router advertisements, every 3 to 4 seconds, to the first switch.
    ///
    /// # Errors
    /// Whatever `ovn-nbctl` says.
    pub fn advertise_router(&self) -> Result {
        self.nbctl([
            "--wait=hv",
            "set",
            "Logical_Router_Port",
            "r-sw1",
            "ipv6_ra_configs:address_mode=slaac",
            "ipv6_ra_configs:send_periodic=true",
            "ipv6_ra_configs:max_interval=4",
            "ipv6_ra_configs:min_interval=3",
        ])?;
        Ok(())
    }
}
