//! Which Interface rows of OVSDB are Pods' ports.

mod claim;
mod rows;

use std::{fmt, sync::Arc};

pub use claim::Claim;
use flows::model::OfPort;
pub use rows::Rows;

use crate::{annotation::MIRROR_ANNOTATION, ovsdb::Interface};

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

/// Characters that are kept of an annotation's value that is not understood.
const MISREAD: usize = 40;

/// A Pod by name.
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
    /// Whose it says it is.
    pub claim: Claim,
    /// Its OpenFlow number, once OVS has given it one.
    pub ofport: Option<OfPort>,
    /// Its MTU in bytes, once OVS knows it.
    pub mtu: Option<u32>,
    /// Whether `external_ids` asks for it to be mirrored, if it says anything about that.
    pub annotated: Option<bool>,
    /// The beginning of what `external_ids` has instead, if that is neither "true" nor "false".
    pub misread: Option<Arc<str>>,
    /// Whether OVN has taken it for the logical port, and made its flows.
    pub installed: bool,
}

impl PodPort {
    /// The port, if `interface` is a Pod's.
    #[must_use]
    pub fn of(interface: &Interface) -> Option<Self> {
        if NOT_PODS.contains(&interface.kind.as_str()) {
            return None;
        }
        let id = |key: &str| interface.external_ids.get(key).map(String::as_str);
        Some(Self {
            interface: interface.name.as_str().into(),
            claim: Claim::read(&interface.name, id)?,
            ofport: interface.ofport.number().map(|number| OfPort(number.into())),
            mtu: interface.mtu,
            annotated: id(MIRROR_ANNOTATION).and_then(|value| value.parse().ok()),
            misread: id(MIRROR_ANNOTATION)
                .filter(|value| value.parse::<bool>().is_err())
                .map(|value| value.chars().take(MISREAD).collect::<String>().into()),
            installed: id("ovn-installed") == Some("true"),
        })
    }
}

impl Pod {
    /// A Pod in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
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

#[cfg(test)]
mod tests;
