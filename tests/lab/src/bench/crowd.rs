//! How long Pods wait for an answer on a switch with very many flows of others, while the agent or `ofmirror` reads them.
//!
//! Open vSwitch forwards packets of the userspace datapath in the thread that answers requests for flows, so the longest
//! answer to a ping shows the longest time that one of them took.

use std::{
    fmt::Write as _,
    io::Read as _,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::say;
use crate::{Node, Result, until};

/// How long pings run where nothing ends them.
const MOMENT: Duration = Duration::from_secs(10);

/// What others' flows are like.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// As OVN's: many tables, one of which has half of them, and cookies as good as random.
    Logical,
    /// All in one table and without cookies.
    Alike,
}

/// What is measured.
const ROWS: [&str; 6] = [
    "without an agent",
    "agent: start",
    "agent: counters are read",
    "agent: all flows are read again",
    "ofmirror status, flows, doctor",
    "agent: stop",
];

/// Measures with each number of foreign flows, and gives a table.
pub(super) fn play(crowds: &[(u32, Kind)]) -> Result<String> {
    let mut columns = Vec::new();
    for (flows, kind) in crowds {
        let name = match kind {
            Kind::Logical => format!("{flows}"),
            Kind::Alike => format!("{flows} in one"),
        };
        columns.push((name, measure(*flows, *kind)?));
    }
    let mut text = format!("| {:<56} | unit |", "foreign flows: worst ping");
    for (name, _) in &columns {
        write!(text, " {name:>13} |")?;
    }
    write!(text, "\n|{:-<58}|------|{}\n", "", "---------------|".repeat(columns.len()))?;
    for (row, what) in ROWS.iter().enumerate() {
        write!(text, "| {what:<56} | ms   |")?;
        for (_, figures) in &columns {
            write!(text, " {:>13.1} |", figures[row])?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn measure(flows: u32, kind: Kind) -> Result<Vec<f64>> {
    say(&format!("adding {flows} flows of others"));
    let node = Node::start()?;
    let lines: String = (0..flows).map(|number| kind.flow(number) + "\n").collect();
    for chunk in lines.lines().collect::<Vec<_>>().chunks(20_000) {
        node.add_flows(&chunk.join("\n"))?;
    }
    thread::sleep(MOMENT);
    let mut figures = Vec::new();
    let mut worst = |during: &mut dyn FnMut() -> Result| {
        let pings = Pings::start(&node)?;
        during()?;
        thread::sleep(Duration::from_secs(1));
        figures.push(pings.worst()?);
        Ok::<_, anyhow::Error>(())
    };
    let mut wait = || {
        thread::sleep(MOMENT);
        Ok(())
    };
    say("pinging without an agent");
    worst(&mut wait)?;
    say("starting the agent");
    let mut agent = None;
    worst(&mut || {
        let started =
            node.launch_agent_with(&[("RUST_LOG", "ofmirror=debug")], &["--enable-mirror"])?;
        started.await_ready()?;
        agent = Some(started);
        Ok(())
    })?;
    let agent = agent.context("the agent has been started")?;
    worst(&mut wait)?;
    say("having the agent read all flows again");
    let scans = || Ok::<_, anyhow::Error>(agent.log()?.matches("all flows have been read").count());
    let before = scans()?;
    let delivery = node.dump_flows("cookie=0x6f666d7220000000/0xfffffffff0000000")?;
    let delivery = delivery.first().context("no flow of ours")?;
    let key = delivery.split(" actions=").next().unwrap_or_default();
    let key = key
        .split_once(", ")
        .map_or(key, |(_, key)| key)
        .replace("send_flow_rem ", "")
        .replace(' ', "");
    worst(&mut || {
        // The loss of a flow of ours has all read again.
        node.ofctl(&["--strict", "del-flows"], [&*key])?;
        until("the agent reads all flows again", || Ok((scans()? > before).then_some(())))
    })?;
    say("running ofmirror status, flows and doctor");
    worst(&mut || {
        for command in ["status", "flows", "doctor"] {
            let rundir = node.run_folder().display().to_string();
            let program = node.program(&crate::agent::path_of_binary()?);
            program.args([command, "--ovs-rundir", &rundir]).output()?;
        }
        Ok(())
    })?;
    say("stopping the agent");
    let mut agent = Some(agent);
    worst(&mut || agent.take().map_or(Ok(()), |agent| agent.stop()))?;
    Ok(figures)
}

impl Kind {
    /// One in a table that no packet comes to.
    fn flow(self, number: u32) -> String {
        let [_, a, b, c] = number.to_be_bytes();
        let (table, cookie) = match self {
            Self::Logical if number.is_multiple_of(2) => (100, number.wrapping_mul(0x9e37_79b1)),
            Self::Logical => (101 + number / 2 % 60, number.wrapping_mul(0x9e37_79b1)),
            Self::Alike => (100, 0),
        };
        format!(
            "table={table},cookie={cookie:#x},priority={},ip,metadata={:#x},nw_dst=172.{a}.{b}.{c},actions=load:0x1->NXM_NX_REG10[3],resubmit(,{})",
            100 + number % 1000,
            number % 50,
            table + 1
        )
    }
}

/// Pings from one Pod to another until they are ended.
struct Pings {
    child: Child,
}

impl Pings {
    fn start(node: &Node) -> Result<Self> {
        let (from, to) = (node.pod("a"), node.pod("b"));
        from.ping(to.ip4())?;
        let ping = from.program("ping").args(["-q", "-i", "0.005", &to.ip4().to_string()]);
        let child = ping.command().stdout(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    /// The longest time until an answer, in milliseconds; none may be lost.
    fn worst(mut self) -> Result<f64> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let mut text = String::new();
        self.child.stdout.take().context("ping has no output")?.read_to_string(&mut text)?;
        self.child.wait()?;
        let figures = text.split(" = ").nth(1).context("ping says nothing of times")?;
        let worst = figures.split('/').nth(2).context("ping says no longest time")?;
        let numbers = |word: &str| {
            text.split(word).next()?.rsplit([' ', ',', '\n']).next()?.parse::<u64>().ok()
        };
        let (sent, received) = (numbers(" packets transmitted"), numbers(" received"));
        // The last may be under way.
        ensure!(
            sent.zip(received).is_some_and(|(sent, received)| received + 1 >= sent),
            "pings were lost: {text}"
        );
        Ok(worst.parse()?)
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
