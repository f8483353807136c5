//! `--mirror-when=listened`: how soon somebody who begins to listen sees copies, and what it costs to look out for them.

use std::{
    fs,
    net::UdpSocket,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{process::Work, samples::Measure, say};
use crate::{Agent, MIRROR, Node, Result, pcap, until};

const STARTS: u32 = 50;
/// Between two frames of the Pod that is listened to.
const INTERVAL: Duration = Duration::from_millis(1);
/// Where that Pod sends to, so that tcpdump can tell its frames from others.
const PORT: u16 = 4242;
/// How long the agent is watched being paused.
const IDLE: Duration = Duration::from_secs(60);
/// How long before that it may still do what came of its start.
const SETTLED: Duration = Duration::from_secs(7);
/// Packet sockets in the namespace that are no listeners.
const SOCKETS: [(usize, &str); 2] =
    [(10, "paused, 10 packet sockets: use of one core"), (1000, "the same, 1,000 packet sockets")];

/// Measures on a node without an agent.
pub(super) fn play(node: &Node) -> Result<Vec<Measure>> {
    let agent = node.agent(&["--enable-mirror", "--mirror-when=listened"])?;
    let mut measures = starts(node, &agent)?;
    for (number, what) in SOCKETS {
        measures.push(idle(node, &agent, number, what)?);
    }
    agent.stop()?;
    Ok(measures)
}

/// From the start of tcpdump to the first copy that it captures.
fn starts(node: &Node, agent: &Agent<'_>) -> Result<Vec<Measure>> {
    say("starting tcpdump");
    let [from, to] = ["a", "b"].map(|name| node.pod(name));
    let socket = from.namespace().inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let (over, destination) = (AtomicBool::new(false), (to.ip4(), PORT));
    let times = thread::scope(|scope| {
        let speaker = scope.spawn(|| -> Result {
            while !over.load(Ordering::Relaxed) {
                // Whether anybody answers that nobody listens there makes no difference.
                let _ = socket.send_to(&[0; 64], destination);
                thread::sleep(INTERVAL);
            }
            Ok(())
        });
        let times = (0..STARTS).map(|round| {
            await_pause(agent)?;
            // The agent looks ten times a second: no start in step with it.
            thread::sleep(Duration::from_millis(u64::from(round) * 37 % 100));
            listen(node)
        });
        let times = times.collect::<Result<Vec<_>>>();
        over.store(true, Ordering::Relaxed);
        speaker.join().expect("it does not panic")?;
        times
    })?;
    Ok(vec![
        Measure::times("tcpdump: from exec to the first copy", times.iter().map(|seen| seen.exec))
            .with_goal(300.0),
        Measure::times(
            "tcpdump: from its capture file to the first copy",
            times.iter().map(|seen| seen.ready),
        ),
    ])
}

/// How long somebody had to wait for a copy.
struct Seen {
    /// Since tcpdump was started.
    exec: Duration,
    /// Since it said that it listens; 0 if the copy came before.
    ready: Duration,
}

/// Runs tcpdump until it has one copy.
fn listen(node: &Node) -> Result<Seen> {
    let file = node.folder().join("first.pcap");
    let (started, mut child) = node.namespace().inside(|| {
        let started = SystemTime::now();
        let child = Command::new("tcpdump")
            .args(["-n", "-U", "--immediate-mode", "-c", "1", "-i", MIRROR, "-w"])
            .arg(&file)
            .args(["udp", "dst", "port", &PORT.to_string()])
            .stderr(Stdio::null())
            .spawn()?;
        Ok((started, child))
    })?;
    ensure!(child.wait()?.success(), "tcpdump failed");
    let frames = pcap::read(&file)?;
    let copy = frames.first().context("tcpdump captured nothing")?.at;
    // It makes its file when it has begun to listen.
    let listening = fs::metadata(&file)?.created()?;
    let since = |moment: SystemTime| -> Result<Duration> {
        Ok(copy.saturating_sub(moment.duration_since(SystemTime::UNIX_EPOCH)?))
    };
    let seen = Seen { exec: since(started)?, ready: since(listening)? };
    fs::remove_file(&file)?;
    Ok(seen)
}

fn await_pause(agent: &Agent<'_>) -> Result {
    until("the pause", || {
        agent.alive()?;
        thread::sleep(Duration::from_millis(100));
        Ok((agent.metric("ofmirror_mirroring_paused")? == 1.0 && agent.is_ready()?).then_some(()))
    })
}

/// The paused agent, with so many packet sockets in its namespace that get nothing.
fn idle(node: &Node, agent: &Agent<'_>, sockets: usize, what: &'static str) -> Result<Measure> {
    say("watching the agent be paused");
    let _sockets: Vec<OwnedFd> = node.namespace().inside(|| {
        let deaf = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
        Ok((0..sockets).map(|_| deaf()).collect::<nix::Result<_>>()?)
    })?;
    await_pause(agent)?;
    thread::sleep(SETTLED);
    let pid = agent.pid()?;
    let before = Work::of(pid)?;
    thread::sleep(IDLE);
    let share = Work::of(pid)?.since(before).busy.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    Ok(Measure::new(what, "%", [share]))
}
