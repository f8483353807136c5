//! The eight ways of Kube-OVN's page, in its order.

use std::net::IpAddr;

use clap::ValueEnum;
use lab::{NODE_IPS, NODE_PORT_OF_B, NODE_PORT_OF_C, Namespace, TwoNodes, VIP4};
use serde::{Deserialize, Serialize};

/// From where to where.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// From Pod to Pod on one node
    #[value(alias = "1")]
    PodPod,
    /// From Pod to Pod on the other node
    #[value(alias = "2")]
    PodPodAcross,
    /// From node to node
    #[value(alias = "3")]
    NodeNode,
    /// From a Pod to the node that it is on
    #[value(alias = "4")]
    PodNode,
    /// From a Pod to the other node
    #[value(alias = "5")]
    PodNodeAcross,
    /// From a Pod to a service's address, with the service's Pod on the other node
    #[value(alias = "6")]
    PodService,
    /// From a node to a port of the other node, with the service's Pod not there
    #[value(alias = "7")]
    NodePortElsewhere,
    /// From a node to a port of the other node, with the service's Pod there
    #[value(alias = "8")]
    NodePortThere,
}

/// The ends of a way.
pub(crate) struct Way {
    /// Where the client runs.
    pub(crate) client: Namespace,
    /// What it connects to.
    pub(crate) address: IpAddr,
    /// The port for HTTP.
    pub(crate) http_port: u16,
    /// Where the server runs.
    pub(crate) server: Namespace,
    /// By what the server's packets come and go.
    pub(crate) server_interface: &'static str,
}

impl Scenario {
    /// What the page calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::PodPod => "1. Pod to Pod on the same node",
            Self::PodPodAcross => "2. Pod to Pod on different nodes",
            Self::NodeNode => "3. Node to node",
            Self::PodNode => "4. Pod to the node where the Pod is",
            Self::PodNodeAcross => "5. Pod to the node where the Pod is not",
            Self::PodService => "6. Pod to the cluster IP service",
            Self::NodePortElsewhere => {
                "7. Host to the NodePort service where the Pod is not on the target node"
            }
            Self::NodePortThere => {
                "8. Host to the NodePort service where the Pod is on the target node"
            }
        }
    }

    /// Whether the page has its latency and bandwidth.
    pub(crate) fn has_streams(self) -> bool {
        !matches!(self, Self::NodePortElsewhere | Self::NodePortThere)
    }

    /// Whether the page has its requests a second.
    pub(crate) fn has_http(self) -> bool {
        matches!(self, Self::PodService | Self::NodePortElsewhere | Self::NodePortThere)
    }

    /// Its ends in the lab.
    pub(crate) fn way(self, nodes: &TwoNodes) -> Way {
        let [first, second] = nodes.nodes();
        let pod = |name: &str| nodes.pod(name);
        let hosts = [first, second].map(|node| node.namespace().clone());
        let [first, second] = hosts;
        let a = pod("a").namespace().clone();
        let (client, address, server, server_interface) = match self {
            Self::PodPod => (a, pod("b").ip4(), pod("b").namespace().clone(), "eth0"),
            Self::PodPodAcross => (a, pod("c").ip4(), pod("c").namespace().clone(), "eth0"),
            Self::NodeNode => (first, NODE_IPS[1], second, TwoNodes::node_interface()),
            Self::PodNode => (a, NODE_IPS[0], first, "ovn0"),
            Self::PodNodeAcross => (a, NODE_IPS[1], second, "ovn0"),
            Self::PodService => (a, VIP4, pod("c").namespace().clone(), "eth0"),
            Self::NodePortElsewhere => (first, NODE_IPS[1], pod("b").namespace().clone(), "eth0"),
            Self::NodePortThere => (first, NODE_IPS[1], pod("c").namespace().clone(), "eth0"),
        };
        let http_port = match self {
            Self::NodePortElsewhere => NODE_PORT_OF_B,
            Self::NodePortThere => NODE_PORT_OF_C,
            _ => 80,
        };
        Way { client, address, http_port, server, server_interface }
    }
}
