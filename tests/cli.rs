//! The command as people use it: its output, its exit status, and what it says when something is wrong.

#![allow(clippy::unwrap_used)]

#[path = "cli/node.rs"]
mod node;

mod dummy_ovs;

use std::{
    os::unix::net::UnixListener,
    process::{Command, Output, Stdio},
};

/// Flags of every command that looks at the node, with the variables that stand for them.
const NODE: [(&str, &str); 12] = [
    ("--enable-mirror", "OFMIRROR_ENABLE_MIRROR"),
    ("--mirror-iface", "OFMIRROR_MIRROR_IFACE"),
    ("--mirror-iface-must-exist", "OFMIRROR_MIRROR_IFACE_MUST_EXIST"),
    ("--mirror-when", "OFMIRROR_MIRROR_WHEN"),
    ("--bridge", "OFMIRROR_BRIDGE"),
    ("--ovs-rundir", "OFMIRROR_OVS_RUNDIR"),
    ("--ovsdb", "OFMIRROR_OVSDB"),
    ("--openflow", "OFMIRROR_OPENFLOW"),
    ("--pod-source", "OFMIRROR_POD_SOURCE"),
    ("--marker-bits", "OFMIRROR_MARKER_BITS"),
    ("--metrics-addr", "OFMIRROR_METRICS_ADDR"),
    ("--status-addr", "OFMIRROR_STATUS_ADDR"),
];

/// What a run of the command came to.
struct Run {
    status: Option<i32>,
    out: String,
    err: String,
}

