use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{nic::Ipv6, ovsdb::Uuid};

const BRIDGE: u128 = 1;
const PORT: u128 = 2;
const INTERFACE: u128 = 3;
const MIRROR: u128 = 4;

/// What OVSDB has: the bridge `br-int`, and perhaps the port `mirror0`.
#[derive(Clone)]
pub(super) struct Database {
    interface: Option<Interface>,
    port: Port,
    ours: bool,
    bridge: &'static str,
    mirror: Option<Mirror>,
}

impl Database {
    fn without_port() -> Self {
        let port = Port {
            uuid: Uuid::from_u128(PORT),
            name: "mirror0".to_owned(),
            interfaces: BTreeSet::from([Uuid::from_u128(INTERFACE)]),
            ..Port::default()
        };
        Self { interface: None, port, ours: false, bridge: "br-int", mirror: None }
    }

    pub(super) fn with_port() -> Self {
        let interface = Interface {
            uuid: Uuid::from_u128(INTERFACE),
            name: "mirror0".to_owned(),
            kind: "internal".to_owned(),
            ofport: Ofport::Number(7),
            mtu: Some(1400),
            ..Interface::default()
        };
        Self { interface: Some(interface), ours: true, ..Self::without_port() }
    }

    pub(super) fn of_others(mut self) -> Self {
        self.ours = false;
        self
    }

    pub(super) fn interface(mut self, change: impl FnOnce(&mut Interface)) -> Self {
        change(self.interface.as_mut().expect("made with a port"));
        self
    }

    fn port(mut self, change: impl FnOnce(&mut Port)) -> Self {
        change(&mut self.port);
        self
    }

    fn named(self, name: &str) -> Self {
        self.port(|row| row.name = name.to_owned())
    }

    fn mirror(mut self, select_all: bool) -> Self {
        self.mirror = Some(Mirror {
            uuid: Uuid::from_u128(MIRROR),
            name: "m0".to_owned(),
            select_all,
            output_port: Some(Uuid::from_u128(PORT)),
            ..Mirror::default()
        });
        self
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let owner = (OWNER.0.to_owned(), OWNER.1.to_owned());
        let mut port = self.port.clone();
        port.external_ids.extend(self.ours.then_some(owner));
        let bridge = Bridge {
            uuid: Uuid::from_u128(BRIDGE),
            name: self.bridge.to_owned(),
            ports: self.interface.iter().map(|_| port.uuid).collect(),
            mirrors: self.mirror.iter().map(|mirror| mirror.uuid).collect(),
            ..Bridge::default()
        };
        let other = Bridge { name: "br-ex".to_owned(), ..Bridge::default() };
        Snapshot::from_rows(
            [bridge, other],
            self.interface.iter().map(|_| port.clone()),
            self.interface.clone(),
            self.mirror.clone(),
        )
    }
}

/// A link that is up and quiet.
pub(super) fn quiet_link() -> Link {
    Link {
        index: 5,
        name: "mirror0".to_owned(),
        kind: Some("openvswitch".to_owned()),
        mac: Some([2, 0, 0, 0, 0, 1]),
        up: true,
        arp: false,
        mtu: 1400,
        max_mtu: None,
        master: None,
        addresses: vec![],
        default_routes: vec![],
        ipv6: Some(Ipv6 { disabled: true, address_generation_off: true, ..Ipv6::default() }),
        outlets: vec![],
        reach: nic::Reach::default(),
        drain: None,
    }
}

pub(super) fn facts<'a>(snapshot: &'a Snapshot, link: Option<&'a Link>) -> Facts<'a> {
    Facts {
        link,
        absence: Absence::Deleted,
        mtu: 1400,
        least_mtu: Some(1400),
        ..Facts::of("br-int", "mirror0", snapshot)
    }
}

/// The next step in words: what kind, and what it says.
fn step(database: &Database, link: Option<&Link>) -> (&'static str, String) {
    let snapshot = database.snapshot();
    in_words(&next_step(&facts(&snapshot, link)))
}

fn in_words(step: &Step<'_>) -> (&'static str, String) {
    let kind = match step {
        Step::Done(_) => "done",
        Step::Wait(_) => "wait",
        Step::Create(..) => "create",
        Step::Remove(..) => "remove",
        Step::RequestMtu(..) => "mtu",
        Step::Quiet(..) => "quiet",
    };
    (kind, step.to_string())
}

