//! What a flow does with its packets.

use std::sync::Arc;

use super::{Field, MatchField, OfPort, TableId};

/// One action of an action list. What this crate has no name for is [`Action::Raw`], and encoded as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `OFPAT_OUTPUT`: sends a copy of the packet as it is now to `port`.
    Output {
        /// Where to.
        port: OfPort,
        /// Bytes of the packet that a controller gets; OVS ignores it for other ports and reports 0.
        max_len: u16,
    },
    /// `NXAST_OUTPUT_TRUNC`: sends the packet's first `max_len` bytes (at least 14) to `port`.
    OutputTruncated {
        /// Where to.
        port: OfPort,
        /// Snap length in bytes.
        max_len: u32,
    },
    /// `OFPAT_GROUP`: hands the packet to a group.
    Group(u32),
    /// `OFPAT_METER`: applies a meter, which may drop the packet.
    Meter(u32),
    /// `OFPAT_PUSH_VLAN`: puts a VLAN tag of this Ethernet type before what is there.
    PushVlan(u16),
    /// `OFPAT_POP_VLAN`: takes the outermost VLAN tag off.
    PopVlan,
    /// `OFPAT_SET_FIELD`: sets the masked bits of a field.
    SetField(MatchField),
    /// `NXAST_REG_LOAD`: sets bits `offset..offset + bits` of a field.
    RegLoad {
        /// Field to set.
        field: Field,
        /// Lowest bit, 0 to 1023.
        offset: u16,
        /// How many bits, 1 to 64.
        bits: u16,
        /// What to set them to.
        value: u64,
    },
    /// `OFPAT_COPY_FIELD` (ovs-ofctl's `move`): copies bits of one field into another.
    CopyField {
        /// How many bits.
        bits: u16,
        /// Where from.
        source: Field,
        /// Lowest bit there.
        source_offset: u16,
        /// Where to.
        destination: Field,
        /// Lowest bit there.
        destination_offset: u16,
    },
    /// `NXAST_RESUBMIT_TABLE`: looks the packet up again, then comes back to the rest of the list.
    Resubmit {
        /// What the lookup takes for the packet's port; [`OfPort::IN_PORT`] leaves it.
        in_port: OfPort,
        /// The table to look in; [`TableId::ALL`] is the current one.
        table: TableId,
    },
    /// `NXAST_CLONE`: runs actions on a copy of the packet, which leave no trace on it.
    Clone(Vec<Self>),
    /// Any other action: the whole of it with type and length, a multiple of 8 bytes.
    Raw(Box<[u8]>),
}

impl Action {
    /// Sends the whole packet to `port`.
    #[must_use]
    pub const fn output(port: OfPort) -> Self {
        Self::Output { port, max_len: 0 }
    }

    /// Looks the packet up again in `table`.
    #[must_use]
    pub const fn resubmit(table: TableId) -> Self {
        Self::Resubmit { in_port: OfPort::IN_PORT, table }
    }
}

/// One instruction of a flow (OpenFlow 1.5.1, 7.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `OFPIT_APPLY_ACTIONS`: runs the list at once; the only one that OVN and this project use.
    ApplyActions(Vec<Action>),
    /// `OFPIT_WRITE_ACTIONS`: adds to the action set that runs at the pipeline's end.
    WriteActions(Vec<Action>),
    /// `OFPIT_GOTO_TABLE`: goes on in a later table.
    GotoTable(TableId),
    /// Any other instruction: the whole of it with type and length.
    Raw(Box<[u8]>),
}

impl Instruction {
    /// The instructions of a flow that applies `actions` and nothing else; none drop the packet.
    #[must_use]
    pub fn apply(actions: Vec<Action>) -> Arc<[Self]> {
        if actions.is_empty() { Arc::new([]) } else { Arc::new([Self::ApplyActions(actions)]) }
    }
}
