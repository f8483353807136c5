//! `lab demo`: all of it before one's eyes in a minute, from an empty node to an empty node.
//!
//! Each chapter does something, shows it as it is, and checks what it says; the first check that fails ends the demo.

mod chapters;
mod copies;
mod pings;
mod stage;

use std::{process::ExitCode, time::Instant};

use stage::Stage;

use crate::{Agent, Invocation, Node, Result, agent};

/// Runs the demo; its last line says whether all worked.
pub fn demo() -> ExitCode {
    let started = Instant::now();
    let mut stage = Stage::new();
    match chapters::play(&mut stage) {
        Ok(()) => {
            let (worked, seconds) = (stage.chapters(), started.elapsed().as_secs());
            println!("\ndemo: all {worked} things worked ({seconds} s)");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = format!("{error:#}");
            eprintln!("\n{text}");
            println!("\ndemo: FAILED: {}", text.lines().next().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// The node with its stage: what a chapter needs.
struct Demo<'a> {
    stage: &'a mut Stage,
    node: &'a Node,
}

impl Demo<'_> {
    /// Runs a line by a shell on the node, where `ofmirror` asks this agent; gives its output, not shown yet.
    fn on_node(&self, asked: Option<&Agent<'_>>, line: &str) -> Result<String> {
        let shell = self.node.program("bash").env("PATH", agent::path()?);
        let shell = match asked {
            Some(agent) => shell.env("OFMIRROR_METRICS_ADDR", agent.address()),
            None => shell,
        };
        self.stage.run("node", shell, line)
    }

    /// Runs a line by a shell in a Pod; gives its output, not shown yet.
    fn in_pod(&self, pod: &str, line: &str) -> Result<String> {
        self.stage.run(pod, self.shell(pod), line)
    }

    fn shell(&self, pod: &str) -> Invocation {
        self.node.pod(pod).program("bash")
    }
}
