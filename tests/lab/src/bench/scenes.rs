//! What is measured, one after the other, on one node.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use flows::{
    delivery::Delivery,
    model::{Field, Flow, FlowKey, MatchField, OfPort, Purpose, TableId},
};

use super::{
    delivery_table, listeners,
    observer::{Observer, Sighting},
    process::{Memory, Work},
    samples::Measure,
    say, scrape,
};
use crate::{Agent, Node, OURS, Result, Service};

/// Ports that are there from the start, besides those of the five Pods.
const PORTS: u16 = 500;
const STARTS: usize = 10;
const ARRIVALS: usize = 40;
const WIPES: usize = 25;
const RESTARTS: usize = 20;
/// How long the agent is watched doing nothing.
const IDLE: Duration = Duration::from_secs(30);
/// How long before that it may still do what came of a loss: it looks at all flows again after five seconds.
const SETTLED: Duration = Duration::from_secs(7);
const ALL: &[&str] = &["--enable-mirror"];

/// Plays all scenes.
pub(super) fn play() -> Result<Vec<Measure>> {
    let scene = Scene::build()?;
    let mut measures = scene.starts()?;
    let agent = scene.node.agent(ALL)?;
    let early = Memory::of(agent.pid()?)?;
    measures.extend(scene.arrivals()?);
    measures.extend(scene.wipes(&agent)?);
    measures.extend(scene.restarts(&agent)?);
    measures.extend(idle(&agent)?);
    measures.extend(scrape::play(&scene.node, &agent, PORTS)?);
    let late = Memory::of(agent.pid()?)?;
    measures.extend([
        Measure::new("memory: resident, after the start", "MB", [early.resident]).with_goal(20.0),
        Measure::new("memory: resident, after all of this", "MB", [late.resident]).with_goal(20.0),
        Measure::new("memory: proportional, after all of this", "MB", [late.proportional]),
        Measure::new("memory: the most that was resident", "MB", [late.peak]),
    ]);
    agent.stop()?;
    measures.extend(listeners::play(&scene.node)?);
    Ok(measures)
}

struct Scene {
    node: Node,
    /// The table in which OVN delivers.
    deliveries: TableId,
}

impl Scene {
    fn build() -> Result<Self> {
        say("bringing up a node with its ports");
        let node = Node::start()?;
        node.add_bare_ports(PORTS)?;
        Ok(Self { deliveries: delivery_table(&node)?, node })
    }

    fn observe(&self) -> Result<(Observer, Vec<Flow>)> {
        Observer::watch(&self.node, &[TableId(0), self.deliveries])
    }

