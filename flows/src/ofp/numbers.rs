//! The protocol's numbers, each list with its source.

/// `OFPHET_*` (OpenFlow 1.5.1, 7.5.1).
pub mod hello {
    /// `OFPHET_VERSIONBITMAP`.
    pub const VERSIONBITMAP: u16 = 1;
}

/// `OFPET_*` (OpenFlow 1.5.1, 7.5.4).
pub mod error_type {
    /// `OFPET_EXPERIMENTER`.
    pub const EXPERIMENTER: u16 = 0xffff;
}
