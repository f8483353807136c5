//! The Interface rows of one bridge, from one snapshot of OVSDB to the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use imbl::{OrdSet, ordset::DiffItem};

use super::PodPort;
use crate::{
    ovsdb::{Interface, Snapshot, Uuid},
    sink::mtu,
};

/// Follows the interfaces of a bridge.
#[derive(Debug)]
pub struct Rows {
    bridge: String,
    seen: Snapshot,
    /// The Port row that an Interface row is in.
    port_of: HashMap<Uuid, Uuid>,
    /// The interface whose MTU does not count.
    left_out: String,
    /// MTUs in bytes of the others that count for the bridge's internal ports, and the same in order.
    mtu_of: HashMap<Uuid, u32>,
    mtus: BTreeSet<(u32, Uuid)>,
}

impl Rows {
    /// Follows the bridge of that name, of which nothing has been seen yet.
    #[must_use]
    pub fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            seen: Snapshot::default(),
            port_of: HashMap::new(),
            left_out: String::new(),
            mtu_of: HashMap::new(),
            mtus: BTreeSet::new(),
        }
    }

    /// Lets the MTU of the interface of that name not count; to be called before any is followed.
    pub fn leave_out(&mut self, interface: &str) {
        interface.clone_into(&mut self.left_out);
    }

    /// The MTU in bytes that Open vSwitch gives internal ports for which nobody asked one: the smallest of all others. None if
    /// there is no other.
    #[must_use]
    pub fn least_mtu(&self) -> Option<u32> {
        self.mtus.first().map(|(mtu, _)| *mtu)
    }

    /// The interfaces that are different in `now` from what was seen last, by name: as a Pod's port, or none. Takes as long as
    /// it takes to look at what changed.
    pub fn follow(&mut self, now: &Snapshot) -> BTreeMap<Arc<str>, Option<PodPort>> {
        let mut touched: BTreeSet<Uuid> = self.seen.changed_interfaces(now).into_iter().collect();
        for uuid in self.seen.changed_ports(now) {
            for interface in self.seen.port(&uuid).into_iter().flat_map(|port| &port.interfaces) {
                self.port_of.remove(interface);
                touched.insert(*interface);
            }
            for interface in now.port(&uuid).into_iter().flat_map(|port| &port.interfaces) {
                self.port_of.insert(*interface, uuid);
                touched.insert(*interface);
            }
        }
        let none = OrdSet::new();
        let before = self.seen.bridge(&self.bridge).map_or(&none, |bridge| &bridge.ports);
        let ports = now.bridge(&self.bridge).map_or(&none, |bridge| &bridge.ports);
        for change in before.diff(ports) {
            let (DiffItem::Add(port) | DiffItem::Remove(port)) = change;
            for snapshot in [&self.seen, now] {
                touched.extend(snapshot.port(port).into_iter().flat_map(|port| &port.interfaces));
            }
        }
        let mut changes = BTreeMap::new();
        for interface in touched.iter().filter_map(|uuid| self.seen.interface(uuid)) {
            changes.insert(interface.name.as_str().into(), None);
        }
        for uuid in touched {
            let on_bridge = self.port_of.get(&uuid).is_some_and(|port| ports.contains(port));
            let interface = now.interface(&uuid).filter(|_| on_bridge);
            if let Some(interface) = interface {
                changes.insert(interface.name.as_str().into(), PodPort::of(interface));
            }
            if let Some(mtu) = self.mtu_of.remove(&uuid) {
                self.mtus.remove(&(mtu, uuid));
            }
            let counts = |interface: &&Interface| {
                !mtu::follows_others(interface) && interface.name != self.left_out
            };
            if let Some(mtu) = interface.filter(counts).and_then(|interface| interface.mtu) {
                self.mtu_of.insert(uuid, mtu);
                self.mtus.insert((mtu, uuid));
            }
        }
        self.seen = now.clone();
        changes
    }
}
