//! The agent's part that keeps the books of what was copied.

use std::{collections::HashMap, sync::Arc, time::Instant};

use flows::{
    diff::Change,
    model::{Cookie, FlowCounters},
    ofp::FlowRemoved,
    tap::Direction,
};
use metrics::Metrics;

use super::Agent;
use crate::{
    port_counters::Side,
    selection::Selected,
    traffic::{Export, Ledger, Series, direction},
    world::World,
};

/// The books, and the metrics made of them.
pub(super) struct Traffic {
    ledger: Ledger,
    export: Export,
    /// When the flows were last read.
    pub(super) read: Option<Instant>,
}

impl Traffic {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { ledger: Ledger::default(), export: Export::new(metrics), read: None }
    }

    /// All copies that the flows have made.
    pub(super) fn offered(&self) -> FlowCounters {
        self.ledger.offered()
    }

    /// The copies of all that is mirrored.
    pub(super) fn totals(&self) -> HashMap<&Series, FlowCounters> {
        self.ledger.lines().map(|(series, line)| (&**series, line.total)).collect()
    }
}

impl Agent {
    /// Books changes that the switch has made for us, before they are known as made.
    pub(super) fn book_changes<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) {
        let Ok(switch) = self.world.switch() else { return };
        let now = Instant::now();
        for change in changes {
            // A flow that goes is booked by the switch's last word about it.
            if let Change::Install(flow) = change {
                let existed = switch.observed().contains_key(&flow.key);
                let owner = owner(&self.world, flow.cookie);
                self.traffic.ledger.install(&flow.key, flow.cookie, existed, owner, now);
            }
        }
    }

    /// Books the switch's last word about a flow.
    pub(super) fn book_removal(&mut self, removed: &FlowRemoved) {
        if removed.cookie.is_ours() {
            let FlowRemoved { key, stats, .. } = removed;
            let now = Instant::now();
            self.traffic.ledger.remove(key, stats.counters(), stats.duration, now);
        }
    }

    /// Books what the switch has told of our flows and of the mirror port, if it has.
    pub(super) fn book_readings(&mut self) {
        let Some(switch) = self.world.switch_mut() else { return };
        let (sink, counted) = (switch.take_sink(), switch.take_counted());
        // Statistics that were asked for before the mirror port changed are of another port, which may count from another side.
        if let Some(stats) = sink.filter(|stats| Some(stats.port) == self.world.sink().ofport) {
            let side = Side::of(self.world.datapath(), self.world.sink().internal);
            self.traffic.export.read_port(&stats, side);
            self.evidence.shortfall.taken(self.metrics.copies_delivered.get(), Instant::now());
        }
        if let Some(census) = counted {
            let now = Instant::now();
            if self.world.audience().is_paused() {
                let mirrored = self.world.mirrored();
                let both = |selected| Direction::BOTH.map(|direction| series(selected, direction));
                self.traffic.ledger.keep(mirrored.flat_map(both), now);
            }
            self.traffic.ledger.read(census, |cookie| owner(&self.world, cookie), now);
            self.traffic.read = Some(now);
            self.traffic.export.follow(&self.traffic.ledger);
            self.compare_flows(now);
        }
    }
}

/// For whom a flow copies.
fn owner(world: &World, cookie: Cookie) -> Option<Arc<Series>> {
    let (_, ofport) = cookie.purpose()?;
    Some(Arc::new(series(world.mirrored_port(ofport)?, direction(cookie)?)))
}

/// One direction of a mirrored port.
pub(super) fn series(selected: &Selected, direction: Direction) -> Series {
    Series { pod: selected.pod(), interface: Arc::clone(&selected.port.interface), direction }
}
