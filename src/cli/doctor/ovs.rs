//! What Open vSwitch and the kernel tell, as [`Observation`] has it.

use std::io;

use super::{check::Check, host::Host};
use crate::{
    nic,
    observe::Observation,
    ovsdb::{self, Bridge},
    sink::{self, Problem, Step, eligible::Ineligible},
    switch::{Conflict, Watching},
};

const NO_DATABASE: &str = "needs OVSDB";
const NO_BRIDGE: &str = "needs the bridge in OVSDB";
const NO_SWITCH: &str = "needs OpenFlow";

pub(super) fn row(seen: &Observation) -> Result<&Bridge, &'static str> {
    let state = seen.world.ovsdb();
    if !state.is_synced() {
        return Err(NO_DATABASE);
    }
    state.snapshot.bridge(&seen.settings().wish.bridge).ok_or(NO_BRIDGE)
}

pub(super) fn database(seen: &Observation) -> Check {
    let subject = "OVSDB";
    match &seen.world.ovsdb().connection {
        ovsdb::Connection::Synced => {
            Check::ok(subject, format!("{} answers", seen.settings().ovsdb))
        }
        ovsdb::Connection::Connecting { reason } => Check::failed(
            subject,
            reason.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string),
            format!("is {} where ovsdb-server listens?", seen.settings().ovsdb),
        ),
    }
}

pub(super) fn bridge(seen: &Observation) -> Check {
    let subject = "bridge";
    let name = &seen.settings().wish.bridge;
    match row(seen) {
        Ok(bridge) => {
            let datapath = match bridge.datapath_type.as_str() {
                "" => "system",
                other => other,
            };
            Check::ok(subject, format!("{name}, datapath type {datapath}"))
        }
        Err(NO_BRIDGE) => {
            let snapshot = &seen.world.ovsdb().snapshot;
            let mut names: Vec<_> = snapshot.bridges().map(|bridge| bridge.name.as_str()).collect();
            names.sort_unstable();
            let others = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Check::failed(
                subject,
                format!("there is no bridge {name}; there is: {others}"),
                "name OVN's bridge with --bridge, or let your CNI set it up first",
            )
        }
        Err(reason) => Check::skipped(subject, reason),
    }
}

pub(super) fn openflow(seen: &Observation) -> Check {
    let subject = "OpenFlow 1.5";
    let protocols = row(seen).map(|bridge| &bridge.protocols);
    match (seen.world.switch(), protocols) {
        (Ok(switch), _) => {
            Check::ok(subject, format!("spoken, datapath {:016x}", switch.features().datapath_id))
        }
        (Err(reason), Ok(protocols))
            if !protocols.is_empty() && !protocols.contains("OpenFlow15") =>
        {
            Check::failed(
                subject,
                reason,
                format!(
                    "ovs-vsctl add bridge {} protocols OpenFlow15",
                    seen.settings().wish.bridge
                ),
            )
        }
        (Err(reason), _) => Check::failed(
            subject,
            reason,
            "is ovs-vswitchd running, and is it the bridge's management socket?",
        ),
    }
}

pub(super) fn openflow_1_0(seen: &Observation) -> Check {
    let subject = "OpenFlow 1.0";
    match row(seen) {
        Ok(bridge) if bridge.protocols.is_empty() || bridge.protocols.contains("OpenFlow10") => {
            Check::ok(subject, "allowed, so that flooded packets can be kept off the mirror NIC")
        }
        Ok(bridge) => Check::warning(
            subject,
            "not allowed, so flooded packets can't be kept off the mirror NIC; OVN floods none",
            format!("ovs-vsctl add bridge {} protocols OpenFlow10", bridge.name),
        ),
        Err(reason) => Check::skipped(subject, reason),
    }
}

pub(super) fn monitors(seen: &Observation) -> Check {
    let subject = "flow monitors";
    match seen.world.switch().map(crate::switch::Switch::watching) {
        Ok(Watching::Monitors) => {
            Check::ok(subject, "the switch tells of changes of its flows at once")
        }
        Ok(Watching::Polling) => Check::warning(
            subject,
            "the switch has none, so its flows are read once a second",
            "Open vSwitch has them from 3.0 on",
        ),
        Err(_) => Check::skipped(subject, NO_SWITCH),
    }
}

pub(super) fn marker(seen: &Observation) -> Check {
    let subject = "marker bits";
    let Ok(switch) = seen.world.switch() else { return Check::skipped(subject, NO_SWITCH) };
    if let Some(marker) = switch.marker() {
        return Check::ok(subject, format!("{marker} are free"));
    }
    let conflicts = switch.conflicts();
    let taken = conflicts.iter().find(|conflict| matches!(conflict, Conflict::Marker { .. }));
    Check::failed(
        subject,
        taken.map_or_else(|| "the flows could not be read".to_owned(), ToString::to_string),
        "see which flows use the register: ovs-ofctl dump-flows BRIDGE | grep -i reg10",
    )
}

