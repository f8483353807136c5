//! Instructions (OpenFlow 1.5.1, 7.2.5).

use bytes::{BufMut, BytesMut};

use super::action;
use super::coding::{DecodeError, EncodeError, Reader, padding, set_length};
use super::numbers::instruction_type;
use crate::model::{Instruction, TableId};

const WHAT: &str = "instruction";

/// All instructions up to the end of `reader`.
pub(crate) fn decode_list(mut reader: Reader<'_>) -> Result<Vec<Instruction>, DecodeError> {
    let mut instructions = Vec::new();
    while !reader.is_empty() {
        let (kind, whole, mut body) = reader.element(WHAT)?;
        instructions.push(match kind {
            instruction_type::GOTO_TABLE => {
                let table = TableId(body.u8()?);
                body.skip(3)?;
                body.finish()?;
                Instruction::GotoTable(table)
            }
            instruction_type::APPLY_ACTIONS => {
                body.skip(4)?;
                Instruction::ApplyActions(action::decode_list(body, 0)?)
            }
            instruction_type::WRITE_ACTIONS => {
                body.skip(4)?;
                Instruction::WriteActions(action::decode_list(body, 0)?)
            }
            _ => Instruction::Raw(whole.into()),
        });
    }
    Ok(instructions)
}

pub(crate) fn encode_list(
    instructions: &[Instruction],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    instructions.iter().try_for_each(|instruction| encode(instruction, out))
}

fn encode(instruction: &Instruction, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    let (kind, actions) = match instruction {
        Instruction::ApplyActions(actions) => (instruction_type::APPLY_ACTIONS, actions),
        Instruction::WriteActions(actions) => (instruction_type::WRITE_ACTIONS, actions),
        Instruction::GotoTable(table) => {
            out.put_u16(instruction_type::GOTO_TABLE);
            out.put_u16(8);
            out.put_u8(table.0);
            out.put_bytes(0, 3);
            return Ok(());
        }
        Instruction::Raw(whole) => {
            let length =
                whole.get(2..4).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]));
            if length != Some(whole.len()) || whole.len() < 8 || padding(whole.len()) != 0 {
                return Err(EncodeError::NotWhole { what: WHAT, length: whole.len() });
            }
            out.put_slice(whole);
            return Ok(());
        }
    };
    out.put_u16(kind);
    out.put_bytes(0, 6);
    action::encode_list(actions, 0, out)?;
    set_length(out, start + 2, out.len() - start, WHAT)
}
