//! A part of the switch's flows that is asked for at once, and how one with too many flows is cut in two.
//!
//! Open vSwitch answers a request for flows in one go in its main thread, which on the userspace datapath also forwards
//! packets and everywhere takes in changes: about 3 µs a flow that it describes, and 0.1 µs a flow of the table that it
//! only looks at (measured with 3.1). Two things cut a table: bits of the cookie, of which OVN's are the first 32 bits of
//! a UUID, and bits of a field that all flows of the piece match on, where many share a cookie (the addresses of an
//! address set, flows of others without cookies). Flows that neither tells apart are read at once.

use std::ops::Range;

use flows::{
    model::{Cookie, Field, Match, MatchField, TableId},
    ofp::FlowFilter,
};

/// How many flows may be described at once: 6 ms.
pub(super) const LIMIT: u64 = 2000;
/// Of a large table so many more that it is not looked at more often than this for each reading.
const PIECES: u64 = 64;

/// What cuts: bits of the cookie, or of a field with the fields that must be there for it to be matched on.
enum Knife {
    Cookie,
    Field { field: Field, needs: Option<(Field, u128)> },
}

const ETH_TYPE: Field = basic(5, 2);
const IPV4: Option<(Field, u128)> = Some((ETH_TYPE, 0x0800));
const IPV6: Option<(Field, u128)> = Some((ETH_TYPE, 0x86dd));
const IPV4_SOURCE: Knife = Knife::Field { field: basic(11, 4), needs: IPV4 };
const IPV4_DESTINATION: Knife = Knife::Field { field: basic(12, 4), needs: IPV4 };

/// What is tried, with the numbers of the bits, in this order. The last bits of an address are the first that a prefix
/// leaves out, so those of a network come after those of a host.
const KNIVES: [(Knife, Range<u8>); 13] = [
    (Knife::Cookie, 0..12),
    (IPV4_DESTINATION, 0..16),
    (IPV4_SOURCE, 0..16),
    (Knife::Field { field: Field::METADATA, needs: None }, 0..12),
    (Knife::Field { field: Field::reg(15), needs: None }, 0..12),
    (Knife::Field { field: Field::reg(14), needs: None }, 0..12),
    // The destination and the source of a frame.
    (Knife::Field { field: basic(3, 6), needs: None }, 0..16),
    (Knife::Field { field: basic(4, 6), needs: None }, 0..16),
    (Knife::Field { field: basic(27, 16), needs: IPV6 }, 0..16),
    (Knife::Field { field: basic(26, 16), needs: IPV6 }, 0..16),
    (IPV4_DESTINATION, 8..24),
    (IPV4_SOURCE, 8..24),
    (Knife::Cookie, 12..64),
];

/// A field of OpenFlow's basic class (OpenFlow 1.5.1, 7.2.3.7).
const fn basic(number: u8, width: u8) -> Field {
    Field { class: 0x8000, number, width, experimenter: 0 }
}

/// Some of the switch's flows.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Which.
    pub(super) filter: FlowFilter,
    /// How many they are, as far as is known.
    flows: u64,
    limit: u64,
    /// The next cut: place in [`KNIVES`], and which of its bits.
    knife: usize,
    bit: u8,
}

/// A piece that is being cut, as far as its parts have been counted.
#[derive(Clone, Debug)]
pub(super) struct Cutting {
    piece: Piece,
    zero: Option<u64>,
}

/// What becomes of a piece.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It is to be read.
    Read(Piece),
    /// The flows of this filter are to be counted first.
    Count(FlowFilter, Cutting),
}

impl Piece {
    /// All flows of `filter`, of which there are about so many.
    pub(super) fn new(filter: FlowFilter, flows: u64) -> Self {
        Self { filter, flows, limit: LIMIT.max(flows / PIECES), knife: 0, bit: 0 }
    }

    /// All of a table.
    pub(super) fn table(table: TableId, flows: u64) -> Self {
        Self::new(FlowFilter { table, ..FlowFilter::default() }, flows)
    }

