//! The read-only commands on a node with a real OVS, whose flows are as OVN and the agent would have made them.
//!
//! Each test runs itself again in a network namespace of its own, in which the mirror NIC is; user namespaces give it
//! the rights, so root is not needed.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use flows::marker::MarkerBits;
use metrics::Metrics;
use ofmirror::{
    endpoint::Endpoint,
    foreign,
    health::Health,
    http::{self, Service, Site},
    inquiry, nic,
    ovsdb::Snapshot,
    selection::{NamespaceRule, Wish},
    settings::{MirrorWhen, PodSource, Settings, StatedSettings},
    sink::Facts,
    status::{Status, View, live::Live},
    world::World,
};
use serde_json::Value;
use tokio::sync::watch;

use super::{Run, dummy_ovs::Ovs, finished, ofmirror};

/// Tells the test that it is the inner run.
const INSIDE: &str = "TEST_IN_NAMESPACE";

/// A broadcast from the Pod `web`.
const FRAME: &str =
    "ffffffffffff 020000000001 88b5 000000000000000000000000000000000000000000000000000000000000";

struct Node {
    ovs: Ovs,
    agent: String,
    health: watch::Sender<Health>,
    settings: Arc<Mutex<Settings>>,
}

/// Runs `body` on a node where one Pod of two is annotated.
fn on_a_node(test: &str, body: impl FnOnce(Node)) {
    if env::var_os(INSIDE).is_none() {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", &format!("node::{test}"), "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .expect("unshare (util-linux) is needed to run this test");
        let out = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && out.contains("1 passed"), "{out}\n{error}");
        return;
    }
    ip("link set lo up");
    ip("link add mirror0 type veth peer name peer0");
    let ovs = Ovs::start();
    ovs.vsctl("set port mirror0 external_ids:owner=ofmirror");
    for (name, number, pod, mirror) in [("web_h", 2, "web", true), ("db_h", 3, "db", false)] {
        ovs.vsctl(&format!(
            "add-port br-int {name} -- set interface {name} type=dummy ofport_request={number} \
             external_ids:iface-id=shop_{pod} external_ids:iface-id-ver=1d0f3b43 \
             external_ids:ovn.kubernetes.io/mirror=\"{mirror}\""
        ));
        // As OVN delivers.
        ovs.ofctl(
            "OpenFlow15",
            "add-flow",
            &[&format!("table=65,priority=100,reg15={number},metadata=1 actions=output:{number}")],
        );
    }
    let settings = Arc::new(Mutex::new(settings(&ovs)));
    let (health, agent) = serve_agent(Arc::clone(&settings));
    body(Node { ovs, agent: agent.to_string(), health, settings });
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:#?}");
}

/// Those of an agent without flags.
fn settings(ovs: &Ovs) -> Settings {
    Settings {
        wish: Wish {
            bridge: "br-int".to_owned(),
            all: false,
            namespaces: NamespaceRule { denied: ["kube-system".to_owned()].into(), allowed: None },
        },
        nic: "mirror0".to_owned(),
        nic_must_exist: false,
        run_folder: ovs.path("").into(),
        ovsdb: Endpoint::Unix(ovs.path("db.sock").into()),
        openflow: ovs.management(),
        marker: None,
        pods: PodSource::Ovsdb,
        when: MirrorWhen::Always,
    }
}

/// Answers for the agent.
fn serve_agent(settings: Arc<Mutex<Settings>>) -> (watch::Sender<Health>, SocketAddr) {
    let (sender, health) =
        watch::channel(Health { ready: true, complete: true, ..Health::default() });
    let mut address = None;
    let (asks, mut inquiries) = inquiry::channel();
    block_on(async {
        let site = Site::status("127.0.0.1:0".parse().unwrap());
        let listener = http::listen(&site).await.unwrap();
        address = listener.address().ok();
        http::start(vec![listener], Service::new(health, Metrics::new(), asks)).unwrap();
    });
    thread::spawn(move || {
        block_on(async {
            loop {
                let question = inquiries.next().await;
                let live = live(&settings.lock().unwrap());
                let _ = question.send(live);
            }
        });
    });
    (sender, address.unwrap())
}

