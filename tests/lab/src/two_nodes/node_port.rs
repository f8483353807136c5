//! Services of type NodePort, as kube-proxy makes them: address translation in the host's own stack.

use std::net::IpAddr;

use crate::{Node, Pod, Result};

/// What kube-proxy marks packets with whose source it will replace.
const MARK: &str = "0x4000/0x4000";

/// Lets TCP ports of a node lead to port 80 of Pods.
pub(super) fn open(node: &Node, own: IpAddr, ports: &[(u16, &Pod)]) -> Result {
    node.namespace().sysctl(["net.ipv4.ip_forward=1"])?;
    let nat = |rule: String| {
        node.namespace().program("iptables").args(["-t", "nat", "-A"]).args(rule.split(' ')).run()
    };
    for (port, pod) in ports {
        let arriving = format!("PREROUTING -p tcp -d {own} --dport {port}");
        nat(format!("{arriving} -j MARK --set-xmark {MARK}"))?;
        nat(format!("{arriving} -j DNAT --to-destination {}:80", pod.ip4()))?;
    }
    nat(format!("POSTROUTING -m mark --mark {MARK} -j MASQUERADE"))?;
    Ok(())
}
