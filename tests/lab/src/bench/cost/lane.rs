//! Lanes: what a frame passes, from a Pod's NIC to another's. Each variant has one of its own, with and without a listener:
//!
//! ```text
//!   s3p ── s3 ┐        ┌ k3 ── k3p
//!             ├─ br3 ──┤
//!             ┘        └ m3, the mirror port (── listener)
//! ```
//!
//! The bridge's own flows are in OVN's form: table 0 classifies, table 65 delivers.

use std::{fs, thread, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{Datapath, Frame, listener::Listener};
use crate::{Node, OURS, Result, Service, switch::schema, until};

/// What the kernel has counted at each interface.
const COUNTERS: &str = "/proc/thread-self/net/dev";
/// What `max_len` is for [`Variant::Snaplen`], in bytes.
const SNAPLEN: usize = 128;

/// How frames are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Variant {
    /// There is no bridge, only a veth pair: what sending itself costs where time is measured.
    Wire,
    /// They are not.
    Off,
    /// By the agent's flows.
    Ofmirror,
    /// The same, with copies that get into the host's network stack.
    HostReached,
    /// By the agent's flows, with copies cut short. (The agent can't do that; its flows are changed by hand.)
    Snaplen,
    /// By Open vSwitch's Mirror record that selects all, as Kube-OVN sets it up.
    OvsMirror,
}

impl Variant {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wire => "sending alone, without a bridge",
            Self::Off => "off",
            Self::Ofmirror => "ofmirror",
            Self::HostReached => "ofmirror, --host-stack=reached",
            Self::Snaplen => "ofmirror's flows with snaplen 128",
            Self::OvsMirror => "OVS Mirror",
        }
    }

    pub(super) fn is_copied(self) -> bool {
        !matches!(self, Self::Wire | Self::Off)
    }
}

/// One way for frames.
pub(super) struct Lane {
    pub(super) variant: Variant,
    pub(super) listener: Option<Listener>,
    /// The NIC to send by.
    pub(super) source: String,
    /// The NIC at which frames arrive.
    pub(super) destination: String,
    /// The switch's ends of both.
    ports: [String; 2],
    mirror: String,
    /// Bytes of a frame that the mirror port's counter leaves out.
    uncounted: usize,
}

/// Frames that came through a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// At the sink.
    pub(super) out: u64,
    /// At the mirror port.
    pub(super) copies: u64,
    /// Their bytes.
    pub(super) copied_bytes: u64,
}

impl Counters {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            out: self.out - before.out,
            copies: self.copies - before.copies,
            copied_bytes: self.copied_bytes - before.copied_bytes,
        }
    }
}

/// A node with Open vSwitch and nothing else: nothing here needs OVN, and the guest's kernel lacks what OVN needs.
pub(super) fn start_switch() -> Result<Node> {
    let node = Node::create(None)?;
    let database = node.folder().join("db/conf.db").display().to_string();
    let schema = schema("vswitch.ovsschema").display().to_string();
    node.tool("ovsdb-tool").args(["create", &database, &schema]).run()?;
    node.start_service(Service::Ovsdb)?;
    node.vsctl(["--no-wait", "init"])?;
    node.start_service(Service::Vswitchd)?;
    Ok(node)
}

/// Makes all lanes, side by side, in random order.
pub(super) fn build_all(node: &Node, datapath: Datapath) -> Result<Vec<Lane>> {
    // No host's stack shall send by any of these interfaces.
    node.namespace().sysctl(["net.ipv6.conf.default.disable_ipv6=1"])?;
    let mut kinds = vec![(Variant::Off, false)];
    for variant in [Variant::Ofmirror, Variant::HostReached, Variant::Snaplen, Variant::OvsMirror] {
        kinds.extend([(variant, false), (variant, true)]);
    }
    if datapath == Datapath::System {
        kinds.push((Variant::Wire, false));
    }
    fastrand::shuffle(&mut kinds);
    let lanes = kinds.into_iter().enumerate();
    lanes.map(|(number, kind)| Lane::build(node, datapath, number, kind)).collect()
}

