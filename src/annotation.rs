//! The annotation that asks for a Pod to be mirrored, as Kube-OVN names it.
//!
//! | key                                         | on        | holds for                                           |
//! |---------------------------------------------|-----------|-----------------------------------------------------|
//! | `ovn.kubernetes.io/mirror`                  | Pod       | its NIC on the cluster's network; `"false"`: all    |
//! | `<nad>.<namespace>.ovn.kubernetes.io/mirror`| Pod       | its NIC on that network of Multus                   |
//! | either of them                              | Namespace | each of its Pods, in the same way                   |

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The annotation for a Pod's NIC on the cluster's own network.
pub const MIRROR_ANNOTATION: &str = "ovn.kubernetes.io/mirror";

/// What a network's name is followed by.
const SUFFIX: &str = ".kubernetes.io/mirror";
/// What Kube-OVN calls the cluster's own network, and how its names of others end.
const DEFAULT: &str = "ovn";
const OTHERS: &str = ".ovn";

/// How many networks the annotations of one object may name, and how many of its values that are not understood are kept: what an
/// object of the cluster costs must not depend on whoever wrote it.
const MAX_NETWORKS: usize = 64;
const MAX_INVALID: usize = 4;
/// How much is kept of such a value, in characters; `true` or `false` would have been enough.
const MAX_VALUE: usize = 64;
/// What an object that names more networks is told.
const TOO_MANY: &str = "more than 64 networks: those that come later are not mirrored";

/// A network that a Pod can be on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The cluster's own.
    #[default]
    Cluster,
    /// One of Multus: `<name>.<namespace>` of its NetworkAttachmentDefinition.
    Attached(Arc<str>),
}

/// What the annotations of a Pod or a Namespace say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    networks: BTreeMap<Network, bool>,
    /// Whether more are named than are kept.
    too_many: bool,
    /// Keys and values that are not understood: the first few, and of each value the beginning.
    invalid: Vec<(Arc<str>, Arc<str>)>,
}

