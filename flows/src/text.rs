//! Matches, actions and flows in the syntax of `ovs-ofctl`, which reads them back.
//!
//! [`Match`](crate::model::Match), [`Action`](crate::model::Action), [`Instruction`](crate::model::Instruction),
//! [`Flow`](crate::model::Flow) and [`Field`](crate::model::Field) get their [`Display`](std::fmt::Display) here.
//! `ovs-ofctl -O OpenFlow15 add-flow` makes of a printed flow the bytes that [`crate::ofp`] makes of it, up to the
//! order of the match fields, with these exceptions:
//!
//! - a resubmission to the current table with the current port, which `ovs-ofctl` has no words for;
//! - what the model keeps raw, and fields without a name here, are shown in hex as `raw_action(0x...)`,
//!   `raw_instruction(0x...)`, `raw_field(0x...)` and `field(class=...,number=...)`, which `ovs-ofctl` refuses;
//! - [`Action::RegLoad`](crate::model::Action::RegLoad) is shown as `load`, which comes back as the `set_field` that
//!   says the same, because OpenFlow 1.5 has no other;
//! - fields of Nicira's classes that OpenFlow 1.5 has too come back as the latter.

mod action;
mod field;
mod flow;
mod matching;
mod value;

use std::fmt;

/// Shows `bytes` as one hexadecimal number under a name that `ovs-ofctl` doesn't know.
fn raw(f: &mut fmt::Formatter<'_>, what: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{what}(0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    f.write_str(")")
}

/// Shows `items` with commas between them.
fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str(",")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
