//! Actions and instructions: `output:2,set_field:0x8000000/0x8000000->reg10,resubmit(,0)`.

use std::fmt;

use super::field::Bits;
use super::matching::value;
use super::{list, raw};
use crate::model::{Action, Instruction, MatchField, OfPort, TableId};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output { port: OfPort::CONTROLLER, max_len } => {
                write!(f, "CONTROLLER:{max_len}")
            }
            Self::Output { port, .. } => write!(f, "output:{port}"),
            Self::OutputTruncated { port, max_len } => {
                write!(f, "output(port={port},max_len={max_len})")
            }
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Meter(meter) => write!(f, "meter:{meter}"),
            Self::PushVlan(ethertype) => write!(f, "push_vlan:{ethertype:#06x}"),
            Self::PopVlan => f.write_str("pop_vlan"),
            Self::SetField(MatchField::Typed { field, value: number, mask }) => {
                write!(f, "set_field:{}->{field}", value(*field, *number, *mask))
            }
            Self::SetField(MatchField::Raw(whole)) => {
                f.write_str("set_field:")?;
                raw(f, "raw_field", whole)
            }
            Self::RegLoad { field, offset, bits, value } => {
                write!(
                    f,
                    "load:{value:#x}->{}",
                    Bits { field: *field, offset: *offset, bits: *bits }
                )
            }
            Self::CopyField { bits, source, source_offset, destination, destination_offset } => {
                let source = Bits { field: *source, offset: *source_offset, bits: *bits };
                let destination =
                    Bits { field: *destination, offset: *destination_offset, bits: *bits };
                write!(f, "move:{source}->{destination}")
            }
            Self::Resubmit { in_port, table: TableId::ALL } => write!(f, "resubmit:{in_port}"),
            Self::Resubmit { in_port: OfPort::IN_PORT, table } => write!(f, "resubmit(,{table})"),
            Self::Resubmit { in_port, table } => write!(f, "resubmit({in_port},{table})"),
            Self::Clone(actions) => {
                f.write_str("clone(")?;
                list(f, actions)?;
                f.write_str(")")
            }
            Self::Raw(whole) => raw(f, "raw_action", whole),
        }
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApplyActions(actions) => list(f, actions),
            Self::WriteActions(actions) => {
                f.write_str("write_actions(")?;
                list(f, actions)?;
                f.write_str(")")
            }
            Self::GotoTable(table) => write!(f, "goto_table:{table}"),
            Self::Raw(whole) => raw(f, "raw_instruction", whole),
        }
    }
}
