//! The command line.

mod agent;
mod doctor;
mod flows;
mod pods;
mod print;
mod status;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use ::flows::marker::MarkerBits;
use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    endpoint::Endpoint,
    foreign,
    observe::{self, Observation},
    selection::Wish,
    settings::{MirrorWhen, Settings},
};

/// Mirrors the traffic of Pods on an OVN node to a NIC, by OpenFlow flows that never decide where a packet goes.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ofmirror agent                             mirror annotated Pods to mirror0
  ofmirror agent --enable-mirror             mirror all Pods of the node
  ofmirror status                            what is mirrored, and what is wrong
  ofmirror flows --diff                      which flows are missing or too many
  ofmirror doctor                            check every precondition
  source <(ofmirror completions bash)        complete commands in this shell

Exit status: 0 all is well, 1 something failed or is wrong, 2 the command line is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Mirror until told to stop; what the DaemonSet runs
    Agent(agent::Options),
    /// Show what is mirrored, with counters, and what is wrong
    Status(status::Options),
    /// Print the flows for mirroring: those in the switch, those that should be there, or how they differ
    Flows(flows::Options),
    /// Check everything that mirroring depends on, and say what to do about it
    Doctor(doctor::Options),
    /// Print a script that completes ofmirror's commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the node's Open vSwitch is, and what is to be mirrored; the same for every command.
#[derive(Clone, Debug, Args)]
struct Node {
    #[command(flatten)]
    pods: pods::Pods,

    /// NIC that gets the copies: made as an internal port of the bridge if the host has none of that name
    ///
    /// A NIC of the host is attached to the bridge, unless the node needs it. A port that is on the bridge already is used only if an
    /// agent made it, a Mirror record of OVSDB sends to it, or it is marked for this:
    /// ovs-vsctl set Port NAME external_ids:ofmirror-sink=true
    #[arg(long, env = "OFMIRROR_MIRROR_IFACE", default_value = "mirror0", value_name = "NAME", value_parser = nic_name)]
    mirror_iface: String,

    /// Wait for the mirror NIC if the host has none of that name, instead of making it
    #[arg(long, env = "OFMIRROR_MIRROR_IFACE_MUST_EXIST")]
    mirror_iface_must_exist: bool,

    /// When to copy. A NIC whose listeners can't be seen from here, such as a physical one, is always copied to
    #[arg(long, env = "OFMIRROR_MIRROR_WHEN", default_value = "always", value_name = "WHEN")]
    mirror_when: MirrorWhen,

    /// Bridge that OVN runs
    #[arg(long, env = "OFMIRROR_BRIDGE", default_value = "br-int", value_name = "NAME", value_parser = nic_name)]
    bridge: String,

    /// Folder with the sockets of Open vSwitch
    #[arg(
        long,
        env = "OFMIRROR_OVS_RUNDIR",
        default_value = "/var/run/openvswitch",
        value_name = "FOLDER"
    )]
    ovs_rundir: PathBuf,

    /// OVSDB's socket, unix:PATH or tcp:HOST:PORT [default: db.sock in --ovs-rundir]
    #[arg(long, env = "OFMIRROR_OVSDB", value_name = "SOCKET")]
    ovsdb: Option<Endpoint>,

    /// The bridge's OpenFlow socket, unix:PATH or tcp:HOST:PORT [default: BRIDGE.mgmt in --ovs-rundir]
    #[arg(long, env = "OFMIRROR_OPENFLOW", value_name = "SOCKET")]
    openflow: Option<Endpoint>,

    /// Two bits of OVN's register reg10 to mark frames with, as in 27,26; auto finds free ones
    #[arg(long, env = "OFMIRROR_MARKER_BITS", default_value = "auto", value_name = "BITS", value_parser = marker_bits)]
    marker_bits: MarkerChoice,

    /// Address that the agent serves a page for people, /status, /healthz, /readyz and /metrics at; none serves nothing.
    /// Whoever reaches it reads the names of mirrored Pods, so give it one of localhost or of a network that may
    #[arg(long, env = "OFMIRROR_METRICS_ADDR", default_value = "127.0.0.1:9475", value_name = "ADDR:PORT", value_parser = metrics_address)]
    metrics_addr: MetricsAddress,
}

