use super::*;
use crate::nic::Link;

/// Sockets as the kernel lists them: protocol, interface, whether it runs.
fn table(sockets: &[(&str, u32, u8)]) -> String {
    let mut text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n".to_owned();
    for (protocol, interface, runs) in sockets {
        text.push_str(&format!(
            "0000000000000000 3      3    {protocol}   {interface:<5} {runs} 0      0      4242  \n"
        ));
    }
    text
}

/// How many sockets get what is copied to link 7.
fn number(sockets: &[(&str, u32, u8)]) -> Option<usize> {
    count(&table(sockets), 7).map(|listeners| listeners.number)
}

fn link() -> Link {
    Link {
        index: 7,
        name: "mirror0".to_owned(),
        kind: Some("openvswitch".to_owned()),
        mac: None,
        up: true,
        arp: false,
        mtu: 1500,
        master: None,
        addresses: vec![],
        default_routes: vec![],
        ipv6: None,
        outlets: vec![],
        drain: None,
    }
}

fn sink(link: Option<Link>, internal: bool) -> SinkState {
    SinkState { known: true, link, internal, ..SinkState::default() }
}

#[test]
fn whoever_gets_the_copies_is_counted_and_nobody_else() {
    for (listeners, socket, who) in [
        (1, ("0003", 7, 1), "tcpdump -i mirror0"),
        (1, ("0003", 0, 1), "tcpdump -i any"),
        (1, ("0800", 7, 1), "one for IPv4 alone, on the NIC itself"),
        (0, ("0003", 8, 1), "tcpdump on another NIC"),
        (0, ("0003", 70, 1), "and on one whose number begins alike"),
        (0, ("0806", 0, 1), "an ARP daemon on all NICs"),
        (0, ("88cc", 0, 1), "an LLDP daemon on all NICs"),
        (0, ("0000", 7, 0), "tcpdump before it listens"),
        (0, ("0003", 7, 0), "tcpdump on the NIC while that was down"),
    ] {
        assert_eq!(number(&[socket]), Some(listeners), "{who}");
    }
    assert_eq!(number(&[("0003", 7, 1), ("0003", 3, 1), ("0003", 7, 1)]), Some(2));
    assert_eq!(number(&[]), Some(0));
}

#[test]
fn a_listener_for_one_protocol_is_told_from_those_for_all() {
    let by_protocol = |sockets| count(&table(sockets), 7).map(|listeners| listeners.by_protocol);
    assert_eq!(by_protocol(&[("0003", 7, 1), ("0003", 0, 1)]), Some(false));
    assert_eq!(by_protocol(&[("0003", 7, 1), ("0800", 7, 1)]), Some(true));
    assert_eq!(by_protocol(&[("0806", 0, 1), ("0800", 8, 1)]), Some(false), "it is elsewhere");
}

#[test]
fn a_table_that_is_not_understood_is_not_taken_for_an_empty_one() {
    for strange in ["", "sk RefCnt Type\n", "sk RefCnt Type Proto R Iface\n"] {
        assert_eq!(count(strange, 7), None, "{strange:?}");
    }
    let table = table(&[("0003", 7, 1)]);
    for (what, by) in [("0003", "zzzz"), (" 7 ", " x "), (" 1 0 ", " 2 0 ")] {
        assert_eq!(count(&table.replace(what, by), 7), None, "{what:?}");
    }
}

#[test]
fn the_table_of_this_kernel_is_understood() {
    assert!(read(u32::MAX).is_ok());
}

#[test]
fn where_copies_may_go_elsewhere_nobody_says_that_nobody_listens() {
    let outlets = vec!["the device vlan5 on it".to_owned(), "tc filters".to_owned()];
    for (sink, reason) in [
        (sink(None, true), "mirror0 is no device of this network namespace"),
        (sink(Some(link()), false), "mirror0 is no internal port of the bridge"),
        (
            sink(Some(Link { outlets, ..link() }), true),
            "mirror0 has the device vlan5 on it, tc filters, which",
        ),
    ] {
        let audience = Audience::look("mirror0", &sink, MirrorWhen::Listened);
        assert_eq!((audience.listeners, audience.wanted), (None, Some(true)));
        let remark = audience.remark.unwrap_or_default();
        assert!(remark.contains(reason), "{remark}");
        let always = Audience::look("mirror0", &sink, MirrorWhen::Always);
        assert_eq!((always.wanted, always.remark), (Some(true), None), "there it is no news");
    }
}

#[test]
fn copies_are_wanted_by_listeners_or_always() {
    let audience = |number, when| {
        let listeners = Listeners { number, by_protocol: false };
        Audience::new(Some(Ok(listeners)), Some(number > 0), when)
    };
    assert!(audience(0, MirrorWhen::Listened).is_paused());
    assert!(!audience(1, MirrorWhen::Listened).is_paused());
    let always = audience(0, MirrorWhen::Always);
    assert_eq!((always.listeners, always.wanted), (Some(0), Some(true)));
}
