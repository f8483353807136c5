//! How near a logical switch's floods are to the most lookups that Open vSwitch allows for one packet.
//!
//! Open vSwitch drops a packet that takes more than 4,096 lookups. OVN sends a broadcast through all egress tables once for
//! each receiver on the node, which with 13 tables is 315 ports, and our flows take a few lookups more: a flood that just
//! arrives without them would be lost with them. What OVN's floods take is known from its flows but for what other
//! logical datapaths do with a packet, so it is told as a range, and a datapath counts as near the limit when a flood of
//! its may arrive without our flows and may not arrive with them.
//!
//! A flood beyond the limit is lost for everybody with and without us, and one far below it has room for our flows; so
//! neither is a reason to leave flows out.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Action, Field, Flow, TableId};

/// The most lookups of a packet, besides the first (`MAX_RESUBMITS` of OVS `ofproto/ofproto-dpif-xlate.c`).
pub const LIMIT: u64 = 4096;
/// Of the tables counted so many may lie beside the way of a flooded packet.
const BESIDE: u64 = 1;
/// Tables that a packet passes before it is flooded: OVN's ingress pipeline has about 30, and none twice.
const BEFORE: u64 = 40;
/// What a router on the node takes to look at a flooded packet at most, and to answer it, which one of them does.
const ROUTER: u64 = 24;
const ANSWER: u64 = 100;
/// What our flows take at most on entry, and in each logical switch that the packet comes to: forgetting, noting, copying.
const ENTRY: u64 = 1;
const SWITCH: u64 = 3;
/// OVN's register of the logical output port, which from this number on is a multicast group.
const OUTPORT: Field = Field::reg(15);
const FIRST_GROUP: u128 = 0x8000;
/// The most datapaths and groups that are kept: who tells of more is not honest.
const MOST: usize = 65_536;

/// What the flows say of OVN's floods.
#[derive(Clone, Debug, Default)]
pub struct Floods {
    groups: BTreeMap<(u64, u32), Group>,
    /// Tables in which a datapath has flows, and those in which all have.
    tables: BTreeMap<u64, BTreeSet<TableId>>,
    common: BTreeSet<TableId>,
}

#[derive(Clone, Debug)]
struct Group {
    /// The most receivers that one flow of a table floods to; some versions of OVN do a large group in several goes.
    receivers: BTreeMap<TableId, u64>,
    /// Where each receiver's way begins.
    first: TableId,
}

/// The ports that are delivered to in a datapath: how many there were when the flows were read, and are now, and the
/// table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// When the flows were read.
    pub then: u64,
    /// Now.
    pub now: u64,
    /// The last table of the way.
    pub table: TableId,
}

impl Floods {
    /// Takes in a flow of others.
    pub fn look_at(&mut self, flow: &Flow) {
        let table = flow.key.table;
        let datapath = flow.key.matching.exact(Field::METADATA);
        let Some(datapath) = datapath.and_then(|datapath| u64::try_from(datapath).ok()) else {
            self.common.insert(table);
            return;
        };
        if self.tables.len() < MOST || self.tables.contains_key(&datapath) {
            self.tables.entry(datapath).or_default().insert(table);
        }
        let Some(group) = flow.key.matching.exact(OUTPORT).filter(|group| *group >= FIRST_GROUP)
        else {
            return;
        };
        let Ok(group) = u32::try_from(group) else { return };
        let targets: Vec<TableId> = flow
            .actions()
            .filter_map(|action| match action {
                Action::Resubmit { table, .. } => Some(*table),
                _ => None,
            })
            .collect();
        // The receivers' way begins furthest on; what is local is handed to the next table before.
        let Some(first) = targets.iter().max() else { return };
        let receivers = targets.iter().filter(|target| *target == first).count() as u64;
        let key = (datapath, group);
        if self.groups.len() < MOST || self.groups.contains_key(&key) {
            let new = Group { receivers: BTreeMap::new(), first: *first };
            let group = self.groups.entry(key).or_insert(new);
            group.first = group.first.min(*first);
            let most = group.receivers.entry(table).or_default();
            *most = (*most).max(receivers);
        }
    }

    /// The datapaths of which a flood may arrive without our flows and not with them.
    #[must_use]
    pub fn near_limit(&self, ports: &BTreeMap<u64, Ports>) -> BTreeSet<u64> {
        let near = self.groups.iter().filter(|((datapath, _), group)| {
            ports.get(datapath).is_some_and(|ports| self.is_near(*datapath, group, *ports))
        });
        near.map(|((datapath, _), _)| *datapath).collect()
    }

    fn is_near(&self, datapath: u64, group: &Group, ports: Ports) -> bool {
        let receivers: u64 = group.receivers.values().sum();
        let tables = group.first..=ports.table;
        let own = self.tables.get(&datapath).into_iter().flatten();
        let way: BTreeSet<_> =
            own.chain(&self.common).filter(|table| tables.contains(table)).collect();
        let way = way.len() as u64;
        // What is delivered to by a flow of its own is a port; the rest, and there are few, leads to routers.
        let routers = receivers.saturating_sub(ports.then);
        let fewest = receivers.saturating_sub(ports.then.saturating_sub(ports.now));
        let most = receivers + ports.now.saturating_sub(ports.then);
        let (ours, foreign) = (
            ENTRY + SWITCH * (1 + routers),
            BEFORE + most * way + ROUTER * routers + ANSWER * routers.min(1),
        );
        fewest * way.saturating_sub(BESIDE) <= LIMIT && foreign + ours > LIMIT
    }
}

#[cfg(test)]
mod tests;
