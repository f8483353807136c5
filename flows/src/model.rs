//! OpenFlow in plain values, without bytes: what the codec reads and writes, and what plan and diff think in.

mod action;
mod cookie;
mod field;
mod flow;
mod flow_set;
mod matching;
mod numbers;

pub use action::{Action, Instruction};
pub use cookie::{Cookie, Purpose};
pub use field::{Field, MatchField};
pub use flow::{Flow, FlowCounters, FlowKey};
pub use flow_set::FlowSet;
pub use matching::Match;
pub use numbers::{OfPort, TableId};
