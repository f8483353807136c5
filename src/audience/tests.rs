use super::*;
use crate::nic::Link;

fn link() -> Link {
    Link {
        index: 7,
        name: "mirror0".to_owned(),
        kind: Some("openvswitch".to_owned()),
        mac: None,
        up: true,
        arp: false,
        mtu: 1500,
        max_mtu: None,
        master: None,
        addresses: vec![],
        default_routes: vec![],
        ipv6: None,
        outlets: vec![],
        reach: nic::Reach::default(),
        drain: None,
    }
}

fn sink(link: Option<Link>, internal: bool) -> SinkState {
    SinkState { known: true, link, internal, ..SinkState::default() }
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
