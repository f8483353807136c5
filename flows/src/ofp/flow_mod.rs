//! `OFPT_FLOW_MOD`: adds, changes and deletes flows (OpenFlow 1.5.1, 7.3.4.2).

use bitflags::bitflags;
use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader};
use super::{instruction, oxm};

use crate::model::{Cookie, Flow, FlowKey, Instruction, Match, OfPort, TableId};

/// `OFPG_ANY`: no condition on the group that a flow sends to.
pub const GROUP_ANY: u32 = 0xffff_ffff;

/// `OFPFC_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowModCommand {
    /// Adds the flow or replaces the one with the same key.
    Add = 0,
    /// Changes the instructions of all flows that are as specific as the match or more.
    Modify = 1,
    /// Changes the instructions of the flow with the same key.
    ModifyStrict = 2,
    /// Deletes all flows that are as specific as the match or more.
    Delete = 3,
    /// Deletes the flow with the same key.
    DeleteStrict = 4,
}

bitflags! {
    /// `OFPFF_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FlowFlags: u16 {
        /// Send [`super::FlowRemoved`] with the last counters when the flow goes.
        const SEND_FLOW_REM = 1 << 0;
        /// Refuse to add a flow that overlaps another of the same priority.
        const CHECK_OVERLAP = 1 << 1;
        /// Begin to count at zero again, also when the flow was there.
        const RESET_COUNTS = 1 << 2;
        /// Packets need not be counted.
        const NO_PKT_COUNTS = 1 << 3;
        /// Bytes need not be counted.
        const NO_BYT_COUNTS = 1 << 4;
        const _ = !0;
    }
}

/// When a flow goes by itself, in seconds; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// After so long without a packet.
    pub idle: u16,
    /// After so long in any case.
    pub hard: u16,
}

/// `struct ofp_flow_mod`, without a buffered packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// The flow to add; for the other commands, which flows, where the cookie counts as `cookie_mask` says.
    pub flow: Flow,
    /// Which bits of the cookie must match, for other commands than add.
    pub cookie_mask: u64,
    /// For deletions: only flows that output to this port, unless [`OfPort::ANY`].
    pub out_port: OfPort,
    /// For deletions: only flows that send to this group, unless [`GROUP_ANY`].
    pub out_group: u32,
    /// How to treat the flow.
    pub flags: FlowFlags,
    /// When it goes by itself.
    pub timeouts: Timeouts,
    /// Which flows to keep when a table is full; the higher, the longer.
    pub importance: u16,
}

impl FlowModCommand {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::ModifyStrict,
            3 => Self::Delete,
            4 => Self::DeleteStrict,
            _ => return None,
        })
    }
}

/// `OFP_NO_BUFFER`: the message is not about a packet that the switch keeps.
const NO_BUFFER: u32 = 0xffff_ffff;

impl FlowMod {
    /// Adds `flow`, or replaces the one with the same key.
    #[must_use]
    pub fn add(flow: Flow) -> Self {
        Self {
            command: FlowModCommand::Add,
            flow,
            cookie_mask: 0,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            flags: FlowFlags::empty(),
            timeouts: Timeouts::default(),
            importance: 0,
        }
    }

    /// Deletes the flow with this key if its cookie is `cookie` in the bits of `cookie_mask`.
    #[must_use]
    pub fn delete_strict(key: FlowKey, cookie: Cookie, cookie_mask: u64) -> Self {
        Self {
            command: FlowModCommand::DeleteStrict,
            cookie_mask,
            ..Self::add(Flow { key, cookie, instructions: Instruction::apply(vec![]) })
        }
    }

    /// Deletes the flows of all tables whose cookie is `cookie` in the bits of `cookie_mask`.
    #[must_use]
    pub fn delete_by_cookie(cookie: Cookie, cookie_mask: u64) -> Self {
        let key = FlowKey { table: TableId::ALL, priority: 0, matching: Match::default() };
        Self { command: FlowModCommand::Delete, ..Self::delete_strict(key, cookie, cookie_mask) }
    }

    /// The same with `flags`.
    #[must_use]
    pub fn with_flags(self, flags: FlowFlags) -> Self {
        Self { flags, ..self }
    }
}

impl Timeouts {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { idle: reader.u16()?, hard: reader.u16()? })
    }

    pub(super) fn encode(self, out: &mut BytesMut) {
        out.put_u16(self.idle);
        out.put_u16(self.hard);
    }
}

impl FlowMod {
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let cookie = Cookie(reader.u64()?);
        let cookie_mask = reader.u64()?;
        let table = TableId(reader.u8()?);
        let number = reader.u8()?;
        let command = FlowModCommand::from_number(number)
            .ok_or_else(|| reader.error(Problem::Value(number.into())))?;
        let timeouts = Timeouts::decode(&mut reader)?;
        let priority = reader.u16()?;
        let buffer = reader.u32()?;
        if buffer != NO_BUFFER {
            return Err(reader.error(Problem::Value(buffer.into())));
        }
        let out_port = OfPort(reader.u32()?);
        let out_group = reader.u32()?;
        let flags = FlowFlags::from_bits_retain(reader.u16()?);
        let importance = reader.u16()?;
        let matching = oxm::decode_match(&mut reader)?;
        let instructions = instruction::decode_list(reader)?.into();
        let flow = Flow { key: FlowKey { table, priority, matching }, cookie, instructions };
        Ok(Self { command, flow, cookie_mask, out_port, out_group, flags, timeouts, importance })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u64(self.flow.cookie.0);
        out.put_u64(self.cookie_mask);
        out.put_u8(self.flow.key.table.0);
        out.put_u8(self.command as u8);
        self.timeouts.encode(out);
        out.put_u16(self.flow.key.priority);
        out.put_u32(NO_BUFFER);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_u16(self.flags.bits());
        out.put_u16(self.importance);
        oxm::encode_match(&self.flow.key.matching, out)?;
        instruction::encode_list(&self.flow.instructions, out)
    }
}
