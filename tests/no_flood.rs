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

/// The hardware address of `mirror0`.
fn hw_addr(ovs: &Ovs) -> [u8; 6] {
    let show = ovs.ofctl("OpenFlow10", "show", &[]);
    let (_, text) = show.split_once("7(mirror0): addr:").unwrap();
    let bytes = text.lines().next().unwrap().split(':');
    let bytes: Vec<_> = bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[tokio::test]
async fn ovs_stops_flooding_to_the_port_and_nothing_else_changes() {
    let ovs = Ovs::start();
    ovs.ofctl("OpenFlow10", "mod-port", &["7", "no-packet-in"]);
    assert_eq!(config(&ovs), "NO_PACKET_IN");
    for _ in 0..2 {
        set_no_flood(&ovs.management(), 7, hw_addr(&ovs)).await.unwrap();
        assert_eq!(config(&ovs), "NO_FLOOD NO_PACKET_IN");
    }
}

#[tokio::test]
async fn ovs_says_what_is_wrong_with_the_port_or_the_version() {
    let ovs = Ovs::start();
    let right = hw_addr(&ovs);
    for (port, hw_addr, reason) in
        [(8, right, "no such port"), (7, [2, 0, 0, 0, 0, 9], "another hardware address")]
    {
        let error = set_no_flood(&ovs.management(), port, hw_addr).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    ovs.vsctl("set bridge br-int protocols=OpenFlow15");
    let error = set_no_flood(&ovs.management(), 7, right).await.unwrap_err();
    assert!(matches!(error, NoFloodError::VersionRefused(_)), "{error}");
    assert!(error.to_string().contains("We support version 0x06"), "{error}");
}
