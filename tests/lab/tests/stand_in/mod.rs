//! The design's flows, put in once by `ovs-ofctl`: enough to prove the lab, with no agent.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use lab::{MIRROR, Node, Result};

/// Bit 27 of reg10: "this frame, in this form, has been copied."
const COPIED: u32 = 1 << 27;
/// Bit 26 of reg10: "it has been delivered to a mirrored Pod."
const DELIVERED: u32 = 1 << 26;

/// What tells that a frame was rewritten in place since it was copied: OVN turned it around to its sender,
/// ovn-controller sent it, or it is an answer of a load-balanced connection, which the connection's mark tells.
pub(crate) const REWRITTEN: [&str; 3] = ["in_port=ANY", "in_port=CONTROLLER", "ct_state=+trk+rpl"];
/// The last of [`REWRITTEN`], for which an action reads the mark.
const REPLY: usize = 2;

/// The flows, or those with one of their parts left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// All that the design has.
    Whole,
    /// Without the flows for this kind of rewritten frames; an index of [`REWRITTEN`].
    Without(usize),
    /// Delivery copies what was copied already.
    Forgetful,
    /// Each receiver of one frame gets a copy of its own.
    EachReceiver,
}

/// A node with a mirror port and with flows for the frames of some Pods.
pub(crate) fn start(pods: &[&str], variant: Variant) -> Result<Node> {
    let node = Node::start()?;
    node.vsctl("add-port br-int mirror0 -- set Interface mirror0 type=internal".split(' '))?;
    let quiet = "net.ipv6.conf.mirror0.disable_ipv6=1";
    node.namespace().program("sysctl").args(["-q", "-w", quiet]).run()?;
    node.namespace().ip(["link", "set", MIRROR, "arp", "off", "up"])?;
    node.add_flows(&flows(&node, pods, variant)?)?;
    Ok(node)
}

/// The flows, one a line.
fn flows(node: &Node, pods: &[&str], variant: Variant) -> Result<String> {
    let mirror = node.ofport(MIRROR)?;
    let both = COPIED | DELIVERED;
    let fresh = if variant == Variant::Forgetful { DELIVERED } else { both };
    let mut flows = format!("table=0,priority=65535,in_port={mirror},actions=drop\n");
    let mut tables = Vec::new();
    for pod in pods {
        let port = node.ofport(node.pod(pod).interface())?;
        let Delivery { table, to } = Delivery::find(node, port)?;
        let copy = format!("output:{mirror},load:1->NXM_NX_REG10");
        let again = match variant {
            Variant::EachReceiver => ",load:0->NXM_NX_REG10[26]",
            _ => "",
        };
        writeln!(
            flows,
            "table=0,priority=65534,in_port={port},reg10=0/{COPIED},actions={copy}[27],resubmit(,0)\n\
             table={table},priority=65534,{to},reg10=0/{fresh},\
             actions={copy}[26],resubmit(,{table}){again}"
        )?;
        tables.push(table);
    }
    let table = tables.first().context("no Pods given")?;
    ensure!(tables.iter().all(|other| other == table), "OVN delivers in several tables");
    let (copied, delivered) = ("NXM_NX_REG10[27]", "NXM_NX_REG10[26]");
    for (index, sign) in REWRITTEN.iter().enumerate() {
        match variant {
            Variant::Without(missing) if missing == index => {}
            // They count on it that no frame is copied both on entry and on delivery.
            Variant::Forgetful if index == REPLY => {}
            _ if index == REPLY => writeln!(
                flows,
                "table={table},priority=65534,reg10={COPIED}/{both},{sign},\
                 actions=load:1->{delivered},move:NXM_NX_CT_MARK[1]->{copied},resubmit(,{table})\n\
                 table={table},priority=65534,reg10={both}/{both},\
                 actions=load:0->{copied},load:0->{delivered},resubmit(,{table})"
            )?,
            _ => writeln!(
                flows,
                "table={table},priority=65535,reg10={COPIED}/{both},{sign},\
                 actions=load:0->{copied},resubmit(,{table})"
            )?,
        }
    }
    Ok(flows)
}

/// OVN's flow that delivers to a port.
struct Delivery {
    table: String,
    /// What its match says of the logical port.
    to: String,
}

impl Delivery {
    fn find(node: &Node, port: u16) -> Result<Self> {
        let dump = node.dump_flows(&format!("out_port={port}"))?;
        let flow = dump.first().with_context(|| format!("OVN does not deliver to port {port}"))?;
        let field = |name: &str| {
            let rest = flow.split(&format!("{name}=")).nth(1);
            let value = rest.and_then(|rest| rest.split([',', ' ']).next());
            value.with_context(|| format!("no {name} in {flow}"))
        };
        let to = format!("reg15={},metadata={}", field("reg15")?, field("metadata")?);
        Ok(Self { table: field("table")?.to_owned(), to })
    }
}
