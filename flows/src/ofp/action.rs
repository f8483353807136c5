//! Actions (OpenFlow 1.5.1, 7.2.6) and the Nicira extensions (OVS `lib/ofp-actions.c`).
//!
//! Every action begins with its type and its length in bytes, a multiple of 8; one of Nicira's goes on with the number
//! of Nicira and a subtype.

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader, padding, put_padding, set_length};
use super::numbers::{action_type, experimenter, field_class, nicira_action};
use super::oxm;
use crate::model::{Action, OfPort, TableId};

/// How deep actions may be within each other: a clone in a clone and so on.
pub const MAX_DEPTH: usize = 16;

const WHAT: &str = "action";

/// All actions up to the end of `reader`; `depth` of them are around.
pub(crate) fn decode_list(
    mut reader: Reader<'_>,
    depth: usize,
) -> Result<Vec<Action>, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(reader.error(Problem::Depth(MAX_DEPTH)));
    }
    let mut actions = Vec::new();
    while !reader.is_empty() {
        let (kind, whole, mut body) = reader.element(WHAT)?;
        let action = match decode_known(kind, &mut body, depth)? {
            Some(action) => {
                body.finish()?;
                action
            }
            None => Action::Raw(whole.into()),
        };
        actions.push(action);
    }
    Ok(actions)
}

/// What follows an action's type and length; `None` for what has no name here.
fn decode_known(
    kind: u16,
    body: &mut Reader<'_>,
    depth: usize,
) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match kind {
        action_type::OUTPUT => {
            body.within("output action");
            let action = Action::Output { port: OfPort(body.u32()?), max_len: body.u16()? };
            body.skip(6)?;
            action
        }
        action_type::GROUP => Action::Group(body.within("group action").u32()?),
        action_type::METER => Action::Meter(body.within("meter action").u32()?),
        action_type::PUSH_VLAN => {
            let ethertype = body.within("push_vlan action").u16()?;
            body.skip(2)?;
            Action::PushVlan(ethertype)
        }
        action_type::POP_VLAN => {
            body.within("pop_vlan action").skip(4)?;
            Action::PopVlan
        }
        action_type::SET_FIELD => {
            let before = body.len();
            let field = oxm::decode_field(body.within("set_field action"))?;
            // Type, length and field are filled up to a multiple of 8.
            body.skip(padding(4 + before - body.len()))?;
            Action::SetField(field)
        }
        action_type::COPY_FIELD => return decode_copy_field(body.within("copy_field action")),
        action_type::EXPERIMENTER => {
            body.within("experimenter action");
            if body.u32()? != experimenter::NICIRA {
                return Ok(None);
            }
            return decode_nicira(body, depth);
        }
        _ => return Ok(None),
    }))
}

fn decode_copy_field(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let bits = body.u16()?;
    let source_offset = body.u16()?;
    let destination_offset = body.u16()?;
    body.skip(2)?;
    let before = body.len();
    let (source, source_masked) = oxm::decode_header(body)?;
    let (destination, destination_masked) = oxm::decode_header(body)?;
    body.skip(padding(12 + before - body.len()))?;
    // A mask makes no sense here; nobody sends it, and the model cannot say it.
    Ok((!source_masked && !destination_masked).then_some(Action::CopyField {
        bits,
        source,
        source_offset,
        destination,
        destination_offset,
    }))
}

fn decode_nicira(body: &mut Reader<'_>, depth: usize) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match body.u16()? {
        nicira_action::RESUBMIT_TABLE => {
            let in_port = port_from_16_bits(body.within("resubmit action").u16()?);
            let table = TableId(body.u8()?);
            body.skip(3)?;
            Action::Resubmit { in_port, table }
        }
        nicira_action::OUTPUT_TRUNC => {
            let port = port_from_16_bits(body.within("output_trunc action").u16()?);
            Action::OutputTruncated { port, max_len: body.u32()? }
        }
        nicira_action::REG_LOAD => {
            let place = body.within("reg_load action").u16()?;
            if body.peek().u16()? == field_class::EXPERIMENTER {
                return Ok(None);
            }
            let (field, masked) = oxm::decode_header(body)?;
            let value = body.u64()?;
            if masked {
                return Ok(None);
            }
            Action::RegLoad { field, offset: place >> 6, bits: (place & 0x3f) + 1, value }
        }
        nicira_action::CLONE => {
            body.within("clone action").skip(6)?;
            let length = body.len();
            Action::Clone(decode_list(body.part(length, WHAT)?, depth + 1)?)
        }
        _ => return Ok(None),
    }))
}

