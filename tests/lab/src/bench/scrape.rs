//! The cost of looking: how long a scrape takes, and what scrapes and the page cost the agent.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{process::Work, samples::Measure, say};
use crate::{Agent, Node, Result, until};

const SCRAPES: usize = 300;
/// Between two of them, so that the agent does its own work too.
const PAUSE: Duration = Duration::from_millis(20);
/// How often Prometheus would scrape.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often a page that is open asks.
const REFRESH: Duration = Duration::from_secs(2);
/// How long the agent's work is measured.
const WATCHED: Duration = Duration::from_secs(60);

/// Measures on an agent that mirrors at least `ports` ports.
pub(super) fn play(node: &Node, agent: &Agent<'_>, ports: u16) -> Result<Vec<Measure>> {
    say("scraping /metrics");
    agent.await_ready()?;
    let answer = until("all ports to be counted", || {
        let answer = ask(node, agent, "/metrics")?;
        let series = answer.lines().filter(|line| line.starts_with("ofmirror_mirrored_")).count();
        // Packets and bytes, in two directions.
        Ok((series >= 4 * usize::from(ports)).then_some(answer))
    })?;
    let times = (0..SCRAPES).map(|_| {
        thread::sleep(PAUSE);
        node.namespace().inside(|| {
            let started = Instant::now();
            exchange(agent, "/metrics")?;
            Ok(started.elapsed())
        })
    });
    let times = times.collect::<Result<Vec<_>>>()?;
    let work = |path: Option<&str>, interval: Duration| -> Result<f64> {
        let pid = agent.pid()?;
        let before = Work::of(pid)?;
        let started = Instant::now();
        while started.elapsed() < WATCHED {
            let asked = Instant::now();
            if let Some(path) = path {
                ask(node, agent, path)?;
            }
            thread::sleep(interval.saturating_sub(asked.elapsed()));
        }
        let busy = Work::of(pid)?.since(before).busy;
        Ok(busy.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0)
    };
    say("watching the agent for a minute each: left alone, scraped, with the page open");
    let (without, with) = (work(None, INTERVAL)?, work(Some("/metrics"), INTERVAL)?);
    let page = work(Some("/status"), REFRESH)?;
    let status = ask(node, agent, "/status")?;
    Ok(vec![
        Measure::times("scrape: 500 ports, until all is read", times).with_goal(20.0),
        Measure::new("scrape: size of the answer", "kB", [answer.len() as f64 / 1e3]),
        Measure::new("not scraped: use of one core", "%", [without]),
        Measure::new("scraped every 10 s: use of one core", "%", [with]).with_goal(0.5),
        Measure::new("page open: use of one core", "%", [page]).with_goal(0.5),
        Measure::new("page open: size of each answer", "kB", [status.len() as f64 / 1e3]),
    ])
}

fn ask(node: &Node, agent: &Agent<'_>, path: &str) -> Result<String> {
    node.namespace().inside(|| exchange(agent, path))
}

/// What Prometheus and the page do, on a connection of its own each time.
fn exchange(agent: &Agent<'_>, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(agent.address())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the agent says {answer}");
    Ok(answer)
}