fn state(database: &Database, link: Option<&Link>, ready_as: Option<OfPort>) -> SinkState {
    let snapshot = database.snapshot();
    let facts = facts(&snapshot, link);
    SinkState::of(&facts, &next_step(&facts), ready_as)
}

#[test]
fn a_nic_that_is_not_there_is_made() {
    let (kind, text) = step(&Database::without_port(), None);
    assert_eq!((kind, &*text), ("create", "make it as an internal port of br-int"));
}

#[test]
fn a_nic_of_the_host_is_attached_unless_the_node_needs_it() {
    let database = Database::without_port();
    let (kind, text) = step(&database, Some(&quiet_link()));
    assert_eq!((kind, &*text), ("create", "attach it to br-int"));
    let addresses = vec!["192.0.2.7/24".parse().unwrap()];
    let (kind, text) = step(&database, Some(&Link { addresses, ..quiet_link() }));
    assert_eq!(kind, "wait");
    assert!(text.contains("192.0.2.7/24"), "{text}");
}

#[test]
fn without_the_bridge_there_is_nothing_to_do_but_wait() {
    let database = Database { bridge: "br0", ..Database::with_port() };
    let snapshot = Snapshot::from_rows([], [], [], []);
    assert_eq!(
        next_step(&facts(&snapshot, None)),
        Step::Wait(Problem::NoBridge("br-int".to_owned()))
    );
    assert_eq!(step(&database, None).0, "wait");
}

#[test]
fn a_port_of_another_bridge_is_left_there_and_the_bridge_named() {
    let database = Database::with_port();
    let mut snapshot = database.snapshot();
    let text =
        Step::Wait(Problem::OtherBridge { nic: "mirror0".to_owned(), bridge: "br-int".to_owned() });
    let elsewhere = Facts { bridge: "br-ex", ..facts(&snapshot, None) };
    assert_eq!(next_step(&elsewhere), text);
    assert_eq!(port(&elsewhere), None);
    snapshot = Database::without_port().snapshot();
    assert_eq!(port(&facts(&snapshot, None)), None);
}

#[test]
fn a_port_that_is_up_and_quiet_is_done() {
    let link = quiet_link();
    assert_eq!(step(&Database::with_port(), Some(&link)).0, "done");
    let ready = state(&Database::with_port(), Some(&link), None);
    assert_eq!((ready.known, ready.ofport, ready.problem), (true, Some(OfPort(7)), None));
    assert_eq!(ready.link, Some(link));
}

#[test]
fn a_port_without_a_number_is_waited_for() {
    let database = Database::with_port().interface(|row| row.ofport = Ofport::Unset);
    let (kind, text) = step(&database, Some(&quiet_link()));
    assert_eq!((kind, &*text), ("wait", "Open vSwitch has given mirror0 no OpenFlow number yet"));
    assert_eq!(state(&database, Some(&quiet_link()), None).ofport, None);
}

#[test]
fn our_internal_port_is_made_anew_when_its_device_is_gone() {
    assert_eq!(step(&Database::with_port(), None).0, "remove");
    let failed = Database::with_port().interface(|row| row.ofport = Ofport::Failed);
    assert_eq!(step(&failed, None).0, "remove");
}

#[test]
fn a_port_of_others_without_a_device_is_left_to_them() {
    let theirs = Database::with_port().of_others().mirror(false);
    let (kind, text) = step(&theirs, None);
    assert_eq!(kind, "wait");
    assert!(text.contains("no device of this network namespace"), "{text}");
    let failed = theirs.interface(|row| {
        row.ofport = Ofport::Failed;
        row.error = Some("could not open network device mirror0 (No such device)".to_owned());
    });
    let (kind, text) = step(&failed, None);
    assert_eq!(kind, "wait");
    assert!(text.contains("can't open mirror0: could not open network device"), "{text}");
}

#[test]
fn an_attached_nic_that_was_unplugged_is_waited_for() {
    let database = Database::with_port().interface(|row| row.kind.clear());
    let (kind, text) = step(&database, None);
    assert_eq!(kind, "wait");
    assert!(text.contains("no device"), "{text}");
}

/// The next step in words, on a bridge whose other ports have these MTUs.
fn step_with_mtus(
    database: &Database,
    link: Option<&Link>,
    least_mtu: Option<u32>,
    mtu: u32,
) -> (&'static str, String) {
    let snapshot = database.snapshot();
    let facts = Facts { least_mtu, mtu, ..facts(&snapshot, link) };
    in_words(&next_step(&facts))
}