pub(super) fn priorities(seen: &Observation) -> Check {
    let subject = "priorities";
    let Ok(switch) = seen.world.switch() else { return Check::skipped(subject, NO_SWITCH) };
    let conflicts = switch.conflicts();
    let high: Vec<_> = conflicts
        .iter()
        .filter(|conflict| matches!(conflict, Conflict::Priority(_)))
        .map(ToString::to_string)
        .collect();
    if high.is_empty() {
        Check::ok(subject, "no foreign flow is as high as ours")
    } else {
        Check::failed(
            subject,
            high.join("; "),
            "find out whose it is by its cookie: ovs-ofctl dump-flows BRIDGE table=0",
        )
    }
}

pub(super) fn mirrors(seen: &Observation) -> Check {
    let subject = "Mirror records";
    if let Err(reason) = row(seen) {
        return Check::skipped(subject, reason);
    }
    let facts = seen.facts();
    let of = |selecting: bool| {
        let names = sink::mirrors(&facts)
            .filter(|(_, mirror)| mirror.selects() == selecting)
            .map(|(_, mirror)| mirror.name.clone());
        names.collect::<Vec<_>>().join(", ")
    };
    let remedy =
        "turn the CNI's own mirroring off, or have the agent empty them: --replace-mirrors";
    match (of(true).as_str(), of(false).as_str()) {
        ("", "") => Check::ok(subject, format!("none copies to {}", facts.nic)),
        ("", idle) => Check::warning(
            subject,
            format!("{idle} is there for {}, but selects nothing", facts.nic),
            remedy,
        ),
        (selecting, _) => Check::failed(
            subject,
            format!("{selecting} copies to {} too, so every copy would come twice", facts.nic),
            remedy,
        ),
    }
}

pub(super) fn nic(seen: &Observation) -> Check {
    let subject = "mirror NIC";
    let name = &seen.settings().nic;
    if let Err(error) = &seen.link {
        return Check::failed(subject, error, "is this the node's network namespace?");
    }
    let Some(step) = seen.next_step() else { return Check::skipped(subject, NO_DATABASE) };
    match &step {
        Step::Done(port) => {
            let worse: Vec<_> = sink::shortcomings(&seen.facts()).collect();
            if worse.is_empty() {
                return Check::ok(subject, format!("{name} is port {port}, up and quiet"));
            }
            let remedy = "mirror to a NIC with a larger MTU, or have the device in the node's network namespace";
            Check::warning(subject, worse.join("; "), remedy)
        }
        Step::Wait(problem) => Check::failed(
            subject,
            problem.to_string(),
            match problem {
                Problem::NoBridge(_) => "name OVN's bridge with --bridge",
                Problem::NoLink(_) => {
                    "run this in the node's network namespace; in a Pod: hostNetwork: true"
                }
                Problem::NoOfPort(_) => "is ovs-vswitchd running?",
                Problem::Broken { .. } => {
                    "take the port off the bridge, and the agent makes it anew"
                }
                Problem::OtherBridge { .. }
                | Problem::Unattachable(_)
                | Problem::Loop(_)
                | Problem::Interface { .. }
                | Problem::TooShort { .. } => {
                    "mirror to another NIC with --mirror-iface, or free this one"
                }
                Problem::Ineligible(Ineligible::NotMarked { .. }) => {
                    "mark it if it is there for copies only: ovs-vsctl set Port NAME external_ids:ofmirror-sink=true"
                }
                Problem::Ineligible(_) => "mirror to another NIC with --mirror-iface",
                Problem::OtherName { .. } => "give --mirror-iface the NIC's own name",
                Problem::OnlyMtu { .. } => "nothing, if there is no Pod on the node yet",
                Problem::Missing(_) => {
                    "plug it in, or leave --mirror-iface-must-exist out to have an internal port of that name"
                }
            },
        ),
        step => Check::ok(subject, format!("{name}: the agent is still to {step}")),
    }
}

pub(super) fn ipv6(seen: &Observation, host: &Host) -> Check {
    let subject = "IPv6 on the NIC";
    let link = seen.link.as_ref().ok().and_then(Option::as_ref);
    if let Some(nic::Link { ipv6: Some(ipv6), .. }) = link
        && ipv6.disabled
    {
        return Check::ok(subject, "off");
    }
    match &host.ipv6 {
        Ok(()) => Check::ok(subject, "can be turned off"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::ok(subject, "the kernel has none")
        }
        Err(error) => match &host.filters {
            Ok(()) => Check::ok(
                subject,
                "can't be turned off, as /proc/sys can't be written, but a filter of nftables keeps what comes in by the NIC from it",
            ),
            Err(refusal) => Check::warning(
                subject,
                format!(
                    "can't be turned off, as /proc/sys can't be written ({error}), and {refusal}: so the agent copies only as long as a bridge takes what comes in by the NIC"
                ),
                "have the kernel load nf_tables",
            ),
        },
    }
}
