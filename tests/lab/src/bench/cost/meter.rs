//! Measuring what a chunk costs.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::{
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

use super::{CHUNK, Datapath, Sender, lane::Lane};
use crate::{Node, Result, Service};

/// Frames that are sent at once to ovs-vswitchd, as many as it takes at once.
const BURST: usize = 32;
/// Frames on their way to it, at most: more long ones do not fit into its sockets.
const WINDOW: u64 = 64;
/// How long nothing may arrive before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long ovs-vswitchd gets to come to rest after a chunk.
const REST: Duration = Duration::from_micros(300);

/// Where the cost of a chunk shows.
pub(super) enum Meter {
    /// The processor time of ovs-vswitchd.
    Switch(ClockId),
    /// The time that passes while frames are sent, from an instant on.
    Time(Instant),
}

impl Meter {
    pub(super) fn of(node: &Node, datapath: Datapath) -> Result<Self> {
        Ok(match datapath {
            Datapath::Netdev => {
                let pid = Pid::from_raw(node.pid(Service::Vswitchd)?.cast_signed());
                Self::Switch(clock_getcpuclockid(pid)?)
            }
            Datapath::System => Self::Time(Instant::now()),
        })
    }

    /// What was spent until now.
    pub(super) fn read(&self) -> Result<Duration> {
        Ok(match self {
            Self::Switch(clock) => clock.now()?.into(),
            Self::Time(start) => start.elapsed(),
        })
    }

    /// Sends a chunk over a lane, and comes back when all of it is through, or seems lost.
    pub(super) fn send(&self, sender: &mut Sender, lane: &Lane) -> Result {
        if matches!(self, Self::Time(_)) {
            return sender.send(CHUNK);
        }
        let whole = CHUNK as u64;
        let copies = if lane.variant.is_copied() { whole } else { 0 };
        let (before, mut sent) = (lane.counters()?, 0);
        let (mut last, mut progress) = (0, Instant::now());
        loop {
            let done = lane.counters()?.since(before);
            if done.out >= whole && done.copies >= copies {
                thread::sleep(REST);
                return Ok(());
            }
            if done.out + done.copies > last {
                (last, progress) = (done.out + done.copies, Instant::now());
            } else if progress.elapsed() > PATIENCE {
                return Ok(());
            }
            if sent < whole && sent.saturating_sub(done.out) <= WINDOW - BURST as u64 {
                sender.send(BURST)?;
                sent += BURST as u64;
            }
        }
    }
}
