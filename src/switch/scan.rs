//! A look at everybody's flows: who else uses the bits that we mark frames with?

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use flows::{
    delivery::Delivery,
    flood::Floods,
    marker::{self, MarkerBits},
    model::{Flow, FlowKey, OfPort, TableId},
    plan::COPY_PRIORITY,
};

use super::rivals::Rivals;

/// The most pairs of a port and a table that are kept: who tells of more is not honest.
const MOST: usize = 65_536;

/// Something of others that is in our way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The bits to mark frames with are not free.
    #[error("{}", taken(*wanted, *used))]
    Marker {
        /// Those that were asked for; `None` is any two.
        wanted: Option<MarkerBits>,
        /// All bits of the register that others match on or set.
        used: u32,
    },
    /// A flow as high as ours, which may win over them or lose.
    #[error(
        "table {} has a foreign flow of priority {} ({}), where ours must be alone: remove it or give it a priority below {COPY_PRIORITY}",
        .0.table, .0.priority, .0.matching
    )]
    Priority(FlowKey),
}

fn taken(wanted: Option<MarkerBits>, used: u32) -> String {
    let register = MarkerBits::REGISTER;
    match wanted {
        Some(wanted) => format!(
            "other flows use {wanted} (of that register they use {used:#010x}): choose others with --marker-bits, or auto"
        ),
        None => format!(
            "other flows use so much of reg{register} ({used:#010x}) that no two bits are free to mark frames with"
        ),
    }
}

#[derive(Default)]
pub(super) struct Scan {
    running: bool,
    found: Found,
}

/// What a scan found.
#[derive(Default)]
pub(super) struct Found {
    used: u32,
    rivals: Rivals,
    /// Where flows have the form of OVN's deliveries, by the port that they output to.
    outputs: BTreeSet<(OfPort, TableId)>,
    /// How far OVN's floods go, and how many deliveries each logical datapath had then.
    pub(super) floods: Floods,
    pub(super) deliveries: BTreeMap<(u64, TableId), u64>,
}

impl Scan {
    /// Whether a scan is to be asked for.
    pub(super) fn start(&mut self) -> bool {
        !mem::replace(&mut self.running, true)
    }

    /// Takes in a foreign flow.
    pub(super) fn look_at(&mut self, flow: &Flow) {
        self.found.used |= marker::register_bits_used(flow, MarkerBits::REGISTER);
        self.found.rivals.insert(flow);
        self.found.floods.look_at(flow);
        if let Some(Delivery { ofport, table, datapath, .. }) = Delivery::of(flow)
            && self.found.outputs.len() < MOST
        {
            self.found.outputs.insert((ofport, table));
            *self.found.deliveries.entry((datapath, table)).or_default() += 1;
        }
    }

    /// Somebody else installed or changed a flow. A scan under way may have read its place already.
    pub(super) fn note_rival(&mut self, found: &mut Found, flow: &Flow) {
        for rivals in [&mut self.found.rivals, &mut found.rivals] {
            rivals.insert(flow);
        }
    }

    /// Somebody else's flow is gone.
    pub(super) fn forget_rival(&mut self, found: &mut Found, key: &FlowKey) {
        for rivals in [&mut self.found.rivals, &mut found.rivals] {
            rivals.remove(key);
        }
    }

    /// All flows have been read.
    pub(super) fn finish(&mut self) -> Found {
        self.running = false;
        mem::take(&mut self.found)
    }

    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }
}

impl Found {
    /// The bits to use, if they are free.
    ///
    /// # Errors
    /// They aren't.
    pub(super) fn marker(&self, wanted: Option<MarkerBits>) -> Result<MarkerBits, Conflict> {
        let used = self.used;
        let free = match wanted {
            None => marker::choose(used),
            Some(bits) => {
                (used & (bits.copied_mask() | bits.delivered_mask()) == 0).then_some(bits)
            }
        };
        free.ok_or(Conflict::Marker { wanted, used })
    }

    /// The tables in which there was a delivery to `port`.
    pub(super) fn outputs(&self, port: OfPort) -> impl Iterator<Item = TableId> {
        let tables = (port, TableId(0))..=(port, TableId::ALL);
        self.outputs.range(tables).map(|(_, table)| *table)
    }

    /// Flows of `tables` as high as ours.
    pub(super) fn high(&self, tables: impl IntoIterator<Item = TableId>) -> Vec<Conflict> {
        self.rivals.of(tables).into_iter().map(Conflict::Priority).collect()
    }
}
