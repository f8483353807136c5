//! The settings of an agent, as it states them to those who look.

use std::{collections::BTreeSet, path::PathBuf};

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use super::{MirrorWhen, PodSource, Settings};

/// What an agent is to mirror, and where, under the names of its flags. The names of the fields are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedSettings {
    /// Bridge that Pods are on.
    pub bridge: String,
    /// Name of the mirror NIC.
    pub mirror_iface: String,
    /// Whether a NIC that does not exist is waited for, instead of made.
    pub mirror_iface_must_exist: bool,
    /// When copies are wanted.
    pub mirror_when: MirrorWhen,
    /// Whether all Pods are mirrored, or only those that are annotated.
    pub enable_mirror: bool,
    /// If there is a list, Pods of no other namespaces are mirrored.
    pub allow_namespaces: Option<BTreeSet<String>>,
    /// No Pods of these namespaces are mirrored.
    pub deny_namespaces: BTreeSet<String>,
    /// Where Pods are learnt from.
    pub pod_source: StatedSource,
    /// The node's name in Kubernetes; none if Pods are learnt from OVSDB.
    pub node_name: Option<String>,
    /// Folder with the sockets of Open vSwitch.
    pub ovs_rundir: PathBuf,
    /// Where OVSDB listens: `unix:PATH` or `tcp:HOST:PORT`.
    pub ovsdb: String,
    /// Where the bridge speaks OpenFlow, in the same way.
    pub openflow: String,
    /// The bits of `reg10` to mark frames with, copied and delivered; none if they are those that are found free.
    pub marker_bits: Option<[u32; 2]>,
}

/// Where Pods are learnt from, without how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatedSource {
    /// The API server.
    Kubernetes,
    /// The interfaces on the bridge.
    Ovsdb,
}

impl StatedSettings {
    /// The settings as they are stated.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let Settings { wish, nic, nic_must_exist, run_folder, ovsdb, openflow, .. } = settings;
        let (pod_source, node_name) = match &settings.pods {
            PodSource::Ovsdb => (StatedSource::Ovsdb, None),
            PodSource::Kubernetes { node, .. } | PodSource::Unreadable { node, .. } => {
                (StatedSource::Kubernetes, Some(node.clone()))
            }
        };
        Self {
            bridge: wish.bridge.clone(),
            mirror_iface: nic.clone(),
            mirror_iface_must_exist: *nic_must_exist,
            mirror_when: settings.when,
            enable_mirror: wish.all,
            allow_namespaces: wish.namespaces.allowed.clone(),
            deny_namespaces: wish.namespaces.denied.clone(),
            pod_source,
            node_name,
            ovs_rundir: run_folder.clone(),
            ovsdb: ovsdb.to_string(),
            openflow: openflow.to_string(),
            marker_bits: settings.marker.map(|bits| [bits.copied, bits.delivered]),
        }
    }

    /// What decides on what is mirrored, as flags and their values. Where Open vSwitch is to be found is not among it: that may have
    /// another name in the agent's container than outside of it.
    #[must_use]
    pub fn flags(&self) -> [(&'static str, String); 9] {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(",");
        let all = || "(all)".to_owned();
        let when = self.mirror_when.to_possible_value();
        let [auto, none] = ["auto", ""].map(str::to_owned);
        [
            ("mirror-iface", self.mirror_iface.clone()),
            ("mirror-iface-must-exist", self.mirror_iface_must_exist.to_string()),
            ("mirror-when", when.map_or(none.clone(), |when| when.get_name().to_owned())),
            ("enable-mirror", self.enable_mirror.to_string()),
            ("allow-namespaces", self.allow_namespaces.as_ref().map_or_else(all, list)),
            ("deny-namespaces", list(&self.deny_namespaces)),
            (
                "pod-source",
                match self.pod_source {
                    StatedSource::Kubernetes => "kubernetes".to_owned(),
                    StatedSource::Ovsdb => "ovsdb".to_owned(),
                },
            ),
            ("node-name", self.node_name.clone().unwrap_or(none)),
            (
                "marker-bits",
                self.marker_bits
                    .map_or(auto, |[copied, delivered]| format!("{copied},{delivered}")),
            ),
        ]
    }
}
