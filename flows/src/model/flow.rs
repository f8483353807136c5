//! A flow of the switch and its counters.

use std::sync::Arc;

use super::{Action, Cookie, Instruction, Match, TableId};

/// What tells a flow from every other one of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The table that it is in.
    pub table: TableId,
    /// Its priority there, 0 to 65535; the highest that matches wins.
    pub priority: u16,
    /// The packets that it is for.
    pub matching: Match,
}

/// An OpenFlow flow without its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Table, priority and match.
    pub key: FlowKey,
    /// Who installed it, and for what.
    pub cookie: Cookie,
    /// What it does; shared, as most flows of a kind do the same.
    pub instructions: Arc<[Instruction]>,
}

impl Flow {
    /// A flow that applies `actions`; none means that the packets are dropped.
    #[must_use]
    pub fn new(key: FlowKey, cookie: Cookie, actions: Vec<Action>) -> Self {
        Self { key, cookie, instructions: Instruction::apply(actions) }
    }

    /// Every action that the flow applies or writes, without those nested in others.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.instructions.iter().flat_map(|instruction| match instruction {
            Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                actions.as_slice()
            }
            Instruction::GotoTable(_) | Instruction::Raw(_) => &[],
        })
    }
}

/// What a flow has counted since it was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Packets that it matched.
    pub packets: u64,
    /// Their bytes, Ethernet header included, without the frame check sequence.
    pub bytes: u64,
}
