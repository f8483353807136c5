//! A line for people who wait.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Instant,
};

/// How far it is.
pub(crate) struct Progress {
    started: Instant,
    done: usize,
    all: usize,
}

impl Progress {
    /// Of so many steps, which take about equally long.
    pub(crate) fn new(all: usize) -> Self {
        Self { started: Instant::now(), done: 0, all }
    }

    /// One step more is done: rewrites a line on a terminal, adds one elsewhere.
    pub(crate) fn step(&mut self, what: &str) {
        self.done += 1;
        let percent = 100 * self.done / self.all.max(1);
        let left = self.started.elapsed() / u32::try_from(self.done).unwrap_or(u32::MAX)
            * u32::try_from(self.all - self.done).unwrap_or(u32::MAX);
        let left = left.as_secs();
        let line = format!("{percent:3} %, {}:{:02} to go: {what}", left / 60, left % 60);
        let mut stderr = stderr();
        // Nobody's matter if nobody reads it.
        let _ = match (stderr.is_terminal(), self.done == self.all) {
            (false, _) => writeln!(stderr, "{line}"),
            (true, true) => writeln!(stderr, "\r{line}\x1b[K"),
            (true, false) => write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush()),
        };
    }
}
