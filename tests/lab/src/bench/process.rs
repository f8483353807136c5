//! What a process costs, by the word of the kernel (proc(5)).

use std::{fs, time::Duration};

use anyhow::Context as _;

use crate::Result;

/// Memory, in MB (10^6 bytes).
pub(super) struct Memory {
    /// What is in RAM, code and libraries included.
    pub(super) resident: f64,
    /// The same, where what others use too counts in part.
    pub(super) proportional: f64,
    /// The most that ever was resident.
    pub(super) peak: f64,
}

/// Use of the processor since the process began.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// In user space and in the kernel.
    pub busy: Duration,
    /// Times that it was taken off a processor, of its own accord or not.
    pub switches: u64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let megabytes =
            |text, name| Ok::<_, anyhow::Error>(number(text, name)? as f64 * 1024.0 / 1e6);
        Ok(Self {
            resident: megabytes(&status, "VmRSS:")?,
            proportional: megabytes(&rollup, "Pss:")?,
            peak: megabytes(&status, "VmHWM:")?,
        })
    }
}

impl Work {
    /// Of all its threads that still run.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let mut work = Self { busy: Duration::ZERO, switches: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            // Nanoseconds on a processor come first; utime and stime only know ticks of 10 ms.
            let statistics = fs::read_to_string(folder.join("schedstat"))?;
            let busy = statistics.split(' ').next().context("an empty schedstat")?.parse()?;
            work.busy += Duration::from_nanos(busy);
            let status = fs::read_to_string(folder.join("status"))?;
            work.switches += number(&status, "voluntary_ctxt_switches:")?;
            work.switches += number(&status, "nonvoluntary_ctxt_switches:")?;
        }
        Ok(work)
    }

    /// What was done since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { busy: self.busy - before.busy, switches: self.switches - before.switches }
    }
}

/// The number on the line that begins with `name`.
fn number(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("there is no {name}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::until;

    #[test]
    fn a_process_that_works_is_seen_to_work() -> Result {
        // Not this one: threads of other tests come and go in it.
        let mut worker = Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?;
        let pid = worker.id();
        let before = Work::of(pid)?;
        let worked = until("the process to work", || {
            let work = Work::of(pid)?.since(before);
            Ok((work.busy > Duration::ZERO).then_some(()))
        });
        let memory = Memory::of(pid);
        worker.kill()?;
        worker.wait()?;
        worked?;
        let memory = memory?;
        assert!(memory.proportional > 0.0 && memory.proportional <= memory.peak);
        assert!(memory.resident <= memory.peak);
        Ok(())
    }
}
