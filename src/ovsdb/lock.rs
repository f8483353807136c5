//! The database's own locks (RFC 7047 sections 4.1.8 to 4.1.10).
//!
//! `ovsdb-server` gives a lock to one connection at a time, queues the others, and takes it back when the connection
//! ends, however that happens. So a lock leaves nothing behind: no row, no file, no lease that has to run out.

use std::{fmt::Write as _, time::Duration};

/// How long a client that waited for the lock lets others ask first when the server is back from a restart, so that the
/// former holder gets the lock again. Longer than any pause between two attempts to connect.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Whether a client holds its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lock {
    /// The client asked for none, or the server has not answered (on this connection).
    #[default]
    Unknown,
    /// Another client holds it; the server reports as soon as it is ours.
    Waiting,
    /// The client holds it.
    Held,
}

/// The lock for whoever changes things on a bridge, as an `<id>` of RFC 7047: letters, digits and underscores. Any other
/// byte of the name becomes an underscore and two hex digits, so no two bridges share a lock.
#[must_use]
pub fn lock_of_bridge(bridge: &str) -> String {
    let mut id = "ofmirror_".to_owned();
    for byte in bridge.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => id.push(byte.into()),
            // Writing to a string never fails.
            other => drop(write!(id, "_{other:02x}")),
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bridge_has_a_lock_of_its_own_whatever_its_name() {
        assert_eq!(lock_of_bridge("br-int"), "ofmirror_br_2dint");
        let names = ["br-int", "br_int", "br.int", "brint", "br_2dint", "br-é", "", "BR-INT"];
        let locks: std::collections::BTreeSet<_> = names.map(lock_of_bridge).into();
        assert_eq!(locks.len(), names.len());
        let is_id = |lock: &String| lock.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert!(locks.iter().all(is_id), "{locks:?}");
    }
}