impl Marks {
    /// Reads annotations; those of others are passed over.
    pub fn read<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut marks = Self::default();
        for (key, value) in annotations {
            let Some(network) = key.strip_suffix(SUFFIX).and_then(Network::of_provider) else {
                continue;
            };
            match value {
                "true" => marks.note(network, true, key),
                "false" => marks.note(network, false, key),
                _ => marks.complain(key, value),
            }
        }
        marks
    }

    /// The cluster's network always has its place.
    fn note(&mut self, network: Network, wanted: bool, key: &str) {
        let others = self.networks.len() - usize::from(self.names(&Network::Cluster));
        if network == Network::Cluster || self.names(&network) || others < MAX_NETWORKS {
            self.networks.insert(network, wanted);
        } else if !self.too_many {
            self.too_many = true;
            self.complain(key, TOO_MANY);
        }
    }

    fn names(&self, network: &Network) -> bool {
        self.networks.contains_key(network)
    }

    fn complain(&mut self, key: &str, value: &str) {
        if self.invalid.len() < MAX_INVALID {
            let value: String = value.chars().take(MAX_VALUE).collect();
            self.invalid.push((key.into(), value.into()));
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.invalid.is_empty()
    }

    /// Whether the NIC on `network` is to be mirrored; none if nothing is said of it. A "false" for the cluster's network is meant for
    /// the whole Pod, if nothing else is said of the NIC: whoever wants no copies must not have to know of all networks. Of what
    /// could not be kept, some may be a "false" too.
    #[must_use]
    pub fn wanted(&self, network: &Network) -> Option<bool> {
        let said = |network| self.networks.get(network).copied();
        let may_be_refused = self.too_many && *network != Network::Cluster;
        said(network)
            .or_else(|| may_be_refused.then_some(false))
            .or_else(|| said(&Network::Cluster).filter(|wanted| !wanted))
    }

    /// The networks whose NICs are asked for.
    pub fn asked(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter().filter(|(_, wanted)| **wanted).map(|(network, _)| network)
    }

    /// Keys and values that are not understood, and ignored: the first few, and of each value the beginning.
    pub fn invalid(&self) -> impl Iterator<Item = (&str, &str)> {
        self.invalid.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl Network {
    /// The network that Kube-OVN knows as `provider`, if it is one of OVN's.
    #[must_use]
    pub fn of_provider(provider: &str) -> Option<Self> {
        if provider == DEFAULT {
            return Some(Self::Cluster);
        }
        let name = provider.strip_suffix(OTHERS)?;
        (!name.is_empty()).then(|| Self::Attached(name.into()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster's network"),
            Self::Attached(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(name: &str) -> Network {
        Network::Attached(name.into())
    }

    #[test]
    fn only_the_words_true_and_false_are_understood() {
        for (value, wanted) in [("true", Some(true)), ("false", Some(false))] {
            let marks = Marks::read([(MIRROR_ANNOTATION, value)]);
            assert_eq!(marks.wanted(&Network::Cluster), wanted);
            assert_eq!(marks.invalid().count(), 0);
        }
        for value in ["True", "yes", "1", "", " true"] {
            let marks = Marks::read([(MIRROR_ANNOTATION, value)]);
            assert_eq!(marks.wanted(&Network::Cluster), None, "{value}");
            assert_eq!(marks.invalid().collect::<Vec<_>>(), [(MIRROR_ANNOTATION, value)]);
            assert_eq!(marks.asked().count(), 0);
        }
    }

    #[test]
    fn each_network_has_an_annotation_of_its_own() {
        let marks = Marks::read([("net1.infra.ovn.kubernetes.io/mirror", "true")]);
        assert_eq!(marks.wanted(&attached("net1.infra")), Some(true));
        assert_eq!(marks.wanted(&attached("net2.infra")), None);
        assert_eq!(marks.wanted(&Network::Cluster), None);
        assert_eq!(marks.asked().collect::<Vec<_>>(), [&attached("net1.infra")]);
    }

    #[test]
    fn true_is_for_the_clusters_network_and_false_for_the_whole_pod() {
        let yes = Marks::read([(MIRROR_ANNOTATION, "true")]);
        assert_eq!(yes.wanted(&attached("net1.infra")), None);
        let no = Marks::read([
            (MIRROR_ANNOTATION, "false"),
            ("net1.infra.ovn.kubernetes.io/mirror", "true"),
        ]);
        assert_eq!(no.wanted(&attached("net1.infra")), Some(true));
        assert_eq!(no.wanted(&attached("net2.infra")), Some(false));
    }

    #[test]
    fn what_is_kept_of_an_object_does_not_grow_with_what_was_written_to_it() {
        let long = "ü".repeat(100_000);
        let keys: Vec<_> =
            (0..6000).map(|number| format!("net{number:04}.x.ovn.kubernetes.io/mirror")).collect();
        let marks = Marks::read(keys.iter().map(|key| (key.as_str(), long.as_str())));
        let kept: usize = marks.invalid().map(|(_, value)| value.len()).sum();
        assert_eq!((marks.invalid().count(), kept), (4, 4 * 64 * "ü".len()));
        assert!(marks.networks.is_empty());

        let all = keys.iter().map(|key| (key.as_str(), "true"));
        let marks = Marks::read(all.chain([(MIRROR_ANNOTATION, "true")]));
        assert_eq!(marks.networks.len(), 65);
        assert_eq!(marks.wanted(&Network::Cluster), Some(true));
        assert_eq!(marks.wanted(&attached("net0063.x")), Some(true));
        // A "false" may have been left out.
        assert_eq!(marks.wanted(&attached("net0064.x")), Some(false));
        let said: Vec<_> = marks.invalid().collect();
        assert_eq!(said, [("net0064.x.ovn.kubernetes.io/mirror", TOO_MANY)]);
    }

    #[test]
    fn annotations_of_others_say_nothing() {
        let others = [
            ("k8s.v1.cni.cncf.io/networks", "infra/net1"),
            ("kubernetes.io/mirror", "true"),
            ("calico.kubernetes.io/mirror", "true"),
            (".ovn.kubernetes.io/mirror", "true"),
            ("kubernetes.io/config.mirror", "0b5f"),
        ];
        assert!(Marks::read(others).is_empty());
    }
}
