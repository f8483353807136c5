//! Newtypes for the numbers that could be swapped by mistake.

use std::fmt;

use serde::Serialize;

/// An OpenFlow 1.1+ port number (32 bits); OVS gives real ports 1 to 0xfeff and keeps the reserved ones at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OfPort(pub u32);

impl OfPort {
    /// Highest number that OVS gives to a port of its own (`OFPP_MAX` of OpenFlow 1.0 less one).
    pub const LAST: Self = Self(0xfeff);
    /// `OFPP_IN_PORT`: back out of the port that the packet came in by.
    pub const IN_PORT: Self = Self(0xffff_fff8);
    /// `OFPP_CONTROLLER`: to a controller; as a match, packets that a controller injected.
    pub const CONTROLLER: Self = Self(0xffff_fffd);
    /// `OFPP_LOCAL`: the bridge's own port.
    pub const LOCAL: Self = Self(0xffff_fffe);
    /// `OFPP_ANY`, which OVS calls `OFPP_NONE`: no port; in requests, any port.
    pub const ANY: Self = Self(0xffff_ffff);

    /// Whether a port of the switch can have this number, as against the reserved ones.
    #[must_use]
    pub fn is_physical(self) -> bool {
        (1..=Self::LAST.0).contains(&self.0)
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0xffff_fff8 => f.write_str("IN_PORT"),
            0xffff_fff9 => f.write_str("TABLE"),
            0xffff_fffa => f.write_str("NORMAL"),
            0xffff_fffb => f.write_str("FLOOD"),
            0xffff_fffc => f.write_str("ALL"),
            0xffff_fffd => f.write_str("CONTROLLER"),
            0xffff_fffe => f.write_str("LOCAL"),
            0xffff_ffff => f.write_str("ANY"),
            number => write!(f, "{number}"),
        }
    }
}

/// An OpenFlow table, 0 to 254; 255 stands for all tables in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TableId(pub u8);

impl TableId {
    /// Every table (`OFPTT_ALL`), in requests and deletions.
    pub const ALL: Self = Self(0xff);
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
