//! `lab record`: what the dashboard would show of some eventful minutes, for `deploy/grafana/draw`.

use std::{
    f64::consts::TAU,
    fs,
    net::UdpSocket,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    Agent, Haste, MIRROR, Node, OURS, Prometheus, Result, Service, daemon::Daemon, questions,
};

/// Seconds between two scrapes, and between two points of a line.
const STEP: u32 = 5;
/// Where Pods send to.
const PORT: u16 = 4242;
const TICK: Duration = Duration::from_millis(10);
/// Who talks to whom, the most packets in a tick, the bytes in each, and the period of the ups and downs in seconds.
const TALKS: [(&str, &str, f64, usize, f64); 5] = [
    ("a", "c", 20.0, 1000, 180.0),
    ("c", "a", 12.0, 400, 110.0),
    ("b", "d", 15.0, 700, 75.0),
    ("d", "e", 10.0, 1200, 240.0),
    ("e", "b", 5.0, 150, 50.0),
];

/// Lets things happen on a node for some minutes, and writes what each panel got from Prometheus as JSON.
///
/// # Errors
/// Something does not work.
pub fn record(file: &Path, minutes: u64) -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    let haste = Haste { interval: STEP, impatient: false };
    let prometheus = node.prometheus(&agent, haste)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (node, over) = (&node, &over);
        let talks = TALKS.map(|talk| scope.spawn(move || converse(node, talk, over)));
        let played = play(node, &agent, minutes);
        let written = played.and_then(|()| write(&prometheus, file, minutes));
        over.store(true, Ordering::Relaxed);
        for talk in talks {
            talk.join().map_err(|_| anyhow!("a talk panicked"))??;
        }
        written
    })?;
    agent.stop()
}

/// What happens, by the share of all the time that has passed.
fn play(node: &Node, agent: &Agent<'_>, minutes: u64) -> Result {
    // Somebody listens, as long as the NIC is there.
    let tcpdump = node.program("tcpdump").args(["-n", "-i", MIRROR, "-s", "64", "-w", "/dev/null"]);
    let listener = Daemon::new("tcpdump", tcpdump, node.log_folder().join("tcpdump.log"));
    listener.start()?;
    let all = Duration::from_secs(60 * minutes);
    let started = Instant::now();
    let events: [(f64, &str, &dyn Fn() -> Result); 8] = [
        // Before the first, what packets cost that are not copied is learnt.
        (0.20, "a is annotated", &|| node.annotate("a")),
        (0.30, "b, too", &|| node.annotate("b")),
        (0.40, "d, too", &|| node.annotate("d")),
        (0.50, "ovn-controller restarts", &|| node.restart(Service::Controller)),
        (0.60, "somebody deletes our flows", &|| node.ofctl(&["del-flows"], [OURS]).map(drop)),
        (0.70, "ovs-vswitchd is down", &|| node.kill(Service::Vswitchd)),
        (0.73, "and back", &|| {
            node.start_service(Service::Vswitchd)?;
            agent.await_ready()?;
            // It ended with the NIC, or would listen to one that is no more.
            let _ = listener.end(Signal::SIGTERM).or_else(|_| listener.wait());
            listener.start()
        }),
        (1.00, "the end", &|| Ok(())),
    ];
    for (when, what, happen) in events {
        thread::sleep(all.mul_f64(when).saturating_sub(started.elapsed()));
        eprintln!("{:4} s: {what}", started.elapsed().as_secs());
        happen()?;
    }
    Ok(())
}

/// Sends datagrams that nobody answers, more and fewer in turn.
fn converse(
    node: &Node,
    (from, to, most, length, period): (&str, &str, f64, usize, f64),
    over: &AtomicBool,
) -> Result {
    let [from, to] = [from, to].map(|name| node.pod(name));
    let socket = from.namespace().inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let started = Instant::now();
    let mut owed = 0.0;
    while !over.load(Ordering::Relaxed) {
        let phase = started.elapsed().as_secs_f64() / period;
        owed += most * (0.55 + 0.45 * (TAU * phase).sin());
        while owed >= 1.0 {
            owed -= 1.0;
            // That nobody listens there comes back as an error, which is no matter.
            let _ = socket.send_to(&vec![0; length], (to.ip4(), PORT));
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn write(prometheus: &Prometheus<'_>, file: &Path, minutes: u64) -> Result {
    let mut answers = Vec::new();
    for question in questions()? {
        let series = if question.instant {
            prometheus.query(&question.expression)?
        } else {
            prometheus.query_range(&question.expression, 60 * minutes, STEP.into())?
        };
        answers.push(json!({
            "panel": question.panel,
            "legend": question.legend,
            "expression": question.expression,
            "series": series,
        }));
    }
    fs::write(file, serde_json::to_string(&answers)?)?;
    eprintln!("{} expressions, copies on {MIRROR}: {}", answers.len(), file.display());
    Ok(())
}
