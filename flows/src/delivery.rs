//! OVN's delivery flows: where the pipeline hands a packet to a port.
//!
//! The table differs between versions of OVN, so a delivery flow is known by what it does: it looks at nothing but the
//! logical datapath (`metadata`) and the logical output port (`reg15`), and it outputs to a port.

use std::collections::HashMap;

use crate::model::{Action, Field, Flow, FlowKey, MatchField, OfPort, TableId};

/// The register in which OVN keeps the logical output port.
const OUTPORT: Field = Field::reg(15);

/// The most delivery flows that are kept. A switch has at most 65,279 ports, and few have more than one: one that tells
/// of more than this is not honest.
const MOST: usize = 4 * 65_536;

/// One flow by which OVN delivers packets to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The table that it is in.
    pub table: TableId,
    /// The flow's priority.
    pub priority: u16,
    /// OVN's logical datapath (`metadata`).
    pub datapath: u64,
    /// OVN's logical output port (`reg15`).
    pub outport: u32,
    /// The port that gets the packet.
    pub ofport: OfPort,
    /// Whether the packet is rewritten on its last step: a nested container's gets a VLAN tag.
    pub rewrites: bool,
}

impl Delivery {
    /// What `flow` delivers, if it is a delivery flow of OVN's.
    #[must_use]
    pub fn of(flow: &Flow) -> Option<Self> {
        if flow.cookie.is_ours() || flow.key.matching.fields().len() != 2 {
            return None;
        }
        let Place { table, priority, datapath, outport } = Place::of(&flow.key)?;
        let ofport = flow.actions().find_map(|action| match action {
            Action::Output { port, .. } if port.is_physical() => Some(*port),
            _ => None,
        })?;
        Some(Self {
            table,
            priority,
            datapath,
            outport,
            ofport,
            rewrites: flow.actions().count() > 1,
        })
    }

    /// The fields that select the delivered packets.
    pub(crate) fn fields(&self) -> [MatchField; 2] {
        [
            MatchField::exact(OUTPORT, self.outport.into()),
            MatchField::exact(Field::METADATA, self.datapath.into()),
        ]
    }

    fn place(&self) -> Place {
        Place {
            table: self.table,
            priority: self.priority,
            datapath: self.datapath,
            outport: self.outport,
        }
    }
}

/// What tells a delivery flow from the others: its [`FlowKey`], made small.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place {
    table: TableId,
    priority: u16,
    datapath: u64,
    outport: u32,
}

impl Place {
    fn of(key: &FlowKey) -> Option<Self> {
        Some(Self {
            table: key.table,
            priority: key.priority,
            datapath: u64::try_from(key.matching.exact(Field::METADATA)?).ok()?,
            outport: u32::try_from(key.matching.exact(OUTPORT)?).ok()?,
        })
    }
}

/// The delivery flows that are in the switch, by the port that they deliver to.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    by_port: HashMap<OfPort, Vec<Delivery>>,
    by_place: HashMap<Place, OfPort>,
}

impl Deliveries {
    /// Takes in a flow that is in the switch now; returns whether that changed anything. Beyond 262,144 deliveries no more
    /// are kept.
    pub fn insert(&mut self, flow: &Flow) -> bool {
        let Some(delivery) = Delivery::of(flow) else { return self.remove(&flow.key) };
        let known = self.by_place.get(&delivery.place()).and_then(|port| self.by_port.get(port));
        if known.is_some_and(|deliveries| deliveries.contains(&delivery)) {
            return false;
        }
        self.forget(delivery.place());
        self.add(delivery)
    }

    /// Takes note that the flow with this key is gone; returns whether that changed anything.
    pub fn remove(&mut self, key: &FlowKey) -> bool {
        Place::of(key).is_some_and(|place| self.forget(place))
    }

    /// Takes in all deliveries of a table; those that it had before and that are not among them are gone.
    pub fn replace_table(&mut self, table: TableId, deliveries: Self) {
        let gone: Vec<_> =
            self.by_place.keys().filter(|place| place.table == table).copied().collect();
        for place in gone {
            self.forget(place);
        }
        for delivery in deliveries.by_port.into_values().flatten() {
            if delivery.table == table {
                self.add(delivery);
            }
        }
    }

    /// The flows that deliver to `port`.
    #[must_use]
    pub fn to(&self, port: OfPort) -> &[Delivery] {
        self.by_port.get(&port).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, delivery: Delivery) -> bool {
        let room = self.by_place.len() < MOST;
        if room {
            self.by_place.insert(delivery.place(), delivery.ofport);
            self.by_port.entry(delivery.ofport).or_default().push(delivery);
        }
        room
    }

    fn forget(&mut self, place: Place) -> bool {
        let Some(port) = self.by_place.remove(&place) else { return false };
        if let Some(deliveries) = self.by_port.get_mut(&port) {
            deliveries.retain(|delivery| delivery.place() != place);
            if deliveries.is_empty() {
                self.by_port.remove(&port);
            }
        }
        true
    }
}
