//! The command line.

mod addresses;
mod agent;
mod cleanup;
mod doctor;
mod flows;
mod place;
mod pods;
mod print;
mod running;
mod status;
mod variables;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use ::flows::marker::MarkerBits;
use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::BoolishValueParser, error::ErrorKind, parser::ValueSource,
};

use self::place::Place;
use crate::{
    foreign,
    observe::{self, Observation},
    selection::Wish,
    settings::{MirrorWhen, PodSource, Settings},
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
  ofmirror cleanup                           take away what a killed agent has left
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
    /// Take away what an agent has left that was killed, or told to keep its work
    Cleanup(cleanup::Options),
    /// Print a script that completes ofmirror's commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    fn node(&mut self) -> Option<&mut Node> {
        match self {
            Self::Agent(options) => Some(&mut options.node),
            Self::Status(options) => Some(&mut options.node),
            Self::Flows(options) => Some(&mut options.node),
            Self::Doctor(options) => Some(&mut options.node),
            Self::Cleanup(_) | Self::Completions { .. } => None,
        }
    }
}

/// The names of the arguments that a flag or a variable has set.
fn given(matches: &ArgMatches) -> BTreeSet<String> {
    let is_given = |id: &&str| {
        matches!(
            matches.value_source(id),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    matches.ids().map(clap::Id::as_str).filter(is_given).map(str::to_owned).collect()
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
    #[arg(
        long, env = "OFMIRROR_MIRROR_IFACE_MUST_EXIST", value_parser = BoolishValueParser::new(),
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true
    )]
    mirror_iface_must_exist: bool,

    /// When to copy. A NIC whose listeners can't be seen from here, such as a physical one, is always copied to
    #[arg(long, env = "OFMIRROR_MIRROR_WHEN", default_value = "always", value_name = "WHEN")]
    mirror_when: MirrorWhen,

    #[command(flatten)]
    place: Place,

    /// Two bits of OVN's register reg10 to mark frames with, as in 27,26; auto finds free ones
    #[arg(long, env = "OFMIRROR_MARKER_BITS", default_value = "auto", value_name = "BITS", value_parser = marker_bits)]
    marker_bits: MarkerChoice,

    #[command(flatten)]
    addresses: addresses::Addresses,

    /// The names of the fields that a flag or a variable has set.
    #[arg(skip)]
    given: BTreeSet<String>,

    /// Whether these are the settings of the running agent.
    #[arg(skip)]
    is_agents: bool,
}

/// `auto`, or two bits.
#[derive(Clone, Copy, Debug)]
struct MarkerChoice(Option<MarkerBits>);

impl Node {
    /// Where the running agent answers, and is asked for its settings and its readiness.
    fn agent_address(&self) -> Option<SocketAddr> {
        self.addresses.status()
    }

    /// Looks at everything once, without changing anything; by the settings of the running agent, if there is one.
    fn observe(&mut self) -> anyhow::Result<Observation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let agent = self.follow_agent().await;
            let settings = self.settings().await?;
            Ok(observe::observe(settings, agent, observe::LIMIT).await)
        })
    }

    async fn settings(&self) -> anyhow::Result<Settings> {
        if self.mirror_iface == self.place.bridge {
            let both = format!(
                "--mirror-iface and --bridge are both '{}', but a bridge can't get the copies: name another NIC",
                self.place.bridge
            );
            Cli::command().error(ErrorKind::ValueValidation, both).exit();
        }
        Ok(Settings {
            wish: Wish {
                bridge: self.place.bridge.clone(),
                all: self.pods.enable_mirror,
                namespaces: self.pods.rule(),
            },
            nic: self.mirror_iface.clone(),
            nic_must_exist: self.mirror_iface_must_exist,
            run_folder: self.place.ovs_rundir.clone(),
            ovsdb: self.place.ovsdb(),
            openflow: self.place.openflow(),
            marker: self.marker_bits.0,
            pods: self.pod_source().await?,
            when: self.mirror_when,
        })
    }

    async fn pod_source(&self) -> anyhow::Result<PodSource> {
        match self.pods.source().await {
            // The agent's credentials are its own. What needs no Pods can be shown without.
            Err(error) if self.is_agents => Ok(PodSource::Unreadable {
                node: self.pods.node_name()?,
                reason: format!(
                    "the agent learns of Pods from the API server, which this command can't ask: {error:#}; run it where the agent runs, as by kubectl exec, or set KUBECONFIG"
                ),
            }),
            source => source,
        }
    }
}

impl Cli {
    /// Reads the command line and the environment. Ends the process when they are wrong, or ask for help.
    #[must_use]
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let Err(unknown) = variables::check(&Self::command()) {
            Self::command().error(ErrorKind::UnknownArgument, unknown).exit();
        }
        if let (Some(node), Some((_, matches))) = (cli.command.node(), matches.subcommand()) {
            node.given = given(matches);
        }
        cli
    }

    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Agent(options) => options.run(),
            Command::Status(options) => options.run(),
            Command::Flows(options) => options.run(),
            Command::Doctor(options) => options.run(),
            Command::Cleanup(options) => options.run(),
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
    const FORM: &str = "a device's name has 1 to 15 letters, digits, '-', '_' or '.'";
    // What the kernel refuses is in dev_valid_name(). It makes another name of one with '%': of mirror%d the first of
    // mirror0, mirror1 ... that is free.
    let has_bad_byte =
        text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'/' | b':' | b'%'));
    match text.len() {
        0 => Err(format!("the name is empty: {FORM}")),
        // IFNAMSIZ of linux/if.h counts the terminating zero.
        1..=15 if !has_bad_byte && !matches!(text, "." | "..") => Ok(text.to_owned()),
        1..=15 => Err(FORM.to_owned()),
        length => Err(format!("the name has {length} bytes: {FORM}")),
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

#[cfg(test)]
mod tests;
