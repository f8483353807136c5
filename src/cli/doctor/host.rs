//! What this process may do on the node: sockets, capabilities, sysctls.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::check::Check;
use crate::{
    agent::overhead::PIDFILE,
    cli::Node,
    endpoint::Endpoint,
    nic::{self, ShieldError},
    overhead::processor::{self, Reading, Unreadable},
};

/// Number of CAP_NET_ADMIN (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
/// The sysctl of links that are still to come.
const DISABLE_IPV6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

/// What was found.
pub(super) struct Host {
    /// The folder of the sockets, if any is there by default.
    pub(super) folder: Option<(PathBuf, io::Result<()>)>,
    /// Each unix socket: of what, where, and whether it can be connected to.
    pub(super) sockets: Vec<(&'static str, PathBuf, io::Result<()>)>,
    /// The text of /proc/self/status.
    pub(super) status: io::Result<String>,
    /// Whether the kernel has IPv6, and a NIC can be kept from it by sysctl.
    pub(super) ipv6: io::Result<()>,
    /// Whether the kernel has filters of nftables, by which the agent keeps copies from IPv6 otherwise.
    pub(super) filters: Result<(), ShieldError>,
    /// What the datapath has used of the processors.
    pub(super) time: Result<Reading, Unreadable>,
}

impl Host {
    pub(super) fn look(node: &Node) -> Self {
        let by_default = node.place.ovsdb.is_none() || node.place.openflow.is_none();
        let sockets =
            [("OVSDB socket", node.place.ovsdb()), ("OpenFlow socket", node.place.openflow())];
        Self {
            folder: by_default.then(|| {
                (node.place.ovs_rundir.clone(), fs::read_dir(&node.place.ovs_rundir).map(drop))
            }),
            sockets: sockets
                .into_iter()
                .filter_map(|(subject, endpoint)| match endpoint {
                    Endpoint::Unix(path) => {
                        let connected = UnixStream::connect(&path).map(drop);
                        Some((subject, path, connected))
                    }
                    Endpoint::Tcp { .. } => None,
                })
                .collect(),
            status: fs::read_to_string("/proc/self/status"),
            // Opening a sysctl changes nothing.
            ipv6: fs::OpenOptions::new().write(true).open(DISABLE_IPV6).map(drop),
            filters: nic::generation().map(drop),
            time: processor::read(&node.place.ovs_rundir.join(PIDFILE)),
        }
    }

    pub(super) fn folder_and_sockets(&self) -> Vec<Check> {
        let folder = self.folder.iter().map(|(path, result)| self.folder(path, result));
        let sockets = self
            .sockets
            .iter()
            .map(|(subject, path, connected)| self.socket(subject, path, connected));
        folder.chain(sockets).collect()
    }

    fn folder(&self, path: &Path, result: &io::Result<()>) -> Check {
        let subject = "run folder";
        let place = path.display();
        match result {
            Ok(()) => Check::ok(subject, place.to_string()),
            Err(error) => Check::failed(
                subject,
                format!("{place}: {error}"),
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        "is Open vSwitch installed and running? Point --ovs-rundir at its folder; in a container, mount the host's there".to_owned()
                    }
                    io::ErrorKind::PermissionDenied => self.rights(),
                    _ => "point --ovs-rundir at the folder of Open vSwitch's sockets".to_owned(),
                },
            ),
        }
    }

    fn socket(&self, subject: &'static str, path: &Path, connected: &io::Result<()>) -> Check {
        let place = path.display();
        match connected {
            Ok(()) => Check::ok(subject, place.to_string()),
            Err(error) => Check::failed(
                subject,
                format!("{place}: {error}"),
                match error.kind() {
                    io::ErrorKind::NotFound if subject == "OpenFlow socket" => {
                        "is ovs-vswitchd running, and is --bridge the name of its bridge? Otherwise give --openflow".to_owned()
                    }
                    io::ErrorKind::NotFound => {
                        "is ovsdb-server running? Point --ovs-rundir at its folder, or give --ovsdb".to_owned()
                    }
                    io::ErrorKind::ConnectionRefused => {
                        "nobody listens: the daemon that made this socket is gone; start Open vSwitch".to_owned()
                    }
                    io::ErrorKind::PermissionDenied => self.rights(),
                    _ => "is it the socket of Open vSwitch?".to_owned(),
                },
            ),
        }
    }

    fn rights(&self) -> String {
        let user = self.field("Uid").and_then(|ids| ids.split_whitespace().nth(1));
        format!(
            "this runs as user {}, who may not open it: run as the user that it belongs to, or with CAP_DAC_OVERRIDE",
            user.unwrap_or("unknown")
        )
    }

    pub(super) fn net_admin(&self) -> Check {
        let subject = "capability";
        let effective = self.field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match effective {
            Some(bits) if bits >> CAP_NET_ADMIN & 1 == 1 => {
                Check::ok(subject, "CAP_NET_ADMIN is in effect")
            }
            Some(_) => Check::failed(
                subject,
                "CAP_NET_ADMIN is not in effect, so the mirror NIC can't be set up",
                "run as root, or give the container the capability NET_ADMIN, on the host's network",
            ),
            None => Check::warning(
                subject,
                match &self.status {
                    Err(error) => format!("/proc/self/status can't be read: {error}"),
                    Ok(_) => "/proc/self/status has no line CapEff".to_owned(),
                },
                "see to it that the agent has CAP_NET_ADMIN",
            ),
        }
    }

    pub(super) fn processor_time(&self) -> Check {
        let subject = "processor time";
        match &self.time {
            Ok(Reading { process: (pid, _), threads, .. }) => {
                let threads = threads.len();
                Check::ok(subject, format!("ovs-vswitchd, process {pid}, threads: {threads}"))
            }
            Err(error) => Check::warning(
                subject,
                format!("{error}, so what mirroring costs can't be told"),
                error.remedy(),
            ),
        }
    }

    /// The value of a line of /proc/self/status.
    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.status.as_ref().ok()?.lines();
        let mut values =
            lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
        values.next()
    }
}
