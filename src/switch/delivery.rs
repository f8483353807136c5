//! Where OVN delivers, watched in the tables where it does.
//!
//! The tables are not known beforehand: as long as there is a mirrored port that nothing is known to deliver to, one
//! such port at a time is probed, that is, whatever outputs to it is reported: at once if no delivery is known at all, else from
//! the next tick on, as it will mostly be in a table that is watched. The table of a delivery found so is watched from
//! then on, and with it the deliveries to all ports.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
};

use flows::{
    delivery::{Deliveries, Delivery},
    model::{Flow, FlowKey, OfPort, TableId},
};

#[derive(Default)]
pub(super) struct DeliveryWatch {
    deliveries: Deliveries,
    tables: BTreeSet<TableId>,
    probed: Option<OfPort>,
    /// All that ever were.
    ever_probed: BTreeSet<OfPort>,
    /// A table's deliveries as far as they have been read, where no monitor reports them.
    reading: Deliveries,
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
        self.ever_probed.extend(port);
    }

    pub(super) fn was_probed(&self, port: OfPort) -> bool {
        self.ever_probed.contains(&port)
    }

    pub(super) fn take_changed(&mut self) -> HashSet<OfPort> {
        self.deliveries.take_changed()
    }

    /// Takes in a flow that is in the switch; returns its table if that is to be watched from now on.
    pub(super) fn learn(&mut self, flow: &Flow) -> Option<TableId> {
        self.deliveries.insert(flow);
        let Delivery { table, .. } = Delivery::of(flow)?;
        self.tables.insert(table).then_some(table)
    }

    pub(super) fn removed(&mut self, key: &FlowKey) {
        self.deliveries.remove(key);
    }

    /// Takes in a flow of the table that is being read.
    pub(super) fn read(&mut self, flow: &Flow) {
        self.reading.insert(flow);
    }

    /// The table has been read: what was not there is gone.
    pub(super) fn finish_table(&mut self, table: TableId) {
        self.deliveries.replace_table(table, mem::take(&mut self.reading));
    }
}
