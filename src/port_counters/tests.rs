use super::*;
use crate::ovsdb::{Bridge, Interface, Ofport, Port, Uuid};

/// Statistics in which every figure is another.
fn stats() -> PortStats {
    PortStats {
        port: OfPort(5),
        duration: None,
        rx_packets: Some(1),
        tx_packets: Some(2),
        rx_bytes: Some(3),
        tx_bytes: Some(4),
        rx_dropped: Some(5),
        tx_dropped: Some(6),
        rx_errors: Some(70),
        tx_errors: Some(8),
        properties: Box::default(),
    }
}

/// A bridge of this datapath with its own port, an internal port 5 and a Pod's port 6.
fn snapshot(datapath_type: &str) -> Snapshot {
    let uuid = |number: u128| Uuid::from_u128(number);
    let interface = |number: u128, name: &str, kind: &str, ofport| Interface {
        uuid: uuid(number),
        name: name.to_owned(),
        kind: kind.to_owned(),
        ofport,
        ..Interface::default()
    };
    let interfaces = [
        interface(1, "br-int", "", Ofport::Number(65534)),
        interface(2, "ovn0", "internal", Ofport::Number(5)),
        interface(3, "pod_h", "", Ofport::Number(6)),
        interface(4, "new", "internal", Ofport::Unset),
        interface(5, "elsewhere", "internal", Ofport::Number(7)),
    ];
    let port = |interface: &Interface| Port {
        uuid: uuid(10 + interface.uuid.as_u128()),
        name: interface.name.clone(),
        interfaces: [interface.uuid].into(),
        ..Port::default()
    };
    let bridge = Bridge {
        uuid: uuid(20),
        name: "br-int".to_owned(),
        datapath_type: datapath_type.to_owned(),
        ports: (11..=14).map(uuid).collect(),
        ..Bridge::default()
    };
    Snapshot::from_rows([bridge], interfaces.each_ref().map(port), interfaces, [])
}

#[test]
fn only_internal_ports_of_the_kernels_datapath_count_from_the_hosts_side() {
    let sides = |datapath_type: &str| {
        let sides = Sides::of(&snapshot(datapath_type), "br-int");
        [OfPort::LOCAL, OfPort(5), OfPort(6), OfPort(7)].map(|port| sides.side(port))
    };
    for datapath_type in ["", "system"] {
        assert_eq!(sides(datapath_type), [Side::Host, Side::Host, Side::Switch, Side::Switch]);
    }
    for datapath_type in ["netdev", "dummy"] {
        assert_eq!(sides(datapath_type), [Side::Switch; 4], "{datapath_type}");
    }
    assert_eq!(Sides::of(&snapshot(""), "br-ext"), Sides::default(), "nothing is known of it");
}

#[test]
fn what_the_switch_sends_is_what_the_host_receives() {
    let [sent, dropped, received] = [[2, 4], [6, 8], [1, 3]].map(|figures| figures.map(Some));
    let expected = PortCounters {
        sent_packets: sent[0],
        sent_bytes: sent[1],
        sent_dropped: dropped[0],
        sent_errors: dropped[1],
        received_packets: received[0],
        received_bytes: received[1],
    };
    assert_eq!(Side::Switch.read(&stats()), expected);
    let expected = PortCounters {
        sent_packets: received[0],
        // With the Ethernet header of the one packet, which is off when the host receives it.
        sent_bytes: Some(3 + 14),
        sent_dropped: Some(5),
        sent_errors: Some(78),
        received_packets: sent[0],
        received_bytes: sent[1],
    };
    assert_eq!(Side::Host.read(&stats()), expected);
}

#[test]
fn what_is_not_counted_is_not_made_up() {
    let bytes = |rx_packets, rx_bytes| {
        Side::Host.read(&PortStats { rx_packets, rx_bytes, ..stats() }).sent_bytes
    };
    assert_eq!([bytes(None, Some(3)), bytes(Some(1), None)], [None; 2]);
    assert_eq!(bytes(Some(u64::MAX - 1), Some(3)), Some(u64::MAX));
    let errors = |rx_errors, tx_errors| {
        Side::Host.read(&PortStats { rx_errors, tx_errors, ..stats() }).sent_errors
    };
    assert_eq!(errors(None, None), None);
    assert_eq!(errors(Some(3), None), Some(3));
    assert_eq!(errors(None, Some(4)), Some(4));
    assert_eq!(errors(Some(3), Some(u64::MAX - 1)), Some(u64::MAX));
}
