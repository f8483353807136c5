//! The report for people.

use bytesize::ByteSize;

use super::report::{Agent, Report};
use crate::{
    cli::print,
    status::{Status, Tap},
};

pub(super) fn render(report: &Report) -> String {
    let status = &report.status;
    let mut text = print::table(&services(report), &[]);
    if !status.taps.is_empty() {
        text.push('\n');
        text.push_str(&print::table(&taps(status), &[3, 4]));
    }
    if let Some(pods) = pods(status) {
        text.push_str(&format!("\n{pods}\n"));
    }
    for (title, lines) in [("Wrong", &report.problems), ("Note", &report.warnings)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
            let lines = lines.iter().map(|line| format!("  {}\n", print::line(line)));
            text.extend(lines);
        }
    }
    text
}

/// How many Pods are mirrored, and how many of those that should be.
fn pods(status: &Status) -> Option<String> {
    let (wanted, total) = (status.pods_wanted?, status.pods_mirrored.zip(status.pods_not_mirrored));
    Some(match total {
        None => {
            let are = if wanted == 1 { "is" } else { "are" };
            format!(
                "It is not known whether {} that should be mirrored {are}.",
                count(wanted, "Pod")
            )
        }
        Some((mirrored, others)) if mirrored == wanted => {
            format!("{} mirrored, {others} not.", count(mirrored, "Pod"))
        }
        Some((mirrored, others)) => {
            let why = if status.paused { "; mirroring is paused" } else { "" };
            let left = (mirrored + others).saturating_sub(wanted);
            format!(
                "{mirrored} of {} mirrored that should be, {left} not asked for{why}.",
                count(wanted, "Pod")
            )
        }
    })
}

fn services(report: &Report) -> Vec<[String; 3]> {
    let status = &report.status;
    let row = |name: &str, place: &str, state: String| [name.to_owned(), place.to_owned(), state];
    let mut rows = vec![
        row("OVSDB", connected(status.ovsdb.connected), status.ovsdb.endpoint.clone()),
        row("OpenFlow", connected(status.openflow.connected), bridge(status)),
    ];
    if let Some(kubernetes) = &status.kubernetes {
        let pods = kubernetes.pods.map(|pods| count(pods, "Pod") + " on ").unwrap_or_default();
        let detail = format!("{}, {pods}node {}", kubernetes.endpoint, kubernetes.node);
        rows.push(row("Kubernetes", connected(kubernetes.connected), detail));
    }
    if let Some(agent) = &report.agent {
        rows.push(row("Agent", readiness(agent), format!("http://{}/readyz", agent.address)));
    }
    if let Some(owner) = &status.owner {
        rows.push(row("Owner", "running", owner.to_string()));
    }
    let nic = &status.nic;
    let state = match nic.up {
        Some(true) => "up",
        Some(false) => "down",
        None => "no device",
    };
    rows.push(row("NIC", state, device(status)));
    if let Some(flows) = &status.flows {
        let state = match (flows.missing, flows.superfluous) {
            (0, 0) if status.suspended.is_some() => "suspended",
            (0, 0) => "in sync",
            _ => "differ",
        };
        let detail = format!(
            "{} desired, {} in the switch, {} missing, {} too many",
            flows.desired, flows.observed, flows.missing, flows.superfluous
        );
        rows.push(row("Flows", state, detail));
    }
    rows
}

fn bridge(status: &Status) -> String {
    let bridge = &status.openflow;
    let mut text = format!("{} at {}", bridge.name, bridge.endpoint);
    if let Some(id) = &bridge.datapath_id {
        text.push_str(&format!(", datapath {id}"));
    }
    if bridge.watching == Some("polling") {
        text.push_str(", without flow monitors");
    }
    text
}

fn device(status: &Status) -> String {
    let nic = &status.nic;
    let mut text = nic.name.clone();
    match nic.ofport {
        Some(number) => text.push_str(&format!(", port {number} of {}", status.openflow.name)),
        None => text.push_str(&format!(", no port of {}", status.openflow.name)),
    }
    if let Some(mtu) = nic.mtu {
        text.push_str(&format!(", MTU {mtu}"));
    }
    if nic.ofport.is_some() {
        text.push_str(if nic.made_by_ofmirror {
            ", put there by ofmirror"
        } else {
            ", put there by others"
        });
    }
    match nic.listeners {
        _ if status.paused => text.push_str(", paused: nobody listens"),
        Some(0) => text.push_str(", nobody listens"),
        Some(number) => text.push_str(&format!(", {}", count(number, "listener"))),
        None => {}
    }
    text
}

fn connected(yes: bool) -> &'static str {
    if yes { "connected" } else { "no answer" }
}

fn readiness(agent: &Agent) -> &'static str {
    match (agent.reachable, agent.ready) {
        (_, true) if agent.reasons.is_empty() => "ready",
        (_, true) => "degraded",
        (true, false) => "not ready",
        (false, false) => "no answer",
    }
}

fn taps(status: &Status) -> Vec<[String; 6]> {
    let header = ["POD", "PORT", "DIRECTION", "PACKETS", "BYTES", "STATE"].map(str::to_owned);
    let fine = |tap: &Tap| match tap.mirrored {
        true => "ok",
        false if status.paused => "paused",
        false => "lifted for a moment",
    };
    let unknown = || "?".to_owned();
    let rows = status.taps.iter().map(|tap: &Tap| {
        let pod = match &tap.namespace {
            Some(namespace) => format!("{namespace}/{}", tap.pod),
            None => tap.pod.clone(),
        };
        [
            pod,
            tap.interface.clone(),
            tap.direction.to_string(),
            tap.packets.map_or_else(unknown, |packets| packets.to_string()),
            tap.bytes.map_or_else(unknown, |bytes| ByteSize::b(bytes).to_string()),
            tap.problem.clone().unwrap_or_else(|| fine(tap).to_owned()),
        ]
    });
    std::iter::once(header).chain(rows).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
