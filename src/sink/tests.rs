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
    ours: bool,
    bridge: &'static str,
    mirror: Option<Mirror>,
}

impl Database {
    fn without_port() -> Self {
        Self { interface: None, ours: false, bridge: "br-int", mirror: None }
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
        let port = Port {
            uuid: Uuid::from_u128(PORT),
            name: "mirror0".to_owned(),
            external_ids: BTreeMap::from_iter(self.ours.then_some(owner)),
            interfaces: BTreeSet::from([Uuid::from_u128(INTERFACE)]),
        };
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
        master: None,
        addresses: vec![],
        default_routes: vec![],
        ipv6: Some(Ipv6 { disabled: true, address_generation_off: true, ..Ipv6::default() }),
        outlets: vec![],
        drain: None,
    }
}

pub(super) fn facts<'a>(snapshot: &'a Snapshot, link: Option<&'a Link>) -> Facts<'a> {
    Facts { bridge: "br-int", nic: "mirror0", snapshot, link, mtu: 1400 }
}

/// The next step in words: what kind, and what it says.
fn step(database: &Database, link: Option<&Link>) -> (&'static str, String) {
    let snapshot = database.snapshot();
    let step = next_step(&facts(&snapshot, link));
    let kind = match &step {
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
    let theirs = Database::with_port().of_others();
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

#[test]
fn an_internal_port_with_a_small_mtu_is_given_that_of_the_largest_pod_port() {
    let small = Database::with_port().interface(|row| row.mtu = Some(1300));
    let (kind, text) = step(&small, Some(&quiet_link()));
    assert_eq!((kind, &*text), ("mtu", "set the MTU to 1400"));
    let asked = small.interface(|row| row.mtu_request = Some(1400));
    assert_eq!(step(&asked, Some(&quiet_link())).0, "done", "asked for already");
    let large = Database::with_port().interface(|row| row.mtu = Some(9000));
    assert_eq!(step(&large, Some(&Link { mtu: 9000, ..quiet_link() })).0, "done");
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
