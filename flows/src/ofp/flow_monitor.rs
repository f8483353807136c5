//! `OFPMP_FLOW_MONITOR`: the switch tells about every change of its flows (OpenFlow 1.5.1, 7.3.5.18); OVS has it from 3.0.

use bitflags::bitflags;

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
        /// Which flow.
        key: FlowKey,
        /// Its cookie.
        cookie: Cookie,
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
