//! Which Interface rows of OVSDB are Pods' ports, and whose.
//!
//! | CNI            | how it names the Pod in `external_ids`                                     |
//! |----------------|----------------------------------------------------------------------------|
//! | Kube-OVN       | `pod_name`, `pod_namespace`; `iface-id` is ambiguous, but stale without it |
//! | OVN-Kubernetes | `iface-id=<namespace>_<pod>`, `iface-id-ver=<UID>`                         |
//! | plain OVN      | `iface-id` alone: the logical port                                         |

use std::{fmt, sync::Arc};

use flows::model::OfPort;

use crate::ovsdb::Interface;

/// The annotation that asks for a Pod to be mirrored, as Kube-OVN names it.
pub const MIRROR_ANNOTATION: &str = "ovn.kubernetes.io/mirror";

/// Types of interfaces that lead to other switches, or nowhere.
const NOT_PODS: [&str; 11] = [
    "geneve",
    "vxlan",
    "gre",
    "ip6gre",
    "erspan",
    "ip6erspan",
    "stt",
    "lisp",
    "bareudp",
    "gtpu",
    "patch",
];

/// A Pod, as far as its port tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod {
    /// Its namespace; plain OVN has none.
    pub namespace: Option<Arc<str>>,
    /// Its name, or for plain OVN that of the logical port.
    pub name: Arc<str>,
}

/// A Pod's port on the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Name of the interface in OVS.
    pub interface: Arc<str>,
    /// Whose it is.
    pub pod: Pod,
    /// Its OpenFlow number, once OVS has given it one.
    pub ofport: Option<OfPort>,
    /// Its MTU in bytes, once OVS knows it.
    pub mtu: Option<u32>,
    /// Whether `external_ids` asks for it to be mirrored.
    pub annotated: bool,
}

impl PodPort {
    /// The port, if `interface` is a Pod's.
    #[must_use]
    pub fn of(interface: &Interface) -> Option<Self> {
        let id = |key: &str| interface.external_ids.get(key).map(String::as_str);
        // A CNI takes iface-id away from the port of a Pod that has another one now.
        let iface_id = id("iface-id").filter(|id| !id.is_empty())?;
        if NOT_PODS.contains(&interface.kind.as_str()) || is_management(&interface.name, iface_id) {
            return None;
        }
        let pod = match (id("pod_namespace"), id("pod_name")) {
            (Some(namespace), Some(name)) => Pod::new(Some(namespace), name),
            // Kube-OVN marks its Pods' ports, and no others, with its name.
            _ if id("vendor") == Some("kube-ovn") => return None,
            // Names in Kubernetes hold no underscore.
            _ => match iface_id.split_once('_') {
                Some((namespace, name)) if id("iface-id-ver").is_some() => {
                    Pod::new(Some(namespace), name)
                }
                _ => Pod::new(None, iface_id),
            },
        };
        Some(Self {
            interface: interface.name.as_str().into(),
            pod,
            ofport: interface.ofport.number().map(|number| OfPort(number.into())),
            mtu: interface.mtu,
            annotated: id(MIRROR_ANNOTATION) == Some("true"),
        })
    }
}

impl Pod {
    fn new(namespace: Option<&str>, name: &str) -> Self {
        Self { namespace: namespace.map(Into::into), name: name.into() }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The ports by which the node itself is on the Pod network, as Kube-OVN and OVN-Kubernetes name them.
fn is_management(name: &str, iface_id: &str) -> bool {
    name == "ovn0"
        || name.starts_with("ovn-k8s-mp")
        || (iface_id.starts_with("k8s-") && !iface_id.contains('_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovsdb::Ofport;

    fn interface(kind: &str, name: &str, external_ids: &[(&str, &str)]) -> Interface {
        Interface {
            name: name.to_owned(),
            kind: kind.to_owned(),
            ofport: Ofport::Number(5),
            external_ids: external_ids
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Interface::default()
        }
    }

    fn pod(kind: &str, name: &str, external_ids: &[(&str, &str)]) -> Option<String> {
        PodPort::of(&interface(kind, name, external_ids)).map(|port| port.pod.to_string())
    }

    #[test]
    fn a_pod_of_kube_ovn_is_known_by_its_own_keys_as_its_iface_id_is_ambiguous() {
        let ids = [("iface-id", "web.0.shop"), ("pod_name", "web.0"), ("pod_namespace", "shop")];
        assert_eq!(pod("", "3f2a_h", &ids).as_deref(), Some("shop/web.0"));
    }

    #[test]
    fn a_pod_of_ovn_kubernetes_is_known_by_its_iface_id() {
        for namespace in ["shop", "k8s-shop"] {
            let iface_id = format!("{namespace}_web-0");
            let ids = [("iface-id", iface_id.as_str()), ("iface-id-ver", "b9f0")];
            assert_eq!(pod("", "3f2a", &ids), Some(format!("{namespace}/web-0")));
        }
    }

    #[test]
    fn a_port_of_plain_ovn_goes_by_its_logical_port() {
        assert_eq!(pod("internal", "vm1", &[("iface-id", "vm_1")]).as_deref(), Some("vm_1"));
    }

    #[test]
    fn a_stale_port_without_iface_id_is_nobodys() {
        assert_eq!(pod("", "3f2a_h", &[("pod_name", "web"), ("pod_namespace", "shop")]), None);
        assert_eq!(pod("", "3f2a_h", &[("iface-id", ""), ("pod_name", "web")]), None);
    }

    #[test]
    fn the_nodes_own_ports_and_tunnels_are_not_pods() {
        for (kind, name, iface_id) in [
            ("internal", "ovn0", "node-worker1"),
            ("internal", "ovn-k8s-mp0", "k8s-worker1"),
            ("internal", "mp1", "k8s-worker1"),
            ("geneve", "ovn-worker2-0", "x"),
            ("patch", "patch-br-int-to-localnet", "x"),
        ] {
            assert_eq!(pod(kind, name, &[("iface-id", iface_id)]), None, "{name}");
        }
        assert_eq!(pod("", "3f2a_h", &[("vendor", "kube-ovn"), ("iface-id", "x")]), None);
    }

    #[test]
    fn only_the_word_true_asks_for_mirroring() {
        for (value, annotated) in [("true", true), ("True", false), ("false", false), ("", false)] {
            let port = interface("", "p", &[("iface-id", "x"), (MIRROR_ANNOTATION, value)]);
            assert_eq!(PodPort::of(&port).map(|port| port.annotated), Some(annotated), "{value}");
        }
    }
}
