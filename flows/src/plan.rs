//! From taps to the flows that the switch should have.
//!
//! Two bits of OVN's flag register `reg10` carry what has happened to a frame: C, "it has been copied in this form",
//! and R, "it has been dealt with on delivery". For a Pod port P to which OVN delivers in table T where `reg15=K` and
//! `metadata=D`, with the mirror port M:
//!
//! ```text
//! table=0,priority=65534,in_port=P,reg10=0/C|R               actions=output:M,set C,resubmit(,0)
//! table=T,priority=65534,metadata=D,reg15=K,reg10=0/C|R      actions=output:M,set R,resubmit(,T)
//! ```
//!
//! Each copies, sets its bit and looks the packet up again in the same table. The bit now hides these flows, so OVN's
//! own flow decides what happens to the packet: nothing here ever delivers one. One of the bits stays set for the rest
//! of the logical switch, so a frame copied on entry is not copied on delivery, and one that goes to many receivers is
//! copied for the first. A logical router clears `reg10`: the routed form is another frame.
//!
//! Within one logical switch OVN rewrites some frames without clearing anything. Four flows per table T, shared by all
//! ports, forget C for these:
//!
//! ```text
//! table=T,priority=65535,reg10=C/C|R,in_port=ANY             actions=clear C,resubmit(,T)
//! table=T,priority=65535,reg10=C/C|R,in_port=CONTROLLER      actions=clear C,resubmit(,T)
//! table=T,priority=65534,reg10=C/C|R,ct_state=+trk+rpl       actions=set R,move:ct_mark.natted->C,resubmit(,T)
//! table=T,priority=65534,reg10=C|R/C|R                       actions=clear C,clear R,resubmit(,T)
//! ```
//!
//! They are: answers that OVN turns around to their sender, for which it sets `in_port` to none; packets that
//! ovn-controller makes from another one; replies of load-balanced connections, which get the VIP's address back and
//! which OVN marks "natted".
//!
//! These replies take two flows because of what a lookup costs: the switch's cached flow for a packet matches on every
//! field that any flow it was compared with matches on. With `ct_mark` in a match of table T, the cached flows of all
//! frames would have it, and it lies so far back in the kernel's flow key that hashing and comparing up to there is
//! dear. What an action reads counts only for packets on which it runs: here tracked replies that were copied on entry.
//! The third flow leaves them in one of two states:
//!
//! - Not natted, R alone is set. That hides all flows here, so no receiver gets another copy made, and the copy made on
//!   entry is the only one.
//! - Natted, C and R are set, which nothing else does: the copying flows set one bit each, and only where both are
//!   clear. So the fourth flow clears both for just these, and the new form is copied at its first receiver, which
//!   leaves R for all further ones.
//!
//! The first two flows come before the third: what is turned around or made by ovn-controller is another form although
//! it may be tracked and not natted.

mod planner;

use std::{fmt, sync::Arc};

pub use planner::{Base, Plan, Planner, Withheld};

use crate::{
    delivery::Delivery,
    marker::MarkerBits,
    model::{
        Action, Cookie, Field, Flow, FlowKey, Instruction, Match, MatchField, OfPort, Purpose,
        TableId,
    },
    tap::Direction,
};

/// Priority of the flows that copy, and of those that no packet can match as well: above everything of OVN's, which
/// ends at 1050.
pub const COPY_PRIORITY: u16 = 65534;
/// Priority of the flows that must come before those that copy.
pub const FIRST_PRIORITY: u16 = 65535;

/// The table in which every packet starts.
const INGRESS: TableId = TableId(0);
/// OVN's logical flags, of which two bits that it leaves alone are ours.
const FLAGS: Field = Field::reg(MarkerBits::REGISTER);
/// `+trk+rpl`: a tracked packet in its connection's reply direction (`CS_TRACKED`, `CS_REPLY_DIR` of OVS).
const TRACKED_REPLY: u128 = 0x28;
/// The bit of `ct_mark` that is OVN's `ct_mark.natted`: the connection's addresses were rewritten by a load balancer.
const NATTED: u16 = 1;

/// A tap that can't be served, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The port's name in OVS.
    pub port: Arc<str>,
    /// The direction that isn't copied.
    pub direction: Direction,
    /// What is in the way.
    pub reason: Reason,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.port, self.direction, self.reason)
    }
}

