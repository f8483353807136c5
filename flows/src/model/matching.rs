//! Which packets a flow is for.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Field, MatchField};

/// The conjunction of [`MatchField`]s; an empty one matches every packet.
///
/// The fields keep the order in which they came, so that what was read is written back byte for byte, but that order
/// means nothing: two matches with the same fields are equal. Registers are matched by themselves ([`Field::reg`]): the
/// codec takes apart the pairs (`xreg<n>`) in which OVS tells them, and writes pairs again.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Shared by all that know the flow: there may be thousands.
    fields: Arc<[MatchField]>,
}

impl Match {
    /// The match on all of `fields`.
    #[must_use]
    pub fn new(fields: impl Into<Vec<MatchField>>) -> Self {
        Self { fields: fields.into().into() }
    }

    /// The fields in the order in which they came.
    #[must_use]
    pub fn fields(&self) -> &[MatchField] {
        &self.fields
    }

    /// The value that `field` must have, if the match says so of all its bits.
    #[must_use]
    pub fn exact(&self, field: Field) -> Option<u128> {
        self.fields.iter().find_map(|candidate| match candidate {
            MatchField::Typed { field: found, value, mask: None } if *found == field => {
                Some(*value)
            }
            _ => None,
        })
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        // Almost always both orders are the same; a flow has no field twice, so containment one way is equality.
        self.fields == other.fields
            || (self.fields.len() == other.fields.len()
                && self.fields.iter().all(|field| other.fields.contains(field)))
    }
}

impl Eq for Match {}

impl Hash for Match {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A sum, as the order means nothing; the odd factor spreads neighbouring values.
        let sum = self.fields.iter().fold(0_u64, |sum, field| {
            let word = match field {
                MatchField::Typed { field, value, .. } => {
                    let high = (value >> 64) as u64;
                    (*value as u64 ^ high.rotate_left(32)).rotate_left(field.number.into())
                }
                MatchField::Raw(tlv) => tlv.len() as u64,
            };
            sum.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        });
        state.write_u64(sum);
    }
}

impl FromIterator<MatchField> for Match {
    fn from_iter<I: IntoIterator<Item = MatchField>>(fields: I) -> Self {
        Self { fields: fields.into_iter().collect() }
    }
}