/// What an agent with these settings tells that knows nothing yet.
fn live(settings: &Settings) -> Live {
    let (world, snapshot) = (World::of(settings), Snapshot::default());
    let view = View {
        settings,
        world: &world,
        owner: None,
        sink: Facts::of(&settings.wish.bridge, &settings.nic, &snapshot),
        difference: None,
        openflow: false,
        kubernetes: false,
    };
    Live {
        version: "0.0.0",
        node: None,
        uptime_seconds: 1.0,
        counted_seconds: None,
        overhead: None,
        health: Health::default(),
        status: Status::of(&view, |_, _| None),
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

impl Node {
    fn run(&self, arguments: &[&str]) -> Run {
        let node = ["--ovs-rundir", &self.ovs.path(""), "--metrics-addr", &self.agent];
        finished(ofmirror().args(arguments).args(node).output().unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments).out).unwrap()
    }

    /// Gives the agent other settings, and waits until it states them: what it has said may be said again for a moment.
    fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        let stated = {
            let mut settings = self.settings.lock().unwrap();
            change(&mut settings);
            // As it is shown.
            let text = serde_json::to_string(&StatedSettings::of(&settings)).unwrap();
            foreign::json(&text).into_owned()
        };
        // The agent's thread answers within half a second; whoever waits for ever hides why.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let mut stream = TcpStream::connect(&self.agent).unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            if String::from_utf8(answer).unwrap().contains(&stated) {
                return;
            }
        }
        panic!("the agent does not state {stated}");
    }

    /// Makes the mirror NIC quiet, as the agent does.
    fn quiet(&self) {
        block_on(async {
            for _ in 0..3 {
                let link = nic::observe("mirror0").await.unwrap().unwrap();
                nic::apply(&link, &nic::quiet(&link, 1500)).await.unwrap();
            }
        });
    }

    /// Has the switch take what `ofmirror flows --desired` prints.
    fn install(&self) {
        let desired = self.run(&["flows", "--desired"]);
        assert_eq!(desired.status, Some(0), "{}", desired.err);
        let mut child = Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow15", "add-flows", &self.ovs.management().to_string(), "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(desired.out.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}", desired.out);
    }
}

#[test]
fn flows_are_shown_as_ovs_ofctl_reads_and_writes_them() {
    on_a_node("flows_are_shown_as_ovs_ofctl_reads_and_writes_them", |node| {
        assert_eq!(node.run(&["flows"]).out, "");
        let missing = node.run(&["flows", "--diff"]);
        assert_eq!(missing.status, Some(1));
        assert_eq!(missing.out.lines().filter(|line| line.starts_with('+')).count(), 7);
        assert_eq!(missing.out.lines().count(), 7, "{}", missing.out);

        node.install();
        let same = node.run(&["flows", "--diff"]);
        assert_eq!((same.status, same.out.as_str()), (Some(0), ""));

        // But for the counters' age it is what ovs-ofctl tells of our cookie.
        let filter = "cookie=0x6f666d7200000000/0xffffffff00000000";
        let theirs = node.ovs.ofctl("OpenFlow15", "dump-flows", &["--no-names", filter]);
        assert_eq!(theirs.matches("cookie=").count(), 7, "{theirs}");
        let ours = node.run(&["flows"]).out.replace("0x0/", "0/");
        for line in ours.lines() {
            let flow = line.split_once(" table=").unwrap().1;
            let (_, actions) = flow.rsplit_once(" actions=").unwrap();
            let (actions, pod) = actions.split_once(" # ").unwrap_or((actions, ""));
            assert_eq!(pod, if flow.contains("in_port=2,") { "shop/web" } else { pod }, "{line}");
            let mut found =
                theirs.lines().filter(|theirs| theirs.ends_with(&format!(" actions={actions}")));
            assert!(found.next().is_some(), "{line}\n{theirs}");
        }
        assert_eq!(ours.lines().count(), 7);
    });
}

