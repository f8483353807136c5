//! The design's flows, put in once by `ovs-ofctl`: enough to prove the lab, with no agent.

use anyhow::{Context as _, ensure};
use lab::{MIRROR, Node, Result};

/// "This frame, in this form, has been copied."
const COPIED: &str = "NXM_NX_REG10[27]";
/// "The delivery hook has been passed."
const DELIVERED: &str = "NXM_NX_REG10[26]";

/// Makes the mirror port, quiet and up.
pub(crate) fn add_mirror_port(node: &Node) -> Result {
    node.vsctl("add-port br-int mirror0 -- set Interface mirror0 type=internal".split(' '))?;
    let quiet = "net.ipv6.conf.mirror0.disable_ipv6=1";
    node.namespace().program("sysctl").args(["-q", "-w", quiet]).run()?;
    node.namespace().ip(["link", "set", MIRROR, "arp", "off", "up"])?;
    Ok(())
}

/// Puts in the flows for the frames of some Pods.
pub(crate) fn mirror(node: &Node, pods: &[&str]) -> Result {
    let flows = flows(node, pods)?;
    node.add_flows(&flows)
}

/// The flows, one a line.
pub(crate) fn flows(node: &Node, pods: &[&str]) -> Result<String> {
    let mirror = node.ofport(MIRROR)?;
    let mut flows = vec![format!("table=0,priority=65535,in_port={mirror},actions=drop")];
    let mut table = None;
    for pod in pods {
        let port = node.ofport(node.pod(pod).interface())?;
        flows.push(format!(
            "table=0,priority=65534,in_port={port},reg10=0/0x8000000,\
             actions=output:{mirror},load:1->{COPIED},resubmit(,0)"
        ));
        let delivery = Delivery::find(node, port)?;
        let Delivery { table: here, wanted } = &delivery;
        flows.push(format!(
            "table={here},priority=65534,{wanted},reg10=0/0xc000000,\
             actions=output:{mirror},load:1->{DELIVERED},resubmit(,{here})"
        ));
        ensure!(*table.get_or_insert(*here) == *here, "Pods are delivered to in different tables");
    }
    let table = table.context("no Pods given")?;
    for rewritten in ["in_port=ANY", "in_port=CONTROLLER", "ct_state=+trk+rpl,ct_mark=2/2"] {
        // ct_mark needs no protocol; the answers of ovn-controller and the turned around ones have in_port to tell.
        flows.push(format!(
            "table={table},priority=65535,reg10=0x8000000/0xc000000,{rewritten},\
             actions=load:0->{COPIED},resubmit(,{table})"
        ));
    }
    Ok(flows.join("\n"))
}

/// OVN's flow that delivers to a port: its table and its match.
struct Delivery {
    table: u8,
    wanted: String,
}

impl Delivery {
    fn find(node: &Node, port: u16) -> Result<Self> {
        let dump = node.dump_flows(&format!("out_port={port}"))?;
        // Our own flows output to another port.
        let flow = dump.iter().find(|flow| flow.ends_with(&format!("actions=output:{port}")));
        let flow =
            flow.with_context(|| format!("OVN does not deliver to port {port}: {dump:?}"))?;
        let field = |name: &str| {
            let rest = flow.split(&format!("{name}=")).nth(1)?;
            rest.split([',', ' ']).next()
        };
        let of = |name: &str| field(name).with_context(|| format!("no {name} in {flow}"));
        let wanted = format!("reg15={},metadata={}", of("reg15")?, of("metadata")?);
        Ok(Self { table: field("table").unwrap_or("0").parse()?, wanted })
    }
}