/// Appends the actions; `depth` of them are around.
pub(crate) fn encode_list(
    actions: &[Action],
    depth: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::Depth { what: WHAT, limit: MAX_DEPTH });
    }
    actions.iter().try_for_each(|action| encode(action, depth, out))
}

fn encode(action: &Action, depth: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    let begin = |out: &mut BytesMut, kind: u16| {
        out.put_u16(kind);
        out.put_u16(0);
    };
    let begin_nicira = |out: &mut BytesMut, subtype: u16| {
        begin(out, action_type::EXPERIMENTER);
        out.put_u32(experimenter::NICIRA);
        out.put_u16(subtype);
    };
    match action {
        Action::Output { port, max_len } => {
            begin(out, action_type::OUTPUT);
            out.put_u32(port.0);
            out.put_u16(*max_len);
            out.put_bytes(0, 6);
        }
        Action::Group(group) => {
            begin(out, action_type::GROUP);
            out.put_u32(*group);
        }
        Action::Meter(meter) => {
            begin(out, action_type::METER);
            out.put_u32(*meter);
        }
        Action::PushVlan(ethertype) => {
            begin(out, action_type::PUSH_VLAN);
            out.put_u16(*ethertype);
        }
        Action::PopVlan => begin(out, action_type::POP_VLAN),
        Action::SetField(field) => {
            begin(out, action_type::SET_FIELD);
            oxm::encode_field(field, out)?;
        }
        Action::CopyField { bits, source, source_offset, destination, destination_offset } => {
            begin(out, action_type::COPY_FIELD);
            out.put_u16(*bits);
            out.put_u16(*source_offset);
            out.put_u16(*destination_offset);
            out.put_u16(0);
            oxm::encode_header(*source, false, out)?;
            oxm::encode_header(*destination, false, out)?;
        }
        Action::Resubmit { in_port, table } => {
            begin_nicira(out, nicira_action::RESUBMIT_TABLE);
            out.put_u16(port_to_16_bits(*in_port)?);
            out.put_u8(table.0);
            out.put_bytes(0, 3);
        }
        Action::OutputTruncated { port, max_len } => {
            begin_nicira(out, nicira_action::OUTPUT_TRUNC);
            out.put_u16(port_to_16_bits(*port)?);
            out.put_u32(*max_len);
        }
        Action::RegLoad { field, offset, bits, value } => {
            let what = "reg_load action";
            if *offset > 0x3ff {
                return Err(EncodeError::Value { what, value: (*offset).into() });
            }
            if !(1..=64).contains(bits) {
                return Err(EncodeError::Value { what, value: (*bits).into() });
            }
            if field.class == field_class::EXPERIMENTER {
                return Err(EncodeError::Value { what, value: field.class.into() });
            }
            begin_nicira(out, nicira_action::REG_LOAD);
            out.put_u16(offset << 6 | (bits - 1));
            oxm::encode_header(*field, false, out)?;
            out.put_u64(*value);
        }
        Action::Clone(actions) => {
            begin_nicira(out, nicira_action::CLONE);
            out.put_bytes(0, 6);
            encode_list(actions, depth + 1, out)?;
        }
        Action::Raw(whole) => {
            let length =
                whole.get(2..4).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]));
            if length != Some(whole.len()) || whole.len() < 8 || padding(whole.len()) != 0 {
                return Err(EncodeError::NotWhole { what: WHAT, length: whole.len() });
            }
            out.put_slice(whole);
            return Ok(());
        }
    }
    put_padding(out, start);
    set_length(out, start + 2, out.len() - start, WHAT)
}

/// Ports of Nicira's actions have 16 bits as in OpenFlow 1.0: the reserved ones are 0xff00 and up.
const fn port_from_16_bits(number: u16) -> OfPort {
    OfPort(if number >= 0xff00 { 0xffff_0000 | number as u32 } else { number as u32 })
}

fn port_to_16_bits(port: OfPort) -> Result<u16, EncodeError> {
    match port.0 {
        0..=0xfeff | 0xffff_ff00.. => Ok((port.0 & 0xffff) as u16),
        number => Err(EncodeError::Value { what: "16-bit port number", value: number.into() }),
    }
}
