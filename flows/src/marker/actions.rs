//! The bits of a register that actions set or copy, in raw ones of Nicira's too (OVS `lib/ofp-actions.c`).

use super::{range, typed, window};
use crate::model::{Action, Field, Instruction};
use crate::ofp::numbers::{action_type, experimenter, nicira_action};
use crate::ofp::{DecodeError, Reader, decode_actions, decode_field, decode_field_name};

/// Actions within actions deeper than this are taken to use everything.
const MAX_DEPTH: usize = crate::ofp::MAX_DEPTH;

pub(super) fn of_instructions(instructions: &[Instruction], register: u8) -> u32 {
    instructions.iter().fold(0, |used, instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
            used | of_list(actions, register, 0)
        }
        Instruction::GotoTable(_) | Instruction::Raw(_) => used,
    })
}

fn of_list(actions: &[Action], register: u8, depth: usize) -> u32 {
    if depth > MAX_DEPTH {
        return u32::MAX;
    }
    actions.iter().fold(0, |used, action| used | of_action(action, register, depth))
}

fn of_action(action: &Action, register: u8, depth: usize) -> u32 {
    match action {
        Action::SetField(field) => typed(field).map_or(0, |(field, value, mask)| {
            set(window(field, mask, register), window(field, value, register))
        }),
        Action::RegLoad { field, offset, bits, value } => {
            let (offset, bits) = (u32::from(*offset), u32::from(*bits));
            let value = u128::from(*value).checked_shl(offset).unwrap_or(0);
            set(range(*field, offset, bits, register), window(*field, value, register))
        }
        Action::CopyField { bits, source, source_offset, destination, destination_offset } => {
            let bits = u32::from(*bits);
            range(*source, u32::from(*source_offset), bits, register)
                | range(*destination, u32::from(*destination_offset), bits, register)
        }
        Action::Clone(actions) => of_list(actions, register, depth + 1),
        // What cannot be understood may do anything.
        Action::Raw(whole) => of_raw(whole, register, depth).unwrap_or(u32::MAX),
        Action::Output { .. }
        | Action::OutputTruncated { .. }
        | Action::Group(_)
        | Action::Meter(_)
        | Action::PushVlan(_)
        | Action::PopVlan
        | Action::Resubmit { .. } => 0,
    }
}

/// The bits that setting those of `mask` to those of `value` uses: all, unless it clears the whole register.
const fn set(mask: u32, value: u32) -> u32 {
    if mask == u32::MAX && value == 0 { 0 } else { mask }
}

/// `ofs_nbits` of Nicira's actions: offset and number of bits less one.
const fn packed(ofs_nbits: u16) -> (u32, u32) {
    (ofs_nbits as u32 >> 6, (ofs_nbits as u32 & 0x3f) + 1)
}

fn of_raw(whole: &[u8], register: u8, depth: usize) -> Result<u32, DecodeError> {
    let mut body = Reader::new(whole, "action");
    let kind = body.u16()?;
    body.skip(2)?;
    if kind != action_type::EXPERIMENTER || body.u32()? != experimenter::NICIRA {
        return Ok(0);
    }
    match body.u16()? {
        nicira_action::REG_MOVE => {
            let bits = u32::from(body.u16()?);
            let (source_offset, offset) = (u32::from(body.u16()?), u32::from(body.u16()?));
            let source = range(decode_field_name(&mut body)?, source_offset, bits, register);
            Ok(source | range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::REG_LOAD => {
            let (offset, bits) = packed(body.u16()?);
            Ok(range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::REG_LOAD2 => {
            let field = decode_field(&mut body)?;
            Ok(of_action(&Action::SetField(field), register, depth))
        }
        nicira_action::STACK_PUSH | nicira_action::STACK_POP => {
            let offset = u32::from(body.u16()?);
            let field = decode_field_name(&mut body)?;
            Ok(range(field, offset, u32::from(body.u16()?), register))
        }
        nicira_action::OUTPUT_REG => {
            let (offset, bits) = packed(body.u16()?);
            Ok(range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::OUTPUT_REG2 => {
            let (offset, bits) = packed(body.u16()?);
            body.skip(2)?;
            Ok(range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::MULTIPATH => {
            // Which fields to hash, and how to choose by them.
            body.skip(16)?;
            let (offset, bits) = packed(body.u16()?);
            Ok(range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::BUNDLE_LOAD => {
            // How to choose, by which fields, among how many ports.
            body.skip(12)?;
            let (offset, bits) = packed(body.u16()?);
            Ok(range(decode_field_name(&mut body)?, offset, bits, register))
        }
        nicira_action::CHECK_PKT_LARGER => {
            body.skip(2)?;
            let offset = u32::from(body.u16()?);
            Ok(range(decode_field_name(&mut body)?, offset, 1, register))
        }
        nicira_action::LEARN => of_learn(body, false, register),
        nicira_action::LEARN2 => of_learn(body, true, register),
        nicira_action::CT => {
            body.skip(2)?;
            let mut zone = body.part(4, "ct action")?;
            let (offset, bits) = packed(body.u16()?);
            body.skip(6)?;
            let source = if zone.peek().u32()? == 0 {
                0
            } else {
                range(decode_field_name(&mut zone)?, offset, bits, register)
            };
            Ok(source | of_list(&decode_actions(body, depth + 1)?, register, depth + 1))
        }
        _ => Ok(0),
    }
}

/// `NX_LEARN_*` (OVS `include/openflow/nicira-ext.h`): how a learnt flow comes by each part.
mod learn {
    pub(super) const BITS: u16 = 0x3ff;
    pub(super) const SOURCE_IMMEDIATE: u16 = 1 << 13;
    pub(super) const DESTINATION: u16 = 3 << 11;
    pub(super) const DESTINATION_OUTPUT: u16 = 2 << 11;
    pub(super) const WRITE_RESULT: u16 = 1 << 2;
}

/// `learn`: what the learnt flow matches on and loads counts like what the flow itself reads.
fn of_learn(mut body: Reader<'_>, second: bool, register: u8) -> Result<u32, DecodeError> {
    let mut used = 0;
    // Timeouts, priority and cookie.
    body.skip(14)?;
    let flags = body.u16()?;
    // Table, padding and timeouts after FIN.
    body.skip(6)?;
    if second {
        body.skip(4)?;
        let offset = u32::from(body.u16()?);
        body.skip(2)?;
        if flags & learn::WRITE_RESULT != 0 {
            used |= range(decode_field_name(&mut body)?, offset, 1, register);
        }
    }
    let subfield = |body: &mut Reader<'_>, bits| {
        let field: Field = decode_field_name(body)?;
        Ok(range(field, u32::from(body.u16()?), bits, register))
    };
    while body.len() >= 2 {
        let header = body.u16()?;
        if header == 0 {
            break;
        }
        let bits = u32::from(header & learn::BITS);
        if header & learn::SOURCE_IMMEDIATE == 0 {
            used |= subfield(&mut body, bits)?;
        } else {
            body.skip(2 * bits.div_ceil(16) as usize)?;
        }
        if header & learn::DESTINATION != learn::DESTINATION_OUTPUT {
            used |= subfield(&mut body, bits)?;
        }
    }
    Ok(used)
}
