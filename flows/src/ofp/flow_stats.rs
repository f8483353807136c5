//! `OFPMP_FLOW_DESC` and `OFPMP_FLOW_STATS`: the switch's flows and their counters (OpenFlow 1.5.1, 7.3.5.2 and 7.3.5.3).
//!
//! OVS (3.1 and later) answers the first, counters included, and refuses the second as `OFPBRC_BAD_STAT`.

use std::time::Duration;

use super::{FlowFlags, GROUP_ANY, Timeouts};
use crate::model::{Cookie, Flow, FlowCounters, FlowKey, Match, OfPort, TableId};

/// `struct ofp_flow_stats_request`: which flows to tell about; the default is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFilter {
    /// Those of this table, or of [`TableId::ALL`].
    pub table: TableId,
    /// Those that output to this port, unless [`OfPort::ANY`].
    pub out_port: OfPort,
    /// Those that send to this group, unless [`GROUP_ANY`].
    pub out_group: u32,
    /// Those with this cookie ...
    pub cookie: Cookie,
    /// ... in these bits.
    pub cookie_mask: u64,
    /// Those that are as specific as this or more.
    pub matching: Match,
}

impl Default for FlowFilter {
    fn default() -> Self {
        Self {
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            cookie: Cookie(0),
            cookie_mask: 0,
            matching: Match::default(),
        }
    }
}

/// `struct ofp_stats`: what the switch chose to tell of a flow's statistics, as OXS fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// How long ago the flow was installed.
    pub duration: Option<Duration>,
    /// How long ago it last had a packet.
    pub idle: Option<Duration>,
    /// Packets that it matched.
    pub packets: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// How many flows the figures are of.
    pub flows: Option<u32>,
    /// Fields that this crate has no name for, each with its header.
    pub other: Vec<Box<[u8]>>,
}

impl FlowStats {
    /// The counters; one that the switch did not tell is 0.
    #[must_use]
    pub fn counters(&self) -> FlowCounters {
        FlowCounters {
            packets: self.packets.unwrap_or_default(),
            bytes: self.bytes.unwrap_or_default(),
        }
    }
}

/// `struct ofp_flow_desc`: a flow of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDesc {
    /// The flow.
    pub flow: Flow,
    /// With which flags it was added.
    pub flags: FlowFlags,
    /// When it goes by itself.
    pub timeouts: Timeouts,
    /// How much it is worth keeping when the table is full.
    pub importance: u16,
    /// What it has counted.
    pub stats: FlowStats,
}

/// `struct ofp_flow_stats`: a flow's statistics without its instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatsEntry {
    /// Which flow.
    pub key: FlowKey,
    /// Why the switch tells, `OFPFSR_*`: 0 because it was asked, 1 because a trigger was reached.
    pub reason: u8,
    /// What it has counted.
    pub stats: FlowStats,
}
