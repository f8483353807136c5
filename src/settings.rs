//! What is to be mirrored, and where the node's Open vSwitch is: the same for the agent and for those who look.

use flows::marker::MarkerBits;

use crate::{endpoint::Endpoint, world::Wish};

/// One node's mirror.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose packets are wanted.
    pub wish: Wish,
    /// Name of the mirror NIC.
    pub nic: String,
    /// Where OVSDB listens.
    pub ovsdb: Endpoint,
    /// Where the bridge speaks OpenFlow.
    pub openflow: Endpoint,
    /// Bits of `reg10` to mark frames with, if not those that are found free.
    pub marker: Option<MarkerBits>,
}
