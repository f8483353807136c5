//! Floods that OVN sends in several parts.
//!
//! Some versions of OVN (24.03.0 to 24.03.6, 24.09.0 to 24.09.3, 25.03.0, 25.03.1, 25.09.0) deliver a frame for many ports by
//! several flows, as the kernel would not take all in one list of actions. Each ends with sending the frame to ovn-controller,
//! which sends it back unchanged, with all registers as they were but for the number of the next part in `reg6`:
//!
//! ```text
//! table=S,priority=100,metadata=D,reg15=G                actions=...,controller(userdata=...)
//! table=S,priority=110,metadata=D,reg15=G,reg6=0x9001    actions=set_field:0->reg6,...
//! ```
//!
//! Such a frame comes by the port CONTROLLER, as the frames that ovn-controller makes do, and is not one of these: as far as
//! it was copied before, it still is. So in table S, the flow [`Part::flow`] notes that no receiver is to have it copied again.

use crate::{
    marker::MarkerBits,
    model::{Action, Field, Flow, MatchField, OfPort, TableId},
    plan::{FIRST_PRIORITY, flags, key, rewritten},
};

/// The register that has the number of the part that comes next.
const PART: Field = Field::reg(6);
/// The register that has the logical output port or multicast group.
const OUTPORT: Field = Field::reg(15);
/// `OVN_MIN_MULTICAST` of OVN: what is below is a port.
const LEAST_GROUP: u128 = 0x8000;
/// `MC_BUF_START_ID` of OVN, after which the parts' numbers begin.
const FIRST: u128 = 0x9000;
const FIRST_MASK: u128 = 0xffff_f000;

/// What a flow that resumes a flood matches on at least: the numbers of 4,095 parts.
pub const RESUMED: MatchField = MatchField::masked(PART, FIRST, FIRST_MASK);

/// A flow that goes on with a flood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) datapath: u64,
    table: TableId,
}

impl Part {
    /// What `flow` resumes, if it does.
    pub(super) fn of(flow: &Flow) -> Option<Self> {
        let matching = &flow.key.matching;
        let datapath = u64::try_from(matching.exact(Field::METADATA)?).ok()?;
        let resumes = matching.exact(PART)? & FIRST_MASK == FIRST;
        let floods = (LEAST_GROUP..=0xffff).contains(&matching.exact(OUTPORT)?);
        (resumes && floods).then_some(Self { datapath, table: flow.key.table })
    }

    /// Takes a frame that was copied for dealt with in all parts of a flood that follow.
    pub(super) fn flow(&self, marker: MarkerBits) -> Flow {
        let (copied, delivered) = (marker.copied_mask(), marker.delivered_mask());
        let both = copied | delivered;
        let fields = vec![
            MatchField::exact(Field::IN_PORT, OfPort::CONTROLLER.0.into()),
            RESUMED,
            flags(copied, both),
            MatchField::exact(Field::METADATA, self.datapath.into()),
        ];
        let key = key(self.table, FIRST_PRIORITY, fields);
        rewritten(key, vec![Action::SetField(flags(delivered, both))])
    }
}
