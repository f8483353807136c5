//! What people are told about a Pod: that it is mirrored, that it is not any more, or why it can't be.

use std::{fmt, sync::Arc};

use flows::model::OfPort;

use crate::{annotation::Network, pods::Pod};

/// What is to be told about one Pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub pod: Pod,
    /// Whether it is mirrored.
    pub verdict: Verdict,
    /// Annotations of it and of its Namespace that are not understood: key and value.
    pub invalid: Vec<(Arc<str>, Arc<str>)>,
}

/// Whether a Pod is mirrored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Not mirrored, and nobody asks for it.
    #[default]
    Left,
    /// By these ports: their names in OVS and their OpenFlow numbers.
    Mirrored(Vec<(Arc<str>, OfPort)>),
    /// Somebody asks for it in vain.
    Refused(Refusal),
}

/// Why a Pod is not mirrored, or not all that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// By `--deny-namespaces`.
    #[error("namespace {0} is denied by --deny-namespaces of the node's ofmirror")]
    Denied(Arc<str>),
    /// By `--allow-namespaces`.
    #[error("namespace {0} is not one of --allow-namespaces of the node's ofmirror")]
    NotAllowed(Arc<str>),
    /// The CNI has made none, or not on this bridge.
    #[error("it has no port on {bridge} for {network}; a Pod with hostNetwork has none at all")]
    NoPort {
        /// The bridge.
        bridge: Arc<str>,
        /// Where a port is asked for.
        network: Network,
    },
    /// Several ports say that they are its, and OVN has not taken just one of them.
    #[error("several ports claim to be its: {0}")]
    Ambiguous(String),
    /// Its port may as well be that of another Pod, which is not to be mirrored and is no younger.
    #[error(
        "port {port} may as well be that of {other}{}, not to be mirrored, and at least as old: remove what is wrong, or annotate both",
        and_more(*.more)
    )]
    Unclear {
        /// The port's name in OVS.
        port: Arc<str>,
        /// The oldest other Pod.
        other: Pod,
        /// How many more there are.
        more: usize,
    },
    /// Something is in the way in the switch.
    #[error("{port}: {reason}")]
    Unserved {
        /// The port's name in OVS.
        port: Arc<str>,
        /// What it is.
        reason: String,
    },
}

impl Refusal {
    /// A closed set of names.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Denied(_) => "NamespaceDenied",
            Self::NotAllowed(_) => "NamespaceNotAllowed",
            Self::NoPort { .. } => "NoPort",
            Self::Ambiguous(_) => "AmbiguousPort",
            Self::Unclear { .. } => "AmbiguousOwner",
            Self::Unserved { .. } => "Unserved",
        }
    }
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" or of {more} others") }
}

/// Ports as in "a_h (OpenFlow port 5) and net1_h (OpenFlow port 7)".
#[derive(Clone, Copy, Debug)]
pub struct Ports<'a>(pub &'a [(Arc<str>, OfPort)]);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (interface, ofport)) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " and " })?;
            write!(f, "{interface} (OpenFlow port {})", ofport.0)?;
        }
        Ok(())
    }
}
