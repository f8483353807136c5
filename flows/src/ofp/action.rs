//! Actions (OpenFlow 1.5.1, 7.2.6) and the Nicira extensions.

/// How deep actions may be within each other: a clone in a clone and so on.
pub const MAX_DEPTH: usize = 16;