impl Lane {
    fn build(
        node: &Node,
        datapath: Datapath,
        number: usize,
        (variant, listened): (Variant, bool),
    ) -> Result<Self> {
        let name = |what: &str| format!("{what}{number}");
        let (bridge, mirror) = (name("br"), name("m"));
        let pair = |inner: &str| format!("link add {0} type veth peer name {0}p\n", name(inner));
        let up = |inner: &str| format!("link set {0} up\nlink set {0}p up\n", name(inner));
        if variant == Variant::Wire {
            node.namespace().ip_batch(&(pair("s") + &up("s")))?;
            return Ok(Self {
                variant,
                listener: None,
                source: name("s") + "p",
                destination: name("s"),
                ports: [name("s"), name("k")],
                mirror,
                uncounted: 0,
            });
        }
        node.namespace().ip_batch(&(pair("s") + &pair("k") + &up("s") + &up("k")))?;
        bring_up(node, datapath, number)?;
        if matches!(variant, Variant::Ofmirror | Variant::HostReached | Variant::Snaplen) {
            let stack = if variant == Variant::HostReached { "reached" } else { "spared" };
            // Its flows stay, so that no agent's own work is measured.
            let options = ["--on-exit", "keep", "--enable-mirror", "--bridge", &bridge];
            let agent = node.agent(
                &[&options[..], &["--mirror-iface", &mirror, "--host-stack", stack]].concat(),
            )?;
            if variant != Variant::HostReached {
                await_bridge(node, &mirror)?;
            }
            agent.stop()?;
        } else {
            node.vsctl([
                "add-port",
                &bridge,
                &mirror,
                "--",
                "set",
                "Interface",
                &mirror,
                "type=internal",
            ])?;
            node.namespace().ip(["link", "set", &mirror, "up", "arp", "off"])?;
        }
        match variant {
            Variant::Snaplen => cut_short(node, &bridge, &mirror)?,
            Variant::OvsMirror => {
                let record = format!(
                    "--id=@p get Port {mirror} -- --id=@m create Mirror name={mirror} \
                     select_all=true output_port=@p -- set Bridge {bridge} mirrors=@m"
                );
                node.vsctl(record.split(' '))?;
                // Open vSwitch 3.1.0 leaves the datapath's flows as they are.
                node.appctl(["revalidator/purge"])?;
            }
            Variant::Wire | Variant::Off | Variant::Ofmirror | Variant::HostReached => {}
        }
        let listener =
            listened.then(|| node.namespace().inside(|| Listener::open(&mirror))).transpose()?;
        let (source, destination) = (name("s") + "p", name("k") + "p");
        let ports = [name("s"), name("k")];
        // The kernel datapath counts what is behind the Ethernet header.
        let uncounted = if datapath == Datapath::System { 14 } else { 0 };
        Ok(Self { variant, listener, source, destination, ports, mirror, uncounted })
    }

    /// What the counters should say of so many frames.
    pub(super) fn expected(&self, frame: Frame, frames: usize) -> Counters {
        let whole = match self.variant {
            Variant::Snaplen => frame.length.min(SNAPLEN),
            _ => frame.length,
        };
        let copies = if self.variant.is_copied() { frames } else { 0 };
        Counters {
            out: frames as u64,
            copies: copies as u64,
            copied_bytes: (copies * (whole - self.uncounted)) as u64,
        }
    }

    /// Waits until nothing arrives any more, and lets the listener forget what it heard.
    pub(super) fn come_to_rest(&self) -> Result {
        const STILL: Duration = Duration::from_millis(100);
        let mut last = self.counters()?;
        loop {
            thread::sleep(STILL);
            let now = self.counters()?;
            if now == last {
                break;
            }
            last = now;
        }
        self.listener.as_ref().map_or(Ok(0), Listener::drain)?;
        Ok(())
    }

