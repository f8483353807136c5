//! `OFPMP_FLOW_MONITOR`: the switch tells about every change of its flows (OpenFlow 1.5.1, 7.3.5.18); OVS has it from 3.0.

use bitflags::bitflags;
use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader, set_length};
use super::flow_stats::entry;
use super::numbers::flow_event;
use super::{instruction, oxm};

use super::{GROUP_ANY, RemovedReason, Timeouts};
use crate::model::{Cookie, Flow, FlowKey, Match, OfPort, TableId};

/// `OFPFMC_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowMonitorCommand {
    /// Begins to monitor.
    Add = 0,
    /// Changes what is monitored.
    Modify = 1,
    /// Ends it.
    Delete = 2,
}

bitflags! {
    /// `OFPFMF_*`: what to tell, and how much of it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MonitorFlags: u16 {
        /// The flows that are there when the monitor begins.
        const INITIAL = 1 << 0;
        /// Flows as they are added.
        const ADD = 1 << 1;
        /// Flows as they go.
        const REMOVED = 1 << 2;
        /// Flows as they change.
        const MODIFY = 1 << 3;
        /// With their instructions.
        const INSTRUCTIONS = 1 << 4;
        /// One's own changes in full, not as [`FlowUpdate::Abbrev`].
        const NO_ABBREV = 1 << 5;
        /// Only one's own changes.
        const ONLY_OWN = 1 << 6;
        const _ = !0;
    }
}

/// `struct ofp_flow_monitor_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMonitorRequest {
    /// The monitor's number, of the controller's choice.
    pub monitor_id: u32,
    /// What to do with it.
    pub command: FlowMonitorCommand,
    /// What it is to tell.
    pub flags: MonitorFlags,
    /// About flows of this table, or of [`TableId::ALL`].
    pub table: TableId,
    /// About flows that output to this port, unless [`OfPort::ANY`].
    pub out_port: OfPort,
    /// About flows that send to this group, unless [`GROUP_ANY`].
    pub out_group: u32,
    /// About flows that are as specific as this or more.
    pub matching: Match,
}

impl FlowMonitorRequest {
    /// Begins to monitor all flows under this number.
    #[must_use]
    pub fn add(monitor_id: u32, flags: MonitorFlags) -> Self {
        Self {
            monitor_id,
            command: FlowMonitorCommand::Add,
            flags,
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            matching: Match::default(),
        }
    }

    /// Ends the monitor of this number.
    #[must_use]
    pub fn delete(monitor_id: u32) -> Self {
        Self { command: FlowMonitorCommand::Delete, ..Self::add(monitor_id, MonitorFlags::empty()) }
    }
}

/// `struct ofp_flow_update_*`: what happened to a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowUpdate {
    /// The flow was there when the monitor began.
    Initial {
        /// The flow; without instructions unless [`MonitorFlags::INSTRUCTIONS`].
        flow: Flow,
        /// When it goes by itself.
        timeouts: Timeouts,
    },
    /// The flow was added.
    Added {
        /// The flow; without instructions unless [`MonitorFlags::INSTRUCTIONS`].
        flow: Flow,
        /// When it goes by itself.
        timeouts: Timeouts,
    },
    /// The flow's instructions or cookie changed.
    Modified {
        /// The flow; without instructions unless [`MonitorFlags::INSTRUCTIONS`].
        flow: Flow,
        /// When it goes by itself.
        timeouts: Timeouts,
    },
    /// The flow went.
    Removed {
        /// It as it was. OVS tells its instructions too, unlike the specification.
        flow: Flow,
        /// Why it went.
        reason: RemovedReason,
        /// When it would have gone by itself.
        timeouts: Timeouts,
    },
    /// What this connection's own request `xid` asked for was done.
    Abbrev {
        /// Its transaction number.
        xid: u32,
    },
    /// The switch tells no more for want of buffer space.
    Paused,
    /// It tells again: everything may have changed since [`FlowUpdate::Paused`].
    Resumed,
}