    pub(super) fn fate(mut self) -> Fate {
        if self.flows > self.limit {
            while let Some((knife, bits)) = KNIVES.get(self.knife) {
                let bit = bits.start + self.bit;
                if bit >= bits.end {
                    (self.knife, self.bit) = (self.knife + 1, 0);
                } else if matches!(knife, Knife::Cookie) && self.filter.cookie_mask >> bit & 1 == 1
                {
                    self.bit += 1;
                } else {
                    let filter = self.half(false);
                    return Fate::Count(filter, Cutting { piece: self, zero: None });
                }
            }
            let (table, flows) = (self.filter.table, self.flows);
            tracing::debug!(%table, flows, "flows that nothing tells apart are read at once");
        }
        Fate::Read(self)
    }

    /// The flows of which the next bit is this.
    fn half(&self, one: bool) -> FlowFilter {
        let mut filter = self.filter.clone();
        let Some((knife, bits)) = KNIVES.get(self.knife) else { return filter };
        let bit = bits.start + self.bit;
        match knife {
            Knife::Cookie => {
                filter.cookie_mask |= 1 << bit;
                filter.cookie = Cookie(filter.cookie.0 | u64::from(one) << bit);
            }
            Knife::Field { field, needs } => {
                let (value, mask) = (u128::from(one) << bit, 1 << bit);
                filter.matching = narrow(&filter.matching, *field, *needs, value, mask);
            }
        }
        filter
    }

    /// The next bit, or with `field` the next field.
    fn next_cut(&mut self, field: bool) {
        (self.knife, self.bit) =
            if field { (self.knife + 1, 0) } else { (self.knife, self.bit + 1) };
    }
}

impl Cutting {
    /// The part asked for has so many flows.
    pub(super) fn counted(mut self, flows: u64) -> Vec<Fate> {
        let mut piece = self.piece;
        let cookie = matches!(KNIVES.get(piece.knife), Some((Knife::Cookie, _)));
        let (zero, one) = match self.zero {
            // Every flow has a cookie: what has not this bit has the other.
            None if cookie => (flows, piece.flows.saturating_sub(flows)),
            None => {
                self.zero = Some(flows);
                let filter = piece.half(true);
                return vec![Fate::Count(filter, Self { piece, ..self })];
            }
            Some(zero) => (zero, flows),
        };
        // Flows that do not match on the field are in neither part, and can't be asked for without the others.
        let incomplete = zero + one < piece.flows;
        if incomplete || zero == 0 || one == 0 {
            piece.next_cut(incomplete);
            return vec![piece.fate()];
        }
        let part = |one, flows| {
            let filter = piece.half(one);
            let mut part = Piece { filter, flows, ..piece.clone() };
            part.next_cut(false);
            part.fate()
        };
        vec![part(true, one), part(false, zero)]
    }

    /// The switch does not count: the piece is read as it is.
    pub(super) fn uncounted(self) -> Fate {
        Fate::Read(self.piece)
    }
}

/// `matching` and these bits of `field`; what is `needed` comes first, as the switch wants it.
fn narrow(
    matching: &Match,
    field: Field,
    needed: Option<(Field, u128)>,
    value: u128,
    mask: u128,
) -> Match {
    let mut fields = matching.fields().to_vec();
    let of = |of| move |other: &MatchField| matches!(other, MatchField::Typed { field, .. } if *field == of);
    if let Some((needed, is)) = needed
        && !fields.iter().any(of(needed))
    {
        fields.insert(0, MatchField::exact(needed, is));
    }
    match fields.iter_mut().find(|other| of(field)(other)) {
        Some(MatchField::Typed { value: v, mask: Some(m), .. }) => {
            (*v, *m) = (*v | value, *m | mask)
        }
        // All bits are settled already.
        Some(_) => {}
        None => fields.push(MatchField::masked(field, value, mask)),
    }
    Match::new(fields)
}
