//! The wire between the nodes, and the tunnel over it.

use super::NODE_IPS;
use crate::{KERNELS_DATAPATH, Node, Result, datapath};

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
        node.namespace().offload(NIC, false)?;
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
    if datapath() == KERNELS_DATAPATH { NIC } else { BRIDGE }
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
