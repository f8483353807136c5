//! Which bits of a register the other flows of the switch leave free, and which of them the hooks may use as marks.
//!
//! In go the flows that aren't ours, as the switch tells them. A bit is used when a flow matches on it, sets it, or
//! copies it elsewhere, wherever in the flow that is. Clearing a whole register doesn't count: OVN does that between
//! logical datapaths, and the hooks rely on it. What groups' buckets do is not looked at.

mod actions;

use std::fmt;

use crate::model::{Field, Flow, MatchField};

/// The two bits of register 10 that the hooks use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerBits {
    /// Number of the bit that says: this frame, in this form, has been copied.
    pub copied: u32,
    /// Number of the bit that says: the hook in front of the delivery has been passed.
    pub delivered: u32,
}

impl Default for MarkerBits {
    /// 27 and 26, free on every OVN looked at.
    fn default() -> Self {
        Self { copied: 27, delivered: 26 }
    }
}

impl MarkerBits {
    /// The register whose bits they are; OVN clears it between logical datapaths.
    pub const REGISTER: u8 = 10;

    /// The mask of [`MarkerBits::copied`].
    #[must_use]
    pub const fn copied_mask(self) -> u32 {
        1 << self.copied
    }

    /// The mask of [`MarkerBits::delivered`].
    #[must_use]
    pub const fn delivered_mask(self) -> u32 {
        1 << self.delivered
    }
}

impl fmt::Display for MarkerBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let register = Self::REGISTER;
        write!(
            f,
            "bits {} (copied) and {} (delivered) of reg{register}",
            self.copied, self.delivered
        )
    }
}

/// The default bits if they are clear in `used`, else the two highest that are; `None` when there are no two.
#[must_use]
pub fn choose(used: u32) -> Option<MarkerBits> {
    let default = MarkerBits::default();
    if used & (default.copied_mask() | default.delivered_mask()) == 0 {
        return Some(default);
    }
    let mut free = (0..u32::BITS).rev().filter(|bit| used >> bit & 1 == 0);
    Some(MarkerBits { copied: free.next()?, delivered: free.next()? })
}

/// The bits of register `register` that `flow` matches on, sets or copies, but for clearing all of it.
#[must_use]
pub fn register_bits_used(flow: &Flow, register: u8) -> u32 {
    let matched = flow
        .key
        .matching
        .fields()
        .iter()
        .filter_map(typed)
        .fold(0, |used, (field, _, mask)| used | window(field, mask, register));
    matched | actions::of_instructions(&flow.instructions, register)
}

/// A field with its value and the mask that counts; of a wider field nothing, because no register is one.
fn typed(field: &MatchField) -> Option<(Field, u128, u128)> {
    match field {
        MatchField::Typed { field, value, mask } => {
            Some((*field, *value, mask.unwrap_or(field.all_ones())))
        }
        MatchField::Raw(_) => None,
    }
}

/// The part of `number`, a value or mask of `field`, that lies in `register`.
fn window(field: Field, number: u128, register: u8) -> u32 {
    place(field, register).map_or(0, |shift| (number >> shift & u128::from(u32::MAX)) as u32)
}

/// The bits of `register` among bits `offset..offset + bits` of `field`.
fn range(field: Field, offset: u32, bits: u32, register: u8) -> u32 {
    let upwards = u128::MAX.checked_shl(offset).unwrap_or(0);
    let beyond = u128::MAX.checked_shl(offset.saturating_add(bits)).unwrap_or(0);
    window(field, upwards & !beyond, register)
}

/// Which bit of `field` is bit 0 of `register`; `None` when the field doesn't contain it.
fn place(field: Field, register: u8) -> Option<u32> {
    let (first, last) = field.registers()?;
    (first..=last).contains(&register).then(|| u32::from(last - register) * u32::BITS)
}

#[cfg(test)]
mod tests;