/// `auto`, or two bits.
#[derive(Clone, Copy, Debug)]
struct MarkerChoice(Option<MarkerBits>);

/// `none`, or an address.
#[derive(Clone, Copy, Debug)]
struct MetricsAddress(Option<SocketAddr>);

impl Node {
    fn ovsdb(&self) -> Endpoint {
        self.ovsdb.clone().unwrap_or_else(|| Endpoint::Unix(self.ovs_rundir.join("db.sock")))
    }

    fn openflow(&self) -> Endpoint {
        let socket = || self.ovs_rundir.join(format!("{}.mgmt", self.bridge));
        self.openflow.clone().unwrap_or_else(|| Endpoint::Unix(socket()))
    }

    /// Looks at everything once, without changing anything.
    fn observe(&self) -> anyhow::Result<Observation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let settings = self.settings().await?;
            Ok(observe::observe(settings, self.metrics_addr.0, observe::LIMIT).await)
        })
    }

    async fn settings(&self) -> anyhow::Result<Settings> {
        if self.mirror_iface == self.bridge {
            let both = format!(
                "--mirror-iface and --bridge are both '{}', but a bridge can't get the copies: name another NIC",
                self.bridge
            );
            Cli::command().error(ErrorKind::ValueValidation, both).exit();
        }
        Ok(Settings {
            wish: Wish {
                bridge: self.bridge.clone(),
                all: self.pods.enable_mirror,
                namespaces: self.pods.rule(),
            },
            nic: self.mirror_iface.clone(),
            nic_must_exist: self.mirror_iface_must_exist,
            run_folder: self.ovs_rundir.clone(),
            ovsdb: self.ovsdb(),
            openflow: self.openflow(),
            marker: self.marker_bits.0,
            pods: self.pods.source().await?,
            when: self.mirror_when,
        })
    }
}

impl Cli {
    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Agent(options) => options.run(),
            Command::Status(options) => options.run(),
            Command::Flows(options) => options.run(),
            Command::Doctor(options) => options.run(),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "ofmirror", &mut script);
                print::write(&script).map(|()| ExitCode::SUCCESS)
            }
        };
        result.unwrap_or_else(|error| {
            let error = format!("{error:#}");
            // If nobody can be told, nothing else can be done.
            let _ = writeln!(io::stderr(), "ofmirror: {}", foreign::line(&error));
            ExitCode::FAILURE
        })
    }
}

fn nic_name(text: &str) -> Result<String, String> {
    // IFNAMSIZ of linux/if.h counts the terminating zero; what else the kernel refuses is in dev_valid_name().
    let valid = (1..16).contains(&text.len())
        && !matches!(text, "." | "..")
        // The kernel makes another name of one with '%': of mirror%d the first of mirror0, mirror1 ... that is free.
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a device's name has 1 to 15 letters, digits, '-', '_' or '.'".to_owned())
    }
}

fn marker_bits(text: &str) -> Result<MarkerChoice, String> {
    if text == "auto" {
        return Ok(MarkerChoice(None));
    }
    let bits = text.split_once(',').and_then(|(copied, delivered)| {
        let bit = |text: &str| text.trim().parse().ok().filter(|bit: &u32| *bit < u32::BITS);
        Some((bit(copied)?, bit(delivered)?))
    });
    match bits {
        Some((copied, delivered)) if copied != delivered => {
            Ok(MarkerChoice(Some(MarkerBits { copied, delivered })))
        }
        _ => Err("write auto, or two different bits of 0 to 31 as in 27,26".to_owned()),
    }
}

fn metrics_address(text: &str) -> Result<MetricsAddress, String> {
    if text == "none" {
        return Ok(MetricsAddress(None));
    }
    // A Pod is told its address without saying of which family it is, so [$(POD_IP)]:9475 must do for both.
    let bracketed = || {
        let (ip, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    };
    let address = text.parse().ok().or_else(bracketed);
    address.map_or_else(
        || Err("write ADDRESS:PORT, as in 0.0.0.0:9475 or [::1]:9475, or none".to_owned()),
        |address| Ok(MetricsAddress(Some(address))),
    )
}

#[cfg(test)]
mod tests;