#[test]
fn the_switch_is_asked_for_an_mtu_only_where_pods_have_larger_ones_than_it_gives_unasked() {
    let port = Database::with_port();
    let asked = port.clone().interface(|row| row.mtu_request = Some(9000));
    let link = quiet_link();
    let large = Link { mtu: 9000, ..quiet_link() };
    let of = |database, link, least, mtu| step_with_mtus(database, Some(link), least, mtu);
    assert_eq!(of(&port, &link, Some(1400), 9000), ("mtu", "set the MTU to 9000".to_owned()));
    assert_eq!(of(&asked, &large, Some(1400), 9000).0, "done");
    assert_eq!(of(&port, &link, Some(1400), 1400).0, "done", "it is given the same unasked");
    let text = "leave the MTU to Open vSwitch".to_owned();
    assert_eq!(of(&asked, &large, Some(9000), 9000), ("mtu", text.clone()));
    assert_eq!(of(&asked, &large, None, 1500), ("mtu", text), "others would follow it");
    assert_eq!(of(&port, &link, None, 1500).0, "done");
    let short = Link { mtu: 1000, ..quiet_link() };
    assert_eq!(of(&port, &short, Some(1400), 1400), ("quiet", "set the MTU to 1400".to_owned()));
    let limited = Link { max_mtu: Some(8000), ..quiet_link() };
    assert_eq!(of(&port, &limited, Some(1400), 9000), ("mtu", "set the MTU to 8000".to_owned()));
    let theirs = port.clone().of_others().mirror(false);
    assert_eq!(of(&theirs, &link, Some(1400), 9000).0, "done", "its row is not ours");
}

#[test]
fn a_nic_that_lowers_the_mtu_of_others_is_neither_attached_nor_kept() {
    let (none, nic) = (Database::without_port(), quiet_link());
    let of = |database: &Database, refused_mtu, least, mtu| {
        let snapshot = database.snapshot();
        let facts = Facts { least_mtu: least, mtu, refused_mtu, ..facts(&snapshot, Some(&nic)) };
        in_words(&next_step(&facts))
    };
    let quiet = ("quiet", "set the MTU to 8900".to_owned());
    assert_eq!(of(&none, None, Some(8900), 8900), quiet, "before it is attached");
    let (kind, text) = of(&none, Some(8900), Some(8900), 8900);
    assert_eq!(kind, "wait");
    assert!(text.contains("has an MTU of 1400") && text.contains("have 8900"), "{text}");
    assert_eq!(of(&none, Some(8900), Some(1400), 8900).0, "create", "it lowers nobody");
    let (kind, text) = of(&none, Some(8900), Some(1450), 8900);
    assert_eq!((kind, &*text), ("quiet", "set the MTU to 1450"), "at least as much as that");

    let attached = Database::with_port().interface(|row| row.kind.clear());
    assert_eq!(of(&attached, None, Some(8900), 8900), quiet);
    let (kind, text) = of(&attached, Some(8900), Some(8900), 8900);
    assert_eq!(
        (kind, &*text),
        ("remove", "take mirror0 off br-int, as its MTU lowers that of other ports")
    );
    assert_eq!(of(&attached, Some(8900), Some(1400), 8900).0, "done", "what fits is mirrored");
    let theirs = attached.of_others().mirror(false);
    assert_eq!(of(&theirs, Some(8900), Some(8900), 8900).0, "done", "it was there before");
}

#[test]
fn copies_that_are_too_long_for_the_nic_are_told() {
    let snapshot = Database::with_port().snapshot();
    let link = quiet_link();
    let facts = Facts { mtu: 8900, refused_mtu: Some(8900), ..facts(&snapshot, Some(&link)) };
    let state = SinkState::of(&facts, &Step::Done(OfPort(7)), None);
    assert_eq!((state.ofport, state.problem), (Some(OfPort(7)), None));
    let warning = state.warning.expect("told");
    assert!(warning.contains("MTU of 1400") && warning.contains("8900"), "{warning}");
}

#[test]
fn a_nic_waits_for_others_whose_mtu_counts_if_internal_ports_would_follow_it() {
    let database = Database::with_port().interface(|row| row.name = "ovn0".to_owned());
    let nic = Link { mtu: 1500, ..quiet_link() };
    for (its, kind) in [(1400, "wait"), (1500, "create")] {
        let database = database.clone().interface(|row| row.mtu = Some(its)).named("ovn0");
        let snapshot = database.snapshot();
        let facts = Facts { least_mtu: None, mtu: 1500, ..facts(&snapshot, Some(&nic)) };
        assert_eq!(in_words(&next_step(&facts)).0, kind, "{its}");
    }
}

