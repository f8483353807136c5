//! `ofmirror status`.

mod report;
mod table;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use report::Report;

use super::{Node, print};

const HELP: &str = "\
Examples:
  ofmirror status                            a table for people
  ofmirror status -o json | jq .problems     for programs; the names of the fields are stable
  watch -n1 ofmirror status                  see the counters grow

The settings are those of the agent that runs, which is asked at --status-addr. Flags count where none does, and those
that say something else than the agent are reported.

PACKETS and BYTES are copies. A frame that goes from one mirrored Pod to another is copied once, where it is sent,
so to_pod counts only what was not copied before.

Nothing is changed. Exit status: 0 all is well, 1 something is wrong or can't be told.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) node: Node,

    /// How to print it
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns
    Table,
    /// One object
    Json,
    /// One document
    Yaml,
}

impl Options {
    pub(super) fn run(mut self) -> anyhow::Result<ExitCode> {
        let report = Report::of(&self.node.observe()?);
        let text = match self.output {
            Format::Table => table::render(&report),
            Format::Json => print::json(&report)?,
            Format::Yaml => print::yaml(&report)?,
        };
        print::write(text.as_bytes())?;
        Ok(if report.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