#[test]
fn a_difference_shows_what_is_missing_and_what_is_too_many() {
    on_a_node("a_difference_shows_what_is_missing_and_what_is_too_many", |node| {
        node.install();
        node.ovs.ofctl("OpenFlow15", "del-flows", &["cookie=0x6f666d7210000002/-1"]);
        let stray = "cookie=0x6f666d7210000003,table=0,priority=65534,in_port=3 actions=drop";
        node.ovs.ofctl("OpenFlow15", "add-flow", &[stray]);
        let diff = node.run(&["flows", "--diff"]);
        assert_eq!(diff.status, Some(1));
        let missing = "cookie=0x6f666d7210000002,table=0,priority=65534,in_port=2,reg10=0x0/0xc000000 \
             actions=output:7,set_field:0x8000000/0x8000000->reg10,resubmit(,0)";
        assert_eq!(diff.out, format!("-{stray} # shop/db\n+{missing} # shop/web\n"));

        let json = node.json(&["flows", "-o", "json"]);
        assert_eq!(json["in_sync"], false);
        assert_eq!(json["observed"].as_array().unwrap().len(), 7);
        assert_eq!(json["desired"].as_array().unwrap().len(), 7);
        assert_eq!(json["superfluous"][0]["flow"], stray);
        let flow = &json["missing"][0];
        assert_eq!((&flow["pod"], &flow["purpose"]), (&"shop/web".into(), &"from_pod".into()));
        assert_eq!((&flow["table"], &flow["priority"]), (&0.into(), &65534.into()));
        assert_eq!(flow["match"], "in_port=2,reg10=0x0/0xc000000");
    });
}

#[test]
fn looking_changes_nothing() {
    on_a_node("looking_changes_nothing", |node| {
        let state = |node: &Node| {
            let flows = node.ovs.ofctl("OpenFlow15", "dump-flows", &["--no-stats"]);
            let database = format!("unix:{}", node.ovs.path("db.sock"));
            (flows, node.ovs.run("ovsdb-client", &["dump", &database, "Open_vSwitch", "Port"]))
        };
        let before = state(&node);
        for command in ["status", "flows", "doctor"] {
            node.run(&[command, "--enable-mirror", "--mirror-iface=other0"]);
            node.run(&[command]);
        }
        assert_eq!(state(&node), before);
    });
}

#[test]
fn status_shows_a_node_that_is_well_and_what_it_has_copied() {
    on_a_node("status_shows_a_node_that_is_well_and_what_it_has_copied", |node| {
        node.quiet();
        node.install();
        node.ovs.receive("web_h", FRAME);
        // The switch counts when it gets to it.
        while node.json(&["status", "-o", "json"])["taps"][0]["packets"] != 1 {}

        let status = node.run(&["status"]);
        assert_eq!((status.status, status.err.as_str()), (Some(0), ""), "{}", status.out);
        for line in [
            "Agent     ready      http://127.0.0.1:",
            "NIC       up         mirror0, port 7 of br-int, MTU 1500, put there by ofmirror\n",
            "Flows     in sync    7 desired, 7 in the switch, 0 missing, 0 too many\n",
            "POD       PORT   DIRECTION  PACKETS  BYTES  STATE\n",
            "shop/web  web_h  to_pod           0    0 B  ok\n",
            "1 Pod mirrored, 1 not.\n",
        ] {
            assert!(status.out.contains(line), "{}", status.out);
        }
        let yaml = node.run(&["status", "-o", "yaml"]);
        assert!(yaml.out.starts_with("well: true\n"), "{}", yaml.out);
    });
}