    /// What the kernel has counted, in this thread's network namespace.
    pub(super) fn counters(&self) -> Result<Counters> {
        let table = fs::read_to_string(COUNTERS)?;
        let (_, out) = received(&table, &self.destination)?;
        let (copied_bytes, copies) = match self.variant {
            Variant::Wire => (0, 0),
            _ => received(&table, &self.mirror)?,
        };
        Ok(Counters { out, copies, copied_bytes })
    }

    /// Frames that the hosts at both ends have sent, and copies.
    pub(super) fn conversation(&self) -> Result<(u64, u64)> {
        let table = fs::read_to_string(COUNTERS)?;
        let [near, far] = self.ports.each_ref().map(|port| received(&table, port));
        Ok((near?.1 + far?.1, received(&table, &self.mirror)?.1))
    }
}

/// Bytes and frames that an interface has received.
fn received(table: &str, interface: &str) -> Result<(u64, u64)> {
    let mut lines = table.lines();
    let line = lines.find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let line = line.with_context(|| format!("there is no interface {interface}"))?;
    let mut columns = line.split_whitespace().map(str::parse);
    let bytes = columns.next().context("no bytes")??;
    Ok((bytes, columns.next().context("no frames")??))
}

/// A bridge with two Pods' ports and the flows that OVN would have for them.
fn bring_up(node: &Node, datapath: Datapath, number: usize) -> Result {
    let datapath = match datapath {
        Datapath::Netdev => "netdev",
        Datapath::System => "system",
    };
    let mut commands = format!(
        "add-br br{number} -- set Bridge br{number} datapath_type={datapath} fail_mode=secure"
    );
    for (port, pod) in [("s", "source"), ("k", "sink")] {
        commands += &format!(
            " -- add-port br{number} {port}{number} -- set Interface {port}{number} \
             external_ids:iface-id={pod}{number}.default external_ids:pod_name={pod}{number} \
             external_ids:pod_namespace=default external_ids:vendor=kube-ovn"
        );
    }
    node.vsctl(commands.split(' '))?;
    let (source, sink) = (node.ofport(&format!("s{number}"))?, node.ofport(&format!("k{number}"))?);
    let mut flows = String::new();
    for (from, to) in [(source, sink), (sink, source)] {
        flows += &format!(
            "table=0,priority=100,in_port={from} \
             actions=load:{to}->NXM_NX_REG15[],load:1->OXM_OF_METADATA[],resubmit(,65)\n\
             table=65,priority=100,reg15={to},metadata=1 actions=output:{to}\n"
        );
    }
    add_flows(node, &format!("br{number}"), &flows)
}

fn add_flows(node: &Node, bridge: &str, flows: &str) -> Result {
    let target = management(node, bridge);
    let add = node.tool("ovs-ofctl").args(["-O", "OpenFlow15", "--bundle", "add-flows", &target]);
    add.arg("-").run_with_input(flows)?;
    Ok(())
}

fn management(node: &Node, bridge: &str) -> String {
    format!("unix:{}", node.run_folder().join(format!("{bridge}.mgmt")).display())
}

/// Gives the agent's flows a `max_len`.
fn cut_short(node: &Node, bridge: &str, mirror: &str) -> Result {
    let target = management(node, bridge);
    let dump = node.tool("ovs-ofctl").args(["-O", "OpenFlow15", "--no-stats", "--no-names"]);
    let flows = dump.args(["dump-flows", &target, OURS]).run()?;
    let port = node.ofport(mirror)?;
    let whole = format!("output:{port},");
    let short = format!("output(port={port},max_len={SNAPLEN}),");
    let flows = flows.lines().map(str::trim).filter(|line| line.contains(&whole));
    let flows: String = flows.map(|line| line.replace(&whole, &short) + "\n").collect();
    add_flows(node, bridge, &flows)
}

/// Waits until the agent keeps copies from the host's network stack, which it does when all else is done.
fn await_bridge(node: &Node, mirror: &str) -> Result {
    until("the agent to keep copies from the host's network stack", || {
        let link = node.namespace().ip(["link", "show", mirror])?;
        Ok(link.contains(" master ").then_some(()))
    })
}