#[test]
fn a_port_of_others_is_used_only_if_it_is_there_for_copies() {
    let mark = |row: &mut Port| {
        row.external_ids.insert("ofmirror-sink".to_owned(), "true".to_owned());
    };
    let theirs = Database::with_port().of_others();
    let (kind, text) = step(&theirs, Some(&quiet_link()));
    assert_eq!(kind, "wait");
    assert!(text.contains("ovs-vsctl set Port mirror0 external_ids:ofmirror-sink=true"), "{text}");
    for usable in [theirs.clone().port(mark), theirs.clone().mirror(false)] {
        assert_eq!(step(&usable, Some(&quiet_link())).0, "done");
        let used = state(&usable, Some(&quiet_link()), Some(OfPort(7)));
        assert_eq!(used.ofport, Some(OfPort(7)));
        let addresses = vec!["192.0.2.7/24".parse().unwrap()];
        let needed = Link { addresses, ..quiet_link() };
        let (kind, text) = step(&usable, Some(&needed));
        assert_eq!(kind, "wait");
        assert!(text.contains("has the address 192.0.2.7/24"), "{text}");
        assert_eq!(state(&usable, Some(&needed), Some(OfPort(7))).ofport, None, "at once");
    }
    let ours = Database::with_port();
    let addresses = vec!["192.0.2.7/24".parse().unwrap()];
    assert_eq!(step(&ours, Some(&Link { addresses, ..quiet_link() })).0, "done");
}

#[test]
fn no_mark_makes_a_port_of_ovn_usable() {
    let id = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
    let marked = Database::with_port().port(|row| {
        row.external_ids.insert("ofmirror-sink".to_owned(), "true".to_owned());
    });
    for (database, words) in [
        (marked.clone().interface(|row| row.external_ids = id("iface-id")), "logical port x"),
        (marked.clone().interface(|row| row.external_ids = id("ovn-x")), "belongs to OVN"),
        (
            marked.clone().port(|row| row.external_ids.extend(id("ovn-localnet-port"))),
            "ovn-localnet",
        ),
        (marked.clone().interface(|row| row.kind = "patch".to_owned()), "of type patch"),
        (marked.clone().interface(|row| row.kind = "geneve".to_owned()), "of type geneve"),
        (marked.clone().interface(|row| row.ofport = Ofport::Number(65534)), "is a bridge"),
        (marked.clone().interface(|row| row.name = "eth0".to_owned()), "part of port mirror0"),
        (marked.clone().port(|row| row.interfaces.extend([Uuid::from_u128(77)])), "part of port"),
    ] {
        let (kind, text) = step(&database, Some(&quiet_link()));
        assert_eq!(kind, "wait", "{words}");
        assert!(text.contains(words), "{text}");
        assert_eq!(state(&database, Some(&quiet_link()), Some(OfPort(7))).ofport, None, "{words}");
    }
    let taken = Database::with_port().interface(|row| row.external_ids = id("iface-id"));
    let snapshot = taken.snapshot();
    let (_, port, interface) = port(&facts(&snapshot, None)).expect("it is there");
    assert!(is_ours(port) && !may_remove(port, interface), "somebody made it a Pod's");
}

#[test]
fn a_device_that_was_moved_is_left_where_it_is() {
    let snapshot = Database::with_port().snapshot();
    let moved = |up| Facts { absence: Absence::Moved { up }, ..facts(&snapshot, None) };
    for (up, words) in [(true, "copies go on there"), (false, "bring it up there")] {
        let step = next_step(&moved(up));
        assert_eq!(step, Step::Done(OfPort(7)));
        let state = SinkState::of(&moved(up), &step, None);
        assert_eq!((state.ofport, state.moved), (Some(OfPort(7)), Some(up)));
        let warning = state.warning.expect("told");
        assert!(warning.contains(words), "{warning}");
    }
    let unclear = Facts { absence: Absence::Unknown, ..facts(&snapshot, None) };
    assert_eq!(in_words(&next_step(&unclear)).0, "wait");
}