#[test]
fn whoever_looks_goes_by_the_settings_of_the_running_agent() {
    on_a_node("whoever_looks_goes_by_the_settings_of_the_running_agent", |node| {
        node.quiet();
        node.reconfigure(|settings| settings.wish.all = true);
        node.install();
        // db is annotated with "false".
        node.ovs.vsctl("remove interface db_h external_ids ovn.kubernetes.io/mirror");
        let told = |run: &Run| {
            let told: Value = serde_json::from_str(&run.out).unwrap();
            (told["pods_wanted"].clone(), told["settings"]["enable_mirror"].clone())
        };
        let status = node.run(&["status", "-o", "json"]);
        assert_eq!(told(&status), (2.into(), true.into()));
        assert_eq!(status.err, "");
        assert_eq!(node.run(&["flows", "--desired"]).out.matches("in_port=3").count(), 1);
        assert!(node.run(&["doctor"]).out.contains("2 to be mirrored"));

        let contradicted = node.run(&["status", "-o", "json", "--enable-mirror=false"]);
        assert_eq!(told(&contradicted), (2.into(), true.into()));
        let line =
            "ofmirror: --enable-mirror is \"false\" here, but \"true\" for the agent that runs: ";
        assert!(contradicted.err.starts_with(line), "{}", contradicted.err);
        assert_eq!(contradicted.err.lines().count(), 1, "{}", contradicted.err);

        node.reconfigure(|settings| settings.wish.all = false);
        let contradicted =
            node.run(&["flows", "--desired", "--enable-mirror", "--mirror-iface=x0"]);
        assert_eq!(contradicted.out.matches("in_port=3").count(), 0, "{}", contradicted.out);
        for flag in ["--enable-mirror is \"true\" here, but \"false\"", "--mirror-iface is \"x0\""]
        {
            assert!(contradicted.err.contains(flag), "{}", contradicted.err);
        }
        let agreeing =
            node.run(&["flows", "--desired", "--enable-mirror=no", "--mirror-when=always"]);
        assert_eq!(agreeing.err, "");
    });
}

#[test]
fn without_an_agent_of_the_bridge_the_flags_count() {
    on_a_node("without_an_agent_of_the_bridge_the_flags_count", |node| {
        node.reconfigure(|settings| settings.wish.bridge = "br0".to_owned());
        let status = node.run(&["status", "-o", "json", "--bridge=br-int", "--enable-mirror"]);
        let told: Value = serde_json::from_str(&status.out).unwrap();
        assert_eq!(told["openflow"]["name"], "br-int");
        assert_eq!(
            (&told["agent"], &told["settings"]["enable_mirror"]),
            (&Value::Null, &true.into())
        );
        assert!(status.err.contains("has bridge br0, not br-int: "), "{}", status.err);
        // Who names no bridge is told of the agent's.
        assert_eq!(node.json(&["status", "-o", "json"])["openflow"]["name"], "br0");

        // Whoever answers may be anybody.
        node.reconfigure(|settings| settings.wish.bridge = "br int\u{1b}[2J".to_owned());
        let status = node.run(&["status"]);
        assert!(status.err.contains("does not state its settings"), "{}", status.err);
        assert!(!status.err.contains('\u{1b}') && !status.out.contains('\u{1b}'), "{}", status.err);

        let rundir = node.ovs.path("");
        let alone = ["status", "-o", "json", "--enable-mirror", "--metrics-addr=127.0.0.1:9"];
        let alone =
            finished(ofmirror().args(alone).args(["--ovs-rundir", &rundir]).output().unwrap());
        let told: Value = serde_json::from_str(&alone.out).unwrap();
        assert_eq!((alone.err.as_str(), &told["settings"]["enable_mirror"]), ("", &true.into()));
    });
}

#[test]
fn an_agent_whose_pods_cannot_be_learnt_from_here_is_looked_at_all_the_same() {
    on_a_node("an_agent_whose_pods_cannot_be_learnt_from_here_is_looked_at_all_the_same", |node| {
        let (node_name, reason) = ("node-1".to_owned(), String::new());
        node.reconfigure(|settings| {
            settings.pods = PodSource::Unreadable { node: node_name, reason }
        });
        let nowhere = node.ovs.path("nowhere");
        let arguments = ["--ovs-rundir", &node.ovs.path(""), "--metrics-addr", &node.agent];
        let mut command = ofmirror();
        command.arg("status").args(arguments).env("KUBECONFIG", nowhere);
        let status = finished(command.output().unwrap());
        for text in
            ["OpenFlow    connected", "Kubernetes  no answer", "kubectl exec", "node node-1"]
        {
            assert!(status.out.contains(text), "{text}\n{}\n{}", status.out, status.err);
        }
        assert!(!status.out.contains("mirrored"), "{}", status.out);
    });
}

