//! Bundles: changes that take effect together or not at all (OpenFlow 1.5.1, 7.3.9).

use bitflags::bitflags;
use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader, set_length};
use super::numbers::message_type;
use super::{Message, VERSION};

/// `OFPBCT_*`: what to do with a bundle, or that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "the specification's names say it")]
pub enum BundleCommand {
    OpenRequest = 0,
    OpenReply = 1,
    CloseRequest = 2,
    CloseReply = 3,
    CommitRequest = 4,
    CommitReply = 5,
    DiscardRequest = 6,
    DiscardReply = 7,
}

impl BundleCommand {
    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::OpenRequest,
            1 => Self::OpenReply,
            2 => Self::CloseRequest,
            3 => Self::CloseReply,
            4 => Self::CommitRequest,
            5 => Self::CommitReply,
            6 => Self::DiscardRequest,
            7 => Self::DiscardReply,
            _ => return None,
        })
    }
}

bitflags! {
    /// `OFPBF_*`: how a bundle is carried out; all its messages must agree.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BundleFlags: u16 {
        /// All or nothing, and no packet sees a half.
        const ATOMIC = 1 << 0;
        /// In the order in which the messages were added.
        const ORDERED = 1 << 1;
        const _ = !0;
    }
}

/// `struct ofp_bundle_ctrl_msg`.
pub(super) fn decode_control(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let bundle_id = reader.u32()?;
    let number = reader.u16()?;
    let command = BundleCommand::from_number(number)
        .ok_or_else(|| reader.error(Problem::Value(number.into())))?;
    let flags = BundleFlags::from_bits_retain(reader.u16()?);
    Ok(Message::BundleControl { bundle_id, command, flags })
}

/// `struct ofp_bundle_add_msg`, with the whole message within: its xid is that of the message around it.
pub(super) fn decode_add(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let bundle_id = reader.u32()?;
    reader.skip(2)?;
    let flags = BundleFlags::from_bits_retain(reader.u16()?);
    reader.within("message in a bundle");
    let version = reader.u8()?;
    if version != VERSION {
        return Err(reader.error(Problem::Value(version.into())));
    }
    let type_code = reader.u8()?;
    if is_bundle(type_code) {
        return Err(reader.error(Problem::Depth(1)));
    }
    let length = usize::from(reader.u16()?);
    let Some(body_length) = length.checked_sub(HEADER_LENGTH) else {
        return Err(reader.error(Problem::Length(length)));
    };
    reader.skip(4)?;
    let at = reader.position();
    let body = reader.take(body_length)?;
    let message = Message::decode(type_code, body)
        .map_err(|error| DecodeError { at: error.at + at, ..error })?;
    Ok(Message::BundleAdd { bundle_id, flags, message: Box::new(message) })
}

pub(super) fn encode_add(
    bundle_id: u32,
    flags: BundleFlags,
    message: &Message,
    xid: u32,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let what = "message in a bundle";
    if is_bundle(message.type_code()) {
        return Err(EncodeError::Depth { what, limit: 1 });
    }
    out.put_u32(bundle_id);
    out.put_u16(0);
    out.put_u16(flags.bits());
    let start = out.len();
    out.put_u8(VERSION);
    out.put_u8(message.type_code());
    out.put_u16(0);
    out.put_u32(xid);
    message.encode(xid, out)?;
    set_length(out, start + 2, out.len() - start, what)
}

const HEADER_LENGTH: usize = 8;

const fn is_bundle(type_code: u8) -> bool {
    matches!(type_code, message_type::BUNDLE_CONTROL | message_type::BUNDLE_ADD_MESSAGE)
}
