//! What else of OVN's pipeline the copies depend on, watched where it is.
//!
//! Floods in several parts are asked for by what all their flows match on. A scan finds the flows that mark packets; the
//! tables that have any are watched from then on.

use std::{collections::BTreeMap, sync::Arc};

use flows::{
    model::{Flow, FlowKey, TableId},
    pipeline::Pipeline,
};

#[derive(Default)]
pub(super) struct PipelineWatch {
    known: Arc<Pipeline>,
    /// Tables that are being read, as far as they have been, with what changed meanwhile.
    reading: BTreeMap<TableId, Pipeline>,
}

impl PipelineWatch {
    pub(super) fn known(&self) -> &Arc<Pipeline> {
        &self.known
    }

    /// Takes in a flow that is in the switch; returns its table if that is to be watched.
    pub(super) fn learn(&mut self, flow: &Flow) -> Option<TableId> {
        if self.known.is_news(flow) {
            Arc::make_mut(&mut self.known).insert(flow);
        }
        if let Some(reading) = self.reading.get_mut(&flow.key.table) {
            reading.insert(flow);
        }
        Pipeline::is_rewriting(flow).then_some(flow.key.table)
    }

    pub(super) fn removed(&mut self, key: &FlowKey) {
        if self.known.contains(key) {
            Arc::make_mut(&mut self.known).remove(key);
        }
        if let Some(reading) = self.reading.get_mut(&key.table) {
            reading.remove(key);
        }
    }

    /// The table is going to be read.
    pub(super) fn start_table(&mut self, table: TableId) {
        self.reading.insert(table, Pipeline::default());
    }

    /// The table has been read: what was not there is gone.
    pub(super) fn finish_table(&mut self, table: TableId) {
        let Some(reading) = self.reading.remove(&table) else { return };
        let now = self.known.with_table(table, reading);
        if now != *self.known {
            self.known = Arc::new(now);
        }
    }

    /// The table could not be read.
    pub(super) fn abandon_table(&mut self, table: TableId) {
        self.reading.remove(&table);
    }
}
