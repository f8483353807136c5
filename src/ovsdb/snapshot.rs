//! What the database held at one moment: rows by reference, joined by name and UUID.
//!
//! A snapshot is cheap to clone and never changes. References to rows that are not there (yet) are
//! passed over: the server sends them in any order.

use std::{collections::BTreeMap, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};
use uuid::Uuid;

use super::tables::{Bridge, Interface, Mirror, Port};

/// The rows of one table; snapshots share what has not changed between them.
pub(super) type Rows<R> = OrdMap<Uuid, Arc<R>>;

/// The monitored tables at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) bridges: Rows<Bridge>,
    pub(super) ports: Rows<Port>,
    pub(super) interfaces: Rows<Interface>,
    pub(super) mirrors: Rows<Mirror>,
    pub(super) faults: Arc<BTreeMap<(Uuid, &'static str), Fault>>,
    /// The ports' rows by name: the database has no two of one.
    port_names: OrdMap<String, Uuid>,
}

/// A column that could not be understood; its field holds what was there before, or the default.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, row {uuid}, column {column}: {problem}")]
pub struct Fault {
    /// Name of the table.
    pub table: &'static str,
    /// The row.
    pub uuid: Uuid,
    /// Name of the column.
    pub column: &'static str,
    /// What was expected and what was found.
    pub problem: String,
}

impl Snapshot {
    /// A snapshot of the given rows, for whoever has no server at hand.
    pub fn from_rows(
        bridges: impl IntoIterator<Item = Bridge>,
        ports: impl IntoIterator<Item = Port>,
        interfaces: impl IntoIterator<Item = Interface>,
        mirrors: impl IntoIterator<Item = Mirror>,
    ) -> Self {
        fn rows<R>(rows: impl IntoIterator<Item = R>, uuid: impl Fn(&R) -> Uuid) -> Rows<R> {
            rows.into_iter().map(|row| (uuid(&row), Arc::new(row))).collect()
        }
        let mut snapshot = Self {
            bridges: rows(bridges, |row| row.uuid),
            ports: rows(ports, |row| row.uuid),
            interfaces: rows(interfaces, |row| row.uuid),
            mirrors: rows(mirrors, |row| row.uuid),
            ..Self::default()
        };
        snapshot.name_ports(&Rows::new());
        snapshot
    }

    /// Brings the ports' names up to date with their rows, which were as in `before` when that was done last.
    pub(super) fn name_ports(&mut self, before: &Rows<Port>) {
        let (ports, names) = (&self.ports, &mut self.port_names);
        for uuid in changed(before, ports) {
            if let Some(former) = before.get(&uuid)
                && names.get(&former.name) == Some(&uuid)
            {
                names.remove(&former.name);
            }
            if let Some(port) = ports.get(&uuid) {
                names.insert(port.name.clone(), uuid);
            }
        }
    }

    /// All bridges, in the order of their UUIDs.
    pub fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        self.bridges.values().map(AsRef::as_ref)
    }

    /// All ports, in the order of their UUIDs.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.values().map(AsRef::as_ref)
    }

    /// All interfaces, in the order of their UUIDs.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().map(AsRef::as_ref)
    }

    /// All mirrors, in the order of their UUIDs.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.mirrors.values().map(AsRef::as_ref)
    }

    /// The bridge of that name.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges().find(|bridge| bridge.name == name)
    }

    /// The port of that row.
    pub fn port(&self, uuid: &Uuid) -> Option<&Port> {
        self.ports.get(uuid).map(AsRef::as_ref)
    }

    /// The port of that name, on whatever bridge.
    pub fn port_named(&self, name: &str) -> Option<&Port> {
        self.port(self.port_names.get(name)?)
    }

    /// The interface of that row.
    pub fn interface(&self, uuid: &Uuid) -> Option<&Interface> {
        self.interfaces.get(uuid).map(AsRef::as_ref)
    }

    /// The interface of that name, on whatever bridge.
    pub fn interface_named(&self, name: &str) -> Option<&Interface> {
        self.interfaces().find(|interface| interface.name == name)
    }

    /// The bridge that a port belongs to.
    pub fn bridge_of(&self, port: &Uuid) -> Option<&Bridge> {
        self.bridges().find(|bridge| bridge.ports.contains(port))
    }

    /// The ports of a bridge.
    pub fn ports_of<'a>(&'a self, bridge: &'a Bridge) -> impl Iterator<Item = &'a Port> {
        bridge.ports.iter().filter_map(|uuid| self.port(uuid))
    }

    /// The interfaces of a port.
    pub fn interfaces_of<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = &'a Interface> {
        port.interfaces.iter().filter_map(|uuid| self.interface(uuid))
    }

    /// The mirrors of a bridge.
    pub fn mirrors_of<'a>(&'a self, bridge: &'a Bridge) -> impl Iterator<Item = &'a Mirror> {
        bridge.mirrors.iter().filter_map(|uuid| self.mirrors.get(uuid)).map(AsRef::as_ref)
    }

    /// The ports that came, went or changed until `now`. Takes as long as their number does, not that of all ports, if
    /// one snapshot came about from the other.
    pub fn changed_ports(&self, now: &Self) -> Vec<Uuid> {
        changed(&self.ports, &now.ports)
    }

    /// The interfaces that came, went or changed until `now`, as [`Self::changed_ports`].
    pub fn changed_interfaces(&self, now: &Self) -> Vec<Uuid> {
        changed(&self.interfaces, &now.interfaces)
    }

    /// Columns that could not be understood.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values()
    }
}

fn changed<R: Eq>(before: &Rows<R>, now: &Rows<R>) -> Vec<Uuid> {
    let changes = before.diff(now).map(|change| match change {
        DiffItem::Add(uuid, _) | DiffItem::Remove(uuid, _) => *uuid,
        DiffItem::Update { new: (uuid, _), .. } => *uuid,
    });
    changes.collect()
}