#[test]
fn a_nic_that_must_exist_is_waited_for() {
    let of = |database: &Database, link| {
        let snapshot = database.snapshot();
        in_words(&next_step(&Facts { must_exist: true, ..facts(&snapshot, link) }))
    };
    let (kind, text) = of(&Database::without_port(), None);
    assert_eq!(kind, "wait");
    assert!(text.contains("there is no NIC mirror0 yet"), "{text}");
    let nic = quiet_link();
    assert_eq!(of(&Database::without_port(), Some(&nic)).0, "create");
    let attached = Database::with_port().interface(|row| row.kind.clear());
    assert_eq!(of(&attached, Some(&nic)).0, "done");
    let (kind, text) = of(&Database::with_port(), Some(&nic));
    assert_eq!(kind, "remove", "it has the name of the NIC that is to come");
    assert!(text.contains("keeps a NIC of that name from coming"), "{text}");
}

#[test]
fn a_nic_is_attached_by_its_own_name_only() {
    let nic = Link { name: "eth1".to_owned(), ..quiet_link() };
    let (kind, text) = step(&Database::without_port(), Some(&nic));
    assert_eq!(kind, "wait");
    assert!(text.contains("mirror0 is another name of eth1"), "{text}");
    let member = Database::with_port().named("bond0");
    let (kind, text) = step(&member, Some(&quiet_link()));
    assert_eq!(kind, "wait", "Open vSwitch has it already");
    assert!(text.contains("an interface of another port"), "{text}");
}

#[test]
fn a_nic_that_speaks_or_is_down_is_made_quiet() {
    let link = Link { up: false, arp: true, ..quiet_link() };
    let (kind, text) = step(&Database::with_port(), Some(&link));
    assert_eq!((kind, &*text), ("quiet", "turn ARP off, bring the link up"));
}

#[test]
fn a_port_that_was_ready_goes_on_being_used_while_it_is_mended() {
    let link = Link { up: false, ..quiet_link() };
    let database = Database::with_port();
    let fresh = state(&database, Some(&link), None);
    assert_eq!(fresh.ofport, None, "it has not been quiet yet");
    let problem = "mirror0 is not ready yet; still to do: bring the link up";
    assert_eq!(fresh.problem.as_deref(), Some(problem));
    assert_eq!(state(&database, Some(&link), Some(OfPort(7))).ofport, Some(OfPort(7)));
    assert_eq!(
        state(&database, Some(&link), Some(OfPort(6))).ofport,
        None,
        "it is another port now"
    );
}

#[test]
fn a_mirror_record_that_copies_to_the_port_keeps_it_from_being_used() {
    let database = Database::with_port().mirror(true);
    let state = state(&database, Some(&quiet_link()), Some(OfPort(7)));
    assert_eq!(state.ofport, None, "every copy would come twice");
    let problem = state.problem.expect("told");
    assert!(problem.contains("\"m0\"") && problem.contains("--replace-mirrors"), "{problem}");
    assert_eq!(state.warning, None);
}

#[test]
fn a_mirror_record_that_selects_nothing_is_only_mentioned() {
    let database = Database::with_port().mirror(false);
    let state = state(&database, Some(&quiet_link()), None);
    assert_eq!((state.ofport, state.problem), (Some(OfPort(7)), None));
    assert!(state.warning.expect("told").contains("\"m0\""));
}

#[test]
fn a_port_is_ours_only_by_our_mark() {
    let snapshot = Database::with_port().snapshot();
    assert!(is_ours(snapshot.port_named("mirror0").unwrap()));
    let snapshot = Database::with_port().of_others().snapshot();
    assert!(!is_ours(snapshot.port_named("mirror0").unwrap()));
}

#[test]
fn ports_that_an_agent_has_left_are_known_by_our_mark_and_are_nobody_elses() {
    let left = Database::with_port().named("old0").interface(|row| row.name = "old0".to_owned());
    let names = |database: &Database| {
        let snapshot = database.snapshot();
        let facts = facts(&snapshot, None);
        leftovers(&facts).map(|(_, port)| port.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&left), ["old0"]);
    assert_eq!(names(&Database::with_port()), [""; 0], "it is the present one");
    assert_eq!(names(&left.clone().of_others()), [""; 0]);
    let id = BTreeMap::from([("iface-id".to_owned(), "x".to_owned())]);
    assert_eq!(names(&left.clone().interface(|row| row.external_ids = id)), [""; 0]);
    assert_eq!(names(&Database { bridge: "br0", ..left }), [""; 0], "it is another agent's");
}