/// Why a tap can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The port is new, or OVS could not open its device.
    #[error("Open vSwitch has given the port no OpenFlow number")]
    NoOfPort,
    /// The number is not one of a port.
    #[error("OpenFlow number {0} is reserved")]
    ReservedOfPort(OfPort),
    /// Copies of copies.
    #[error("the port is the mirror port itself")]
    IsSink,
    /// Two names for one port, while OVS gives its number to another one.
    #[error("port {0} has the same OpenFlow number")]
    SharedOfPort(Arc<str>),
    /// OVN has not bound the logical port here, or not yet.
    #[error("OVN has no flow that delivers to the port")]
    NoDelivery,
    /// OVN's floods in the port's logical switch may just be short enough for Open vSwitch, and too long with our flows.
    #[error(
        "a broadcast in its logical switch ({0:#x}) takes nearly all of the 4096 lookups that Open vSwitch allows, and would be lost with ours: the switch has too many ports on this node, or routers"
    )]
    FloodLimit(u64),
    /// A nested container's port: the frame as delivered has a VLAN tag that the copy would lack.
    #[error("OVN rewrites frames on their delivery to the port in table {0}")]
    RewritingDelivery(TableId),
}

impl Reason {
    /// A closed set of names, for metric labels.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoOfPort => "no_ofport",
            Self::ReservedOfPort(_) => "reserved_ofport",
            Self::IsSink => "is_sink",
            Self::SharedOfPort(_) => "shared_ofport",
            Self::NoDelivery => "no_delivery",
            Self::FloodLimit(_) => "flood_limit",
            Self::RewritingDelivery(_) => "rewriting_delivery",
        }
    }
}

fn usable_port(port: OfPort, sinks: &[OfPort]) -> Result<(), Reason> {
    match port {
        port if !port.is_physical() => Err(Reason::ReservedOfPort(port)),
        port if sinks.contains(&port) => Err(Reason::IsSink),
        _ => Ok(()),
    }
}

fn guard(sink: OfPort) -> Flow {
    let key = key(INGRESS, FIRST_PRIORITY, vec![MatchField::exact(Field::IN_PORT, sink.0.into())]);
    Flow::new(key, Cookie::new(Purpose::Guard, sink), vec![])
}

fn copy_sent(port: OfPort, marker: MarkerBits, actions: &Arc<[Instruction]>) -> Flow {
    let fields = vec![MatchField::exact(Field::IN_PORT, port.0.into()), not_copied(marker)];
    Flow {
        key: key(INGRESS, COPY_PRIORITY, fields),
        cookie: Cookie::new(Purpose::FromPod, port),
        instructions: Arc::clone(actions),
    }
}

fn copy_delivered(delivery: &Delivery, marker: MarkerBits, actions: &Arc<[Instruction]>) -> Flow {
    let [outport, datapath] = delivery.fields();
    Flow {
        key: key(delivery.table, COPY_PRIORITY, vec![not_copied(marker), outport, datapath]),
        cookie: Cookie::new(Purpose::ToPod, delivery.ofport),
        instructions: Arc::clone(actions),
    }
}

/// Copies the frame to `sink`, notes that in `bit`, and looks the frame up again in `table`.
fn copy(sink: OfPort, bit: u32, table: TableId) -> Arc<[Instruction]> {
    Instruction::apply(vec![
        Action::output(sink),
        Action::SetField(flags(bit, bit)),
        Action::resubmit(table),
    ])
}

/// The flows of a delivery table that forget a copy of a frame that was rewritten since.
fn forget(table: TableId, marker: MarkerBits) -> [Flow; 4] {
    let (copied, delivered) = (marker.copied_mask(), marker.delivered_mask());
    let both = copied | delivered;
    let flow = |priority, fields, mut actions: Vec<Action>| {
        actions.push(Action::resubmit(table));
        let cookie = Cookie::new(Purpose::Rewritten, OfPort(0));
        Flow::new(key(table, priority, fields), cookie, actions)
    };
    let from = |port: OfPort| {
        let fields = vec![MatchField::exact(Field::IN_PORT, port.0.into()), flags(copied, both)];
        flow(FIRST_PRIORITY, fields, vec![Action::SetField(flags(0, copied))])
    };
    let reply = MatchField::masked(Field::CT_STATE, TRACKED_REPLY, TRACKED_REPLY);
    let natted_to_copied = Action::CopyField {
        bits: 1,
        source: Field::CT_MARK,
        source_offset: NATTED,
        destination: FLAGS,
        destination_offset: marker.copied as u16,
    };
    [
        from(OfPort::ANY),
        from(OfPort::CONTROLLER),
        flow(
            COPY_PRIORITY,
            vec![reply, flags(copied, both)],
            vec![Action::SetField(flags(delivered, delivered)), natted_to_copied],
        ),
        flow(COPY_PRIORITY, vec![flags(both, both)], vec![Action::SetField(flags(0, both))]),
    ]
}

/// Neither bit is set: the frame has not been copied in its present form.
fn not_copied(marker: MarkerBits) -> MatchField {
    flags(0, marker.copied_mask() | marker.delivered_mask())
}

fn flags(value: u32, mask: u32) -> MatchField {
    MatchField::masked(FLAGS, value.into(), mask.into())
}

fn key(table: TableId, priority: u16, fields: Vec<MatchField>) -> FlowKey {
    FlowKey { table, priority, matching: Match::new(fields) }
}

#[cfg(test)]
mod tests;
