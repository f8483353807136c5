use std::io;

use super::*;
use crate::overhead::processor::{self, Unreadable};

fn host(kind: Option<io::ErrorKind>, capabilities: &str) -> Host {
    let result = || kind.map_or(Ok(()), |kind| Err(io::Error::from(kind)));
    Host {
        folder: Some(("/run/ovs".into(), result())),
        sockets: vec![
            ("OVSDB socket", "/run/ovs/db.sock".into(), result()),
            ("OpenFlow socket", "/run/ovs/br-int.mgmt".into(), result()),
        ],
        status: Ok(format!("Name:\tofmirror\nUid:\t1000\t1001\t0\t0\nCapEff:\t{capabilities}\n")),
        ipv6: result(),
        filters: Ok(()),
        time: processor::read("/nonexistent/ovs-vswitchd.pid".as_ref()),
    }
}

fn remedies(kind: io::ErrorKind) -> Vec<String> {
    let checks = host(Some(kind), "0").folder_and_sockets();
    assert_eq!(checks.len(), 3);
    assert!(checks.iter().all(|check| check.verdict == Verdict::Failed), "{checks:?}");
    checks.into_iter().map(|check| check.remedy.expect("failed")).collect()
}

#[test]
fn sockets_that_can_be_opened_are_well() {
    let checks = host(None, "0").folder_and_sockets();
    assert!(checks.iter().all(|check| check.verdict == Verdict::Ok), "{checks:?}");
}

#[test]
fn whoever_may_not_open_a_socket_learns_as_whom_they_run_and_what_they_need() {
    for remedy in remedies(io::ErrorKind::PermissionDenied) {
        assert!(remedy.contains("as user 1001, who may not open it"), "{remedy}");
        assert!(remedy.contains("CAP_DAC_OVERRIDE"), "{remedy}");
    }
}

#[test]
fn a_missing_or_dead_socket_is_told_by_the_daemon_that_would_make_it() {
    let missing = remedies(io::ErrorKind::NotFound);
    for (remedy, word) in missing.iter().zip(["--ovs-rundir", "ovsdb-server", "--bridge"]) {
        assert!(remedy.contains(word), "{remedy}");
    }
    for remedy in &remedies(io::ErrorKind::ConnectionRefused)[1..] {
        assert!(remedy.contains("nobody listens"), "{remedy}");
    }
}

#[test]
fn the_capability_counts_only_when_it_is_in_effect() {
    assert_eq!(host(None, "0000000000001000").net_admin().verdict, Verdict::Ok);
    assert_eq!(host(None, "000001ffffffffff").net_admin().verdict, Verdict::Ok);
    let without = host(None, "000001ffffffefff").net_admin();
    assert_eq!(without.verdict, Verdict::Failed);
    assert!(without.remedy.expect("failed").contains("NET_ADMIN"));
    assert_eq!(host(None, "?").net_admin().verdict, Verdict::Warning);
}

#[test]
fn processor_time_that_is_out_of_sight_is_a_warning_that_says_how_to_see_it() {
    let check = host(None, "0").processor_time();
    assert_eq!(check.verdict, Verdict::Warning);
    assert!(check.finding.contains("/nonexistent/ovs-vswitchd.pid: No such file"), "{check:?}");
    assert!(check.remedy.expect("a warning").contains("--ovs-rundir"));
    let hidden = Unreadable::Process { pid: 7, reason: "it is not there".to_owned() };
    let check = Host { time: Err(hidden), ..host(None, "0") }.processor_time();
    assert!(check.remedy.expect("a warning").contains("hostPID: true"));
}

#[test]
fn a_remedy_stands_below_what_it_is_for() {
    let checks = [
        Check::ok("bridge", "br-int"),
        Check::warning("flow monitors", "none", "upgrade"),
        Check::failed("OVSDB", "no answer", "start it"),
        Check::skipped("Pods", "needs OVSDB"),
    ];
    assert_eq!(
        render(&checks),
        "\
ok       bridge         br-int
warning  flow monitors  none
                        -> upgrade
failed   OVSDB          no answer
                        -> start it
skipped  Pods           needs OVSDB

Failed: 1, warnings: 1.
"
    );
    assert!(render(&checks[..2]).ends_with("\nNothing failed; warnings: 1.\n"));
    assert!(render(&checks[..1]).ends_with("\nAll is well.\n"));
}
