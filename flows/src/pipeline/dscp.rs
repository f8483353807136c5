//! Flows of OVN's that mark packets: its QoS rules set the DSCP of a packet within a logical switch.
//!
//! A rule of OVN's in table Q that sets the DSCP to v and goes on in table N makes another frame of one that had another
//! DSCP, and leaves one that had v as it was (a Pod's answer to a marked ping bears the mark already). Which it is can be
//! told only before OVN sets it, so these flows come before OVN's, with its own match and a slightly higher priority, so that
//! a rule of OVN's that precedes this one precedes our flows too:
//!
//! ```text
//! table=Q,priority=p+2,MATCH,ip_dscp=v,reg10=C/C|R    actions=set C|R,resubmit(,Q)
//! table=Q,priority=p+2,MATCH,ip_dscp=v,reg10=R/C|R    actions=set C|R,resubmit(,Q)
//! table=Q,priority=p+1,MATCH,reg10=C/C|R              actions=clear C|R,resubmit(,Q)
//! table=Q,priority=p+1,MATCH,reg10=R/C|R              actions=clear C|R,resubmit(,Q)
//! table=N,priority=65534,metadata=D,reg10=C|R/C|R     actions=set C,clear R,resubmit(,N)
//! ```
//!
//! The first two recognize a frame that stays as it is: both bits hide our flows until OVN's has applied, and the last flow
//! restores that the frame has been copied. The next two forget the copy, as what follows is another form. They are there
//! only in switches with mirrored Pods and such rules. All packets that they match, OVN's rule matches too: our match looks
//! at nothing more than that and the DSCP, which the switch has to look at to set it.

use crate::{
    marker::MarkerBits,
    model::{Action, Field, Flow, FlowKey, Match, MatchField, OfPort, TableId},
    plan::{COPY_PRIORITY, flags, key, rewritten},
};

/// `OXM_OF_ETH_TYPE`.
const ETH_TYPE: Field = Field { class: 0x8000, number: 5, width: 2, experimenter: 0 };
const IP_TYPES: [u128; 2] = [0x0800, 0x86dd];
/// All bits of a DSCP.
const DSCP_MASK: u128 = 0x3f;
/// `NXM_OF_IP_TOS`, the same bits by another name: a match can't have both.
const NXM_TOS: Field = Field { class: 0, number: 5, width: 1, experimenter: 0 };

/// A flow that marks packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dscp {
    pub(super) datapath: u64,
    key: FlowKey,
    /// What it sets the DSCP to.
    value: u128,
    /// The table in which packets go on.
    next: TableId,
}

impl Dscp {
    /// What `flow` does, if it marks packets of a logical datapath.
    pub(super) fn of(flow: &Flow) -> Option<Self> {
        let matching = &flow.key.matching;
        let datapath = u64::try_from(matching.exact(Field::METADATA)?).ok()?;
        if !IP_TYPES.contains(&matching.exact(ETH_TYPE)?) || flow.key.priority >= COPY_PRIORITY - 2
        {
            return None;
        }
        let mut marks = flow.actions().filter_map(|action| match action {
            Action::SetField(MatchField::Typed { field: Field::IP_DSCP, value, mask })
                if mask.is_none_or(|mask| mask & DSCP_MASK == DSCP_MASK) =>
            {
                Some(value & DSCP_MASK)
            }
            _ => None,
        });
        let mut nexts = flow.actions().filter_map(|action| match action {
            Action::Resubmit { in_port: OfPort::IN_PORT, table } => Some(*table),
            _ => None,
        });
        let (value, next) = (marks.next()?, nexts.next()?);
        let simple = marks.next().is_none() && nexts.next().is_none() && next != flow.key.table;
        let fields = matching.fields();
        let looks_at = |wanted: Field| {
            fields
                .iter()
                .any(|field| matches!(field, MatchField::Typed { field, .. } if *field == wanted))
        };
        // A rule for one DSCP only changes it always, or never.
        let sure = match matching.exact(Field::IP_DSCP) {
            Some(before) => before != value,
            None => !looks_at(Field::IP_DSCP) && !looks_at(NXM_TOS),
        };
        (simple && sure).then(|| Self { datapath, key: flow.key.clone(), value, next })
    }

    pub(super) fn flows(&self, marker: MarkerBits) -> Vec<Flow> {
        let (copied, delivered) = (marker.copied_mask(), marker.delivered_mask());
        let both = copied | delivered;
        let same = MatchField::exact(Field::IP_DSCP, self.value);
        let always = self.key.matching.exact(Field::IP_DSCP).is_some();
        let mut flows = Vec::new();
        for state in [copied, delivered] {
            let Some(fields) = self.fields_with(state, both) else { continue };
            if !always {
                let same = [&fields[..], std::slice::from_ref(&same)].concat();
                flows.push(self.before(2, same, flags(both, both)));
            }
            flows.push(self.before(1, fields, flags(0, both)));
        }
        let datapath = MatchField::exact(Field::METADATA, self.datapath.into());
        let key = key(self.next, COPY_PRIORITY, vec![flags(both, both), datapath]);
        flows.push(rewritten(key, vec![Action::SetField(flags(copied, both))]));
        flows
    }

    /// A flow that packets come to before this one of OVN's.
    fn before(&self, higher: u16, fields: Vec<MatchField>, set: MatchField) -> Flow {
        let matching = Match::new(fields);
        let key = FlowKey { priority: self.key.priority + higher, matching, ..self.key };
        rewritten(key, vec![Action::SetField(set)])
    }

    /// The flow's own match, with these bits of the register of OVN's flags besides; `None` if it has a say in them.
    fn fields_with(&self, value: u32, mask: u32) -> Option<Vec<MatchField>> {
        let register = Field::reg(MarkerBits::REGISTER);
        let (mut value, mut mask) = (u128::from(value), u128::from(mask));
        let mut fields = Vec::new();
        for field in self.key.matching.fields() {
            match field {
                MatchField::Typed { field, value: theirs, mask: of } if *field == register => {
                    let of = of.filter(|of| of & mask == 0)?;
                    (value, mask) = (value | theirs, mask | of);
                }
                other => fields.push(other.clone()),
            }
        }
        fields.push(MatchField::masked(register, value, mask));
        Some(fields)
    }
}
