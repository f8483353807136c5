//! `lab cost`: what a forwarded packet costs, in processor time, and what its copy adds.
//!
//! Other work on the machine slows everything down from one second to the next, so that figures taken one after the other
//! can't be compared. Here all variants exist at once, each on a bridge of its own (see [`lane`]), and chunks of frames go
//! over them in random order, round by round. A round's figures are compared with each other only. Where something lies in
//! memory makes a bridge some per cent slower or faster than its like, for as long as it is there: so all of them are
//! built anew many times, in random order, and a confidence interval tells how well these times agree. Every chunk is
//! counted: so many frames in, so many out, so many copies, so many seen by the listener.
//!
//! On the userspace datapath the cost is the processor time of ovs-vswitchd. On the kernel's it is the time that sending
//! takes: a frame is forwarded before the system call that sends it returns, if there is only one processor.

mod frames;
mod lane;
mod listener;
mod meter;
mod report;
mod statistics;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{machine, say};
use crate::Result;
use frames::{Load, Sender};
use lane::{Lane, Variant};
use meter::Meter;

/// Frames of a chunk.
const CHUNK: usize = 2048;
/// Rounds before those that count: the first packets make the datapath's flows.
const WARM_UP: usize = 2;
/// How often a chunk that has lost frames is sent again, at most.
const ATTEMPTS: usize = 5;

/// What `lab cost` is told.
#[derive(Debug, Args)]
pub struct CostOptions {
    /// How often everything is built anew; fewer than 6 times tell no confidence interval
    #[arg(long, default_value_t = 10)]
    builds: usize,
    /// Rounds each time; in each, all variants get all kinds of frames
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The datapath to measure
    #[arg(long, value_enum, default_value_t = Datapath::Netdev)]
    datapath: Datapath,
    /// Where to write all samples, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A datapath of Open vSwitch, as OVSDB names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Datapath {
    /// In ovs-vswitchd
    Netdev,
    /// In the kernel, which needs the module openvswitch
    System,
}

/// What one chunk cost.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    build: usize,
    round: usize,
    variant: Variant,
    /// Whether somebody had a packet socket on the mirror port.
    listener: bool,
    #[serde(flatten)]
    load: Load,
    /// Processor time for each frame, in nanoseconds.
    nanoseconds: f64,
}

/// Everything of one run.
#[derive(Debug, Serialize)]
struct Run {
    machine: String,
    datapath: Datapath,
    /// Frames of a chunk.
    chunk: usize,
    /// Chunks that had to be sent again because frames were lost.
    repeated: usize,
    samples: Vec<Sample>,
}

/// Measures what a packet costs, and prints a table in Markdown.
///
/// # Errors
/// Something does not work, or frames get lost again and again.
pub fn cost(options: &CostOptions) -> Result {
    let run = measure(options)?;
    print!("{}", report::markdown(&run));
    if let Some(path) = &options.json {
        let file =
            fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer(file, &run)?;
    }
    Ok(())
}

fn measure(options: &CostOptions) -> Result<Run> {
    let mut run = Run {
        machine: machine::describe_machine()?,
        datapath: options.datapath,
        chunk: CHUNK,
        repeated: 0,
        samples: Vec::new(),
    };
    for build in 0..options.builds {
        say(&format!("building and measuring, time {} of {}", build + 1, options.builds));
        let node = lane::start_switch()?;
        let lanes = lane::build_all(&node, options.datapath)?;
        let meter = Meter::of(&node, options.datapath)?;
        node.namespace().inside(|| play(&lanes, &meter, build, options.rounds, &mut run))?;
        node.alive()?;
    }
    Ok(run)
}

/// Plays all rounds on these lanes, in this thread's network namespace.
fn play(lanes: &[Lane], meter: &Meter, build: usize, rounds: usize, run: &mut Run) -> Result {
    let mut senders = Vec::new();
    for lane in lanes {
        for load in Load::ALL {
            senders.push((lane, load, Sender::open(&lane.source, load)?));
        }
    }
    for round in 0..WARM_UP + rounds {
        fastrand::shuffle(&mut senders);
        for (lane, load, sender) in &mut senders {
            let nanoseconds = chunk(lane, *load, sender, meter, &mut run.repeated)?;
            let Some(round) = round.checked_sub(WARM_UP) else { continue };
            let (variant, listener, load) = (lane.variant, lane.listener.is_some(), *load);
            run.samples.push(Sample { build, round, variant, listener, load, nanoseconds });
        }
    }
    Ok(())
}

/// Sends one chunk over a lane and gives what a frame of it cost, in nanoseconds.
fn chunk(
    lane: &Lane,
    load: Load,
    sender: &mut Sender,
    meter: &Meter,
    repeated: &mut usize,
) -> Result<f64> {
    let mut lost = String::new();
    for _ in 0..ATTEMPTS {
        let before = lane.counters()?;
        let start = meter.read()?;
        meter.send(sender, lane)?;
        let spent = meter.read()?.saturating_sub(start);
        let counted = lane.counters()?.since(before);
        let heard = lane.listener.as_ref().map(listener::Listener::drain).transpose()?;
        let wanted = lane.expected(load, CHUNK);
        let all_heard = heard.is_none_or(|heard| heard as u64 == wanted.copies);
        if counted == wanted && all_heard {
            return Ok(spent.as_nanos() as f64 / CHUNK as f64);
        }
        ensure!(
            counted.out <= wanted.out && counted.copies <= wanted.copies,
            "{:?}, {load:?}: {counted:?} counted, {wanted:?} expected",
            lane.variant
        );
        lost = format!("{counted:?} counted, {heard:?} heard, {wanted:?} expected");
        // Whatever comes late shall not be counted with the next chunk.
        *repeated += 1;
        lane.come_to_rest()?;
    }
    bail!("{:?}, {load:?}: frames get lost each time: {lost}", lane.variant)
}
