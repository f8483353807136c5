//! `lab faults`: what Pods lose by a fault with an agent on the node and without, and what becomes of the copies.
//!
//! Each fault happens on two nodes, one with an agent and one without, while Pods ping each other every 10 ms. Every frame on
//! Pods' ports is compared with the copies, as in all of the lab: what is missing or too many within the fault, until the agent is
//! ready again, is told apart from what is so before or after it. What becomes of pings is a matter of luck while OVN itself
//! is away, so several rounds are played, and the agent is blamed where its best round is worse than the worst without it.

mod catalogue;
mod report;
mod scene;
mod tap;

use std::{fs::File, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use serde::Serialize;

use super::{machine, say};
use crate::Result;
use catalogue::{FAULTS, Fault};
use scene::{Side, Stage, Trial};

/// What `lab faults` is told.
#[derive(Clone, Debug, Args)]
pub struct FaultOptions {
    /// How often each fault happens, on each side
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Only the faults whose names have one of these words
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    pub only: Vec<String>,
    /// Where to write all figures, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What became of one fault.
#[derive(Debug, Serialize)]
struct Row {
    fault: &'static str,
    /// Whether it can happen on a node without an agent.
    compared: bool,
    without: Vec<Trial>,
    with: Vec<Trial>,
    /// What did not work at all.
    failures: Vec<String>,
}

/// Lets all faults happen and prints a table; gives whether nobody was worse off with an agent.
///
/// # Errors
/// Something of the lab does not work.
pub fn faults(options: &FaultOptions) -> Result<bool> {
    let machine = machine::describe_machine()?;
    println!("{machine}\n");
    let wanted = |fault: &&Fault| {
        options.only.is_empty() || options.only.iter().any(|word| fault.name.contains(word))
    };
    let (mut without, mut with) = (Stage::new(Side::Without), Stage::new(Side::With));
    let mut rows = Vec::new();
    for fault in FAULTS.iter().filter(wanted) {
        say(fault.name);
        rows.push(play(fault, options.rounds, &mut without, &mut with));
    }
    print!("{}", report::table(&rows));
    println!("\n{}", machine::load()?);
    if let Some(path) = &options.json {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer(file, &rows)?;
    }
    Ok(rows.iter().all(|row| report::blame(row).is_none()))
}

fn play(fault: &Fault, rounds: usize, without: &mut Stage, with: &mut Stage) -> Row {
    let mut row = Row {
        fault: fault.name,
        compared: fault.compared,
        without: Vec::new(),
        with: Vec::new(),
        failures: Vec::new(),
    };
    for _ in 0..rounds {
        for (stage, trials) in [(&mut *without, &mut row.without), (&mut *with, &mut row.with)] {
            if stage.side == Side::Without && !fault.compared {
                continue;
            }
            match stage.try_fault(fault) {
                Ok(trial) => trials.push(trial),
                Err(error) => {
                    let what = format!("{} an agent: {error:#}", stage.side.word());
                    eprintln!("  {what}");
                    row.failures.push(what);
                }
            }
        }
    }
    row
}
