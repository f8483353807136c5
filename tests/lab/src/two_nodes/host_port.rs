//! The port by which a host is on the Pods' network, as Kube-OVN's `ovn0` is.

use super::{
    NODE_IPS,
    network::{JOIN, JOIN_GATEWAY},
};
use crate::{Node, Result, SWITCHES};

/// Gives the node with this index its port. Pods reach the node's own address by it.
pub(super) fn add(node: &Node, index: usize) -> Result {
    let (number, name, own) = (index + 2, node.name(), NODE_IPS[index]);
    let (mac, ip) = (format!("02:00:00:64:00:0{number}"), format!("100.64.0.{number}"));
    let port = format!("node-{name}");
    node.nbctl(["lsp-add", JOIN, &port, "--", "lsp-set-addresses", &port, &format!("{mac} {ip}")])?;
    let policy = format!("ip4.dst == {own}");
    node.nbctl(["lr-policy-add", "router", "31000", &policy, "reroute", &ip])?;
    let attach = format!(
        "add-port br-int ovn0 -- set Interface ovn0 type=internal mtu_request=1400 \
         external_ids:iface-id={port} external_ids:ip={ip} external_ids:vendor=kube-ovn"
    );
    node.vsctl(attach.split_whitespace())?;
    node.quiet("ovn0")?;
    let pods = format!("{}/16", SWITCHES[0].ip4(0));
    node.namespace().ip_batch(&format!(
        "link set ovn0 address {mac} up\n\
         addr add {ip}/16 dev ovn0\n\
         route add {pods} via {JOIN_GATEWAY} dev ovn0 src {own}\n"
    ))?;
    node.nbctl(["wait-until", "Logical_Switch_Port", &port, "up=true"])?;
    Ok(())
}
