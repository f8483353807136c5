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
//! table=T,priority=65535,reg10=C|L/C|L|R,in_port=ANY         actions=clear C,resubmit(,T)
//! table=T,priority=65535,reg10=C/C|R,in_port=CONTROLLER      actions=clear C,resubmit(,T)
//! table=T,priority=65534,reg10=C/C|R,ct_state=+trk+rpl       actions=set R,move:ct_mark.natted->C,resubmit(,T)
//! table=T,priority=65534,reg10=C|R/C|R                       actions=clear C,clear R,resubmit(,T)
//! ```
//!
//! They are: answers that OVN turns around to their sender, for which it sets `in_port` to none and its flag L in `reg10`
//! (without L it is the clone of a frame that OVN mirrors to another Pod, and unchanged); packets that ovn-controller makes from another one; replies of load-balanced connections, which get the VIP's address back and
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
//!
//! Where OVN marks packets of a logical switch, or sends its floods in parts, more flows keep the marks right
//! ([`crate::pipeline`]). A nested container's frames have a VLAN tag on the Pod's port that they go by, which no other port
//! gets to see:
//!
//! ```text
//! table=T,priority=65535,metadata=D,reg15=K,reg10=S/C|R,in_port=ANY
//!     actions=clone(push_vlan:TYPE,set_field:VLAN->vlan_vid,output:M),clear C,set R,resubmit(LOCAL,T),set S
//! table=T,priority=65535,metadata=D,reg14=K,reg10=C/C|R      actions=clear C,resubmit(,T)
//! ```
//!
//! There are three of the first kind, for none of the bits, C, or R as S, which they restore.

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
/// The bit of [`FLAGS`] that lets a packet out where it came in (`MLF_ALLOW_LOOPBACK_BIT` of OVN).
const TURNED_AROUND: u32 = 1;
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

/// Copies what a nested container gets, with the tag that it gets it with: another form than what anybody else gets, so
/// that it says nothing of copies of those. OVN delivers to such a port without a port that the packet came by, for which
/// the second look takes another one.
fn copy_tagged(
    delivery: &Delivery,
    (ethertype, vlan): (u16, u16),
    sink: OfPort,
    marker: MarkerBits,
) -> [Flow; 3] {
    let (copied, delivered) = (marker.copied_mask(), marker.delivered_mask());
    let both = copied | delivered;
    let tagged = Action::Clone(vec![
        Action::PushVlan(ethertype),
        Action::SetField(MatchField::exact(Field::VLAN_VID, vlan.into())),
        Action::output(sink),
    ]);
    let look_again = Action::Resubmit { in_port: OfPort::LOCAL, table: delivery.table };
    [0, copied, delivered].map(|state| {
        let [outport, datapath] = delivery.fields();
        let from = MatchField::exact(Field::IN_PORT, OfPort::ANY.0.into());
        let fields = vec![from, flags(state, both), outport, datapath];
        let actions = vec![
            tagged.clone(),
            Action::SetField(flags(delivered, both)),
            look_again.clone(),
            Action::SetField(flags(state, both)),
        ];
        let cookie = Cookie::new(Purpose::ToPod, delivery.ofport);
        Flow::new(key(delivery.table, FIRST_PRIORITY, fields), cookie, actions)
    })
}

/// Forgets the copy of what a nested container sent: it had a tag, which OVN took off.
fn forget_tag(delivery: &Delivery, marker: MarkerBits) -> Flow {
    let (copied, both) = (marker.copied_mask(), marker.copied_mask() | marker.delivered_mask());
    let [inport, datapath] = delivery.fields_of_sent();
    let key = key(delivery.table, FIRST_PRIORITY, vec![flags(copied, both), inport, datapath]);
    let forget = Action::SetField(flags(0, copied));
    Flow {
        cookie: Cookie::new(Purpose::Rewritten, delivery.ofport),
        ..rewritten(key, vec![forget])
    }
}

/// The flows of a delivery table that forget a copy of a frame that was rewritten since.
fn forget(table: TableId, marker: MarkerBits) -> [Flow; 4] {
    let (copied, delivered) = (marker.copied_mask(), marker.delivered_mask());
    let both = copied | delivered;
    let flow = |priority, fields, actions| rewritten(key(table, priority, fields), actions);
    let from = |port: OfPort, flag| {
        let from = MatchField::exact(Field::IN_PORT, port.0.into());
        let fields = vec![from, flags(copied | flag, both | flag)];
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
        from(OfPort::ANY, TURNED_AROUND),
        from(OfPort::CONTROLLER, 0),
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

/// A flow for packets that OVN rewrites or has rewritten, which looks them up again in its table.
pub(crate) fn rewritten(key: FlowKey, mut actions: Vec<Action>) -> Flow {
    actions.push(Action::resubmit(key.table));
    Flow::new(key, Cookie::new(Purpose::Rewritten, OfPort(0)), actions)
}

pub(crate) fn flags(value: u32, mask: u32) -> MatchField {
    MatchField::masked(FLAGS, value.into(), mask.into())
}

pub(crate) fn key(table: TableId, priority: u16, fields: Vec<MatchField>) -> FlowKey {
    FlowKey { table, priority, matching: Match::new(fields) }
}

#[cfg(test)]
mod tests;
