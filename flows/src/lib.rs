//! OpenFlow 1.5 and the mirror's flows, deterministic: no sockets, no clock, no runtime.
//!
//! - [`model`]: flows, matches, actions and cookies as plain values.

pub mod model;
