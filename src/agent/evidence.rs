//! The agent's part that compares what was copied with what should have been: flows that are installed prove nothing.

use std::{collections::HashMap, time::Instant};

use flows::{
    model::{OfPort, Purpose},
    tap::Direction,
};

use super::{Agent, traffic::series};
use crate::traffic::{coverage::Coverage, shortfall::Shortfall};

/// What the counters of flows and ports prove.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) shortfall: Shortfall,
    pub(super) coverage: Coverage,
    /// Pods of which it is open which port is theirs, or whose a port is, in words.
    pub(super) ambiguous: Vec<String>,
}

impl Agent {
    /// The flows have been read: compares their counts with the ports'.
    pub(super) fn compare_flows(&mut self, now: Instant) {
        let offered = self.traffic.offered().packets;
        self.evidence.shortfall.offered(offered, now);
        let copied = self.copied_from_ports();
        self.evidence.coverage.take_in_flows(&copied, now);
        let blind = self.evidence.coverage.blind();
        if blind.len() > self.world.blind().len() {
            // A look at all flows shows which one is in the way.
            self.rescan.get_or_insert(now);
        }
        self.world.set_blind(blind);
    }

    /// The ports have been read.
    pub(super) fn compare_ports(&mut self, now: Instant) {
        let disturbed = self.world.switch().is_ok_and(|switch| switch.loss().is_some())
            || !self.is_complete()
            || self.world.audience().is_paused();
        if disturbed {
            self.evidence.coverage.restart();
            return;
        }
        let copied = self.copied_from_ports();
        self.evidence.coverage.close_window(&copied, now);
    }

    /// What the copy flow of each mirrored port has counted, of the ports that have one in the switch.
    fn copied_from_ports(&self) -> HashMap<OfPort, u64> {
        let Ok(switch) = self.world.switch() else { return HashMap::new() };
        let totals = self.traffic.totals();
        let installed =
            switch.observed().cookies().filter_map(|cookie| match cookie.purpose()? {
                (Purpose::FromPod, port) => Some(port),
                _ => None,
            });
        let copied = installed.filter_map(|port| {
            let selected = self.world.mirrored_port(port)?;
            let total = totals.get(&series(selected, Direction::FromPod))?;
            Some((port, total.packets))
        });
        copied.collect()
    }

    /// Adds what the counters say of all copies, of single Pods' claims, and of the mirror port's last minute.
    pub(super) fn judge_copies(&self, problems: &mut Vec<String>, degraded: &mut Vec<String>) {
        let nic = &self.settings.nic;
        match self.evidence.shortfall.lost() {
            Some(lost) if lost.is_everything() => problems.push(format!(
                "copies: {nic} took none of {} within the last minute",
                lost.offered
            )),
            Some(lost) => degraded.push(format!(
                "copies: {nic} did not take at least {} of {} within the last minute",
                lost.lost, lost.offered
            )),
            None => {}
        }
        let port = self.world.switch().map(|switch| switch.sink_port());
        let times = match self.world.sink().moved {
            // The switch does not see how its device is.
            Some(_) => 0,
            None => port.map_or(0, |port| port.interruptions(Instant::now())),
        };
        if times > 0 {
            degraded.push(format!(
                "{nic}: it went down {times} times within the last minute, and copies of that time are lost"
            ));
        }
        degraded.extend(self.evidence.ambiguous.iter().cloned());
    }
}
