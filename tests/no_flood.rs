//! The NO_FLOOD bit on a real OVS: its dummy datapath, which needs no root and touches no link.

#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use ofmirror::{
    endpoint::Endpoint,
    openflow::no_flood::{NoFloodError, set_no_flood},
};
use tempfile::TempDir;

/// An OVS in a run folder of its own, which ends with it.
struct Ovs {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Ovs {
    /// Starts OVS with the bridge `br-int` and the port `mirror0`, whose OpenFlow number is 7.
    fn start() -> Self {
        let mut ovs = Self { folder: tempfile::tempdir().unwrap(), daemons: vec![] };
        let (database, socket) = (ovs.path("conf.db"), ovs.path("db.sock"));
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        ovs.run("ovsdb-tool", &["create", &database, schema]);
        let listen = format!("--remote=punix:{socket}");
        let control = format!("--unixctl={}", ovs.path("ovsdb.ctl"));
        ovs.spawn("ovsdb-server", &[&database, &listen, &control, "-vconsole:off"]);
        let control = format!("--unixctl={}", ovs.path("vswitchd.ctl"));
        let dummy = ["--enable-dummy=override", "--disable-system", "-vconsole:off"];
        ovs.spawn("ovs-vswitchd", &[&[&*format!("unix:{socket}"), &*control], &dummy[..]].concat());
        ovs.vsctl("--no-wait init");
        ovs.vsctl("add-br br-int -- set bridge br-int datapath_type=dummy fail_mode=secure");
        ovs.vsctl("add-port br-int mirror0 -- set interface mirror0 type=dummy ofport_request=7");
        ovs
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for folder in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(folder, self.folder.path());
        }
        command
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program);
        let daemon = command.args(arguments).stderr(Stdio::null()).spawn();
        self.daemons.push(daemon.unwrap_or_else(|error| panic!("{program}: {error}")));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:#?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for the daemons, and until they have done it.
    fn vsctl(&self, arguments: &str) {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let options = ["--retry", "--timeout=60", &database];
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.run("ovs-vsctl", &[&options, &arguments[..]].concat());
    }

    /// The configuration of `mirror0` in the words of ovs-ofctl.
    fn config(&self) -> String {
        let management = format!("unix:{}", self.path("br-int.mgmt"));
        let show = self.run("ovs-ofctl", &["-O", "OpenFlow10", "show", &management]);
        let mut lines = show.lines().skip_while(|line| !line.contains("7(mirror0)"));
        let config = lines.find_map(|line| line.trim().strip_prefix("config:"));
        config.unwrap_or_else(|| panic!("no mirror0 in {show}")).trim().to_owned()
    }

    fn management(&self) -> Endpoint {
        Endpoint::Unix(PathBuf::from(self.path("br-int.mgmt")))
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[tokio::test]
async fn ovs_stops_flooding_to_the_port_and_nothing_else_changes() {
    let ovs = Ovs::start();
    ovs.run(
        "ovs-ofctl",
        &["-O", "OpenFlow10", "mod-port", &ovs.management().to_string(), "7", "no-packet-in"],
    );
    assert_eq!(ovs.config(), "NO_PACKET_IN");
    assert!(set_no_flood(&ovs.management(), 7).await.unwrap(), "the bit was clear");
    assert_eq!(ovs.config(), "NO_FLOOD NO_PACKET_IN");
    assert!(!set_no_flood(&ovs.management(), 7).await.unwrap(), "the bit was set");
    assert_eq!(ovs.config(), "NO_FLOOD NO_PACKET_IN");
}

#[tokio::test]
async fn ovs_says_what_is_wrong_with_the_port_or_the_version() {
    let ovs = Ovs::start();
    let error = set_no_flood(&ovs.management(), 8).await.unwrap_err();
    assert!(matches!(error, NoFloodError::NoSuchPort { port: 8, listed: 2 }), "{error}");

    ovs.vsctl("set bridge br-int protocols=OpenFlow15");
    let error = set_no_flood(&ovs.management(), 7).await.unwrap_err();
    assert!(matches!(error, NoFloodError::VersionRefused(_)), "{error}");
    assert!(error.to_string().contains("We support version 0x06"), "{error}");
}
