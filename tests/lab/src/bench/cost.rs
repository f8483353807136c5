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
//! takes: a frame is forwarded before the system call that sends it returns, if there is only one processor. There TCP is
//! measured too, between hosts at the ends of each lane: what they cost themselves is in its figures.

mod frames;
mod lane;
mod listener;
mod meter;
mod report;
mod statistics;
mod stream;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{machine, say};
use crate::{Node, Result};
use frames::{Frame, Sender};
use lane::{Lane, Variant};
use listener::Listener;
use meter::Meter;
use stream::Streams;

/// Frames of a chunk.
const CHUNK: usize = 2048;
/// Rounds before those that count: the first packets make the datapath's flows.
const WARM_UP: usize = 2;
/// How often a chunk that has lost frames is sent again, at most.
const ATTEMPTS: usize = 5;
/// How often copies of a conversation are counted until they are all there.
const PATIENCE: usize = 100;

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

/// What goes over a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Load {
    /// Frames of one kind.
    Frames(Frame),
    /// A message and its answer, over TCP.
    RoundTrip,
    /// 64 KiB over TCP.
    Stream,
}

impl Load {
    /// In words.
    fn name(self) -> String {
        match self {
            Self::Frames(frame) => frame.name(),
            Self::RoundTrip => "TCP, 64 bytes there and back".to_owned(),
            Self::Stream => "TCP, 64 KiB of a stream".to_owned(),
        }
    }
}

/// What one chunk cost.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    build: usize,
    round: usize,
    variant: Variant,
    /// Whether somebody had a packet socket on the mirror port.
    listener: bool,
    load: Load,
    /// Time for each frame, round trip or part of a stream, in nanoseconds.
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
        let mut play =
            Play { lanes: &lanes, meter: &meter, build, rounds: options.rounds, run: &mut run };
        node.namespace().inside(|| play.frames())?;
        if options.datapath == Datapath::System {
            play.streams(&node)?;
        }
        node.alive()?;
    }
    Ok(run)
}

/// All rounds on the lanes of one build.
struct Play<'a> {
    lanes: &'a [Lane],
    meter: &'a Meter,
    build: usize,
    rounds: usize,
    run: &'a mut Run,
}

impl Play<'_> {
    /// Sends frames, in this thread's network namespace.
    fn frames(&mut self) -> Result {
        let mut senders = Vec::new();
        for lane in self.lanes {
            for frame in Frame::ALL {
                senders.push((lane, frame, Sender::open(&lane.source, frame)?));
            }
        }
        for round in 0..WARM_UP + self.rounds {
            fastrand::shuffle(&mut senders);
            for (lane, frame, sender) in &mut senders {
                let spent = chunk(lane, *frame, sender, self.meter, &mut self.run.repeated)?;
                self.note(round, lane, Load::Frames(*frame), spent);
            }
        }
        Ok(())
    }

    /// Has hosts at the ends of the lanes speak TCP.
    fn streams(&mut self, node: &Node) -> Result {
        let lanes = self.lanes.iter().filter(|lane| lane.variant != Variant::Wire);
        let talks = lanes.map(|lane| Ok((lane, Streams::open(node, lane)?)));
        let mut talks: Vec<_> = talks.collect::<Result<_>>()?;
        let both = |place| [(place, Load::RoundTrip), (place, Load::Stream)];
        let mut order: Vec<_> = (0..talks.len()).flat_map(both).collect();
        for round in 0..WARM_UP + self.rounds {
            fastrand::shuffle(&mut order);
            for &(place, load) in &order {
                let (lane, streams) = &mut talks[place];
                let spent = node.namespace().inside(|| talk(lane, streams, load))?;
                self.note(round, lane, load, spent);
            }
        }
        Ok(())
    }

    fn note(&mut self, round: usize, lane: &Lane, load: Load, nanoseconds: f64) {
        let Some(round) = round.checked_sub(WARM_UP) else { return };
        let (build, variant, listener) = (self.build, lane.variant, lane.listener.is_some());
        self.run.samples.push(Sample { build, round, variant, listener, load, nanoseconds });
    }
}

/// Has the hosts of a lane talk, counts the copies of what they said, and gives what a part of it took, in nanoseconds.
fn talk(lane: &Lane, streams: &mut Streams, load: Load) -> Result<f64> {
    let drain = || lane.listener.as_ref().map_or(Ok(0), Listener::drain);
    let mut before = lane.conversation()?;
    // Acknowledgements of the last chunk, which came late.
    while drain()? > 0 {
        before = lane.conversation()?;
    }
    let start = Instant::now();
    let parts = match load {
        Load::RoundTrip => streams.go_there_and_back()?,
        Load::Frames(_) | Load::Stream => streams.flow()?,
    };
    let spent = start.elapsed().as_nanos() as f64 / parts as f64;
    let (mut heard, mut told) = (0, String::new());
    for _ in 0..PATIENCE {
        let (said, copied) = lane.conversation()?;
        let (said, copied) = (said - before.0, copied - before.1);
        heard += drain()? as u64;
        let wanted = if lane.variant.is_copied() { said } else { 0 };
        if copied == wanted && (heard == wanted || lane.listener.is_none()) {
            return Ok(spent);
        }
        told = format!("{said} frames said, {copied} copied, {heard} heard");
        // The last acknowledgement comes when it likes.
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{:?}, {load:?}: {told}", lane.variant)
}

/// Sends one chunk over a lane and gives what a frame of it cost, in nanoseconds.
fn chunk(
    lane: &Lane,
    frame: Frame,
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
        let heard = lane.listener.as_ref().map(Listener::drain).transpose()?;
        let wanted = lane.expected(frame, CHUNK);
        let all_heard = heard.is_none_or(|heard| heard as u64 == wanted.copies);
        if counted == wanted && all_heard {
            return Ok(spent.as_nanos() as f64 / CHUNK as f64);
        }
        ensure!(
            counted.out <= wanted.out && counted.copies <= wanted.copies,
            "{:?}, {frame:?}: {counted:?} counted, {wanted:?} expected",
            lane.variant
        );
        lost = format!("{counted:?} counted, {heard:?} heard, {wanted:?} expected");
        // Whatever comes late shall not be counted with the next chunk.
        *repeated += 1;
        lane.come_to_rest()?;
    }
    bail!("{:?}, {frame:?}: frames get lost each time: {lost}", lane.variant)
}
