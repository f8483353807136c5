//! `OFPT_ERROR`: what the switch refused (OpenFlow 1.5.1, 7.5.4).

use bytes::Bytes;

/// `struct ofp_error_msg` and `struct ofp_error_experimenter_msg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfpError {
    /// `OFPET_*`.
    pub kind: u16,
    /// `OFP*FC_*` and the like, by kind; of experimenter errors, their type.
    pub code: u16,
    /// Who defined the error, if `kind` is [`super::numbers::error_type::EXPERIMENTER`], else 0.
    pub experimenter: u32,
    /// At least the first 64 bytes of the request that failed, with header; text for a failed hello.
    pub data: Bytes,
}
