//! `ofmirror agent`.

mod auth;
mod log;
mod removed;
mod stop;

use std::{env, process::ExitCode};

use anyhow::bail;
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use log::LogFormat;
use metrics::Metrics;
use tokio::sync::watch;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use super::Node;
use crate::{
    agent::{Agent, Manners},
    health::Health,
    http::{self, Service},
    inquiry,
    overhead::probe::Probe,
    sink::host_stack::HostStack,
};

const HELP: &str = r#"Examples:
  ofmirror agent                                       mirror Pods annotated ovn.kubernetes.io/mirror=true
  ofmirror agent --enable-mirror --mirror-iface=eth1   mirror all Pods to the NIC eth1
  ofmirror agent --mirror-when=listened                only while tcpdump or another runs on mirror0
  OFMIRROR_BRIDGE=br0 ofmirror agent                   every flag is a variable too

See what is mirrored, and how much:
  http://127.0.0.1:9475/                               a page for people; /status is the same as JSON, /metrics for Prometheus

Annotate a Pod's port for --pod-source=ovsdb:
  ovs-vsctl set Interface <port> 'external_ids:"ovn.kubernetes.io/mirror"=true'
  ovs-vsctl remove Interface <port> external_ids '"ovn.kubernetes.io/mirror"'

The log's detail is set by RUST_LOG, as in RUST_LOG=ofmirror=debug."#;

/// What is logged if nothing else is wished. kube warns of each failure of the API server, again and again and in a form for
/// programmers; we tell it ourselves, once.
const LOG: &str = "info,kube_client=error,kube_runtime=error";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) node: Node,

    /// What becomes of our flows, and of the mirror port and its bridge if the agent made them, when the agent is told to stop
    #[arg(long, env = "OFMIRROR_ON_EXIT", default_value = "remove")]
    on_exit: OnExit,

    /// Let Mirror records of OVSDB that copy to the mirror NIC too select nothing, such as Kube-OVN's m0; they stay, since Kube-OVN
    /// sets up no Pod without it
    #[arg(
        long, env = "OFMIRROR_REPLACE_MIRRORS", value_parser = BoolishValueParser::new(),
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true
    )]
    replace_mirrors: bool,

    /// Whether copies go on to the host's own network stack when packet sockets have had them, on a mirror NIC that the agent made
    ///
    /// It has no use for them, but takes long over broadcasts, and may hand them to services of the node. To spare it the agent
    /// makes the NIC a port of a bridge that is down, such as mirror0-drain
    #[arg(long, env = "OFMIRROR_HOST_STACK", default_value = "spared", value_name = "WHETHER")]
    host_stack: HostStack,

    /// Lift hooks for short pauses to see what switching costs without them, as in 10m/2s: every 10 minutes for 2 seconds
    ///
    /// Copies are missing meanwhile. It is for ofmirror_cpu_overhead_ratio on nodes where something is always mirrored.
    /// A third part lifts the hooks of a share of the mirrored ports only, of others each time, as in 10m/2s/50%: what passes
    /// between lifted ports and all others is still copied at the other end if that is mirrored, so it takes far
    /// longer to learn as much. There are no pauses while flows are being restored.
    #[arg(long, env = "OFMIRROR_OVERHEAD_PROBE", value_name = "INTERVAL/PAUSE")]
    overhead_probe: Option<Probe>,

    #[command(flatten)]
    auth: auth::Auth,

    /// How the log is written, to standard error
    #[arg(long, env = "OFMIRROR_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExit {
    /// Everything of ours goes
    Remove,
    /// Copies go on without an agent, until the next one or an OVN restart
    Keep,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.start_log();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.mirror())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn mirror(self) -> anyhow::Result<()> {
        let stop = stop::Stop::listen()?.told();
        let metrics = Metrics::new();
        let (sender, health) = watch::channel(Health::default());
        let (inquirer, inquiries) = inquiry::channel();
        self.serve(Service::new(health, metrics.clone(), inquirer)).await?;
        let manners = Manners {
            replace_mirrors: self.replace_mirrors,
            host_stack: self.host_stack,
            keep_on_exit: self.on_exit == OnExit::Keep,
            overhead_probe: self.overhead_probe,
        };
        let settings = self.node.settings().await?;
        let agent = Agent::start(settings, manners, metrics, sender, inquiries)?;
        let folder = &self.node.place.ovs_rundir;
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            // Without a farewell: there is nobody to say it to, and the next agent adopts whatever is left.
            () = removed::removed(folder) => bail!(
                "{} was removed, and is still mounted here; starting anew to get the one that is there now",
                folder.display()
            ),
        }
    }

    /// Answers by HTTP wherever that was asked for.
    async fn serve(&self, service: Service) -> anyhow::Result<()> {
        let addresses = self.node.addresses.all();
        let guard = self.auth.guard(addresses).await?;
        let mut listeners = Vec::new();
        for site in addresses.sites(guard) {
            let listener = http::listen(&site).await?;
            let address = listener.address()?;
            tracing::info!(%address, "serving {}", site.description());
            listeners.push(listener);
        }
        if !listeners.is_empty() {
            http::start(listeners, service)?;
        }
        Ok(())
    }

    fn start_log(&self) {
        // One that is not set is no mistake.
        let wished = env::var(EnvFilter::DEFAULT_ENV).ok().filter(|wished| !wished.is_empty());
        let (filter, mistake) = match wished.as_deref().map(EnvFilter::try_new) {
            None => (EnvFilter::new(LOG), None),
            Some(Ok(filter)) => (filter, None),
            Some(Err(error)) => (EnvFilter::new(LOG), Some(error)),
        };
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        log::subscriber(self.log_format, filter, colours, std::io::stderr).init();
        if let Some(error) = mistake {
            let wished = wished.unwrap_or_default();
            tracing::warn!(%error, "RUST_LOG={wished} can't be used; the log is as without it");
        }
    }
}
