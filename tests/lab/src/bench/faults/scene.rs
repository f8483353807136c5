//! One fault on one node: Pods ping, all frames are captured, the fault happens, and everything is waited for until it is well again.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{catalogue::Fault, tap::Tap};
use crate::{Agent, Beat, Beats, Frame, Namespace, Node, Pulse, Recording, Result, until};

/// Answers to wait for before and after a fault.
const QUIET: u64 = 40;
/// What at both ends of a recording is not compared: a frame and its copy are not captured at the same instant.
const EDGE: Duration = Duration::from_millis(100);
/// How an agent of the lab is started.
const ALL: &str = "--enable-mirror";

/// With an agent or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// There is none.
    Without,
    /// There is one, which mirrors all Pods.
    With,
}

impl Side {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::With => "with",
        }
    }
}

/// A node for one side; another one after a fault that it did not survive.
pub(super) struct Stage {
    pub(super) side: Side,
    node: Option<Node>,
}

/// What one fault did once.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    /// How long the fault itself took, in milliseconds.
    pub(super) took_ms: f64,
    pub(super) pings: u64,
    pub(super) lost: u64,
    /// The longest time without an answer on one way, in milliseconds.
    pub(super) gap_ms: f64,
    /// What became of the copies, with an agent.
    pub(super) copies: Option<Copies>,
}

/// What became of the copies.
#[derive(Debug, Serialize)]
pub(super) struct Copies {
    /// Frames that were to be copied.
    pub(super) frames: usize,
    /// Copies that are missing and too many, from the begin of the fault until all was well again.
    pub(super) missing: usize,
    pub(super) doubled: usize,
    /// The same before and after that.
    pub(super) outside: usize,
    /// From the begin of the fault to the last frame without a copy, in milliseconds; none if all have theirs.
    pub(super) last_missing_ms: Option<f64>,
    /// From the begin of the fault until the agent is ready again and the switch has all flows, in milliseconds.
    pub(super) well_ms: f64,
}

/// What a fault has to do with.
pub(super) struct Scene<'a> {
    pub(super) node: &'a Node,
    agent: RefCell<Option<Agent<'a>>>,
}

impl Stage {
    pub(super) fn new(side: Side) -> Self {
        Self { side, node: None }
    }

    /// Lets a fault happen. Where that fails, the node goes.
    pub(super) fn try_fault(&mut self, fault: &Fault) -> Result<Trial> {
        let node = match self.node.take() {
            Some(node) => node,
            None => Node::start()?,
        };
        let trial = try_on(&node, self.side, fault);
        if trial.is_ok() {
            self.node = Some(node);
        } else {
            node.bury_the_dead();
        }
        trial
    }
}

fn try_on(node: &Node, side: Side, fault: &Fault) -> Result<Trial> {
    let scene = Scene { node, agent: RefCell::default() };
    if side == Side::With {
        scene.start_agent()?;
    }
    let pulses = pulses(node)?;
    let elsewhere = Namespace::create(&scene.elsewhere())?;
    let beat = |times| pulses.iter().try_for_each(|pulse| pulse.beat(times));
    let (tap, away) = (Tap::start(node.namespace())?, Tap::start(&elsewhere)?);
    let (places, started) = (pulses.iter().map(Pulse::now).collect::<Vec<_>>(), now()?);
    beat(QUIET)?;
    let (begin, clock) = (now()?, Instant::now());
    (fault.happen)(&scene)?;
    let took = clock.elapsed();
    // Without an agent all is well when the Pods are.
    beat(1)?;
    scene.await_well()?;
    let (well, end) = (clock.elapsed(), now()?);
    beat(QUIET)?;
    let Beats { sent, lost, gap } = total(&pulses, &places);
    let mut recording = tap.finish(away)?;
    drop(pulses);
    let copies = (side == Side::With).then(|| {
        recording.window = started + EDGE..=now().unwrap_or(end) - EDGE;
        compare(&recording, begin, end, well)
    });
    scene.stop_agent()?;
    elsewhere.delete()?;
    node.alive()?;
    Ok(Trial { took_ms: ms(took), pings: sent, lost, gap_ms: ms(gap), copies })
}

