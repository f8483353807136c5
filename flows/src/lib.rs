//! OpenFlow 1.5 and the mirror's flows, deterministic: no sockets, no clock, no runtime.
//!
//! - [`model`]: flows, matches, actions and cookies as plain values.
//! - [`ofp`]: the OpenFlow 1.5 wire codec with the Nicira extensions: message bodies to values and back.
//! - [`text`]: matches, actions and flows in the syntax of `ovs-ofctl`.
//! - [`marker`]: which register bits the other flows of the switch leave free.
//! - [`tap`]: what is to be mirrored.
//! - [`delivery`]: OVN's flows that hand a packet to a port.
//! - [`pipeline`]: flows of OVN's that rewrite packets on their way, or flood them in parts.
//! - [`mod@plan`]: taps and deliveries to the flows that the switch should have.
//! - [`mod@diff`]: these and the observed ones to the changes that lead there.
//!
//! ```text
//! taps -----------\
//! deliveries ------> plan -> desired flows --\
//! marker bits ----/                           diff -> changes
//!                            observed flows --/
//! ```

pub mod delivery;
pub mod diff;
pub mod flood;
pub mod marker;
pub mod model;
pub mod ofp;
pub mod pipeline;
pub mod plan;
pub mod tap;
pub mod text;
