//! Which packets a flow is for.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Field, MatchField};

/// The conjunction of [`MatchField`]s; an empty one matches every packet.
///
/// The fields keep the order in which they came, so that what was read is written back byte for byte, but that order
/// means nothing: two matches with the same fields are equal.
#[derive(Clone, Debug, Default)]
pub struct Match {
    fields: Vec<MatchField>,
}

impl Match {
    /// The match on all of `fields`.
    #[must_use]
    pub fn new(fields: impl Into<Vec<MatchField>>) -> Self {
        Self { fields: fields.into() }
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
        let sum = self.fields.iter().fold(0_u64, |sum, field| {
            let mut hasher = DefaultHasher::new();
            field.hash(&mut hasher);
            sum.wrapping_add(hasher.finish())
        });
        state.write_u64(sum);
    }
}

impl FromIterator<MatchField> for Match {
    fn from_iter<I: IntoIterator<Item = MatchField>>(fields: I) -> Self {
        Self { fields: fields.into_iter().collect() }
    }
}
