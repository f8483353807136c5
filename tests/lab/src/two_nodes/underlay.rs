//! The wire between the nodes, and the tunnel over it.

use std::env;

use super::NODE_IPS;
use crate::{Node, Result};

/// The NIC of each node.
const NIC: &str = "phy0";
/// The bridge that has the NIC on the userspace datapath.
const BRIDGE: &str = "br-phy";

/// Wires two nodes together, and tells OVN to tunnel over that.
pub(super) fn connect([first, second]: [&Node; 2]) -> Result {
    let peer = second.namespace().name();
    first
        .namespace()
        .ip_batch(&format!("link add {NIC} type veth peer name {NIC} netns {peer}\n"))?;
    for (node, ip) in [first, second].into_iter().zip(NODE_IPS) {
        // Open vSwitch reads single frames from a wire, with checksums.
        let off = "tx off rx off tso off gso off gro off";
        node.namespace().program("ethtool").args(["-K", NIC]).args(off.split(' ')).run()?;
        node.quiet(NIC)?;
        node.namespace().ip(["link", "set", NIC, "up"])?;
        bridge(node)?;
        let device = device();
        node.namespace()
            .ip_batch(&format!("addr add {ip}/24 dev {device}\nlink set {device} up\n"))?;
        node.vsctl(["set", "Open_vSwitch", ".", &format!("external_ids:ovn-encap-ip={ip}")])?;
    }
    Ok(())
}

/// The interface that has a node's address. The userspace datapath only tunnels over its own ports.
pub(super) fn device() -> &'static str {
    if env::var("LAB_DATAPATH").is_ok_and(|kind| kind == "system") { NIC } else { BRIDGE }
}

/// Puts the NIC on a bridge of its own, where that is to have the address.
fn bridge(node: &Node) -> Result {
    if device() == BRIDGE {
        let add = format!(
            "add-br {BRIDGE} -- set Bridge {BRIDGE} datapath_type=netdev -- add-port {BRIDGE} {NIC}"
        );
        node.vsctl(add.split(' '))?;
        node.quiet(BRIDGE)?;
    }
    Ok(())
}
