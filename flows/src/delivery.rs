//! OVN's delivery flows: where the pipeline hands a packet to a port.
//!
//! The table differs between versions of OVN, so a delivery flow is known by what it does: it looks at nothing but the
//! logical datapath (`metadata`) and the logical output port (`reg15`), and it outputs to a port.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::{Action, Field, Flow, FlowKey, MatchField, OfPort, TableId};

/// The register in which OVN keeps the logical output port.
const OUTPORT: Field = Field::reg(15);

/// The register in which OVN keeps the logical input port; a port has the same number in both.
const INPORT: Field = Field::reg(14);

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
    /// What becomes of the packet on its last step.
    pub last_step: LastStep,
}

/// What a delivery does to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStep {
    /// The port gets it as it is.
    Unchanged,
    /// It gets a VLAN tag, and loses it again for the receivers after this one: a nested container's port, whose packets go
    /// by another Pod's port.
    Tagged {
        /// The tag's Ethernet type.
        ethertype: u16,
        /// `OXM_OF_VLAN_VID` as it is set: the VLAN with the bit that says that there is one.
        vlan: u16,
    },
    /// Anything else.
    Other,
}

impl LastStep {
    fn of(flow: &Flow) -> Self {
        match flow.actions().collect::<Vec<_>>()[..] {
            [Action::Output { .. }] => Self::Unchanged,
            [
                Action::PushVlan(ethertype),
                Action::SetField(MatchField::Typed { field: Field::VLAN_VID, value, mask }),
                Action::Output { .. },
                Action::PopVlan,
            ] if mask.is_none_or(|mask| mask & 0x1fff == 0x1fff) => {
                let vlan = u16::try_from(*value);
                vlan.map_or(Self::Other, |vlan| Self::Tagged { ethertype: *ethertype, vlan })
            }
            _ => Self::Other,
        }
    }
}

impl Delivery {
    /// What `flow` delivers, if it is a delivery flow of OVN's.
    #[must_use]
    pub fn of(flow: &Flow) -> Option<Self> {
        if flow.cookie.is_ours() {
            return None;
        }
        let Place { table, priority, datapath, outport } = Place::of(&flow.key)?;
        let ofport = flow.actions().find_map(|action| match action {
            Action::Output { port, .. } if port.is_physical() => Some(*port),
            _ => None,
        })?;
        Some(Self { table, priority, datapath, outport, ofport, last_step: LastStep::of(flow) })
    }

    /// The fields that select the packets that came from where these are delivered to.
    pub(crate) fn fields_of_sent(&self) -> [MatchField; 2] {
        let [_, datapath] = self.fields();
        [MatchField::exact(INPORT, self.outport.into()), datapath]
    }

    /// The fields that select the delivered packets.
    pub(crate) fn fields(&self) -> [MatchField; 2] {
        [
            MatchField::exact(OUTPORT, self.outport.into()),
            MatchField::exact(Field::METADATA, self.datapath.into()),
        ]
    }
}

/// What tells a delivery flow from the others: its [`FlowKey`], made small. Of those that select the same packets the one
/// with the highest priority comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    table: TableId,
    datapath: u64,
    outport: u32,
    priority: u16,
}

impl Place {
    /// The place of a flow that looks at nothing but the logical datapath and the logical output port.
    fn of(key: &FlowKey) -> Option<Self> {
        (key.matching.fields().len() == 2).then_some(())?;
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
    /// A place without a delivery has a flow that outputs to no port: OVN blocks a port with one that drops, until the
    /// Pod announces itself after a migration (`activation-strategy`).
    by_place: BTreeMap<Place, Option<Delivery>>,
    by_port: HashMap<OfPort, BTreeSet<Place>>,
    /// Ports of which it may be another story now how they are delivered to.
    changed: HashSet<OfPort>,
}

impl Deliveries {
    /// Takes in a flow that is in the switch now. Beyond 262,144 deliveries no more are kept.
    pub fn insert(&mut self, flow: &Flow) {
        let place = Place::of(&flow.key).filter(|_| !flow.cookie.is_ours());
        if let Some(place) = place {
            self.add(place, Delivery::of(flow));
        }
    }

