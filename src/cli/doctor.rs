//! `ofmirror doctor`.

mod check;
mod host;
mod ovs;
mod pods;

use std::process::ExitCode;

use check::{Check, Verdict};
use clap::Args;
use host::Host;

use super::{Node, print};
use crate::observe::Observation;

const HELP: &str = "\
Examples:
  ofmirror doctor                                    check this node for the agent's default settings
  ofmirror doctor --bridge br0 --mirror-iface eth1   for those of an agent that does not run yet
  ofmirror doctor --status-addr none --bridge br0    for other settings than those of the agent that runs
  kubectl -n NAMESPACE exec POD -- ofmirror doctor   within the agent's Pod: its rights, its mounts

While an agent runs its own settings count, and flags that say something else are reported.

Each line is ok, a warning (mirroring works, but something is worse than it could be), failed, or skipped because
it depends on something that failed. Nothing is changed.

Exit status: 0 if nothing failed, 1 if something did.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) node: Node,
}

impl Options {
    pub(super) fn run(mut self) -> anyhow::Result<ExitCode> {
        let seen = self.node.observe()?;
        let host = Host::look(&self.node);
        let checks = diagnose(&host, &seen);
        print::write(render(&checks).as_bytes())?;
        let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Every precondition, in the order in which they depend on each other.
fn diagnose(host: &Host, seen: &Observation) -> Vec<Check> {
    let mut checks = host.folder_and_sockets();
    checks.push(ovs::database(seen));
    checks.push(ovs::bridge(seen));
    checks.push(ovs::openflow(seen));
    checks.push(ovs::openflow_1_0(seen));
    checks.push(ovs::monitors(seen));
    checks.push(ovs::marker(seen));
    checks.push(ovs::priorities(seen));
    checks.push(ovs::mirrors(seen));
    checks.push(ovs::nic(seen));
    checks.push(ovs::ipv6(seen, host));
    checks.push(host.net_admin());
    checks.push(host.processor_time());
    checks.push(pods::api_server(seen));
    checks.push(pods::ports(seen));
    checks
}

fn render(checks: &[Check]) -> String {
    let mut rows = Vec::new();
    for check in checks {
        rows.push([check.verdict.to_string(), check.subject.to_owned(), check.finding.clone()]);
        if let Some(remedy) = &check.remedy {
            rows.push([String::new(), String::new(), format!("-> {remedy}")]);
        }
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
    let summary = match (failed, warnings) {
        (0, 0) => "All is well.".to_owned(),
        (0, _) => format!("Nothing failed; warnings: {warnings}."),
        _ => format!("Failed: {failed}, warnings: {warnings}."),
    };
    format!("{}\n{summary}\n", print::table(&rows, &[]))
}

#[cfg(test)]
mod tests;
