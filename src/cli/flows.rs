//! `ofmirror flows`.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::bail;
use clap::{Args, ValueEnum};
use flows::{
    model::{Flow, Purpose},
    ofp::FlowDesc,
};
use serde::Serialize;

use super::{Node, print};
use crate::{observe::Observation, pods::Pod, selection::Selected, status::Difference};

const HELP: &str = "\
Examples:
  ofmirror flows                             our flows in the switch, with what they have counted
  ofmirror flows --desired                   the flows that should be there
  ofmirror flows --diff && echo in sync      a line for each flow that is missing (+) or too many (-)
  ofmirror flows -o json | jq .missing       JSON always has all of it

Lines are in the syntax of ovs-ofctl, with the Pod as a comment at their end. It takes them back:
  ofmirror flows --desired | ovs-ofctl -O OpenFlow15 add-flows br-int -

The settings are those of the agent that runs, which is asked at --status-addr. Flags count where none does.

Nothing is changed. Exit status: 0; 1 if --diff finds a difference, or the flows can't be read.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) node: Node,

    /// Print the flows that the switch should have, instead of those that it has
    #[arg(long, conflicts_with = "diff")]
    desired: bool,

    /// Print only what differs: + should be in the switch, - should not; exit status 1 if there is any
    #[arg(long)]
    diff: bool,

    /// How to print them
    #[arg(short, long, default_value = "ofctl", value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A flow a line, as ovs-ofctl reads and writes them
    Ofctl,
    /// One object with the desired and the observed flows and their difference
    Json,
}

/// All of it. The names of the fields are stable.
#[derive(Serialize)]
struct Report {
    bridge: String,
    /// Whether nothing is missing or superfluous; none if that is not known.
    in_sync: Option<bool>,
    observed: Vec<FlowReport>,
    desired: Option<Vec<FlowReport>>,
    missing: Option<Vec<FlowReport>>,
    superfluous: Option<Vec<FlowReport>>,
}

#[derive(Serialize)]
struct FlowReport {
    /// In the syntax of ovs-ofctl.
    flow: String,
    cookie: String,
    purpose: Option<&'static str>,
    ofport: Option<u32>,
    pod: Option<String>,
    table: u8,
    priority: u16,
    r#match: String,
    actions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
}

