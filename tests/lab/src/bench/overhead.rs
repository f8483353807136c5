//! What mirroring costs under steady load: what the agent exports, and what the benchmark itself measures.
//!
//! The benchmark has hooks put on and taken off in turns, by annotations, and takes from /proc what ovs-vswitchd
//! used and from the Pods' NICs how many packets came in. It uses nothing of the agent's but that.

use std::{thread, time::Duration};

use super::{process::Work, say};
use crate::{Agent, Node, Result, Service, until};

/// Datagrams a second. A userspace datapath on one core of an old machine can do more.
const RATE: u32 = 10_000;
/// Times that hooks are on, and off.
const TURNS: usize = 12;
/// How long each time. The agent's windows are 10 s.
const TURN: Duration = Duration::from_secs(12);
/// How long the switch may take to get used to it.
const SETTLE: Duration = Duration::from_secs(1);
/// For how long the agent makes pauses of its own.
const PAUSES: Duration = Duration::from_secs(120);
const PODS: [&str; 2] = ["a", "b"];

/// A figure with its standard error.
#[derive(Clone, Copy)]
struct Figure {
    value: f64,
    error: f64,
}

/// Plays the scene and gives a table.
pub(super) fn play() -> Result<String> {
    say("bringing up a node under steady load");
    let node = Node::start()?;
    let load = node.load(PODS[0], PODS[1], RATE)?;
    let agent = node.agent(&[])?;
    say("putting hooks on and off in turns");
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Off, on, on, off: what changes slowly, such as the machine's other work, weighs on both alike.
        for hooked in [turn % 2 == 1, turn % 2 == 0] {
            hook(&node, hooked)?;
            let cost = cost(&node)?;
            if hooked {
                on.push(cost)
            } else {
                off.push(cost)
            }
            load.alive()?;
        }
    }
    let measured = compare(&off, &on);
    let by_turns = exported(&agent)?;
    agent.stop()?;
    say("letting the agent make pauses");
    let agent = node.agent(&["--enable-mirror", "--overhead-probe=5s/2s"])?;
    thread::sleep(PAUSES);
    let by_pauses = exported(&agent)?;
    agent.stop()?;
    load.alive()?;
    let mut text = format!(
        "mirroring's share of processor time, {RATE} datagrams a second from Pod to Pod, userspace datapath:\n{}",
        row("measured by the benchmark, hooks on and off", measured, None)
    );
    text += &row("exported, against time without hooks", by_turns, Some(measured));
    text += &row("exported, against pauses", by_pauses, Some(measured));
    Ok(text)
}

fn hook(node: &Node, on: bool) -> Result {
    for pod in PODS {
        if on { node.annotate(pod)? } else { node.unannotate(pod)? }
    }
    until("the hooks to come or go", || {
        // The guard is always there.
        Ok(((node.hooks()?.len() > 1) == on).then_some(()))
    })
}

/// Seconds of processor time for each packet, for the length of a turn.
fn cost(node: &Node) -> Result<f64> {
    thread::sleep(SETTLE);
    let pid = node.pid(Service::Vswitchd)?;
    let (work, packets) = (Work::of(pid)?, node.received()?);
    thread::sleep(TURN);
    let (work, packets) = (Work::of(pid)?.since(work), node.received()? - packets);
    Ok(work.busy.as_secs_f64() / packets as f64)
}

/// The mean of the ratios of neighbours, less 1.
fn compare(off: &[f64], on: &[f64]) -> Figure {
    let ratios: Vec<_> = on.iter().zip(off).map(|(on, off)| on / off - 1.0).collect();
    let count = ratios.len() as f64;
    let value = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - value).powi(2)).sum();
    Figure { value, error: (squares / (count - 1.0) / count).sqrt() }
}

fn exported(agent: &Agent<'_>) -> Result<Figure> {
    Ok(Figure {
        value: agent.metric("ofmirror_cpu_overhead_ratio")?,
        error: agent.metric("ofmirror_cpu_overhead_standard_error")?,
    })
}

fn row(what: &str, Figure { value, error }: Figure, measured: Option<Figure>) -> String {
    let agreement = measured.map_or(String::new(), |measured| {
        let apart = (value - measured.value).abs() / error.hypot(measured.error);
        // Of figures that mean the same, 95 of 100 are not further apart.
        let verdict = if apart <= 2.0 { "agrees" } else { "DISAGREES" };
        format!("{verdict}, {apart:.1} standard errors apart")
    });
    let (value, error) = (100.0 * value, 100.0 * error);
    format!("  {what:<46} {value:>6.1} % +- {error:.1}  {agreement}").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_within_their_errors_and_not_beyond() {
        let measured = compare(&[1.0, 2.0, 4.0], &[1.2, 2.6, 4.8]);
        assert!((measured.value - 0.7 / 3.0).abs() < 1e-9);
        assert!((measured.error - 0.1 / 3.0).abs() < 1e-9);
        let verdict = |value| row("x", Figure { value, error: 0.01 }, Some(measured));
        assert!(verdict(0.2).contains("agrees, 1.0 standard errors apart"), "{}", verdict(0.2));
        assert!(verdict(0.5).contains("DISAGREES"), "{}", verdict(0.5));
    }
}
