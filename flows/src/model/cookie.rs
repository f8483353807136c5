//! The cookie: who installed a flow, and for what.

use std::fmt;

use super::OfPort;

/// A flow's 64-bit cookie, opaque to the switch.
///
/// | bits  | of a flow of ours                                        |
/// |-------|----------------------------------------------------------|
/// | 63-32 | [`Cookie::TAG`], "ofmr" in ASCII                         |
/// | 31-28 | [`Purpose`]                                              |
/// | 27-16 | zero                                                     |
/// | 15-0  | the OpenFlow port of the Pod or, for the guard, the NIC  |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

/// What a flow of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Copies what a Pod sends.
    FromPod = 1,
    /// Copies what is delivered to a Pod.
    ToPod = 2,
    /// Notes that a frame was rewritten since it was copied, so that its new form is copied too.
    Rewritten = 3,
    /// Drops what comes in by the mirror port.
    Guard = 4,
}

impl Cookie {
    /// The upper 32 bits of every cookie of ours.
    pub const TAG: u32 = 0x6f66_6d72;
    /// A value whose upper half is the tag, for requests with [`Cookie::TAG_MASK`].
    pub const OURS: Self = Self((Self::TAG as u64) << 32);
    /// The bits that tell our flows from everybody else's.
    pub const TAG_MASK: u64 = 0xffff_ffff_0000_0000;

    /// The cookie of a flow of ours.
    #[must_use]
    pub fn new(purpose: Purpose, port: OfPort) -> Self {
        Self(Self::OURS.0 | (purpose as u64) << 28 | u64::from(port.0 & 0xffff))
    }

    /// Whether the flow that bears this cookie is ours.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self.0 & Self::TAG_MASK == Self::OURS.0
    }

    /// What a flow of ours is for, and at which port; `None` when the flow isn't ours.
    #[must_use]
    pub fn purpose(self) -> Option<(Purpose, OfPort)> {
        let purpose = match self.0 >> 28 & 0xf {
            1 => Purpose::FromPod,
            2 => Purpose::ToPod,
            3 => Purpose::Rewritten,
            4 => Purpose::Guard,
            _ => return None,
        };
        self.is_ours().then_some((purpose, OfPort((self.0 & 0xffff) as u32)))
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_tells_purpose_and_port() {
        for purpose in [Purpose::FromPod, Purpose::ToPod, Purpose::Rewritten, Purpose::Guard] {
            let cookie = Cookie::new(purpose, OfPort(513));
            assert!(cookie.is_ours());
            assert_eq!(cookie.purpose(), Some((purpose, OfPort(513))));
        }
    }

    #[test]
    fn a_foreign_cookie_is_not_ours() {
        for cookie in [Cookie(0), Cookie(0x1000_0001), Cookie(0x6f66_6d73_1000_0001)] {
            assert!(!cookie.is_ours());
            assert_eq!(cookie.purpose(), None);
        }
    }
}