    /// Takes note that the flow with this key is gone.
    pub fn remove(&mut self, key: &FlowKey) {
        if let Some(place) = Place::of(key) {
            self.forget(place);
        }
    }

    /// Takes in all deliveries of a table; those that it had before and that are not among them are gone.
    pub fn replace_table(&mut self, table: TableId, deliveries: Self) {
        let before = self.by_place.keys().filter(|place| place.table == table);
        let gone: Vec<_> =
            before.filter(|place| !deliveries.by_place.contains_key(place)).copied().collect();
        for place in gone {
            self.forget(place);
        }
        for (place, delivery) in deliveries.by_place {
            if place.table == table {
                self.add(place, delivery);
            }
        }
    }

    /// How many there are in each logical datapath, and the last table that has any.
    #[must_use]
    pub fn per_datapath(&self) -> BTreeMap<u64, (u64, TableId)> {
        let mut datapaths = BTreeMap::new();
        for Place { table, datapath, .. } in self.by_place.keys() {
            let (count, last) = datapaths.entry(*datapath).or_insert((0, *table));
            *count += 1;
            *last = *table.max(last);
        }
        datapaths
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_port.is_empty()
    }

    /// The flows that deliver to `port`: one that never applies, as another has the same match and a higher priority, is none.
    pub fn to(&self, port: OfPort) -> impl Iterator<Item = &Delivery> {
        self.places(port).filter_map(|place| match self.first(place) {
            Some((first, Some(delivery))) if first == place => Some(delivery),
            _ => None,
        })
    }

    /// Whether a flow of OVN's would deliver to `port` if another one did not keep its packets from it.
    #[must_use]
    pub fn is_blocked(&self, port: OfPort) -> bool {
        self.places(port).any(|place| matches!(self.first(place), Some((_, None))))
    }

    /// The ports of which [`Self::to`] may say something else than at the last call.
    pub fn take_changed(&mut self) -> HashSet<OfPort> {
        std::mem::take(&mut self.changed)
    }

    /// The places of all flows that output to `port`, whether they apply or not.
    fn places(&self, port: OfPort) -> impl Iterator<Item = Place> {
        self.by_port.get(&port).into_iter().flatten().copied()
    }

    /// Of the flows that select the same packets the one that applies.
    fn first(&self, place: Place) -> Option<(Place, Option<&Delivery>)> {
        self.alike(place).next_back()
    }

    /// The flows that select the same packets; the one with the highest priority is last.
    fn alike(&self, place: Place) -> impl DoubleEndedIterator<Item = (Place, Option<&Delivery>)> {
        let alike = Place { priority: 0, ..place }..=Place { priority: u16::MAX, ..place };
        self.by_place.range(alike).map(|(place, delivery)| (*place, delivery.as_ref()))
    }

    fn add(&mut self, place: Place, delivery: Option<Delivery>) {
        if self.by_place.get(&place) == Some(&delivery) {
            return;
        }
        self.forget(place);
        if self.by_place.len() < MOST {
            if let Some(Delivery { ofport, .. }) = delivery {
                self.by_port.entry(ofport).or_default().insert(place);
            }
            self.by_place.insert(place, delivery);
            self.note(place);
        }
    }

    fn forget(&mut self, place: Place) {
        self.note(place);
        let Some(Some(Delivery { ofport, .. })) = self.by_place.remove(&place) else { return };
        if let Some(places) = self.by_port.get_mut(&ofport) {
            places.remove(&place);
            if places.is_empty() {
                self.by_port.remove(&ofport);
            }
        }
    }

    /// A flow for this place comes or goes: the ports that packets for it go to, or would go to, may be others.
    fn note(&mut self, place: Place) {
        if self.by_place.contains_key(&place) {
            let ports = self.alike(place).filter_map(|(_, delivery)| delivery.map(|to| to.ofport));
            let ports: Vec<_> = ports.collect();
            self.changed.extend(ports);
        }
    }
}
