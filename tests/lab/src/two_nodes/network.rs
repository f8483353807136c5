//! The logical network: a switch for Pods, the switch that Kube-OVN calls `join` for hosts, a router, a service.

use crate::{Node, Result, SWITCHES, Switch, VIP4};

/// The TCP and UDP ports of the service; its backend listens on the same. 80 is for HTTP, the others are qperf's, for
/// control and for data.
pub const SERVICE_PORTS: [u16; 3] = [80, 19765, 19766];

/// The switch that hosts are on.
pub(super) const JOIN: &str = "join";
/// The router's address on [`JOIN`]; the subnet is a /16.
pub(super) const JOIN_GATEWAY: &str = "100.64.0.1";
/// The service's backend, Pod c.
const BACKEND: u16 = 13;

/// Builds it in empty databases.
pub(super) fn build(central: &Node) -> Result {
    let pods = &SWITCHES[0];
    let Switch { name, gateway4, gateway6, gateway_mac } = pods;
    let routed = [
        (*name, format!("{gateway_mac} {gateway4}/16 {gateway6}/64")),
        (JOIN, format!("02:00:00:01:00:64 {JOIN_GATEWAY}/16")),
    ];
    let mut text = String::from("-- lr-add router ");
    for (switch, addresses) in routed {
        text += &format!(
            "-- ls-add {switch} -- lrp-add router r-{switch} {addresses} -- lsp-add {switch} {switch}-r \
             -- set Logical_Switch_Port {switch}-r type=router options:router-port=r-{switch} \
             addresses=router "
        );
    }
    for protocol in ["tcp", "udp"] {
        for port in SERVICE_PORTS {
            let backend = pods.ip4(BACKEND);
            text +=
                &format!("-- lb-add service-{protocol} {VIP4}:{port} {backend}:{port} {protocol} ");
        }
        text += &format!("-- ls-lb-add {name} service-{protocol} ");
    }
    // The router only asks its policies (see host_port) about what it has a route for.
    text += &format!("-- lr-route-add router 0.0.0.0/0 {JOIN_GATEWAY}");
    central.nbctl(text.split_whitespace())?;
    Ok(())
}
