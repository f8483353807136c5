//! How mirroring on this node stands, in fields with stable names: the same for `ofmirror status` and for `/status`.

mod difference;
pub mod live;
mod taps;

use std::collections::BTreeSet;

pub use difference::Difference;
use flows::{model::FlowCounters, tap::Direction};
use serde::Serialize;
pub use taps::Tap;
pub(crate) use taps::cookie;

use crate::{
    cluster::Cluster,
    introduction::Introduction,
    pods::Pod,
    selection::Selected,
    settings::{PodSource, Settings, StatedSettings},
    sink::{self, Facts, is_ours},
    switch::Watching,
    world::World,
};

/// What a [`Status`] is made of.
pub struct View<'a> {
    /// What is wished for, and where.
    pub settings: &'a Settings,
    /// All facts.
    pub world: &'a World,
    /// The agent that mirrors the bridge, if that is known.
    pub owner: Option<&'a Introduction>,
    /// What is known of the mirror port.
    pub sink: Facts<'a>,
    /// How they differ from those that it has.
    pub difference: Option<&'a Difference>,
    /// Whether the bridge answers.
    pub openflow: bool,
    /// Whether the API server answers, if it is asked.
    pub kubernetes: bool,
}

/// What is mirrored, and by what.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// What is to be mirrored, and where: of the agent, or as given to who looks.
    pub settings: StatedSettings,
    /// Open vSwitch's database.
    pub ovsdb: Database,
    /// The bridge, by OpenFlow.
    pub openflow: Bridge,
    /// None if Pods are learnt from OVSDB.
    pub kubernetes: Option<Kubernetes>,
    /// The agent that mirrors the bridge; none if none says so in this network namespace.
    pub owner: Option<Introduction>,
    /// The mirror NIC.
    pub nic: Nic,
    /// Whether nothing is mirrored as nobody listens on the mirror NIC.
    pub paused: bool,
    /// Why nothing is mirrored now, whatever is asked for; none if that is not so, or not known.
    pub suspended: Option<String>,
    /// None as long as it is not known which flows there should be.
    pub flows: Option<Flows>,
    /// Pods with at least one port that is to be mirrored; none as long as it is not known which Pods there are.
    pub pods_wanted: Option<usize>,
    /// Those of them of which all that is to be copied is copied now; none if that is not known.
    pub pods_mirrored: Option<usize>,
    /// All others that have a port on the bridge, if that is known.
    pub pods_not_mirrored: Option<usize>,
    /// Two for each port that is to be mirrored, one a direction.
    pub taps: Vec<Tap>,
}

/// The connection to OVSDB.
#[derive(Clone, Debug, Serialize)]
pub struct Database {
    /// Where it listens.
    pub endpoint: String,
    /// Whether its contents are known and every change is heard.
    pub connected: bool,
}

/// The connection to the bridge.
#[derive(Clone, Debug, Serialize)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Where it speaks OpenFlow.
    pub endpoint: String,
    /// Whether it does, and has not been silent for 10 s.
    pub connected: bool,
    /// In hex, as `ovs-vsctl get bridge NAME datapath_id` tells it.
    pub datapath_id: Option<String>,
    /// `monitors` or `polling`.
    pub watching: Option<&'static str>,
    /// The bits of `reg10` that mark frames: copied, delivered.
    pub marker_bits: Option<[u32; 2]>,
}

/// The connection to the API server.
#[derive(Clone, Debug, Serialize)]
pub struct Kubernetes {
    /// Its URL.
    pub endpoint: String,
    /// Whether it answers.
    pub connected: bool,
    /// This node's name there.
    pub node: String,
    /// Pods that run on this node, or are about to; none if that is not known.
    pub pods: Option<usize>,
}

/// The NIC that gets the copies.
#[derive(Clone, Debug, Serialize)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Its OpenFlow number on the bridge.
    pub ofport: Option<u32>,
    /// None if there is no such link in this network namespace, like the next.
    pub up: Option<bool>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Whether the agent put it on the bridge.
    pub made_by_ofmirror: bool,
    /// Packet sockets on it; none where they can't be counted.
    pub listeners: Option<usize>,
}

