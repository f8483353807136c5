//! Where OVN delivers, watched in the tables where it does.
//!
//! The tables are not known beforehand: the scan of all flows finds those in which mirrored ports are delivered to. As
//! long as there is a mirrored port that nothing is known to deliver to, one such port at a time is probed, that is,
//! whatever outputs to it is looked for and reported: at once if no delivery is known at all, else from the next tick on,
//! as it will mostly be in a table that is watched. The table of a delivery found so is watched from then on, and with it
//! the deliveries to all ports.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use flows::{
    delivery::{Deliveries, Delivery},
    model::{Flow, FlowKey, OfPort, TableId},
};

#[derive(Default)]
pub(super) struct DeliveryWatch {
    deliveries: Deliveries,
    tables: BTreeSet<TableId>,
    probed: Option<OfPort>,
    /// The deliveries of tables that are being read, as far as they have been, with what changed meanwhile.
    reading: BTreeMap<TableId, Deliveries>,
}

impl DeliveryWatch {
    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = TableId> {
        self.tables.iter().copied()
    }

    pub(super) fn probed(&self) -> Option<OfPort> {
        self.probed
    }

    pub(super) fn probe(&mut self, port: Option<OfPort>) {
        self.probed = port;
    }

    pub(super) fn take_changed(&mut self) -> HashSet<OfPort> {
        self.deliveries.take_changed()
    }

    /// Takes in a flow that is in the switch; returns its table if that is to be watched from now on.
    pub(super) fn learn(&mut self, flow: &Flow) -> Option<TableId> {
        self.deliveries.insert(flow);
        if let Some(reading) = self.reading.get_mut(&flow.key.table) {
            reading.insert(flow);
        }
        let Delivery { table, .. } = Delivery::of(flow)?;
        self.watch(table).then_some(table)
    }

    /// A table is to be watched, for whatever reason; returns whether it was not before.
    pub(super) fn watch(&mut self, table: TableId) -> bool {
        self.tables.insert(table)
    }

    pub(super) fn removed(&mut self, key: &FlowKey) {
        self.deliveries.remove(key);
        if let Some(reading) = self.reading.get_mut(&key.table) {
            reading.remove(key);
        }
    }

    /// The table is going to be read.
    pub(super) fn start_table(&mut self, table: TableId) {
        self.reading.insert(table, Deliveries::default());
    }

    /// Takes in a flow of a table that is being read.
    pub(super) fn read(&mut self, flow: &Flow) {
        self.deliveries.insert(flow);
        if let Some(reading) = self.reading.get_mut(&flow.key.table) {
            reading.insert(flow);
        }
    }

    /// The table has been read: what was not there is gone.
    pub(super) fn finish_table(&mut self, table: TableId) {
        if let Some(reading) = self.reading.remove(&table) {
            self.deliveries.replace_table(table, reading);
        }
    }

    /// The table could not be read.
    pub(super) fn abandon_table(&mut self, table: TableId) {
        self.reading.remove(&table);
    }
}
