//! The Pods' ports on the bridge, each with whose it is and what becomes of it.
//!
//! What is decided of a port depends on itself, on other ports that go by the same name, and on what the API server says of
//! the Pods that it may be of. Only ports of which one of these changed are decided anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
};

use super::{Selected, Wish, decide};
use flows::model::OfPort;

use crate::{
    cluster::{Changed, Cluster},
    pods::{Pod, PodPort},
};

/// Names of ports in OVS.
type Names = BTreeSet<Arc<str>>;

/// All ports of Pods.
#[derive(Debug, Default)]
pub struct Selection {
    ports: BTreeMap<Arc<str>, Selected>,
    /// Those that go by the name of a logical port.
    claimed: HashMap<Arc<str>, Names>,
    /// Those that may be of a Pod.
    candidates: BTreeMap<Pod, Names>,
    /// Those that are mirrored, by number: an honest switch has no two of one.
    numbered: HashMap<OfPort, Names>,
    /// Pods of which ports are mirrored, and how many ports.
    mirrored: HashMap<Pod, usize>,
    /// MTUs, and how many ports have them.
    mtus: BTreeMap<u32, usize>,
    /// Those that have an annotation in OVSDB which is not understood.
    misread: Names,
    /// Those to be decided anew.
    doubted: Names,
}

impl Selection {
    /// The port of this name in OVS is so now, or there is none.
    pub fn set_port(&mut self, name: &Arc<str>, port: Option<PodPort>) {
        self.misread.remove(name);
        if let Some(former) = self.ports.remove(name) {
            self.count(&former, -1);
            self.unlink(name, &former.port);
        }
        if let Some(port) = port {
            self.link(name, &port);
            if port.misread.is_some() {
                self.misread.insert(Arc::clone(name));
            }
            let selected = Selected::undecided(port);
            self.count(&selected, 1);
            self.ports.insert(Arc::clone(name), selected);
        }
        self.doubted.insert(Arc::clone(name));
    }

    /// The API server says something else.
    pub fn doubt(&mut self, changed: &Changed) {
        match changed {
            Changed::Nothing => {}
            Changed::Pods(pods) => {
                let ports = pods.iter().filter_map(|pod| self.candidates.get(pod)).flatten();
                self.doubted.extend(ports.cloned());
            }
            Changed::Namespace(name) => {
                let first = Pod { namespace: Some(Arc::clone(name)), name: "".into() };
                let pods = self.candidates.range(first..);
                let pods = pods.take_while(|(pod, _)| pod.namespace.as_ref() == Some(name));
                self.doubted.extend(pods.flat_map(|(_, ports)| ports).cloned());
            }
            Changed::Everything => self.doubted.extend(self.ports.keys().cloned()),
        }
    }

    /// Decides of all ports that are in doubt; returns their names, those of ports that are gone among them.
    pub fn settle(&mut self, wish: &Wish, cluster: Option<&Cluster>) -> Names {
        let doubted = mem::take(&mut self.doubted);
        for name in &doubted {
            let Some(mut selected) = self.ports.remove(name) else { continue };
            self.count(&selected, -1);
            let contested = self.is_contested(&selected.port);
            decide(&mut selected, contested, wish, cluster);
            self.count(&selected, 1);
            self.ports.insert(Arc::clone(name), selected);
        }
        doubted
    }

    /// All, in the order of their names.
    pub fn ports(&self) -> impl ExactSizeIterator<Item = &Selected> {
        self.ports.values()
    }

    /// The port of this name in OVS.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<&Selected> {
        self.ports.get(name)
    }

    /// The port that is to be mirrored and has this number.
    #[must_use]
    pub fn mirrored_port(&self, ofport: OfPort) -> Option<&Selected> {
        self.port(self.numbered.get(&ofport)?.first()?)
    }

    /// The ports that have an annotation in OVSDB which is not understood, in the order of their names.
    pub fn misread(&self) -> impl ExactSizeIterator<Item = &Selected> {
        self.misread.iter().map(|name| &self.ports[name])
    }

    /// How many Pods are to be mirrored.
    #[must_use]
    pub fn wanted_pods(&self) -> usize {
        self.mirrored.len()
    }

    /// The largest MTU of a port, mirrored or not, in bytes.
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        self.mtus.last_key_value().map(|(mtu, _)| *mtu)
    }

    /// Whether several ports go by the name of its logical port, and OVN has not taken this one and no other: what the others
    /// carry is not known to be the Pod's.
    fn is_contested(&self, port: &PodPort) -> bool {
        let rivals = self.claimed.get(&port.claim.iface_id).into_iter().flatten();
        let rivals: Vec<_> = rivals.filter_map(|name| self.ports.get(name)).collect();
        // The port itself is not among them while it is decided of.
        let taken = rivals.iter().any(|rival| rival.port.installed);
        !rivals.is_empty() && (taken || !port.installed)
    }

    fn link(&mut self, name: &Arc<str>, port: &PodPort) {
        for pod in port.claim.candidates() {
            self.candidates.entry(pod).or_default().insert(Arc::clone(name));
        }
        let claimed = self.claimed.entry(Arc::clone(&port.claim.iface_id)).or_default();
        self.doubted.extend(claimed.iter().cloned());
        claimed.insert(Arc::clone(name));
    }

    fn unlink(&mut self, name: &Arc<str>, port: &PodPort) {
        for pod in port.claim.candidates() {
            if let Some(names) = self.candidates.get_mut(&pod) {
                names.remove(name);
                if names.is_empty() {
                    self.candidates.remove(&pod);
                }
            }
        }
        if let Some(claimed) = self.claimed.get_mut(&port.claim.iface_id) {
            claimed.remove(name);
            self.doubted.extend(claimed.iter().cloned());
            if claimed.is_empty() {
                self.claimed.remove(&port.claim.iface_id);
            }
        }
    }

    /// There are so many more ports like this one.
    fn count(&mut self, selected: &Selected, more: isize) {
        if let Some(mtu) = selected.port.mtu {
            let ports = self.mtus.entry(mtu).or_default();
            *ports = ports.saturating_add_signed(more);
            if *ports == 0 {
                self.mtus.remove(&mtu);
            }
        }
        if !selected.is_mirrored() {
            return;
        }
        if let Some(ofport) = selected.port.ofport {
            let names = self.numbered.entry(ofport).or_default();
            if more > 0 {
                names.insert(Arc::clone(&selected.port.interface));
            } else {
                names.remove(&selected.port.interface);
            }
            if names.is_empty() {
                self.numbered.remove(&ofport);
            }
        }
        let pod = selected.pod();
        let ports = self.mirrored.entry(pod.clone()).or_default();
        *ports = ports.saturating_add_signed(more);
        if *ports == 0 {
            self.mirrored.remove(&pod);
        }
    }
}