#[test]
fn what_a_mirror_record_suspends_is_shown_as_wanted_and_not_as_done() {
    on_a_node("what_a_mirror_record_suspends_is_shown_as_wanted_and_not_as_done", |node| {
        node.quiet();
        node.ovs.vsctl(
            "-- --id=@out get port mirror0 -- --id=@m create mirror name=m0 select_all=true \
             output_port=@out -- set bridge br-int mirrors=@m",
        );
        let status = node.run(&["status"]);
        assert_eq!(status.status, Some(1));
        for text in [
            "Flows     suspended  0 desired, 0 in the switch, 0 missing, 0 too many\n",
            "suspended: nothing is copied to mirror0\n",
            "\n0 of 1 Pod mirrored that should be, 1 not asked for.\n",
            "Mirror record \"m0\" in OVSDB copies to mirror0 too",
        ] {
            assert!(status.out.contains(text), "{text}\n{}", status.out);
        }
        let json = node.json(&["status", "-o", "json"]);
        assert_eq!((&json["pods_wanted"], &json["pods_mirrored"]), (&1.into(), &0.into()));
        assert_eq!(json["taps"][0]["mirrored"], false);
        assert!(json["suspended"].as_str().unwrap().contains("m0"), "{json}");
    });
}

#[test]
fn an_annotation_that_is_neither_true_nor_false_is_told() {
    on_a_node("an_annotation_that_is_neither_true_nor_false_is_told", |node| {
        node.ovs.vsctl("set interface db_h external_ids:ovn.kubernetes.io/mirror=yes");
        let status = node.run(&["status"]);
        let line = "shop/db: ovn.kubernetes.io/mirror=\"yes\" in external_ids of db_h is neither true nor false";
        assert!(status.out.contains(line), "{}", status.out);
    });
}

#[test]
fn status_misses_no_flows_while_the_agent_says_that_nobody_listens() {
    on_a_node("status_misses_no_flows_while_the_agent_says_that_nobody_listens", |node| {
        node.quiet();
        let told =
            |status: &Value| (status["paused"].as_bool(), status["flows"]["desired"].as_u64());
        assert_eq!(told(&node.json(&["status", "-o", "json"])), (Some(false), Some(7)));
        node.health.send_replace(Health {
            ready: true,
            complete: true,
            paused: true,
            ..Health::default()
        });
        assert_eq!(told(&node.json(&["status", "-o", "json"])), (Some(true), Some(1)));
        node.install();
        let status = node.run(&["status"]);
        assert_eq!(status.status, Some(0), "{}", status.out);
        assert!(status.out.contains("paused: nobody listens\n"), "{}", status.out);
    });
}

#[test]
fn status_shows_what_is_wrong_and_still_what_it_knows() {
    on_a_node("status_shows_what_is_wrong_and_still_what_it_knows", |mut node| {
        node.quiet();
        node.install();
        node.ovs.ofctl("OpenFlow15", "del-flows", &["cookie=0x6f666d7210000002/-1"]);
        // It takes our copying flow along, which is as specific and more.
        node.ovs.ofctl("OpenFlow15", "del-flows", &["table=65,reg15=2,metadata=1"]);
        node.health.send_replace(Health {
            problems: vec!["the moon is full".to_owned()],
            ..Health::default()
        });
        let status = node.run(&["status"]);
        assert_eq!(status.status, Some(1));
        for text in [
            "Agent     not ready  http://",
            "from_pod         0    0 B  its flow is missing\n",
            "to_pod           0    0 B  OVN has no flow that delivers to the port\n",
            "  the agent is not ready: the moon is full\n",
            "  flows missing: 1, too many: 4; ofmirror flows --diff shows them\n",
        ] {
            assert!(status.out.contains(text), "{text}\n{}", status.out);
        }

        node.ovs.stop_switch();
        let status = node.run(&["status"]);
        assert_eq!(status.status, Some(1));
        for text in ["OVSDB     connected", "OpenFlow  no answer", "shop/web  web_h  from_pod"] {
            assert!(status.out.contains(text), "{text}\n{}", status.out);
        }
    });
}

