//! Which Pods' ports are mirrored: what the node's operator wishes, what Pods and namespaces ask for, and whose a port
//! really is.
//!
//! What is said about a port, the first of these that says anything: its Pod's annotation for its network; its Pod's
//! "false"; its namespace's annotations in the same way; `--enable-mirror`. A namespace that `--allow-namespaces` or
//! `--deny-namespaces` excludes is left alone whatever they say.
//!
//! Several Pods may be meant by one port: a virtual machine's bears the machine's name, which a Pod can have too, and whoever
//! makes a Pod can call a machine its owner. The first of them was there when the others were not, so its "true" counts whatever
//! those say that came later. It is open whose the port is if one that is no older asks for copies and another does not.

mod ports;
mod reports;

use std::collections::BTreeSet;

pub use ports::Selection;
pub use reports::reports;

use crate::{
    annotation::Marks,
    cluster::Cluster,
    pods::{Pod, PodPort},
    verdict::Refusal,
};

/// Whose packets are wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Name of the bridge that Pods are on.
    pub bridge: String,
    /// Whether all Pods are mirrored, or only those that are annotated.
    pub all: bool,
    /// Whose Pods may be mirrored at all.
    pub namespaces: NamespaceRule,
}

/// Whose Pods may be mirrored: whoever may annotate a Pod could have its packets copied otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceRule {
    /// If there is a list, no others.
    pub allowed: Option<BTreeSet<String>>,
    /// None of these.
    pub denied: BTreeSet<String>,
}

/// A port, whose it is, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The port.
    pub port: PodPort,
    /// The Pods that it may be of, the oldest first: one, but for ports that leave it open; none if nobody of this node is meant.
    /// Of a port that is mirrored only those that are to be.
    pub owners: Vec<Pod>,
    /// What becomes of it.
    pub choice: Choice,
}

/// What becomes of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its packets are copied.
    Mirror,
    /// They are not, as nobody asks for it, or nobody may.
    Leave,
    /// They are not, as it is open whose they are.
    Contested,
}

impl NamespaceRule {
    /// Why no Pod of `namespace` may be mirrored; none if they may. Plain OVN has no namespaces, so a Pod without one is in no list.
    #[must_use]
    pub fn refusal(&self, namespace: Option<&str>) -> Option<Refusal> {
        let name = namespace.unwrap_or_default();
        if self.denied.contains(name) {
            return Some(Refusal::Denied(name.into()));
        }
        let allowed = self.allowed.as_ref()?;
        (!allowed.contains(name)).then(|| Refusal::NotAllowed(name.into()))
    }
}

impl Selected {
    /// A port of which nothing has been decided.
    #[must_use]
    pub fn undecided(port: PodPort) -> Self {
        Self { port, owners: vec![], choice: Choice::Leave }
    }

    /// Its Pod, or who it says that is if there is none.
    #[must_use]
    pub fn pod(&self) -> Pod {
        self.owners.first().cloned().unwrap_or_else(|| self.port.claim.pod())
    }

    /// Whether its packets are copied.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.choice == Choice::Mirror
    }
}

/// Decides of a port, by what `cluster` says of its Pod, or without a cluster by its own annotation. `contested` says that
/// another port may be meant by its name.
fn decide(selected: &mut Selected, contested: bool, wish: &Wish, cluster: Option<&Cluster>) {
    match cluster {
        None => decide_by_annotation(selected, wish),
        Some(cluster) => decide_by_cluster(selected, contested, wish, cluster),
    }
}

fn decide_by_annotation(selected: &mut Selected, wish: &Wish) {
    let pod = selected.port.claim.pod();
    let may = wish.namespaces.refusal(pod.namespace.as_deref()).is_none();
    let mirror = may && selected.port.annotated.unwrap_or(wish.all);
    selected.choice = if mirror { Choice::Mirror } else { Choice::Leave };
    selected.owners = vec![pod];
}

fn decide_by_cluster(selected: &mut Selected, contested: bool, wish: &Wish, cluster: &Cluster) {
    let port = &selected.port;
    let owners = owners(port, cluster);
    let (wanted, others): (Vec<_>, Vec<_>) =
        owners.iter().cloned().partition(|pod| is_wanted(pod, port, wish, cluster));
    let created = |pods: &[Pod]| pods.first().and_then(|pod| cluster.pods()[pod].created);
    // To the second, so two of one age can't be told apart.
    let was_first = || match (created(&wanted), created(&others)) {
        (Some(wanted), Some(other)) => wanted < other,
        _ => false,
    };
    (selected.choice, selected.owners) = if wanted.is_empty() {
        (Choice::Leave, owners)
    } else if !contested && (others.is_empty() || was_first()) {
        (Choice::Mirror, wanted)
    } else {
        (Choice::Contested, owners)
    };
}

/// The Pods of this node that the port can be of, the oldest first.
fn owners(port: &PodPort, cluster: &Cluster) -> Vec<Pod> {
    let claim = &port.claim;
    let mut owners = BTreeSet::new();
    for candidate in claim.candidates() {
        owners.extend(cluster.pods_of_machine(&candidate).cloned());
        if cluster.pods().contains_key(&candidate) {
            owners.insert(candidate);
        }
    }
    // A Pod that was made again under the same name is another.
    let same = |pod: &Pod| claim.uid.as_ref().is_none_or(|uid| *uid == cluster.pods()[pod].uid);
    let mut owners: Vec<_> = owners.into_iter().filter(same).collect();
    // Of whom that is not known comes first, as nobody is known to have been there before.
    owners.sort_by_key(|pod| cluster.pods()[pod].created);
    owners
}

fn is_wanted(pod: &Pod, port: &PodPort, wish: &Wish, cluster: &Cluster) -> bool {
    let namespace = pod.namespace.as_deref();
    let network = &port.claim.network;
    let says = |marks: &Marks| marks.wanted(network);
    wish.namespaces.refusal(namespace).is_none()
        && says(&cluster.pods()[pod].marks)
            .or_else(|| says(cluster.namespace(namespace?)?))
            .unwrap_or(wish.all)
}

#[cfg(test)]
mod tests;
