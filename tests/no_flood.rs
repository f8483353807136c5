//! The NO_FLOOD bit on a real OVS: its dummy datapath, which needs no root and touches no link.

#![allow(clippy::unwrap_used)]

mod dummy_ovs;

use dummy_ovs::Ovs;
use ofmirror::openflow::no_flood::{NoFloodError, set_no_flood};

/// The configuration of `mirror0` in the words of ovs-ofctl.
fn config(ovs: &Ovs) -> String {
    let show = ovs.ofctl("OpenFlow10", "show", &[]);
    let mut lines = show.lines().skip_while(|line| !line.contains("7(mirror0)"));
    let config = lines.find_map(|line| line.trim().strip_prefix("config:"));
    config.unwrap_or_else(|| panic!("no mirror0 in {show}")).trim().to_owned()
}

#[tokio::test]
async fn ovs_stops_flooding_to_the_port_and_nothing_else_changes() {
    let ovs = Ovs::start();
    ovs.ofctl("OpenFlow10", "mod-port", &["7", "no-packet-in"]);
    assert_eq!(config(&ovs), "NO_PACKET_IN");
    assert!(set_no_flood(&ovs.management(), 7).await.unwrap(), "the bit was clear");
    assert_eq!(config(&ovs), "NO_FLOOD NO_PACKET_IN");
    assert!(!set_no_flood(&ovs.management(), 7).await.unwrap(), "the bit was set");
    assert_eq!(config(&ovs), "NO_FLOOD NO_PACKET_IN");
}

#[tokio::test]
async fn ovs_says_what_is_wrong_with_the_port_or_the_version() {
    let ovs = Ovs::start();
    let error = set_no_flood(&ovs.management(), 8).await.unwrap_err();
    assert!(matches!(error, NoFloodError::NoSuchPort { port: 8, listed: 2 }), "{error}");

    ovs.vsctl("set bridge br-int protocols=OpenFlow15");
    let error = set_no_flood(&ovs.management(), 7).await.unwrap_err();
    assert!(matches!(error, NoFloodError::VersionRefused(_)), "{error}");
    assert!(error.to_string().contains("We support version 0x06"), "{error}");
}