#[test]
fn names_in_the_database_are_no_commands_to_whoever_looks() {
    on_a_node("names_in_the_database_are_no_commands_to_whoever_looks", |node| {
        node.quiet();
        node.install();
        // ovs-vsctl reads what is in quotes as JSON.
        let evil = r#""shop_we\u001b[2J\n\u009b\u202e\u200bb""#;
        node.ovs.vsctl(&format!("set interface web_h external_ids:iface-id={evil}"));
        for (command, shown) in [
            ("status", r"shop/we\u{1b}[2J\n\u{9b}\u{202e}\u{200b}b  web_h  from_pod"),
            ("status -o json", "from_pod"),
            ("status -o yaml", "from_pod"),
            ("flows", r" # shop/we\u{1b}[2J\n\u{9b}\u{202e}\u{200b}b"),
            ("flows --desired", r" # shop/we\u{1b}[2J\n\u{9b}\u{202e}\u{200b}b"),
            ("flows -o json", "from_pod"),
            ("doctor", ""),
        ] {
            let arguments: Vec<_> = command.split(' ').collect();
            let Run { out, err, .. } = node.run(&arguments);
            assert_eq!(foreign::lines(&out), out, "{command}");
            assert!(out.contains(shown), "{command}: {out} {err}");
        }
    });
}

#[test]
fn doctor_finds_nothing_wrong_with_a_node_that_is_well() {
    on_a_node("doctor_finds_nothing_wrong_with_a_node_that_is_well", |node| {
        node.quiet();
        let doctor = node.run(&["doctor"]);
        assert_eq!((doctor.status, doctor.err.as_str()), (Some(0), ""), "{}", doctor.out);
        assert!(doctor.out.ends_with("\nAll is well.\n"), "{}", doctor.out);
        assert!(doctor.out.contains("bits 27 (copied) and 26 (delivered) of reg10 are free"));
        assert!(doctor.out.contains("2 ports of Pods on the bridge, 1 to be mirrored"));
    });
}

#[test]
fn doctor_names_what_is_in_the_way_and_what_to_do() {
    on_a_node("doctor_names_what_is_in_the_way_and_what_to_do", |node| {
        node.quiet();
        let add = |flow: &str| node.ovs.ofctl("OpenFlow15", "add-flow", &[flow]);
        add("table=9,priority=1,reg10=0x8000000/0x8000000 actions=drop");
        add("table=0,priority=65535,in_port=3 actions=drop");
        node.ovs.vsctl(
            "-- --id=@out get port mirror0 -- --id=@m create mirror name=m0 select_all=true \
             output_port=@out -- set bridge br-int mirrors=@m protocols=OpenFlow15",
        );
        node.reconfigure(|settings| settings.marker = Some(MarkerBits::default()));
        let doctor = node.run(&["doctor"]);
        assert_eq!(doctor.status, Some(1));
        for text in [
            "failed   marker bits      other flows use bits 27 (copied) and 26 (delivered) of reg10",
            "failed   priorities       table 0 has a foreign flow of priority 65535",
            "failed   Mirror records   m0 copies to mirror0 too",
            "warning  OpenFlow 1.0     not allowed",
            "--replace-mirrors",
            "Failed: 3, warnings: 1.\n",
        ] {
            assert!(doctor.out.contains(text), "{text}\n{}", doctor.out);
        }
        node.ovs.vsctl("set bridge br-int protocols=OpenFlow13");
        node.reconfigure(|settings| settings.nic = "peer0".to_owned());
        let doctor = node.run(&["doctor"]);
        for text in [
            "failed   OpenFlow 1.5     the switch speaks OpenFlow 1.3, not OpenFlow 1.5",
            "-> ovs-vsctl add bridge br-int protocols OpenFlow15\n",
            "failed   mirror NIC       what is copied to peer0 comes back into br-int by its port mirror0",
            "skipped  marker bits      needs OpenFlow\n",
        ] {
            assert!(doctor.out.contains(text), "{text}\n{}", doctor.out);
        }
        // Flags that contradict the agent count for who asks none.
        let doctor = node.run(&["doctor", "--marker-bits=3,4"]);
        assert!(
            doctor.err.contains("--marker-bits is \"3,4\" here, but \"27,26\""),
            "{}",
            doctor.err
        );
        let doctor = node.run(&["doctor", "--bridge=br0"]);
        let text = "failed   bridge           there is no bridge br0; there is: br-int\n";
        assert!(doctor.out.contains(text), "{}", doctor.out);
    });
}
