//! OpenFlow 1.5 and the mirror's flows, deterministic: no sockets, no clock, no runtime.
//!
//! - [`model`]: flows, matches, actions and cookies as plain values.
//! - [`ofp`]: the OpenFlow 1.5 wire codec with the Nicira extensions: message bodies to values and back.

pub mod model;
pub mod ofp;