/// Pings within a switch, over the router, and over IPv6, of two lengths.
fn pulses(node: &Node) -> Result<Vec<Pulse>> {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| node.pod(name));
    Ok(vec![
        Pulse::start("a to b", a.program("ping"), b.ip4(), 56)?,
        Pulse::start("a to c", a.program("ping"), c.ip4(), 1400)?,
        Pulse::start("b to d", b.program("ping"), d.ip6(), 56)?,
    ])
}

fn total(pulses: &[Pulse], places: &[Beat]) -> Beats {
    let beats = pulses.iter().zip(places).map(|(pulse, place)| pulse.since(*place));
    beats.fold(Beats::default(), Beats::and)
}

/// Holds the copies against the frames.
fn compare(recording: &Recording, begin: Duration, end: Duration, well: Duration) -> Copies {
    let wires = || recording.pods.values().flat_map(|pod| pod.sent.iter().chain(&pod.received));
    let during = |frame: &&Frame| frame.at >= begin && frame.at <= end;
    let mut copies = Copies {
        frames: wires().filter(|frame| recording.window.contains(&frame.at)).count(),
        missing: 0,
        doubled: 0,
        outside: 0,
        last_missing_ms: None,
        well_ms: ms(well),
    };
    let mut last = HashMap::new();
    for frame in wires().chain(&recording.mirror).filter(during) {
        let at = last.entry(frame.bytes.as_slice()).or_insert(frame.at);
        *at = frame.at.max(*at);
    }
    for difference in recording.differences() {
        let is_missing = difference.copies < difference.transmissions;
        let number = difference.copies.abs_diff(difference.transmissions);
        match (last.get(difference.bytes.as_slice()), is_missing) {
            (None, _) => copies.outside += number,
            (Some(_), false) => copies.doubled += number,
            (Some(last), true) => {
                copies.missing += number;
                let since = ms(last.saturating_sub(begin));
                let before = copies.last_missing_ms.unwrap_or_default();
                copies.last_missing_ms = Some(since.max(before));
            }
        }
    }
    copies
}

impl<'a> Scene<'a> {
    /// The name of a namespace for a NIC that is moved away.
    pub(super) fn elsewhere(&self) -> String {
        format!("{}-elsewhere", self.node.name())
    }

    /// Starts an agent that mirrors all Pods, and waits until it does.
    pub(super) fn start_agent(&self) -> Result {
        *self.agent.borrow_mut() = Some(self.node.agent(&[ALL])?);
        Ok(())
    }

    /// Stops the agent, if there is one.
    pub(super) fn stop_agent(&self) -> Result {
        self.agent.take().map_or(Ok(()), Agent::stop)
    }

    /// Kills the agent; gives whether there was one.
    pub(super) fn kill_agent(&self) -> Result<bool> {
        self.agent.take().map_or(Ok(false), |agent| agent.kill().map(|()| true))
    }

    /// Does something with the agent, if there is one.
    pub(super) fn with_agent(&self, work: impl FnOnce(&Agent<'a>) -> Result) -> Result {
        self.agent.borrow().as_ref().map_or(Ok(()), work)
    }

    /// Waits until the agent is ready, and all its flows are there.
    fn await_well(&self) -> Result {
        self.with_agent(|agent| {
            until("all flows, and the agent to be ready", || {
                agent.alive()?;
                let well = agent.is_ready()? && self.node.unhooked()?.is_empty();
                Ok(well.then_some(()))
            })
            .with_context(|| {
                let said = agent.get("/readyz").ok().flatten().map(|answer| answer.body);
                format!("/readyz says {said:?}, not mirrored is {:?}", self.node.unhooked())
            })
        })
    }
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}
