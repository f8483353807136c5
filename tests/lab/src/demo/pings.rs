//! A ping that goes on until it is dropped.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Stdio},
};

use anyhow::Context as _;

use crate::{Invocation, Result};

pub(super) struct Pings {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Pings {
    /// Starts it.
    pub(super) fn start(ping: &Invocation) -> Result<Self> {
        let mut child = ping.command().stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("ping has no output")?;
        Ok(Self { child, output: BufReader::new(stdout).lines() })
    }

    /// Waits for so many answers and gives the number of the last.
    pub(super) fn answers(&mut self, count: usize) -> Result<u64> {
        let numbers = self.output.by_ref().map_while(|line| line.ok());
        let numbers = numbers.filter_map(|line| number(&line, "icmp_seq="));
        numbers.take(count).last().context("ping ended")
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number after `key` in a line.
pub(super) fn number(line: &str, key: &str) -> Option<u64> {
    let rest = line.split(key).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
