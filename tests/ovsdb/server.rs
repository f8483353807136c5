//! A private `ovsdb-server` with the schema of Open vSwitch, in a folder of its own.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ofmirror::endpoint::Endpoint;
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Stopped, and its folder removed, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    folder: TempDir,
    child: Option<Child>,
}

/// A program of Open vSwitch; some are in `sbin`, which is not on everybody's path.
fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    let found = found.unwrap_or_else(|| {
        panic!("{name} is not installed; on Debian and Ubuntu: apt-get install openvswitch-switch")
    });
    Command::new(found)
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    /// A server with an empty database, ready to be asked.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { folder, child: None };
        let schema = Path::new(SCHEMA);
        output(program("ovsdb-tool").arg("create").arg(server.path("conf.db")).arg(schema));
        server.run();
        server.vsctl("init");
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.path("db.sock"))
    }

    /// Runs the server on the database as it is, until it listens.
    pub(crate) fn run(&mut self) {
        self.run_at("db.sock");
    }

    fn run_at(&mut self, socket: &str) {
        assert!(self.child.is_none());
        let mut command = program("ovsdb-server");
        command
            .arg(format!("--remote=punix:{}", self.path(socket).display()))
            // Whatever the database's Manager rows say, too.
            .arg("--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
            .arg(format!("--unixctl={}", self.path("ctl").display()))
            .arg(self.path("conf.db"))
            .stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        // This tool waits for the socket to come.
        let database = format!("unix:{}", self.path(socket).display());
        let wait = ["--timeout=30", "wait", &database, "Open_vSwitch", "connected"];
        output(program("ovsdb-client").args(wait));
    }

    /// Stops the server at once; its database stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Changes the database while nobody can see it: the server runs elsewhere meanwhile.
    pub(crate) fn change_unseen(&mut self, words: &str) {
        self.run_at("elsewhere.sock");
        self.vsctl_at("elsewhere.sock", words);
        self.stop();
    }

    /// Runs `ovs-vsctl` with these words; quotes are left to it.
    pub(crate) fn vsctl(&self, words: &str) {
        self.vsctl_at("db.sock", words);
    }

    fn vsctl_at(&self, socket: &str, words: &str) {
        let database = format!("--db=unix:{}", self.path(socket).display());
        let words = words.split_whitespace();
        output(program("ovs-vsctl").args(["--no-wait", &database]).args(words));
    }

    /// A further socket, on which the server asks each client for a sign of life every second.
    pub(crate) fn probing_endpoint(&self) -> Endpoint {
        let path = self.path("probing.sock");
        self.vsctl(&format!(
            "set-manager punix:{} -- set manager . inactivity_probe=1000",
            path.display()
        ));
        Endpoint::Unix(path)
    }

    /// Adds a bridge with so many Pod ports, `pod0` and on, in one transaction.
    pub(crate) fn add_pod_ports(&self, bridge: &str, count: usize) {
        let mut operations = vec![json!("Open_vSwitch")];
        let mut ports = Vec::new();
        for number in 0..count {
            let (name, interface, port) =
                (format!("pod{number}"), format!("i{number}"), format!("p{number}"));
            let external_ids = json!([
                "map",
                [
                    ["iface-id", format!("ns_{name}")],
                    ["iface-id-ver", format!("1d0f3b43-5f2c-4c6e-9a34-{number:012}")],
                    ["attached-mac", "0a:58:0a:f4:00:05"],
                    ["ip_addresses", "10.244.0.5/24"],
                    ["sandbox", "6c2f9f0c9f1d4a5f8f0a5ad6a8d8f8c0c1f1d5b7a2b4c6d8e0f2a4b6c8d0e2f4"],
                ]
            ]);
            operations.push(json!({"op": "insert", "table": "Interface", "uuid-name": interface,
                "row": {"name": name, "external_ids": external_ids}}));
            operations.push(json!({"op": "insert", "table": "Port", "uuid-name": port,
                "row": {"name": name, "interfaces": ["named-uuid", interface]}}));
            ports.push(json!(["named-uuid", port]));
        }
        operations.push(json!({"op": "insert", "table": "Bridge", "uuid-name": "bridge",
            "row": {"name": bridge, "ports": ["set", ports]}}));
        operations.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["bridges", "insert", ["named-uuid", "bridge"]]]}));
        let request = json!({"method": "transact", "params": operations, "id": 0});

        let mut stream = UnixStream::connect(self.path("db.sock")).unwrap();
        stream.write_all(request.to_string().as_bytes()).unwrap();
        let mut replies = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
        let reply = replies.next().unwrap().unwrap();
        let failed =
            reply["result"].as_array().unwrap().iter().find(|one| one["error"].is_string());
        assert_eq!(failed, None);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
