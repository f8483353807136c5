//! Processor time: of the whole machine, and of both switches.

use std::{fs, time::Duration};

use anyhow::Context as _;
use lab::{Result, Service, TwoNodes, Work};

/// Processor time used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    /// By everything on the machine, in user space, in the kernel and in its interrupts, to 10 ms.
    pub(crate) machine: Duration,
    /// By ovs-vswitchd of both nodes.
    pub(crate) switches: Duration,
}

impl Busy {
    pub(crate) fn now(nodes: &TwoNodes) -> Result<Self> {
        let [first, second] = nodes.nodes().map(|node| Work::of(node.pid(Service::Vswitchd)?));
        let machine = machine(&fs::read_to_string("/proc/stat")?)?;
        Ok(Self { machine, switches: first?.busy + second?.busy })
    }
}

/// The first line of /proc/stat, in ticks (proc(5)): user, nice, system, idle, iowait, irq, softirq, and what others
/// stole.
fn machine(text: &str) -> Result<Duration> {
    /// Milliseconds of USER_HZ, which is 100 on all that Linux runs on today.
    const TICK: u64 = 10;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let columns = line.context("/proc/stat does not begin with cpu")?.split_whitespace();
    let columns = columns.map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
    let busy = [0, 1, 2, 5, 6].map(|at| columns.get(at).copied());
    let ticks: u64 =
        busy.into_iter().map(|n| n.context("/proc/stat is short")).sum::<Result<_>>()?;
    Ok(Duration::from_millis(TICK * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() -> Result {
        let text = "cpu  100 10 200 99999 77 5 30 4444 0 0\ncpu0 1 2 3\n";
        assert_eq!(machine(text)?, Duration::from_millis(3450));
        Ok(())
    }
}
