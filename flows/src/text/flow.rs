//! Whole flows: `cookie=0x0,table=0,priority=100,in_port=1 actions=resubmit(,8)`.

use std::fmt;

use crate::model::{Flow, FlowKey, Instruction};

impl fmt::Display for FlowKey {
    /// `table=...,priority=...,match`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table={},priority={}", self.table, self.priority)?;
        if self.matching.fields().is_empty() {
            return Ok(());
        }
        write!(f, ",{}", self.matching)
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cookie={},{} actions=", self.cookie, self.key)?;
        let mut separator = "";
        for instruction in self.instructions.iter() {
            if matches!(instruction, Instruction::ApplyActions(actions) if actions.is_empty()) {
                continue;
            }
            write!(f, "{separator}{instruction}")?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("drop") } else { Ok(()) }
    }
}