impl FlowMonitorRequest {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let monitor_id = reader.within("flow monitor request").u32()?;
        let out_port = OfPort(reader.u32()?);
        let out_group = reader.u32()?;
        let flags = MonitorFlags::from_bits_retain(reader.u16()?);
        let table = TableId(reader.u8()?);
        let command = match reader.u8()? {
            0 => FlowMonitorCommand::Add,
            1 => FlowMonitorCommand::Modify,
            2 => FlowMonitorCommand::Delete,
            other => return Err(reader.error(Problem::Value(other.into()))),
        };
        let matching = oxm::decode_match(reader)?;
        Ok(Self { monitor_id, command, flags, table, out_port, out_group, matching })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u32(self.monitor_id);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_u16(self.flags.bits());
        out.put_u8(self.table.0);
        out.put_u8(self.command as u8);
        oxm::encode_match(&self.matching, out)
    }
}

impl FlowUpdate {
    /// One update, whose length field says where it ends.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entry = entry(reader, "flow update")?;
        let event = entry.u16()?;
        match event {
            flow_event::INITIAL..=flow_event::MODIFIED => Self::decode_full(event, entry),
            flow_event::ABBREV => {
                let xid = entry.u32()?;
                entry.finish()?;
                Ok(Self::Abbrev { xid })
            }
            flow_event::PAUSED | flow_event::RESUMED => {
                entry.skip(4)?;
                entry.finish()?;
                Ok(if event == flow_event::PAUSED { Self::Paused } else { Self::Resumed })
            }
            _ => Err(entry.error(Problem::Value(event.into()))),
        }
    }

    fn decode_full(event: u16, mut entry: Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(entry.u8()?);
        let reason = entry.u8()?.into();
        let timeouts = Timeouts::decode(&mut entry)?;
        let priority = entry.u16()?;
        entry.skip(4)?;
        let cookie = Cookie(entry.u64()?);
        let key = FlowKey { table, priority, matching: oxm::decode_match(&mut entry)? };
        let flow = Flow { key, cookie, instructions: instruction::decode_list(entry)?.into() };
        Ok(match event {
            flow_event::INITIAL => Self::Initial { flow, timeouts },
            flow_event::ADDED => Self::Added { flow, timeouts },
            flow_event::REMOVED => Self::Removed { flow, reason, timeouts },
            _ => Self::Modified { flow, timeouts },
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        let full = |out: &mut BytesMut, event, flow: &Flow, reason: u8, timeouts: &Timeouts| {
            out.put_u16(0);
            out.put_u16(event);
            out.put_u8(flow.key.table.0);
            out.put_u8(reason);
            timeouts.encode(out);
            out.put_u16(flow.key.priority);
            out.put_u32(0);
            out.put_u64(flow.cookie.0);
            oxm::encode_match(&flow.key.matching, out)?;
            instruction::encode_list(&flow.instructions, out)
        };
        let short = |out: &mut BytesMut, event, word| {
            out.put_u16(0);
            out.put_u16(event);
            out.put_u32(word);
        };
        match self {
            Self::Initial { flow, timeouts } => full(out, flow_event::INITIAL, flow, 0, timeouts)?,
            Self::Added { flow, timeouts } => full(out, flow_event::ADDED, flow, 0, timeouts)?,
            Self::Modified { flow, timeouts } => {
                full(out, flow_event::MODIFIED, flow, 0, timeouts)?;
            }
            Self::Removed { flow, reason, timeouts } => {
                full(out, flow_event::REMOVED, flow, (*reason).into(), timeouts)?;
            }
            Self::Abbrev { xid } => short(out, flow_event::ABBREV, *xid),
            Self::Paused => short(out, flow_event::PAUSED, 0),
            Self::Resumed => short(out, flow_event::RESUMED, 0),
        }
        set_length(out, start, out.len() - start, "flow update")
    }
}
