use flows::tap::Direction;

use super::*;
use crate::{
    introduction::Introduction,
    settings::{MirrorWhen, StatedSettings, StatedSource},
    status::{Bridge, Database, Flows, Nic},
};

fn settings() -> StatedSettings {
    StatedSettings {
        bridge: "br-int".to_owned(),
        mirror_iface: "mirror0".to_owned(),
        mirror_iface_must_exist: false,
        mirror_when: MirrorWhen::Always,
        enable_mirror: false,
        allow_namespaces: None,
        deny_namespaces: ["kube-system".to_owned()].into(),
        pod_source: StatedSource::Ovsdb,
        node_name: None,
        ovs_rundir: "/run".into(),
        ovsdb: "unix:/run/db.sock".to_owned(),
        openflow: "unix:/run/br-int.mgmt".to_owned(),
        marker_bits: None,
    }
}

fn tap(pod: &str, direction: Direction, bytes: u64, problem: Option<&str>) -> Tap {
    Tap {
        namespace: Some("shop".to_owned()),
        pod: pod.to_owned(),
        interface: format!("{pod}_h"),
        ofport: Some(3),
        direction,
        mirrored: problem.is_none(),
        packets: Some(bytes / 100),
        bytes: Some(bytes),
        problem: problem.map(str::to_owned),
    }
}

fn healthy() -> Report {
    let owner = Introduction {
        pid: 4711,
        started: "2026-12-01T08:30:00Z".to_owned(),
        nic: "mirror0".to_owned(),
        elsewhere: false,
    };
    let status = Status {
        settings: settings(),
        owner: Some(owner),
        ovsdb: Database { endpoint: "unix:/run/db.sock".to_owned(), connected: true },
        openflow: Bridge {
            name: "br-int".to_owned(),
            endpoint: "unix:/run/br-int.mgmt".to_owned(),
            connected: true,
            datapath_id: Some("0000aa55aa550000".to_owned()),
            watching: Some("monitors"),
            marker_bits: Some([27, 26]),
        },
        kubernetes: None,
        nic: Nic {
            name: "mirror0".to_owned(),
            ofport: Some(7),
            up: Some(true),
            mtu: Some(1400),
            made_by_ofmirror: true,
            listeners: Some(2),
        },
        paused: false,
        suspended: None,
        flows: Some(Flows { desired: 7, observed: 7, missing: 0, superfluous: 0 }),
        pods_wanted: Some(1),
        pods_mirrored: Some(1),
        pods_not_mirrored: Some(4),
        taps: vec![
            tap("web-0", Direction::FromPod, 123_456, None),
            tap("web-0", Direction::ToPod, 700, None),
        ],
    };
    let agent = Agent {
        address: "127.0.0.1:9475".to_owned(),
        reachable: true,
        ready: true,
        reasons: vec![],
    };
    Report { well: true, status, agent: Some(agent), problems: vec![], warnings: vec![] }
}

#[test]
fn a_healthy_node_fits_on_a_screen() {
    assert_eq!(
        render(&healthy()),
        "\
OVSDB     connected  unix:/run/db.sock
OpenFlow  connected  br-int at unix:/run/br-int.mgmt, datapath 0000aa55aa550000
Agent     ready      http://127.0.0.1:9475/readyz
Owner     running    pid 4711, started 2026-12-01T08:30:00Z, mirrors to mirror0
NIC       up         mirror0, port 7 of br-int, MTU 1400, put there by ofmirror, 2 listeners
Flows     in sync    7 desired, 7 in the switch, 0 missing, 0 too many

POD         PORT     DIRECTION  PACKETS      BYTES  STATE
shop/web-0  web-0_h  from_pod      1234  120.6 KiB  ok
shop/web-0  web-0_h  to_pod           7      700 B  ok

1 Pod mirrored, 4 not.
"
    );
}

