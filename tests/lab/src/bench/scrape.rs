//! The cost of looking: how long a scrape takes, and what scrapes cost the agent.

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
/// How often Prometheus would scrape, and how often it is done while the agent's work is measured.
const INTERVAL: Duration = Duration::from_secs(10);
const ROUNDS: u32 = 6;

/// Measures on an agent that mirrors at least `ports` ports.
pub(super) fn play(node: &Node, agent: &Agent<'_>, ports: u16) -> Result<Vec<Measure>> {
    say("scraping /metrics");
    agent.await_ready()?;
    let answer = until("all ports to be counted", || {
        let answer = scrape(node, agent)?;
        let series = answer.lines().filter(|line| line.starts_with("ofmirror_mirrored_")).count();
        // Packets and bytes, in two directions.
        Ok((series >= 4 * usize::from(ports)).then_some(answer))
    })?;
    let times = (0..SCRAPES).map(|_| {
        thread::sleep(PAUSE);
        node.namespace().inside(|| {
            let started = Instant::now();
            exchange(agent)?;
            Ok(started.elapsed())
        })
    });
    let times = times.collect::<Result<Vec<_>>>()?;
    let work = |scraped: bool| -> Result<f64> {
        let pid = agent.pid()?;
        let before = Work::of(pid)?;
        let started = Instant::now();
        for round in 1..=ROUNDS {
            if scraped {
                scrape(node, agent)?;
            }
            thread::sleep((INTERVAL * round).saturating_sub(started.elapsed()));
        }
        let busy = Work::of(pid)?.since(before).busy;
        Ok(busy.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0)
    };
    say("watching the agent for a minute without scrapes, and for one with");
    let (without, with) = (work(false)?, work(true)?);
    Ok(vec![
        Measure::times("scrape: 500 ports, until all is read", times).with_goal(20.0),
        Measure::new("scrape: size of the answer", "kB", [answer.len() as f64 / 1e3]),
        Measure::new("not scraped: use of one core", "%", [without]),
        Measure::new("scraped every 10 s: use of one core", "%", [with]).with_goal(0.5),
    ])
}

fn scrape(node: &Node, agent: &Agent<'_>) -> Result<String> {
    node.namespace().inside(|| exchange(agent))
}

/// What Prometheus does, on a connection of its own each time.
fn exchange(agent: &Agent<'_>) -> Result<String> {
    let mut stream = TcpStream::connect(agent.address())?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the agent says {answer}");
    Ok(answer)
}
