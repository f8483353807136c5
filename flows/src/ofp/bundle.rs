//! Bundles: changes that take effect together or not at all (OpenFlow 1.5.1, 7.3.9).

use bitflags::bitflags;

/// `OFPBCT_*`: what to do with a bundle, or that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "the specification's names say it")]
pub enum BundleCommand {
    OpenRequest = 0,
    OpenReply = 1,
    CloseRequest = 2,
    CloseReply = 3,
    CommitRequest = 4,
    CommitReply = 5,
    DiscardRequest = 6,
    DiscardReply = 7,
}

impl BundleCommand {
    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::OpenRequest,
            1 => Self::OpenReply,
            2 => Self::CloseRequest,
            3 => Self::CloseReply,
            4 => Self::CommitRequest,
            5 => Self::CommitReply,
            6 => Self::DiscardRequest,
            7 => Self::DiscardReply,
            _ => return None,
        })
    }
}

bitflags! {
    /// `OFPBF_*`: how a bundle is carried out; all its messages must agree.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BundleFlags: u16 {
        /// All or nothing, and no packet sees a half.
        const ATOMIC = 1 << 0;
        /// In the order in which the messages were added.
        const ORDERED = 1 << 1;
        const _ = !0;
    }
}