fn ofmirror() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ofmirror"));
    for (_, variable) in NODE {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Run {
    finished(ofmirror().args(arguments).output().unwrap())
}

fn finished(output: Output) -> Run {
    Run {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let Run { status, out, .. } = run(&["--version"]);
    assert_eq!((status, out), (Some(0), format!("ofmirror {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn help_names_every_flag_with_its_variable_and_shows_examples() {
    let agent = [
        ("--on-exit", "OFMIRROR_ON_EXIT"),
        ("--replace-mirrors", "OFMIRROR_REPLACE_MIRRORS"),
        ("--log-format", "OFMIRROR_LOG_FORMAT"),
        ("--metrics-auth", "OFMIRROR_METRICS_AUTH"),
        ("--metrics-tls-cert", "OFMIRROR_METRICS_TLS_CERT"),
        ("--metrics-tls-key", "OFMIRROR_METRICS_TLS_KEY"),
    ];
    for (command, more) in [("agent", &agent[..]), ("status", &[]), ("flows", &[]), ("doctor", &[])]
    {
        let Run { status, out, .. } = run(&[command, "--help"]);
        assert_eq!(status, Some(0));
        for (flag, variable) in NODE.iter().chain(more) {
            let mut words = out.split([' ', '\n', '[']);
            assert!(words.any(|word| word == *flag), "{flag}\n{out}");
            assert!(out.contains(&format!("[env: {variable}=")), "{command}: {variable}");
        }
        assert!(out.contains(&format!("Examples:\n  ofmirror {command}")), "{out}");
    }
    let Run { out, .. } = run(&["--help"]);
    for command in ["agent", "status", "flows", "doctor", "cleanup", "completions"] {
        assert!(out.contains(&format!("\n  {command} ")), "{out}");
    }
}

#[test]
fn a_value_that_can_not_be_is_named_and_the_right_one_described() {
    for (flag, value, right) in [
        ("--enable-mirror", "perhaps", "boolean"),
        (
            "--mirror-iface",
            "a-name-too-long-for-a-nic",
            "has 25 bytes: a device's name has 1 to 15",
        ),
        ("--bridge", "", "the name is empty"),
        ("--mirror-iface", "mirror%d", "letters, digits"),
        ("--mirror-iface", "br-int", "name another NIC"),
        ("--bridge", "../br-int", "letters, digits"),
        ("--ovsdb", "ssl:host:6640", "write unix:PATH or tcp:HOST:PORT"),
        ("--openflow", "/run/br-int.mgmt", "write unix:PATH or tcp:HOST:PORT"),
        ("--pod-source", "docker", "possible values: kubernetes, ovsdb"),
        ("--marker-bits", "3,3", "two different bits of 0 to 31"),
        ("--marker-bits", "32,1", "two different bits of 0 to 31"),
        ("--metrics-addr", "9475", "ADDRESS:PORT"),
        ("--status-addr", "localhost:9475", "ADDRESS:PORT"),
        ("--output", "xml", "possible values: table, json, yaml"),
    ] {
        let Run { status, out, err } = run(&["status", &format!("{flag}={value}")]);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{flag}");
        assert!(err.contains(&format!("'{value}'")) && err.contains(right), "{err}");
    }
    for (flag, value, right) in [
        ("--on-exit", "stay", "possible values: remove, keep"),
        ("--log-format", "xml", "possible values: text, json"),
    ] {
        let Run { status, err, .. } = run(&["agent", &format!("{flag}={value}")]);
        assert_eq!(status, Some(2));
        assert!(err.contains(&format!("'{value}'")) && err.contains(right), "{err}");
    }
    let variable = ofmirror().arg("status").env("OFMIRROR_MARKER_BITS", "x").output().unwrap();
    let Run { status, err, .. } = finished(variable);
    assert_eq!(status, Some(2));
    assert!(err.contains("'x'") && err.contains("--marker-bits"), "{err}");
}

#[test]
fn no_command_runs_with_a_variable_that_no_flag_has() {
    for command in [
        &["agent"][..],
        &["status"],
        &["flows"],
        &["doctor"],
        &["cleanup"],
        &["completions", "bash"],
    ] {
        let output = ofmirror().args(command).env("OFMIRROR_ENABLE_MIRORR", "1").output().unwrap();
        let Run { status, out, err } = finished(output);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{command:?}");
        assert!(err.contains("OFMIRROR_ENABLE_MIRORR: is it OFMIRROR_ENABLE_MIRROR?"), "{err}");
    }
    let of_service = ("OFMIRROR_METRICS_PORT", "tcp://[::1]:1");
    let service =
        ofmirror().args(["completions", "bash"]).env(of_service.0, of_service.1).output().unwrap();
    assert_eq!(finished(service).status, Some(0));
    let help = ofmirror().arg("--help").env("OFMIRROR_ENABLE_MIRORR", "1").output().unwrap();
    assert_eq!(finished(help).status, Some(0), "help is what one needs then");
}

#[test]
fn a_switch_takes_yes_and_no_and_nothing_else_by_its_variable() {
    for variable in ["OFMIRROR_ENABLE_MIRROR", "OFMIRROR_MIRROR_IFACE_MUST_EXIST"] {
        for (value, status) in
            [("maybe", Some(2)), ("ture", Some(2)), ("", Some(2)), ("1", Some(1)), ("no", Some(1))]
        {
            let arguments = ["status", "--ovs-rundir=/nowhere", "--metrics-addr=none"];
            let output = ofmirror().args(arguments).env(variable, value).output().unwrap();
            let run = finished(output);
            assert_eq!(run.status, status, "{variable}={value}: {}", run.err);
        }
    }
}

#[test]
fn flags_that_would_leave_metrics_open_though_they_are_to_be_guarded_are_refused() {
    let guarded = "--metrics-auth=kubernetes";
    for (flags, words) in [
        // Both at one address, by default.
        (&[guarded][..], "127.0.0.1:9475"),
        (&[guarded, "--metrics-addr=10.0.0.1:1", "--status-addr=10.0.0.1:1"], "10.0.0.1:1"),
        (&[guarded, "--metrics-addr=10.0.0.1:1", "--status-addr=0.0.0.0:2"], "0.0.0.0:2"),
        (&[guarded, "--metrics-addr=none"], "--metrics-addr"),
        (&["--metrics-tls-cert=a", "--metrics-tls-key=b"], "--metrics-auth=kubernetes"),
        (&["--metrics-tls-cert=a"], "--metrics-tls-key"),
        (&["--metrics-auth=basic"], "possible values: none, kubernetes"),
    ] {
        let Run { status, err, .. } = run(&[&["agent"], flags].concat());
        assert_eq!(status, Some(2), "{flags:?}: {err}");
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn what_is_in_the_way_of_serving_is_said_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let guarded = ["--metrics-auth=kubernetes", "--metrics-addr=127.0.0.2:0"];
    let files = ["--metrics-tls-cert=/nowhere/tls.crt", "--metrics-tls-key=/nowhere/tls.key"];
    let metrics = format!("--metrics-addr={taken}");
    for (flags, words) in [
        (vec!["--status-addr=none", &metrics], "in use"),
        ([&guarded[..], &files[..], &["--status-addr=none"]].concat(), "No such file"),
    ] {
        let Run { status, err, .. } = run(&[&["agent"], &flags[..]].concat());
        assert_eq!(status, Some(1), "{flags:?}: {err}");
        assert_eq!(err.matches(words).count(), 1, "{err}");
    }
}

#[test]
fn difference_and_desired_flows_are_not_asked_for_at_once() {
    let Run { status, err, .. } = run(&["flows", "--diff", "--desired"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("cannot be used with"), "{err}");
}

#[test]
fn shells_get_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let Run { status, out, .. } = run(&["completions", shell]);
        assert_eq!(status, Some(0));
        for word in ["agent", "status", "flows", "doctor", "metrics-addr"] {
            assert!(out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = ofmirror()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Run { status, err, .. } = finished(child.wait_with_output().unwrap());
    assert_eq!((status, err.as_str()), (Some(0), ""));
}

#[test]
fn without_open_vswitch_every_command_says_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let rundir = folder.path().to_str().unwrap();
    let node = ["--ovs-rundir", rundir, "--metrics-addr", "none"];
    let socket = format!("{rundir}/br-int.mgmt");

    let flows = run(&[&["flows"], &node[..]].concat());
    assert_eq!((flows.status, flows.out.as_str()), (Some(1), ""));
    let expected = format!(
        "ofmirror: the flows of br-int can't be read: can't connect to unix:{socket}: No such file or directory"
    );
    assert!(flows.err.starts_with(&expected), "{}", flows.err);

    let status = run(&[&["status"], &node[..]].concat());
    assert_eq!((status.status, status.err.as_str()), (Some(1), ""));
    for text in [
        &format!("OVSDB     no answer  unix:{rundir}/db.sock\n"),
        &format!(
            "\nWrong:\n  OVSDB: cannot connect to unix:{rundir}/db.sock: No such file or directory"
        ),
        &format!("\n  OpenFlow: can't connect to unix:{socket}: No such file or directory"),
    ] {
        assert!(status.out.contains(text), "{}", status.out);
    }

    let cleanup = run(&["cleanup", "--ovs-rundir", rundir]);
    assert_eq!((cleanup.status, cleanup.out.as_str()), (Some(1), ""));
    let expected = format!(
        "ofmirror: OVSDB does not tell whether an agent has the bridge: cannot connect to unix:{rundir}/db.sock: "
    );
    assert!(cleanup.err.starts_with(&expected), "{}", cleanup.err);

    let doctor = run(&[&["doctor"], &node[..]].concat());
    assert_eq!((doctor.status, doctor.err.as_str()), (Some(1), ""));
    for text in [
        format!("ok       run folder       {rundir}\n"),
        format!("failed   OVSDB socket     {rundir}/db.sock: No such file or directory"),
        "-> is ovsdb-server running?".to_owned(),
        format!("failed   OpenFlow socket  {socket}: No such file or directory"),
        "skipped  Pods             needs OVSDB\n".to_owned(),
    ] {
        assert!(doctor.out.contains(&text), "{text}\n{}", doctor.out);
    }

    let gone = format!("{rundir}/nothing");
    let doctor = run(&["doctor", "--ovs-rundir", &gone, "--metrics-addr", "none"]);
    assert!(doctor.out.contains("is Open vSwitch installed and running?"), "{}", doctor.out);
}

#[test]
fn sockets_that_stay_silent_are_told_within_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let _sockets = ["db.sock", "br-int.mgmt"]
        .map(|name| UnixListener::bind(folder.path().join(name)).unwrap());
    let rundir = folder.path().to_str().unwrap();
    let status = run(&["status", "--ovs-rundir", rundir, "--metrics-addr", "none"]);
    assert_eq!((status.status, status.err.as_str()), (Some(1), ""));
    for text in [
        &format!(
            "OVSDB: the server did not answer the request for its contents within 2 s (unix:{rundir}/db.sock)\n"
        ),
        "br-int.mgmt has not finished the OpenFlow handshake within 2 s: is it a switch?\n",
    ] {
        assert!(status.out.contains(text), "{}", status.out);
    }
}