#[test]
fn what_is_wrong_stands_with_its_port_or_at_the_end() {
    let mut report = healthy();
    let status = &mut report.status;
    status.ovsdb.connected = false;
    status.openflow.watching = Some("polling");
    let name = status.nic.name.clone();
    status.nic =
        Nic { name, ofport: None, up: None, mtu: None, made_by_ofmirror: false, listeners: None };
    status.flows = None;
    status.taps = vec![tap("db", Direction::ToPod, 0, Some("its flow is missing"))];
    (status.pods_mirrored, status.pods_not_mirrored) = (Some(0), Some(5));
    status.owner = None;
    report.agent = None;
    report.problems = vec!["OVSDB: cannot connect".to_owned()];
    report.warnings = vec!["Mirror record \"m0\" selects nothing".to_owned()];
    assert_eq!(
        render(&report),
        "\
OVSDB     no answer  unix:/run/db.sock
OpenFlow  connected  br-int at unix:/run/br-int.mgmt, datapath 0000aa55aa550000, without flow monitors
NIC       no device  mirror0, no port of br-int

POD      PORT  DIRECTION  PACKETS  BYTES  STATE
shop/db  db_h  to_pod           0    0 B  its flow is missing

0 of 1 Pod mirrored that should be, 4 not asked for.

Wrong:
  OVSDB: cannot connect

Note:
  Mirror record \"m0\" selects nothing
"
    );
}

#[test]
fn a_pause_is_told_at_the_nic_and_at_each_port() {
    let mut report = healthy();
    report.status.paused = true;
    report.status.nic.listeners = Some(0);
    report.status.taps.truncate(1);
    report.status.taps[0].mirrored = false;
    (report.status.pods_mirrored, report.status.pods_not_mirrored) = (Some(0), Some(5));
    let text = render(&report);
    assert!(text.contains("put there by ofmirror, paused: nobody listens\n"), "{text}");
    assert!(text.contains("120.6 KiB  paused\n"), "{text}");
    let pods = "0 of 1 Pod mirrored that should be, 4 not asked for; mirroring is paused.\n";
    assert!(text.contains(pods), "{text}");
    report.status.paused = false;
    let text = render(&report);
    assert!(text.contains("120.6 KiB  lifted for a moment\n"), "{text}");
    report.status.taps[0].mirrored = true;
    let text = render(&report);
    assert!(text.contains("put there by ofmirror, nobody listens\n"), "{text}");
    assert!(text.contains("120.6 KiB  ok\n"), "{text}");
}

#[test]
fn what_is_suspended_is_neither_mirrored_nor_in_sync() {
    let mut report = healthy();
    let status = &mut report.status;
    status.suspended = Some("Mirror record m0 copies to mirror0 too".to_owned());
    (status.pods_mirrored, status.pods_not_mirrored) = (Some(0), Some(5));
    status.flows = Some(Flows { desired: 0, observed: 0, missing: 0, superfluous: 0 });
    let nothing = Some("suspended: nothing is copied to mirror0");
    status.taps = vec![tap("web-0", Direction::FromPod, 0, nothing)];
    let text = render(&report);
    for line in [
        "Flows     suspended  0 desired, 0 in the switch, 0 missing, 0 too many\n",
        "0 B  suspended: nothing is copied to mirror0\n",
        "\n0 of 1 Pod mirrored that should be, 4 not asked for.\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let status = &mut report.status;
    (status.suspended, status.flows) = (None, None);
    (status.pods_mirrored, status.pods_not_mirrored) = (None, None);
    let text = render(&report);
    assert!(
        text.contains("\nIt is not known whether 1 Pod that should be mirrored is.\n"),
        "{text}"
    );
}

#[test]
fn json_and_yaml_have_raw_figures_under_the_same_names() {
    let report = healthy();
    let json: serde_json::Value = serde_json::from_str(&print::json(&report).unwrap()).unwrap();
    assert_eq!(json["taps"][0]["bytes"], 123_456);
    assert_eq!(json["taps"][0]["direction"], "from_pod");
    let yaml = print::yaml(&report).unwrap();
    assert!(yaml.starts_with("well: true\nsettings:\n  bridge: br-int\n"), "{yaml}");
    assert!(yaml.contains("  bytes: 123456\n"), "{yaml}");
    assert!(yaml.ends_with('\n'), "{yaml}");
}
