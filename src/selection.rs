//! Which Pods' ports are mirrored: what the node's operator wishes, what Pods and namespaces ask for, and whose a port
//! really is.
//!
//! What is said about a port, the first of these that says anything: its Pod's annotation for its network; its Pod's
//! "false"; its namespace's annotations in the same way; `--enable-mirror`. A namespace that `--allow-namespaces` or
//! `--deny-namespaces` excludes is left alone whatever they say.

mod reports;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

pub use reports::reports;

use crate::{
    cluster::{Cluster, Marks},
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
    /// The Pods that it may be of: one, but for ports that leave it open; none if nobody of this node is meant.
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

/// Decides for all ports of the bridge, by what `cluster` says of their Pods, or without a cluster by their own annotations.
pub fn select(ports: &mut [Selected], wish: &Wish, cluster: Option<&Cluster>) {
    match cluster {
        None => ports.iter_mut().for_each(|port| select_by_annotation(port, wish)),
        Some(cluster) => select_by_cluster(ports, wish, cluster),
    }
}

fn select_by_annotation(selected: &mut Selected, wish: &Wish) {
    let pod = selected.port.claim.pod();
    let may = wish.namespaces.refusal(pod.namespace.as_deref()).is_none();
    let mirror = may && selected.port.annotated.unwrap_or(wish.all);
    selected.choice = if mirror { Choice::Mirror } else { Choice::Leave };
    selected.owners = vec![pod];
}

fn select_by_cluster(ports: &mut [Selected], wish: &Wish, cluster: &Cluster) {
    let machines = machines(cluster);
    let claims = claims(ports);
    for selected in ports {
        let port = &selected.port;
        selected.owners = owners(port, cluster, &machines);
        let wanted: BTreeSet<bool> =
            selected.owners.iter().map(|pod| is_wanted(pod, port, wish, cluster)).collect();
        // OVN takes one of several ports of the same name; what the others carry is not known to be the Pod's.
        let rivals = &claims[&port.claim.iface_id];
        let is_rival = rivals.all > 1 && !(port.installed && rivals.installed == 1);
        selected.choice = match (wanted.contains(&true), wanted.contains(&false)) {
            (false, _) => Choice::Leave,
            (true, true) => Choice::Contested,
            (true, false) if is_rival => Choice::Contested,
            (true, false) => Choice::Mirror,
        };
    }
}

/// How many ports go by the name of one logical port.
#[derive(Default)]
struct Rivals {
    all: usize,
    installed: usize,
}

fn claims(ports: &[Selected]) -> HashMap<Arc<str>, Rivals> {
    let mut claims: HashMap<Arc<str>, Rivals> = HashMap::new();
    for Selected { port, .. } in ports {
        let rivals = claims.entry(Arc::clone(&port.claim.iface_id)).or_default();
        rivals.all += 1;
        rivals.installed += usize::from(port.installed);
    }
    claims
}

/// Pods by the virtual machines in them.
fn machines(cluster: &Cluster) -> BTreeMap<Pod, Vec<&Pod>> {
    let mut machines: BTreeMap<Pod, Vec<&Pod>> = BTreeMap::new();
    for (pod, meta) in cluster.pods() {
        if let Some(name) = &meta.virtual_machine {
            let machine = Pod { namespace: pod.namespace.clone(), name: Arc::clone(name) };
            machines.entry(machine).or_default().push(pod);
        }
    }
    machines
}

/// The Pods of this node that the port can be of.
fn owners(port: &PodPort, cluster: &Cluster, machines: &BTreeMap<Pod, Vec<&Pod>>) -> Vec<Pod> {
    let claim = &port.claim;
    let mut owners = BTreeSet::new();
    for candidate in claim.candidates() {
        owners.extend(machines.get(&candidate).into_iter().flatten().copied().cloned());
        if cluster.pods().contains_key(&candidate) {
            owners.insert(candidate);
        }
    }
    // A Pod that was made again under the same name is another.
    let same = |pod: &Pod| claim.uid.as_ref().is_none_or(|uid| *uid == cluster.pods()[pod].uid);
    owners.into_iter().filter(same).collect()
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
