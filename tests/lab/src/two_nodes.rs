//! Two nodes of one OVN, wired as those of a Kube-OVN cluster are.
//!
//! ```text
//!   namespace n1                                              namespace n2
//!   ┌─────────────────────────────────────────────┐          ┌──────────────────────────────────┐
//!   │ NB  SB  northd  ovn-controller              │          │ ovn-controller                   │
//!   │ br-int ─┬─ a_h, b_h: Pods a, b on sw1       │          │ br-int ─┬─ c_h: Pod c on sw1     │
//!   │         ├─ ovn0: the host, 100.64.0.2       │  veth    │         ├─ ovn0: 100.64.0.3      │
//!   │         └─ geneve ── br-phy 172.30.0.1 ─ phy0 ──────── phy0 ─ br-phy 172.30.0.2           │
//!   └─────────────────────────────────────────────┘          └──────────────────────────────────┘
//! ```
//!
//! On the userspace datapath the tunnel needs the NIC below it in Open vSwitch, too, so `br-phy` has it and the node's
//! address; the kernel datapath (`LAB_DATAPATH=system`) has no `br-phy`, and the address is on `phy0` itself.

mod host_port;
mod network;
mod node_port;
mod underlay;

use std::net::{IpAddr, Ipv4Addr};

use crate::{Node, Pod, PodSpec, Result, SWITCHES, until};

pub use network::SERVICE_PORTS;

/// The nodes' own addresses.
pub const NODE_IPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1)), IpAddr::V4(Ipv4Addr::new(172, 30, 0, 2))];
/// A TCP port of the second node that leads to port 80 of Pod b on the first.
pub const NODE_PORT_OF_B: u16 = 30080;
/// A TCP port of the second node that leads to port 80 of Pod c on that node.
pub const NODE_PORT_OF_C: u16 = 30081;

/// What a tunnel leaves of 1500 bytes, as Kube-OVN reckons.
const POD_MTU: u16 = 1400;

/// Two nodes with Pods a and b on the first and c on the second; they go when dropped.
#[derive(Debug)]
pub struct TwoNodes {
    // In the order in which they are to end.
    second: Node,
    first: Node,
}

impl TwoNodes {
    /// Both nodes with tunnel, Pods, host ports, the service at [`crate::VIP4`] (its backend is Pod c), and node ports.
    ///
    /// # Errors
    /// Outside of the sandbox, and whenever a daemon or a tool fails.
    pub fn start() -> Result<Self> {
        let first = Node::start_bare()?;
        let second = Node::join(&first)?;
        let nodes = Self { second, first };
        underlay::connect(nodes.nodes())?;
        network::build(&nodes.first)?;
        let pod = |name, host| PodSpec { mtu: POD_MTU, ..PodSpec::new(name, &SWITCHES[0], host) };
        nodes.first.add_pods(&[pod("a", 11), pod("b", 12)])?;
        nodes.second.add_pods(&[pod("c", 13)])?;
        for (index, node) in nodes.nodes().into_iter().enumerate() {
            host_port::add(node, index)?;
        }
        let [b, c] = [nodes.first.pod("b"), nodes.second.pod("c")];
        node_port::open(&nodes.second, NODE_IPS[1], &[(NODE_PORT_OF_B, &b), (NODE_PORT_OF_C, &c)])?;
        nodes.first.sync()?;
        // The userspace datapath drops what goes into a tunnel to a neighbour that it does not know yet.
        let (a, target) = (nodes.pod("a"), c.ip4().to_string());
        until("Pod a to reach Pod c", || {
            nodes.nodes().into_iter().try_for_each(Node::alive)?;
            Ok(a.program("ping").args(["-q", "-c", "1", "-W", "1", &target]).run().ok())
        })?;
        Ok(nodes)
    }

    /// The node with OVN's databases, and Pods a and b.
    pub fn first(&self) -> &Node {
        &self.first
    }

    /// The node with Pod c.
    pub fn second(&self) -> &Node {
        &self.second
    }

    /// Both, the first one first.
    pub fn nodes(&self) -> [&Node; 2] {
        [&self.first, &self.second]
    }

    /// Pod a, b or c.
    ///
    /// # Panics
    /// There is no such Pod.
    pub fn pod(&self, name: &str) -> Pod {
        if name == "c" { self.second.pod(name) } else { self.first.pod(name) }
    }

    /// The interface of each node that has its own address.
    pub fn node_interface() -> &'static str {
        underlay::device()
    }
}
