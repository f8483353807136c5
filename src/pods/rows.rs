//! The Interface rows of one bridge, from one snapshot of OVSDB to the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use imbl::{OrdSet, ordset::DiffItem};

use super::PodPort;
use crate::ovsdb::{Snapshot, Uuid};

/// Follows the interfaces of a bridge.
#[derive(Debug)]
pub struct Rows {
    bridge: String,
    seen: Snapshot,
    /// The Port row that an Interface row is in.
    port_of: HashMap<Uuid, Uuid>,
}

impl Rows {
    /// Follows the bridge of that name, of which nothing has been seen yet.
    #[must_use]
    pub fn new(bridge: &str) -> Self {
        Self { bridge: bridge.to_owned(), seen: Snapshot::default(), port_of: HashMap::new() }
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
            if let Some(interface) = now.interface(&uuid).filter(|_| on_bridge) {
                changes.insert(interface.name.as_str().into(), PodPort::of(interface));
            }
        }
        self.seen = now.clone();
        changes
    }
}
