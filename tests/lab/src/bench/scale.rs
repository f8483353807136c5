//! What changes cost by the number of ports: it should be the change that counts, not the number.
//!
//! The agent's processor time and the bytes on its OpenFlow connection are its own doing. Times until something is done
//! have the switch's, OVN's and the tools' in them, all of which take longer with more ports.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use flows::{
    delivery::Delivery,
    model::{Flow, OfPort, Purpose, TableId},
};

use super::{
    delivery_table,
    observer::Observer,
    process::{Memory, Work},
    say,
};
use crate::{Agent, Node, PortName, Proxy, Result, proxy::Peer};

/// How often an annotation goes and comes, and how many Pods come.
const TURNS: u16 = 15;
/// How long the agent is watched when something changes, and as long when nothing does. It is done with it long before, and seldom
/// reads counters meanwhile.
const MOMENT: Duration = Duration::from_secs(3);
const WIPES: u32 = 3;
/// How long the agent is watched doing nothing.
const IDLE: Duration = Duration::from_secs(40);
/// How long before, to do what came of the last change.
const SETTLED: Duration = Duration::from_secs(8);
const KEY: &str = "ovn.kubernetes.io/mirror";

/// A column of the table.
struct Column {
    ports: u16,
    figures: Vec<f64>,
}

/// What is measured.
const ROWS: [(&str, &str); 15] = [
    ("start: until the last flow", "ms"),
    ("start: processor time", "ms"),
    ("start: OpenFlow", "kB"),
    ("one port annotated: until its last hook", "ms"),
    ("one port annotated, or not any more: processor time", "ms"),
    ("one port annotated, or not any more: OpenFlow", "kB"),
    ("one Pod added: hook for what it gets, after OVN's flow", "ms"),
    ("one Pod added: processor time", "ms"),
    ("one Pod added: OpenFlow", "kB"),
    ("all flows deleted: until the last is back", "ms"),
    ("all flows deleted: processor time", "ms"),
    ("all flows deleted: OpenFlow", "kB"),
    ("idle: use of one core", "%"),
    ("idle: OpenFlow", "kB/s"),
    ("resident memory", "MB"),
];

/// Plays all scenes for each number of ports, and gives a table.
pub(super) fn play(numbers: &[u16]) -> Result<String> {
    let columns =
        numbers.iter().map(|ports| Ok(Column { ports: *ports, figures: measure(*ports)? }));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let mut text = format!("| {:<56} | unit |", "ports");
    for column in &columns {
        text += &format!(" {:>8} |", column.ports);
    }
    text += &format!("\n|{:-<58}|------|{}\n", "", "----------|".repeat(columns.len()));
    for (row, (what, unit)) in ROWS.iter().enumerate() {
        text += &format!("| {what:<56} | {unit:<4} |");
        for column in &columns {
            text += &format!(" {:>8.2} |", column.figures[row]);
        }
        text.push('\n');
    }
    Ok(text)
}

/// All figures with so many ports, in the order of [`ROWS`].
fn measure(ports: u16) -> Result<Vec<f64>> {
    say(&format!("bringing up a node with {ports} ports"));
    let node = Node::start_for_thousands()?;
    node.populate()?;
    node.add_bare_ports(ports + TURNS)?;
    // Those that come later are nobody's yet.
    let nameless = |index| {
        ["--", "clear", "Interface", &format!("bare{index}"), "external_ids"].map(str::to_owned)
    };
    node.vsctl((ports..ports + TURNS).flat_map(nameless))?;
    let scene = Scene {
        deliveries: delivery_table(&node)?,
        proxy: node.proxy("scale", Peer::AsItIs)?,
        node,
    };
    let mut figures = Vec::new();
    say("starting the agent");
    let endpoint = format!("--openflow={}", scene.proxy.endpoint());
    let mut observer = scene.observe()?;
    let started = Instant::now();
    let agent = scene.node.launch_agent(&["--enable-mirror", &endpoint])?;
    // The five Pods are mirrored too.
    let wanted = 2 * (usize::from(ports) + 5);
    let last = observer.await_hooks(wanted, true, |_| true)?;
    agent.await_ready()?;
    let pid = agent.pid()?;
    figures.push(milliseconds(last - started));
    figures.push(milliseconds(Work::of(pid)?.busy));
    figures.push(scene.proxy.passed() as f64 / 1e3);
    drop(observer);
    say("annotating ports");
    figures.extend(scene.annotate(&agent)?);
    say("adding Pods");
    figures.extend(scene.add(&agent, ports)?);
    say("deleting all our flows");
    figures.extend(scene.wipe(&agent, wanted + 2 * usize::from(TURNS))?);
    say("watching the agent do nothing");
    agent.await_ready()?;
    thread::sleep(SETTLED);
    let idle = scene.moment(pid, IDLE, || Ok(()))?;
    figures.push(100.0 * idle.use_of_core());
    figures.push(idle.kilobytes() / idle.lasted.as_secs_f64());
    figures.push(Memory::of(pid)?.resident);
    agent.stop()?;
    Ok(figures)
}

