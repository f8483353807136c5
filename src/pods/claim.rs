//! Whose an interface says it is, in the ways of those who make Pods' ports.
//!
//! | who            | `external_ids`                                                                                 |
//! |----------------|------------------------------------------------------------------------------------------------|
//! | Kube-OVN       | `pod_name` (of KubeVirt: the virtual machine's), `pod_namespace`, `iface-id` = both, then the network: `<pod>.<ns>[.<nad>.<nad's ns>.ovn[.<interface>]]`; a port whose Pod has another one now has lost its `iface-id` |
//! | OVN-Kubernetes | `iface-id` = `[<network>_]<ns>_<pod>`, `iface-id-ver` = the Pod's UID, `k8s.ovn.org/nad` = `<ns>/<nad>[/<n>]` |
//! | plain OVN      | `iface-id` alone: the logical port                                                             |

use std::sync::Arc;

use super::Pod;
use crate::annotation::Network;

/// What OVN-Kubernetes calls the interface of a Pod's primary network, if that is not the cluster's.
const PRIMARY: &str = "ovn-udn1";

/// Whose a port says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The logical port of OVN.
    pub iface_id: Arc<str>,
    /// The Pod, or for Kube-OVN the virtual machine, if it is named as such.
    pub named: Option<Pod>,
    /// The Pod's UID, if that is told.
    pub uid: Option<Arc<str>>,
    /// The network that it is on.
    pub network: Network,
}

impl Claim {
    /// Reads what the interface `name` has as `external_ids`; none if it is no Pod's.
    pub(super) fn read<'a>(name: &str, id: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let iface_id = id("iface-id").filter(|id| !id.is_empty())?;
        match (id("pod_namespace"), id("pod_name")) {
            (Some(namespace), Some(pod)) => return Self::of_kube_ovn(iface_id, namespace, pod),
            // It marks its Pods' ports, and no others, with its name.
            _ if id("vendor") == Some("kube-ovn") => return None,
            _ => {}
        }
        match id("iface-id-ver") {
            Some(uid) => {
                let is_primary = id("pod-if-name") == Some(PRIMARY);
                let network = id("k8s.ovn.org/nad").filter(|_| !is_primary);
                Self::of_ovn_kubernetes(iface_id, uid, network)
            }
            // The node's own port on a network of OVN-Kubernetes.
            None if id("k8s.ovn.org/network").is_some() => None,
            None if is_management(name, iface_id) => None,
            None => Some(Self {
                iface_id: iface_id.into(),
                named: None,
                uid: None,
                network: Network::Cluster,
            }),
        }
    }

    fn of_kube_ovn(iface_id: &str, namespace: &str, pod: &str) -> Option<Self> {
        // What does not fit together is of different ages.
        let rest = iface_id.strip_prefix(pod)?.strip_prefix('.')?.strip_prefix(namespace)?;
        let network = match rest.strip_prefix('.') {
            None if rest.is_empty() => Network::Cluster,
            None => return None,
            // The name of the interface follows where a Pod is on one network twice.
            Some(provider) => Network::of_provider(provider)
                .or_else(|| Some(Network::Attached(provider.rsplit_once(".ovn.")?.0.into())))
                .unwrap_or_else(|| Network::Attached(provider.into())),
        };
        let named = Some(Pod::new(namespace, pod));
        Some(Self { iface_id: iface_id.into(), named, uid: None, network })
    }

    fn of_ovn_kubernetes(iface_id: &str, uid: &str, network: Option<&str>) -> Option<Self> {
        // Names in Kubernetes hold no underscore.
        let (rest, pod) = iface_id.rsplit_once('_')?;
        let namespace = rest.rsplit_once('_').map_or(rest, |(_, namespace)| namespace);
        let attached = |network: &str| {
            let mut parts = network.split('/');
            let (namespace, name) = (parts.next()?, parts.next()?);
            Some(Network::Attached(format!("{name}.{namespace}").into()))
        };
        Some(Self {
            iface_id: iface_id.into(),
            named: Some(Pod::new(namespace, pod)),
            uid: Some(uid.into()),
            network: network.and_then(attached).unwrap_or_default(),
        })
    }

    /// The Pod as the port alone tells, for when there is nobody to ask.
    #[must_use]
    pub fn pod(&self) -> Pod {
        let plain = || Pod { namespace: None, name: Arc::clone(&self.iface_id) };
        self.named.clone().unwrap_or_else(plain)
    }

    /// All Pods that can be meant.
    #[must_use]
    pub fn candidates(&self) -> Vec<Pod> {
        if let Some(pod) = &self.named {
            return vec![pod.clone()];
        }
        // Namespaces hold neither dots nor underscores.
        let dotted = self.iface_id.rsplit_once('.').map(|(pod, namespace)| (namespace, pod));
        let scored = self.iface_id.split_once('_');
        dotted.into_iter().chain(scored).map(|(namespace, pod)| Pod::new(namespace, pod)).collect()
    }
}

/// The ports by which the node itself is on the Pod network, as Kube-OVN and OVN-Kubernetes name them.
fn is_management(name: &str, iface_id: &str) -> bool {
    matches!(name, "ovn0" | "ovnext0")
        || name.starts_with("ovn-k8s-mp")
        || (iface_id.starts_with("k8s-") && !iface_id.contains('_'))
}