impl Options {
    pub(super) fn run(mut self) -> anyhow::Result<ExitCode> {
        let seen = self.node.observe()?;
        if let Err(reason) = seen.world.switch() {
            bail!("the flows of {} can't be read: {reason}", self.node.place.bridge);
        }
        let difference = seen.difference();
        if (self.desired || self.diff) && seen.plan().is_none() {
            bail!(
                "which flows {} should have is not known: {}",
                self.node.place.bridge,
                seen.world.problems().join("; ")
            );
        }
        let text = match self.output {
            Format::Json => print::json(&Report::of(&seen, difference.as_ref()))?,
            Format::Ofctl => {
                let of = |flow: &Flow| comment(&seen, flow);
                match &difference {
                    _ if self.desired => desired(&seen).iter().map(|flow| line(flow, of)).collect(),
                    difference if self.diff => {
                        difference.as_ref().map(|all| changes(all, of)).unwrap_or_default()
                    }
                    _ => seen.flows.iter().map(|flow| counted(flow, of)).collect(),
                }
            }
        };
        print::write(text.as_bytes())?;
        let differs = difference.is_some_and(|difference| difference != Difference::default());
        Ok(if self.diff && differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What is said of a flow at the end of its line, where ovs-ofctl passes it over: whose packets it copies.
fn comment(seen: &Observation, flow: &Flow) -> String {
    let comment = |pod: Pod| format!(" # {}", print::line(&pod.to_string()));
    pod(seen, flow).map(comment).unwrap_or_default()
}

/// The Pod whose packets a flow copies; none for flows that serve all Pods.
fn pod(seen: &Observation, flow: &Flow) -> Option<Pod> {
    let (_, ofport) = flow.cookie.purpose()?;
    let has_it = |selected: &&Selected| selected.port.ofport == Some(ofport);
    seen.world.pods().find(has_it).map(Selected::pod)
}

fn line(flow: &Flow, comment: impl Fn(&Flow) -> String) -> String {
    format!("{flow}{}\n", comment(flow))
}

/// As `ovs-ofctl dump-flows` prints it.
fn counted(description: &FlowDesc, comment: impl Fn(&Flow) -> String) -> String {
    let FlowDesc { flow, stats, .. } = description;
    let mut line = format!("cookie={}", flow.cookie);
    if let Some(age) = stats.duration {
        let _ = write!(line, ", duration={}.{:03}s", age.as_secs(), age.subsec_millis());
    }
    let counters = stats.counters();
    let (packets, bytes) = (counters.packets, counters.bytes);
    let (matching, actions) = halves(flow);
    let table = flow.key.table;
    let _ = write!(line, ", table={table}, n_packets={packets}, n_bytes={bytes}, ");
    let _ = write!(line, "priority={}", flow.key.priority);
    let comma = if matching.is_empty() { "" } else { "," };
    line + comma + &matching + " actions=" + &actions + &comment(flow) + "\n"
}

/// What goes, then what comes.
fn changes(difference: &Difference, comment: impl Fn(&Flow) -> String) -> String {
    let line = |sign, flow| format!("{sign}{}", line(flow, &comment));
    let superfluous = difference.superfluous.iter().map(|flow| line('-', flow));
    superfluous.chain(difference.missing.iter().map(|flow| line('+', flow))).collect()
}

fn desired(seen: &Observation) -> Vec<Flow> {
    let mut flows = seen.plan().into_iter().flat_map(|plan| plan.flows.iter()).collect::<Vec<_>>();
    flows.sort_by_cached_key(|flow| crate::observe::place(&flow.key));
    flows
}

/// Match and actions in words.
fn halves(flow: &Flow) -> (String, String) {
    let text = flow.to_string();
    let actions = text.split_once(" actions=").map_or("", |(_, actions)| actions);
    (flow.key.matching.to_string(), actions.to_owned())
}

impl Report {
    fn of(seen: &Observation, difference: Option<&Difference>) -> Self {
        let all = |flows: &[Flow]| {
            flows.iter().map(|flow| FlowReport::of(seen, flow)).collect::<Vec<_>>()
        };
        Self {
            bridge: seen.settings().wish.bridge.clone(),
            in_sync: difference.map(|difference| *difference == Difference::default()),
            observed: seen.flows.iter().map(|flow| FlowReport::counted(seen, flow)).collect(),
            desired: seen.plan().map(|_| all(&desired(seen))),
            missing: difference.map(|difference| all(&difference.missing)),
            superfluous: difference.map(|difference| all(&difference.superfluous)),
        }
    }
}

impl FlowReport {
    fn of(seen: &Observation, flow: &Flow) -> Self {
        let (matching, actions) = halves(flow);
        let purpose = flow.cookie.purpose();
        let ofport = purpose.map(|(_, port)| port).filter(|port| port.is_physical());
        Self {
            flow: flow.to_string(),
            cookie: flow.cookie.to_string(),
            purpose: purpose.map(|(purpose, _)| name(purpose)),
            ofport: ofport.map(|port| port.0),
            pod: pod(seen, flow).map(|pod| pod.to_string()),
            table: flow.key.table.0,
            priority: flow.key.priority,
            r#match: matching,
            actions,
            packets: None,
            bytes: None,
            age_seconds: None,
        }
    }

    fn counted(seen: &Observation, description: &FlowDesc) -> Self {
        let counters = description.stats.counters();
        Self {
            packets: Some(counters.packets),
            bytes: Some(counters.bytes),
            age_seconds: description.stats.duration.map(|age| age.as_secs_f64()),
            ..Self::of(seen, &description.flow)
        }
    }
}

fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::FromPod => "from_pod",
        Purpose::ToPod => "to_pod",
        Purpose::Rewritten => "rewritten",
        Purpose::Guard => "guard",
    }
}

#[cfg(test)]
mod tests;