struct Scene {
    node: Node,
    proxy: Proxy,
    /// The table in which OVN delivers.
    deliveries: TableId,
}

impl Scene {
    fn observe(&self) -> Result<Observer> {
        let (observer, _) = Observer::watch(&self.node, &[TableId(0), self.deliveries])?;
        Ok(observer.with_patience())
    }

    /// Takes a port out of mirroring and back in, over and over.
    fn annotate(&self, agent: &Agent<'_>) -> Result<[f64; 3]> {
        let port = OfPort(self.node.ofport("bare0")?.into());
        let of_port = |(_, of)| of == port;
        let mut observer = self.observe()?;
        thread::sleep(SETTLED);
        let mut until = Vec::new();
        let both = self.cost(agent, |_| {
            self.mark("bare0", "insert", &format!(r#"["map",[["{KEY}","false"]]]"#))?;
            observer.await_hooks(2, false, of_port)?;
            let annotated = Instant::now();
            self.mark("bare0", "delete", &format!(r#"["set",["{KEY}"]]"#))?;
            until.push(milliseconds(observer.await_hooks(2, true, of_port)? - annotated));
            Ok(())
        })?;
        Ok([median(until), both.busy / 2.0, both.openflow / 2.0])
    }

    /// Changes a port's `external_ids`: by a bare transaction, as `ovs-vsctl` reads all rows first, and has the switch look at all ports.
    fn mark(&self, name: &str, mutator: &str, value: &str) -> Result {
        let transaction = format!(
            r#"["Open_vSwitch",{{"op":"mutate","table":"Interface","where":[["name","==","{name}"]],"mutations":[["external_ids","{mutator}",{value}]]}}]"#
        );
        let server = format!("unix:{}", self.node.run_folder().join("db.sock").display());
        let answer =
            self.node.program("ovsdb-client").args(["transact", &server, &transaction]).run()?;
        ensure!(answer.contains(r#""count":1"#), "OVSDB says {answer}");
        Ok(())
    }

    /// One Pod more at a time. Its port is on the bridge already: among thousands Open vSwitch's userspace datapath stands still for
    /// seconds for a new one, in which the agent does much else.
    fn add(&self, agent: &Agent<'_>, first: u16) -> Result<[f64; 3]> {
        let mut observer = self.observe()?;
        let mut delays = Vec::new();
        let one = self.cost(agent, |turn| {
            let name = format!("bare{}", first + turn);
            let port = OfPort(self.node.ofport(&name)?.into());
            let port_name = PortName::kube_ovn("default", &name);
            let ids = serde_json::to_string(port_name.external_ids())?;
            self.mark(&name, "insert", &format!(r#"["map",{ids}]"#))?;
            delays.push(observer.await_arrival(port)?);
            Ok(())
        })?;
        Ok([median(delays), one.busy, one.openflow])
    }

    /// What a change takes that is made [`TURNS`] times, besides what the agent does all the time.
    fn cost(&self, agent: &Agent<'_>, mut change: impl FnMut(u16) -> Result) -> Result<Cost> {
        let pid = agent.pid()?;
        let (mut changed, mut idle) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            changed.push(self.moment(pid, MOMENT, || change(turn))?);
            idle.push(self.moment(pid, MOMENT, || Ok(()))?);
        }
        // Into some of them falls a reading of all counters, which is known by its bytes.
        let fewest = changed.iter().map(|moment| moment.passed).min().unwrap_or_default();
        for moments in [&mut changed, &mut idle] {
            moments.retain(|moment| moment.passed <= 2 * fewest);
        }
        let rate = median(idle.iter().map(Moment::use_of_core).collect());
        let busy = |moment: &Moment| milliseconds(moment.busy) - rate * milliseconds(moment.lasted);
        Ok(Cost {
            busy: median(changed.iter().map(busy).collect()),
            openflow: median(changed.iter().map(Moment::kilobytes).collect()),
        })
    }

    /// Watches the agent for so long, or for longer if the change takes longer.
    fn moment(&self, pid: u32, time: Duration, change: impl FnOnce() -> Result) -> Result<Moment> {
        let (begun, work, passed) = (Instant::now(), Work::of(pid)?, self.proxy.passed());
        change()?;
        thread::sleep(time.saturating_sub(begun.elapsed()));
        Ok(Moment {
            lasted: begun.elapsed(),
            busy: Work::of(pid)?.since(work).busy,
            passed: self.proxy.passed() - passed,
        })
    }

    fn wipe(&self, agent: &Agent<'_>, hooks: usize) -> Result<[f64; 3]> {
        let pid = agent.pid()?;
        let (mut times, mut busy, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..WIPES {
            agent.await_ready()?;
            let mut observer = self.observe()?;
            let wipe = self.moment(pid, Duration::ZERO, || {
                self.node.ofctl(&["del-flows"], [crate::OURS])?;
                let (gone, back) = observer.await_return(hooks)?;
                times.push(milliseconds(back - gone));
                Ok(())
            })?;
            busy.push(milliseconds(wipe.busy));
            passed.push(wipe.kilobytes());
        }
        Ok([median(times), median(busy), median(passed)])
    }
}

/// What the agent did in some time.
struct Moment {
    lasted: Duration,
    busy: Duration,
    /// Bytes of OpenFlow.
    passed: usize,
}

impl Moment {
    /// Share of one core.
    fn use_of_core(&self) -> f64 {
        self.busy.div_duration_f64(self.lasted)
    }

    fn kilobytes(&self) -> f64 {
        self.passed as f64 / 1e3
    }
}

/// What a change takes.
struct Cost {
    /// Processor time, in milliseconds.
    busy: f64,
    /// In kB.
    openflow: f64,
}

impl Observer {
    /// Waits until `count` different hooks of those that are `meant` have come since it was asked, or gone; gives the last one's
    /// time.
    fn await_hooks(
        &mut self,
        count: usize,
        there: bool,
        meant: impl Fn((Purpose, OfPort)) -> bool,
    ) -> Result<Instant> {
        let mut seen = HashSet::new();
        loop {
            let sighting = self.next()?;
            let hook = hook(&sighting.flow).filter(|hook| meant(*hook));
            if let Some(hook) = hook.filter(|_| sighting.there == there) {
                seen.insert(hook);
            }
            if seen.len() == count {
                return Ok(sighting.at);
            }
        }
    }

    /// When the first hook went and the last of `count` was back.
    fn await_return(&mut self, count: usize) -> Result<(Instant, Instant)> {
        let gone = loop {
            let sighting = self.next()?;
            if !sighting.there && hook(&sighting.flow).is_some() {
                break sighting.at;
            }
        };
        Ok((gone, self.await_hooks(count, true, |_| true)?))
    }

    /// How long after OVN's first flow that delivers to a new port its hook came, in milliseconds.
    fn await_arrival(&mut self, port: OfPort) -> Result<f64> {
        let (mut ovn, mut ours) = (None, None);
        while ovn.is_none() || ours.is_none() {
            let sighting = self.next()?;
            let flow = &sighting.flow;
            if hook(flow) == Some((Purpose::ToPod, port)) {
                ours.get_or_insert(sighting.at);
            } else if Delivery::of(flow).is_some_and(|to| to.ofport == port) {
                ovn.get_or_insert(sighting.at);
            }
        }
        Ok(ovn
            .zip(ours)
            .map_or(0.0, |(ovn, ours)| milliseconds(ours.saturating_duration_since(ovn))))
    }
}

/// What a copying flow of ours is for.
fn hook(flow: &Flow) -> Option<(Purpose, OfPort)> {
    flow.cookie
        .purpose()
        .filter(|(purpose, _)| [Purpose::FromPod, Purpose::ToPod].contains(purpose))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
