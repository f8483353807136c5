//! The node on which wrong flags are tried, and the pings that go over it.

use anyhow::Context as _;

use crate::{Agent, Beat, Beats, Node, PortName, Pulse, Result};

/// MTU of Pods, in bytes: more than many NICs can do.
const MTU: u16 = 8900;
/// Bytes of an echo request that only gets through as long as nobody lowers an MTU.
const LONG: u16 = 8000;
/// The node's own port on the first switch, such as Kube-OVN's ovn0: its MAC and IPv4 addresses.
const NODE_PORT: (&str, &str) = ("02:00:00:10:00:c8", "10.16.0.200");
/// A TCP port of the node that accepts and is silent.
const SILENT_PORT: u16 = 9801;
/// What all agents but those that are told otherwise are told.
const ALL: &str = "--enable-mirror";

/// A node with Pods that ping.
#[derive(Debug)]
pub struct FlagStage {
    // They end before the node does.
    pulses: Vec<Pulse>,
    node: Node,
}

impl FlagStage {
    /// A node with large MTUs, a port of its own on the first switch, another bridge with a port of its own, and sockets that are
    /// not what they seem.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn start() -> Result<Self> {
        let node = Node::start()?;
        add_node_port(&node)?;
        raise_mtus(&node)?;
        add_other_bridge(&node)?;
        // What a row makes must be silent by itself.
        node.namespace().sysctl(["net.ipv6.conf.default.disable_ipv6=1"])?;
        node.add_impostors(SILENT_PORT)?;
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| node.pod(name));
        let pulses = vec![
            Pulse::start("a to b", a.program("ping"), b.ip4(), 56)?,
            Pulse::start("a to c", a.program("ping"), c.ip6(), LONG)?,
            Pulse::start("the node to a", node.program("ping"), a.ip4(), 56)?,
            Pulse::start("the node to d", node.program("ping"), d.ip4(), LONG)?,
        ];
        Ok(Self { pulses, node })
    }

    /// Another one in its place, whatever has become of this.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn anew(self) -> Result<Self> {
        // Open vSwitch 3.1.0's connection tracking aborts now and then.
        for words in self.node.bury_the_dead() {
            println!("      {}", words.lines().next().unwrap_or_default());
        }
        drop(self);
        Self::start()
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Runs lines of a shell on the node.
    pub(super) fn shell(&self, lines: &str) -> Result {
        if !lines.is_empty() {
            let shell = self.node.program("bash").args(["-euc", lines]);
            shell.run().with_context(|| format!("`{lines}`"))?;
        }
        Ok(())
    }

    /// Starts an agent with these flags and variables.
    pub(super) fn launch(&self, args: &[String], env: &[(String, String)]) -> Result<Agent<'_>> {
        let run = self.node.run_folder().display().to_string();
        let args: Vec<_> = args.iter().map(|arg| arg.replace("RUN", &run)).collect();
        let env: Vec<_> =
            env.iter().map(|(name, value)| (name.as_str(), value.replace("RUN", &run))).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut args: Vec<_> = args.iter().map(String::as_str).collect();
        if !args.iter().any(|arg| arg.starts_with(ALL)) {
            args.push(ALL);
        }
        self.node.launch_agent_with(&env, &args)
    }

    /// Where the pings are now.
    pub(super) fn places(&self) -> Vec<Beat> {
        self.pulses.iter().map(Pulse::now).collect()
    }

    /// Waits for so many more answers on each way.
    pub(super) fn beat(&self, times: u64) -> Result {
        self.pulses.iter().try_for_each(|pulse| pulse.beat(times))
    }

    /// What was lost since, in brief, and by each way.
    pub(super) fn losses(&self, places: &[Beat]) -> (String, Vec<String>) {
        let mut all = Beats::default();
        let mut losses = Vec::new();
        for (pulse, place) in self.pulses.iter().zip(places) {
            let beats = pulse.since(*place);
            all = all.and(beats);
            if beats.lost > 0 {
                let Beats { sent, lost, gap } = beats;
                losses.push(format!("{}: lost {lost} of {sent} pings, {gap:?} long", pulse.name()));
            }
        }
        (format!("{}/{}", all.lost, all.sent), losses)
    }
}

/// Gives the Pods' NICs a large MTU, and waits until Open vSwitch has given it to the node's own ports.
fn raise_mtus(node: &Node) -> Result {
    let mtu = MTU.to_string();
    for pod in node.pods() {
        node.namespace().ip(["link", "set", pod.interface(), "mtu", &mtu])?;
        pod.namespace().ip(["link", "set", "eth0", "mtu", &mtu])?;
    }
    crate::until("the node's port to have the Pods' MTU", || {
        let link = node.namespace().ip(["link", "show", "ovn0"])?;
        Ok(link.contains(&format!("mtu {MTU}")).then_some(()))
    })
}

fn add_node_port(node: &Node) -> Result {
    let (mac, ip) = NODE_PORT;
    let addresses = format!("{mac} {ip}");
    node.nbctl(["lsp-add", "sw1", "node", "--", "lsp-set-addresses", "node", &addresses])?;
    node.add_interface("ovn0", &PortName::plain("node"))?;
    node.namespace().ip_batch(&format!(
        "link set ovn0 address {mac} up\n\
         address add {ip}/16 dev ovn0\n\
         route add 10.17.0.0/16 via 10.16.0.1\n"
    ))?;
    node.sync()
}

/// A bridge that OVN does not know, which switches by itself, joined to OVN's.
fn add_other_bridge(node: &Node) -> Result {
    let commands = "\
        add-br other -- set Bridge other datapath_type=TYPE -- \
        add-port other port0 -- set Interface port0 type=internal -- \
        add-port br-int patch0 -- set Interface patch0 type=patch options:peer=patch1 -- \
        add-port other patch1 -- set Interface patch1 type=patch options:peer=patch0 -- \
        add-port br-int tunnel0 -- set Interface tunnel0 type=geneve options:remote_ip=192.0.2.99";
    node.vsctl(commands.replace("TYPE", &crate::datapath()).split_whitespace())?;
    ["other", "port0"].iter().try_for_each(|link| node.quiet(link))
}
