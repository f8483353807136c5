//! Putting a variant in force on both nodes, and making sure that it is.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use lab::{Agent, Daemon, MIRROR, Node, Result, TwoNodes, until};
use nix::sys::signal::Signal;

use crate::variant::{Copier, Variant};

/// Echo requests by which is seen who copies.
const PINGS: u64 = 5;
/// How long copies that should not be may take to come.
const SILENCE: Duration = Duration::from_millis(50);
/// How long copies that should be may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the agent knows a mirror port that it has made.
const OWNER: &str = "external_ids:owner=ofmirror";
const OWNER_KEY: &str = "owner";

/// A variant that is in force, until it is taken out.
pub(crate) struct InForce<'a> {
    nodes: &'a TwoNodes,
    variant: Variant,
    agents: Vec<Agent<'a>>,
    listeners: Vec<Daemon>,
}

/// Makes `mirror0` on a node, as Kube-OVN does also when nothing is mirrored, but silent.
pub(crate) fn make_mirror_port(node: &Node) -> Result {
    let add = format!(
        "add-port br-int {MIRROR} -- set Interface {MIRROR} type=internal mtu_request=1500"
    );
    node.vsctl(add.split(' '))?;
    let silent = format!("net.ipv6.conf.{MIRROR}.disable_ipv6=1");
    node.program("sysctl").args(["-q", "-w", &silent]).run()?;
    node.namespace().ip(["link", "set", MIRROR, "arp", "off", "up"])?;
    Ok(())
}

impl<'a> InForce<'a> {
    /// Puts it in force.
    pub(crate) fn start(nodes: &'a TwoNodes, variant: Variant) -> Result<Self> {
        let mut this = Self { nodes, variant, agents: Vec::new(), listeners: Vec::new() };
        for node in nodes.nodes() {
            match variant.copier {
                Copier::Off => {}
                Copier::Ofmirror => {
                    // As one that it has made, which it keeps copies on away from the host's network stack.
                    node.vsctl(["set", "Port", MIRROR, OWNER])?;
                    this.agents.push(node.launch_agent(&["--enable-mirror"])?);
                }
                Copier::OvsMirror => {
                    let create = format!(
                        "-- --id=@port get Port {MIRROR} \
                         -- --id=@mirror create Mirror name=m0 select_all=true output_port=@port \
                         -- set Bridge br-int mirrors=@mirror"
                    );
                    node.vsctl(create.split_whitespace())?;
                }
            }
            if variant.listener {
                this.listeners.push(listen(node)?);
            }
        }
        for agent in &this.agents {
            agent.await_ready()?;
        }
        this.purge()?;
        Ok(this)
    }

    /// Takes it out.
    pub(crate) fn stop(self) -> Result {
        if self.variant.copier == Copier::Ofmirror {
            // What it has not made it leaves.
            for node in self.nodes.nodes() {
                node.vsctl(["remove", "Port", MIRROR, "external_ids", OWNER_KEY])?;
            }
        }
        for agent in self.agents {
            agent.stop()?;
        }
        if self.variant.copier == Copier::OvsMirror {
            for node in self.nodes.nodes() {
                node.vsctl(["clear", "Bridge", "br-int", "mirrors"])?;
            }
        }
        for listener in self.listeners {
            listener.end(Signal::SIGTERM)?;
        }
        Ok(())
    }

    /// Whether copies of pings between the nodes arrive on both, or on none, as they should.
    pub(crate) fn took_effect(&self) -> Result<bool> {
        let [a, c] = ["a", "c"].map(|name| self.nodes.pod(name));
        let before = copies(self.nodes)?;
        let [count, target] = [PINGS.to_string(), c.ip4().to_string()];
        a.program("ping").args(["-q", "-c", &count, "-i", "0.01", "-W", "1", &target]).run()?;
        let copied = || -> Result<[u64; 2]> {
            let now = copies(self.nodes)?;
            Ok([now[0] - before[0], now[1] - before[1]])
        };
        if self.variant.copier == Copier::Off {
            thread::sleep(SILENCE);
            return Ok(copied()? == [0, 0]);
        }
        let deadline = Instant::now() + PATIENCE;
        // Request and answer.
        while copied()?.iter().any(|copies| *copies < 2 * PINGS) {
            if Instant::now() > deadline {
                return Ok(false);
            }
            thread::sleep(SILENCE / 10);
        }
        Ok(true)
    }

    /// Fails when something that is in force ended by itself.
    pub(crate) fn alive(&self) -> Result {
        self.nodes.nodes().into_iter().try_for_each(Node::alive)?;
        self.agents.iter().try_for_each(Agent::alive)?;
        self.listeners.iter().try_for_each(Daemon::alive)
    }

    /// Open vSwitch 3.1 goes on by what it has worked out already when a Mirror comes or goes.
    fn purge(&self) -> Result {
        let mut nodes = self.nodes.nodes().into_iter();
        nodes.try_for_each(|node| node.appctl(["revalidator/purge"]).map(drop))
    }
}

/// Frames that have come to `mirror0` of each node so far.
pub(crate) fn copies(nodes: &TwoNodes) -> Result<[u64; 2]> {
    let [first, second] = nodes.nodes().map(|node| node.namespace().transmissions(MIRROR));
    Ok([first?.0, second?.0])
}

/// Starts tcpdump, which reads all and throws it away.
fn listen(node: &Node) -> Result<Daemon> {
    let log = node.folder().join("listener.out");
    // A former one's words.
    let _ = fs::remove_file(&log);
    let program =
        node.program("tcpdump").args(["-n", "-Z", "root", "-i", MIRROR, "-w", "/dev/null"]);
    let listener = Daemon::new("tcpdump", program, log);
    listener.start()?;
    until("tcpdump to listen", || {
        listener.alive()?;
        let said = fs::read_to_string(listener.log())?;
        Ok(said.contains("listening on").then_some(()))
    })?;
    Ok(listener)
}
