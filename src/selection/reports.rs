//! What is to be told of each Pod of the cluster.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use flows::{plan::Plan, tap::Direction};

use super::{Choice, Selected, Selection, Wish};
use crate::{
    annotation::{Marks, Network},
    cluster::{Cluster, PodMeta},
    pods::{Pod, PodPort},
    verdict::{Refusal, Report, Verdict},
};

/// How things stand with each Pod, by its UID, when the switch has all flows of `plan`; `blindness` says why nothing is
/// copied of what a port receives all the same.
#[must_use]
pub fn reports(
    selection: &Selection,
    wish: &Wish,
    cluster: &Cluster,
    plan: &Plan,
    blindness: impl Fn(&Selected) -> Option<String>,
) -> BTreeMap<Arc<str>, Report> {
    let mut of: HashMap<&Pod, Vec<&Selected>> = HashMap::new();
    for selected in selection.ports() {
        for owner in &selected.owners {
            of.entry(owner).or_default().push(selected);
        }
    }
    let nobody = Marks::default();
    let report = |(pod, meta): (&Pod, &PodMeta)| {
        let namespace = pod.namespace.as_deref().and_then(|name| cluster.namespace(name));
        let namespace = namespace.unwrap_or(&nobody);
        let asked = asked(&meta.marks, namespace);
        let ports = of.get(pod).map(Vec::as_slice).unwrap_or_default();
        let invalid = meta.marks.invalid().chain(namespace.invalid());
        let report = Report {
            pod: pod.clone(),
            verdict: verdict(pod, &asked, ports, (wish, cluster), plan, &blindness),
            invalid: invalid.map(|(key, value)| (key.into(), value.into())).collect(),
        };
        (Arc::clone(&meta.uid), report)
    };
    cluster.pods().iter().map(report).collect()
}

/// The networks whose NICs somebody asks for by an annotation, and the Pod doesn't refuse.
fn asked<'a>(pod: &'a Marks, namespace: &'a Marks) -> BTreeSet<&'a Network> {
    let not_refused = |network: &&Network| pod.wanted(network) != Some(false);
    pod.asked().chain(namespace.asked().filter(not_refused)).collect()
}

fn verdict(
    pod: &Pod,
    asked: &BTreeSet<&Network>,
    ports: &[&Selected],
    (wish, cluster): (&Wish, &Cluster),
    plan: &Plan,
    blindness: &impl Fn(&Selected) -> Option<String>,
) -> Verdict {
    if let Some(refusal) = wish.namespaces.refusal(pod.namespace.as_deref()) {
        return if asked.is_empty() { Verdict::Left } else { Verdict::Refused(refusal) };
    }
    let is_wanted = |owner: &Pod, port: &PodPort| super::is_wanted(owner, port, wish, cluster);
    // Whoever asks for nothing has nothing to be told.
    let contested: Vec<_> = ports
        .iter()
        .filter(|selected| selected.choice == Choice::Contested && is_wanted(pod, &selected.port))
        .collect();
    for selected in &contested {
        let port = &selected.port;
        let mut others = selected.owners.iter().filter(|owner| !is_wanted(owner, port));
        if let Some(other) = others.next() {
            let (port, other, more) = (Arc::clone(&port.interface), other.clone(), others.count());
            return Verdict::Refused(Refusal::Unclear { port, other, more });
        }
    }
    if !contested.is_empty() {
        let names: Vec<_> = contested.iter().map(|selected| &*selected.port.interface).collect();
        return Verdict::Refused(Refusal::Ambiguous(names.join(", ")));
    }
    let has = |network: &Network| ports.iter().any(|port| port.port.claim.network == *network);
    if let Some(network) = asked.iter().find(|network| !has(network)) {
        let (bridge, network) = (wish.bridge.as_str().into(), (*network).clone());
        return Verdict::Refused(Refusal::NoPort { bridge, network });
    }
    let mut mirrored = Vec::new();
    for selected in ports.iter().filter(|selected| selected.is_mirrored()) {
        let port = &selected.port;
        if let Some(blindness) = blindness(selected) {
            let reason = format!("{} {blindness}", Direction::FromPod);
            return Verdict::Refused(Refusal::Unserved {
                port: Arc::clone(&port.interface),
                reason,
            });
        }
        match (plan.rejected_of(&port.interface).last(), port.ofport) {
            (None, Some(ofport)) => mirrored.push((Arc::clone(&port.interface), ofport)),
            (rejected, _) => {
                let reason = rejected.map_or_else(
                    || "it has no number yet".to_owned(),
                    |rejected| format!("{} {}", rejected.direction, rejected.reason),
                );
                let port = Arc::clone(&port.interface);
                return Verdict::Refused(Refusal::Unserved { port, reason });
            }
        }
    }
    if mirrored.is_empty() { Verdict::Left } else { Verdict::Mirrored(mirrored) }
}
