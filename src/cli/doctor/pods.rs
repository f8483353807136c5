//! The Pods: who tells of them, and their ports.

use super::{check::Check, ovs};
use crate::{annotation::MIRROR_ANNOTATION, observe::Observation, settings::PodSource};

pub(super) fn api_server(seen: &Observation) -> Check {
    let subject = "Kubernetes";
    if let PodSource::Unreadable { reason, .. } = &seen.settings().pods {
        return Check::skipped(subject, reason);
    }
    let (PodSource::Kubernetes { config, node }, Some(cluster)) =
        (&seen.settings().pods, seen.world.cluster())
    else {
        return Check::ok(subject, "not asked, with --pod-source=ovsdb");
    };
    let place = &config.cluster_url;
    let pods = cluster.pods().len();
    match cluster.outage().filter(|_| !cluster.is_known()) {
        Some(outage) => Check::failed(
            subject,
            format!("{place}: {outage}"),
            "it must be reached from the host's network, and let the service account list and watch pods and namespaces: kubectl apply -k deploy/ sets that up",
        ),
        None if pods == 0 => Check::warning(
            subject,
            format!("{place} knows no Pod on node {node}"),
            "is that this node's name? kubectl get nodes; set it with --node-name",
        ),
        None => Check::ok(subject, format!("{place} answers; Pods on node {node}: {pods}")),
    }
}

pub(super) fn ports(seen: &Observation) -> Check {
    let subject = "Pods";
    if let Err(reason) = ovs::row(seen) {
        return Check::skipped(subject, reason);
    }
    let all = seen.world.pods().len();
    if all > 0 && seen.world.cluster().is_some_and(|cluster| !cluster.is_known()) {
        let finding = format!("{all} ports of Pods on the bridge; Kubernetes does not say whose");
        return Check::skipped(subject, finding);
    }
    let mirrored = seen.world.mirrored().count();
    let finding = format!("{all} ports of Pods on the bridge, {mirrored} to be mirrored");
    match (all, mirrored) {
        (0, _) => Check::warning(
            subject,
            finding,
            "is it the bridge that Pods are on? Their interfaces bear external_ids:iface-id",
        ),
        (_, 0) => Check::warning(
            subject,
            finding,
            format!(
                "annotate some with {}=true, or mirror all with --enable-mirror",
                MIRROR_ANNOTATION
            ),
        ),
        _ => Check::ok(subject, finding),
    }
}