/// The flows that make the copies, how many.
#[derive(Clone, Debug, Serialize)]
pub struct Flows {
    /// The switch should have them.
    pub desired: usize,
    /// It has them, right or wrong.
    pub observed: usize,
    /// Desired and not there.
    pub missing: usize,
    /// There and not desired.
    pub superfluous: usize,
}

impl Status {
    /// As the view shows it; `counters` has the copies of one direction of a port, if they are known.
    #[must_use]
    pub fn of(
        view: &View<'_>,
        counters: impl Fn(&Selected, Direction) -> Option<FlowCounters>,
    ) -> Self {
        let world = view.world;
        let pods: BTreeSet<Pod> = world.pods().map(Selected::pod).collect();
        let told = world.cluster().is_none_or(Cluster::is_known);
        let suspended = world.suspended();
        let taps = taps::taps(view, suspended.is_some(), counters);
        let wanted = world.wanted_pods();
        let mirrored =
            (told && world.plan().is_some()).then(|| wanted.saturating_sub(taps::lacking(&taps)));
        Self {
            settings: StatedSettings::of(view.settings),
            owner: view.owner.cloned(),
            ovsdb: Database {
                endpoint: view.settings.ovsdb.to_string(),
                connected: world.ovsdb().is_synced(),
            },
            openflow: Bridge::of(view),
            kubernetes: Kubernetes::of(view),
            nic: Nic::of(view),
            paused: world.audience().is_paused(),
            flows: Flows::of(view),
            pods_wanted: told.then_some(wanted),
            pods_mirrored: mirrored,
            pods_not_mirrored: mirrored.map(|mirrored| pods.len().saturating_sub(mirrored)),
            suspended,
            taps,
        }
    }
}

impl Bridge {
    fn of(view: &View<'_>) -> Self {
        let switch = view.world.switch().ok();
        Self {
            name: view.settings.wish.bridge.clone(),
            endpoint: view.settings.openflow.to_string(),
            connected: view.openflow,
            datapath_id: switch.map(|switch| format!("{:016x}", switch.features().datapath_id)),
            watching: switch.map(|switch| match switch.watching() {
                Watching::Monitors => "monitors",
                Watching::Polling => "polling",
            }),
            marker_bits: switch
                .and_then(|switch| switch.marker())
                .map(|bits| [bits.copied, bits.delivered]),
        }
    }
}

impl Kubernetes {
    fn of(view: &View<'_>) -> Option<Self> {
        let (endpoint, node) = match &view.settings.pods {
            PodSource::Ovsdb => return None,
            PodSource::Kubernetes { config, node } => (config.cluster_url.to_string(), node),
            PodSource::Unreadable { node, .. } => ("not asked".to_owned(), node),
        };
        let cluster = view.world.cluster()?;
        Some(Self {
            endpoint,
            connected: view.kubernetes,
            node: node.clone(),
            pods: cluster.is_known().then(|| cluster.pods().len()),
        })
    }
}

impl Nic {
    fn of(view: &View<'_>) -> Self {
        let facts = &view.sink;
        Self {
            name: facts.nic.to_owned(),
            ofport: sink::ofport(facts).map(|port| port.0),
            up: facts.link.map(|link| link.up),
            mtu: facts.link.map(|link| link.mtu),
            made_by_ofmirror: sink::port(facts).is_some_and(|(_, port, _)| is_ours(port)),
            listeners: view.world.audience().listeners,
        }
    }
}

impl Flows {
    fn of(view: &View<'_>) -> Option<Self> {
        let difference = view.difference?;
        Some(Self {
            desired: view.world.plan()?.flows.len(),
            observed: view.world.switch().ok()?.observed().len(),
            missing: difference.missing.len(),
            superfluous: difference.superfluous.len(),
        })
    }
}
