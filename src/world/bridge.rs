//! Whether the bridge is the one that OVN runs, and the same in OVSDB and at the OpenFlow socket: flags can name any. As long as
//! they do not agree nothing may be changed, as port numbers of one bridge mean other ports on another.

use crate::ovsdb::Bridge;

/// What ovn-controller sets in `fail_mode` of the bridge that it runs (`process_br_int()` in controller/ovn-controller.c).
const SECURE: &str = "secure";

/// Why the bridge can't be the right one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistaken {
    /// A bridge that switches by itself.
    #[error(
        "{bridge} is not run by OVN: ovn-controller sets fail_mode={SECURE} on its bridge, and this has {fail_mode}; is --bridge wrong?"
    )]
    Foreign {
        /// Its name.
        bridge: String,
        /// What it has in OVSDB.
        fail_mode: String,
    },
    /// Two bridges.
    #[error(
        "OpenFlow: {endpoint} is another bridge's: its datapath is {connected:016x}, that of {bridge} is {known} in OVSDB; is --openflow wrong, or --bridge?"
    )]
    Another {
        /// The OpenFlow socket.
        endpoint: String,
        /// The datapath that it is of.
        connected: u64,
        /// The name of the bridge.
        bridge: String,
        /// Its datapath.
        known: String,
    },
}

/// Whether `bridge` is OVN's, and the one whose datapath is `connected`.
///
/// # Errors
/// It is not.
pub(super) fn check(
    bridge: &Bridge,
    connected: Option<u64>,
    endpoint: &str,
) -> Result<(), Mistaken> {
    let name = || bridge.name.clone();
    if bridge.fail_mode.as_deref() != Some(SECURE) {
        let fail_mode = bridge.fail_mode.clone().unwrap_or_else(|| "none".to_owned());
        return Err(Mistaken::Foreign { bridge: name(), fail_mode });
    }
    // The switch writes it when it has made the bridge.
    let Some((known, connected)) = bridge.datapath_id.as_ref().zip(connected) else {
        return Ok(());
    };
    if u64::from_str_radix(known, 16) == Ok(connected) {
        return Ok(());
    }
    let (endpoint, known) = (endpoint.to_owned(), known.clone());
    Err(Mistaken::Another { endpoint, connected, bridge: name(), known })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(fail_mode: Option<&str>, datapath_id: Option<&str>) -> Bridge {
        Bridge {
            name: "br-int".to_owned(),
            fail_mode: fail_mode.map(str::to_owned),
            datapath_id: datapath_id.map(str::to_owned),
            ..Bridge::default()
        }
    }

    fn refusal(bridge: &Bridge, connected: u64) -> String {
        check(bridge, Some(connected), "unix:/run/x.mgmt").unwrap_err().to_string()
    }

    #[test]
    fn a_bridge_that_switches_by_itself_is_named() {
        for fail_mode in [None, Some("standalone")] {
            let text = refusal(&bridge(fail_mode, None), 1);
            assert!(text.starts_with("br-int is not run by OVN"), "{text}");
            assert!(text.contains(fail_mode.unwrap_or("none")), "{text}");
        }
    }

    #[test]
    fn a_socket_of_another_bridge_is_named() {
        let ours = bridge(Some("secure"), Some("0000aa55aa550000"));
        assert_eq!(check(&ours, Some(0xaa55_aa55_0000), ""), Ok(()));
        let text = refusal(&ours, 0x2a);
        for word in ["unix:/run/x.mgmt", "000000000000002a", "br-int", "0000aa55aa550000"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_no_mistake() {
        assert_eq!(check(&bridge(Some("secure"), None), Some(1), ""), Ok(()));
        assert_eq!(check(&bridge(Some("secure"), Some("1")), None, ""), Ok(()));
    }
}
