//! `bench-mirror`: what mirroring costs in the eight scenarios of Kube-OVN's page: without any, by ofmirror, and by
//! Open vSwitch's own Mirror, in turns on the same two nodes.
//!
//! It runs within `tests/lab/sandbox`; `make bench-mirror` does all that.

mod cpu;
mod in_force;
mod metric;
mod plot;
mod probe;
mod progress;
mod report;
mod results;
mod run;
mod scenario;
mod stage;
mod statistics;
mod variant;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::ensure;
use clap::{Parser, ValueEnum as _};
use lab::Result;
use results::{Results, Settings};
use scenario::Scenario;
use variant::{Copier, Variant};

/// Measure what mirroring costs in eight scenarios: off, ofmirror, Open vSwitch's Mirror
#[derive(Debug, Parser)]
struct Args {
    /// Where report.md, results.json and plots go
    #[arg(long, value_name = "DIR", default_value = "target/bench-mirror")]
    out: PathBuf,
    /// How often everything is measured; 3, or 2 if quick
    #[arg(long, value_name = "N")]
    repeats: Option<u32>,
    /// How long each probe takes, in seconds
    #[arg(long, value_name = "N", default_value_t = 1)]
    seconds: u32,
    /// Some of the scenarios, by name or number, such as pod-pod,6
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// Sizes of messages in bytes; 64,128,512,1024,4096, or 64,1024 if quick
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<u32>,
    /// Variants: off, ofmirror, ovs-mirror, with +listener if tcpdump shall listen; all, or those without
    /// listeners if quick
    #[arg(long, value_delimiter = ',')]
    variants: Vec<Variant>,
    /// Measure less, in some minutes
    #[arg(long)]
    quick: bool,
    /// Only write the report anew, of a results.json
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Args {
    fn settings(&self) -> Result<Settings> {
        let listed = |given: &[u32], all: &[u32], few: &[u32]| match given {
            [] if self.quick => few.to_vec(),
            [] => all.to_vec(),
            given => given.to_vec(),
        };
        let variants = match &self.variants[..] {
            [] => {
                let listeners = if self.quick { &[false][..] } else { &[false, true] };
                let with = |listener: &bool| {
                    Copier::ALL.map(|copier| Variant { copier, listener: *listener })
                };
                listeners.iter().flat_map(with).collect()
            }
            given => given.to_vec(),
        };
        let settings = Settings {
            repeats: self.repeats.unwrap_or(if self.quick { 2 } else { 3 }),
            seconds: self.seconds,
            scenarios: match &self.scenarios[..] {
                [] => Scenario::value_variants().to_vec(),
                given => given.to_vec(),
            },
            sizes: listed(&self.sizes, &[64, 128, 512, 1024, 4096], &[64, 1024]),
            connections: vec![10, 100],
            variants,
        };
        ensure!(settings.repeats > 0 && settings.seconds > 0, "nothing to measure");
        Ok(settings)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-mirror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result {
    fs::create_dir_all(&args.out)?;
    match &args.from {
        Some(file) => report::write(&Results::read(file)?, &args.out)?,
        None => run::measure(args.settings()?, &args.out)?,
    }
    println!("{}", args.out.join(report::FILE).display());
    Ok(())
}
