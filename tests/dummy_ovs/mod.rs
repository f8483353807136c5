//! A private OVS on its dummy datapath, which needs no root and touches no link.

// Not every test uses all of it.
#![allow(dead_code)]

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use ofmirror::endpoint::Endpoint;
use tempfile::TempDir;

/// An OVS in a run folder of its own, which ends with it.
pub(crate) struct Ovs {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Ovs {
    /// Starts OVS with the bridge `br-int` and the port `mirror0`, whose OpenFlow number is 7.
    pub(crate) fn start() -> Self {
        let mut ovs = Self { folder: tempfile::tempdir().unwrap(), daemons: vec![] };
        let (database, socket) = (ovs.path("conf.db"), ovs.path("db.sock"));
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        ovs.run("ovsdb-tool", &["create", &database, schema]);
        let listen = format!("--remote=punix:{socket}");
        let control = format!("--unixctl={}", ovs.path("ovsdb.ctl"));
        ovs.spawn("ovsdb-server", &[&database, &listen, &control, "-vconsole:off"]);
        let control = format!("--unixctl={}", ovs.path("vswitchd.ctl"));
        let pidfile = format!("--pidfile={}", ovs.path("ovs-vswitchd.pid"));
        let dummy = ["--enable-dummy=override", "--disable-system", "-vconsole:off", &pidfile];
        ovs.spawn("ovs-vswitchd", &[&[&*format!("unix:{socket}"), &*control], &dummy[..]].concat());
        ovs.vsctl("--no-wait init");
        ovs.vsctl("add-br br-int -- set bridge br-int datapath_type=dummy fail_mode=secure");
        ovs.vsctl("add-port br-int mirror0 -- set interface mirror0 type=dummy ofport_request=7");
        ovs
    }

    pub(crate) fn path(&self, name: &str) -> String {
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

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:#?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for the daemons, and until they have done it.
    pub(crate) fn vsctl(&self, arguments: &str) {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let options = ["--retry", "--timeout=60", &database];
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.run("ovs-vsctl", &[&options, &arguments[..]].concat());
    }

    /// Runs `ovs-ofctl` of that version on the bridge.
    pub(crate) fn ofctl(&self, version: &str, command: &str, arguments: &[&str]) -> String {
        let management = self.management().to_string();
        self.run("ovs-ofctl", &[&["-O", version, command, &management], arguments].concat())
    }

    /// A frame comes in by a port.
    pub(crate) fn receive(&self, port: &str, frame: &str) {
        let control = self.path("vswitchd.ctl");
        self.run("ovs-appctl", &["-t", &control, "netdev-dummy/receive", port, frame]);
    }

    /// Stops the switch; the database goes on.
    pub(crate) fn stop_switch(&mut self) {
        let mut switch = self.daemons.pop().unwrap();
        switch.kill().unwrap();
        switch.wait().unwrap();
    }

    pub(crate) fn management(&self) -> Endpoint {
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