    /// From the start of the process to the last flow, and to readiness.
    fn starts(&self) -> Result<Vec<Measure>> {
        say("starting the agent");
        let agent = self.node.agent(ALL)?;
        let wanted = self.node.dump_flows(OURS)?.len();
        ensure!(wanted > 2 * usize::from(PORTS), "{wanted} flows are too few");
        agent.stop()?;
        let (mut installed, mut ready) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let (mut observer, _) = self.observe()?;
            let started = Instant::now();
            let agent = self.node.launch_agent(ALL)?;
            let mut there = HashSet::new();
            let last = loop {
                let seen = observer.next()?;
                note(&mut there, &seen);
                if there.len() == wanted {
                    break seen.at;
                }
            };
            installed.push(last - started);
            agent.await_ready()?;
            ready.push(started.elapsed());
            agent.stop()?;
        }
        Ok(vec![
            Measure::times("start: from exec to the last flow", installed),
            Measure::times("start: from exec to /readyz", ready),
        ])
    }

    /// One more port at a time: from OVN's flow to ours.
    fn arrivals(&self) -> Result<Vec<Measure>> {
        say("adding ports");
        let (mut observer, _) = self.observe()?;
        let (mut delivered, mut entered) = (Vec::new(), Vec::new());
        for index in (usize::from(PORTS)..).take(ARRIVALS) {
            self.node.add_bare_ports(1)?;
            let port = OfPort(self.node.ofport(&format!("bare{index}"))?.into());
            let enters = MatchField::exact(Field::IN_PORT, port.0.into());
            let [mut ovn_in, mut ovn_out, mut our_in, mut our_out] = [None; 4];
            while [ovn_in, ovn_out, our_in, our_out].contains(&None) {
                let Sighting { at, flow, there: true } = observer.next()? else { continue };
                let when = match flow.cookie.purpose() {
                    Some((Purpose::FromPod, of)) if of == port => &mut our_in,
                    Some((Purpose::ToPod, of)) if of == port => &mut our_out,
                    Some(_) => continue,
                    None if Delivery::of(&flow).is_some_and(|to| to.ofport == port) => &mut ovn_out,
                    None if flow.key.matching.fields().contains(&enters) => &mut ovn_in,
                    None => continue,
                };
                when.get_or_insert(at);
            }
            entered.extend(our_in.zip(ovn_in).map(|(ours, ovn)| milliseconds_between(ovn, ours)));
            delivered
                .extend(our_out.zip(ovn_out).map(|(ours, ovn)| milliseconds_between(ovn, ours)));
        }
        Ok(vec![
            Measure::new("new port: delivery hook after OVN's flow", "ms", delivered)
                .with_goal(5.0),
            Measure::new("new port: ingress hook after OVN's flow", "ms", entered).with_goal(5.0),
        ])
    }

    /// Somebody deletes all our flows: from the first that is gone to the last that is back.
    fn wipes(&self, agent: &Agent<'_>) -> Result<Vec<Measure>> {
        say("deleting all our flows");
        let times = (0..WIPES).map(|_| {
            let lost = self.lose(agent, || self.node.ofctl(&["del-flows"], [OURS]).map(drop))?;
            Ok(lost.back - lost.gone)
        });
        let times = times.collect::<Result<Vec<_>>>()?;
        Ok(vec![Measure::times("wipe of 500 ports: until all are back", times).with_goal(50.0)])
    }

    /// ovn-controller deletes everything and brings its own flows back.
    fn restarts(&self, agent: &Agent<'_>) -> Result<Vec<Measure>> {
        say("restarting ovn-controller");
        let (mut without, mut after_ovn) = (Vec::new(), Vec::new());
        for _ in 0..RESTARTS {
            let lost = self.lose(agent, || self.node.restart(Service::Controller))?;
            without.push(lost.back - lost.gone);
            let delivered = lost.delivered.context("OVN brought no delivery flows")?;
            after_ovn.push(milliseconds_between(delivered, lost.back));
        }
        Ok(vec![
            Measure::times("ovn-controller restart: until all are back", without).with_goal(50.0),
            Measure::new("ovn-controller restart: after OVN's own flows", "ms", after_ovn),
        ])
    }

    /// Watches all our flows go and come back.
    fn lose(&self, agent: &Agent<'_>, how: impl FnOnce() -> Result) -> Result<Loss> {
        agent.await_ready()?;
        let (mut observer, initial) = self.observe()?;
        let ours = |flow: &&Flow| flow.cookie.is_ours();
        let wanted: HashSet<_> = initial.iter().filter(ours).map(|flow| flow.key.clone()).collect();
        how()?;
        let (mut there, mut lost) = (wanted.clone(), HashSet::new());
        let (mut gone, mut delivered) = (None, None);
        loop {
            let seen = observer.next()?;
            note(&mut there, &seen);
            match (seen.flow.cookie.is_ours(), seen.there) {
                (true, false) => {
                    gone.get_or_insert(seen.at);
                    lost.insert(seen.flow.key);
                }
                (false, true) if Delivery::of(&seen.flow).is_some() => delivered = Some(seen.at),
                _ => {}
            }
            if let Some(gone) = gone
                && lost.is_superset(&wanted)
                && there.is_superset(&wanted)
            {
                return Ok(Loss { gone, back: seen.at, delivered });
            }
        }
    }
}

/// A loss of all our flows, as the observer saw it.
struct Loss {
    /// The first was gone.
    gone: Instant,
    /// The last was back.
    back: Instant,
    /// OVN's last delivery flow before that came, if any did.
    delivered: Option<Instant>,
}

/// Keeps the set of our flows that are there.
fn note(there: &mut HashSet<FlowKey>, seen: &Sighting) {
    if !seen.flow.cookie.is_ours() {
        return;
    }
    if seen.there {
        there.insert(seen.flow.key.clone());
    } else {
        there.remove(&seen.flow.key);
    }
}

/// The agent with nothing to do.
fn idle(agent: &Agent<'_>) -> Result<Vec<Measure>> {
    say("watching the agent do nothing");
    agent.await_ready()?;
    thread::sleep(SETTLED);
    let pid = agent.pid()?;
    let before = Work::of(pid)?;
    thread::sleep(IDLE);
    let work = Work::of(pid)?.since(before);
    let seconds = IDLE.as_secs_f64();
    // One tick of the kernel's clock for CPU times, 10 ms, is the least that can be measured by usual means.
    let least = 0.010 / seconds * 100.0;
    let share = work.busy.as_secs_f64() / seconds * 100.0;
    Ok(vec![
        Measure::new("idle: use of one core", "%", [share]).with_goal((least * 1e3).round() / 1e3),
        Measure::new("idle: context switches", "1/s", [work.switches as f64 / seconds]),
    ])
}

/// How much later `end` is than `start`, in milliseconds; negative if it was earlier.
fn milliseconds_between(start: Instant, end: Instant) -> f64 {
    let later = end.saturating_duration_since(start).as_secs_f64();
    let earlier = start.saturating_duration_since(end).as_secs_f64();
    (later - earlier) * 1e3
}
