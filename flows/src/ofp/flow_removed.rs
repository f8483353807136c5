//! `OFPT_FLOW_REMOVED`: a flow went, with its last counters (OpenFlow 1.5.1, 7.4.2).

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Reader};
use super::oxm;
use super::{FlowStats, Timeouts};
use crate::model::{Cookie, FlowKey, TableId};

/// `OFPRR_*`: why a flow went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedReason {
    /// Too long without a packet.
    IdleTimeout,
    /// Its time was over.
    HardTimeout,
    /// Somebody deleted it.
    Delete,
    /// Somebody deleted the group that it sent to.
    GroupDelete,
    /// Somebody deleted the meter that it applied.
    MeterDelete,
    /// The switch made room.
    Eviction,
    /// A number that this crate has no name for.
    Other(u8),
}

impl From<u8> for RemovedReason {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::IdleTimeout,
            1 => Self::HardTimeout,
            2 => Self::Delete,
            3 => Self::GroupDelete,
            4 => Self::MeterDelete,
            5 => Self::Eviction,
            other => Self::Other(other),
        }
    }
}

impl From<RemovedReason> for u8 {
    fn from(reason: RemovedReason) -> Self {
        match reason {
            RemovedReason::IdleTimeout => 0,
            RemovedReason::HardTimeout => 1,
            RemovedReason::Delete => 2,
            RemovedReason::GroupDelete => 3,
            RemovedReason::MeterDelete => 4,
            RemovedReason::Eviction => 5,
            RemovedReason::Other(other) => other,
        }
    }
}

/// `struct ofp_flow_removed`; sent for flows with [`super::FlowFlags::SEND_FLOW_REM`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Which flow.
    pub key: FlowKey,
    /// Its cookie.
    pub cookie: Cookie,
    /// Why it went.
    pub reason: RemovedReason,
    /// What it was to last.
    pub timeouts: Timeouts,
    /// What it has counted.
    pub stats: FlowStats,
}

impl FlowRemoved {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(reader.u8()?);
        let reason = reader.u8()?.into();
        let priority = reader.u16()?;
        let timeouts = Timeouts::decode(reader)?;
        let cookie = Cookie(reader.u64()?);
        let matching = oxm::decode_match(reader)?;
        let stats = FlowStats::decode(reader)?;
        Ok(Self { key: FlowKey { table, priority, matching }, cookie, reason, timeouts, stats })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(self.key.table.0);
        out.put_u8(self.reason.into());
        out.put_u16(self.key.priority);
        self.timeouts.encode(out);
        out.put_u64(self.cookie.0);
        oxm::encode_match(&self.key.matching, out)?;
        self.stats.encode(out)
    }
}
