//! What the agent tells of itself: health, metrics, log.

use std::time::{Instant, SystemTime};

use flows::plan::Plan;
use tracing::{debug, info, warn};

use super::{Agent, RESCAN, milliseconds};
use crate::{health::Health, restoration::Sight, switch::SinkFault};

/// What is told of a switch that is connected and does not answer.
const STALLED: &str =
    "OpenFlow: the switch has been silent for 10 s: is it busy with something else?";

/// What is told when flows had to be changed so often that the agent pauses.
const RESTLESS: &str = "our flows: had to be changed 100 times within a second: is somebody else changing them? That is done after growing pauses, up to a minute";

impl Agent {
    /// Tells metrics, health and log how things stand.
    pub(super) fn tell(&mut self) {
        let complete = self.is_complete();
        self.tell_restored(complete);
        self.stalled = self.is_stalled();
        // All else is the other agent's affair.
        let mut problems = match self.ownership.problem(&self.settings.wish.bridge) {
            Some(problem) => vec![problem],
            None => self.world.problems(),
        };
        problems.extend(self.stalled.then(|| STALLED.to_owned()));
        problems.extend(self.fights.problem());
        problems.extend(self.breather.map(|_| RESTLESS.to_owned()));
        problems.extend(self.refusals.texts().map(|text| format!("a flow is missing, as {text}")));
        if complete
            && problems.is_empty()
            && let Some(started) = self.started.take()
        {
            let (pods, wanted) = (self.world.mirrored_pods(), self.world.wanted_pods());
            info!(pods, wanted, ms = milliseconds(started.elapsed()), "ready");
        }
        let mut degraded = Vec::new();
        if !self.ownership.is_others() {
            degraded = self.world.degraded();
            self.judge_copies(&mut problems, &mut degraded);
        }
        let ready = complete && problems.is_empty();
        let health = Health {
            ready,
            complete,
            paused: self.world.audience().is_paused(),
            problems,
            degraded,
            remarks: self.world.remarks(),
        }
        .shown();
        self.measure(&health);
        self.health.send_if_modified(|before| {
            let changed = *before != health;
            *before = health;
            changed
        });
    }

    /// Logs which Pods are mirrored, as far as that is known and has changed. Pauses are logged as such.
    pub(super) fn log_pods(&mut self) {
        if !self.is_complete() || self.world.audience().is_paused() {
            return;
        }
        let as_of = Some((self.world.revision(), self.world.suspended()));
        if as_of != self.logged_as_of || self.pod_log.is_waiting() {
            let world = &self.world;
            let why = |pod: &_| world.reason_against(pod);
            self.pod_log.look(&self.settings.nic, world.served_pods(), why);
            self.logged_as_of = as_of;
        }
    }

    /// Whether the switch has all flows that it should.
    pub(super) fn is_complete(&self) -> bool {
        let known = self.ownership.is_held() && self.world.plan().is_some();
        known && self.missing == 0 && self.repair.is_none()
    }

    /// Reports a loss of flows once it is over: the plan is complete again, and serves as many taps as before. After a wipe OVN's
    /// delivery flows are gone for a while too.
    fn tell_restored(&mut self, complete: bool) {
        let now = Instant::now();
        let unserved = self.world.plan().map_or(0, |plan| plan.rejected().count());
        let Some(switch) = self.world.switch_mut() else { return };
        let Some(loss) = switch.loss() else {
            if complete {
                self.unserved = unserved;
            }
            return;
        };
        let served = unserved <= self.unserved;
        let sight = Sight { lost: loss.since, complete, served, now };
        let Some(restored) = self.restoration.look(sight) else { return };
        switch.take_loss();
        self.metrics.losses.inc();
        self.metrics.flows_lost.inc_by(loss.flows as u64);
        self.metrics.restore.observe(restored.missing.as_secs_f64());
        self.rescan = Some(now + RESCAN);
        let flows = loss.flows;
        let [without_ms, waiting_for_ovn_ms] =
            [restored.missing, restored.waiting].map(milliseconds);
        if self.fights.are_on() {
            // It is told as a fight, once.
            debug!(flows, without_ms, "our flows are back in the middle of a fight");
        } else if restored.served {
            warn!(
                flows,
                waiting_for_ovn_ms,
                without_ms,
                "somebody removed or changed flows of ours; all are back"
            );
        } else {
            warn!(
                flows,
                waiting_for_ovn_ms,
                without_ms,
                "somebody removed or changed flows of ours; those are back that can be, but OVN's own flows for some Pods' ports are missing: does ovn-controller run?"
            );
        }
    }

    /// Whether the switch is connected, and was not stalled when that was told last.
    pub(super) fn is_switch_heard(&self) -> bool {
        self.world.switch().is_ok() && !self.stalled
    }

    fn measure(&self, health: &Health) {
        let desired = self.world.plan().map_or(0, |plan| plan.flows.len());
        let metrics = &self.metrics;
        self.tell_connected("openflow", self.is_switch_heard());
        self.tell_connected("ovsdb", self.world.ovsdb().is_synced());
        if let Some(cluster) = self.world.cluster() {
            self.tell_connected("kubernetes", cluster.is_connected());
        }
        let sink = self.world.sink();
        let up = sink.link.as_ref().map(|link| link.up).or(sink.moved);
        let fault = self.world.switch().ok().and_then(|switch| switch.sink_port().fault());
        let has_carrier = sink.moved.is_some() || fault != Some(SinkFault::NoCarrier);
        metrics.mirror_nic_up.set((has_carrier && up.unwrap_or_default()).into());
        let audience = self.world.audience();
        metrics.listeners.set(audience.listeners.map(|number| number as f64));
        metrics.mirroring_paused.set(audience.is_paused().into());
        metrics.ready.set(health.ready.into());
        metrics.degraded.set((!health.degraded.is_empty()).into());
        metrics.flows_desired.set(desired as i64);
        metrics.flows_installed.set(desired.saturating_sub(self.missing) as i64);
        metrics.flows_missing.set(self.missing as i64);
        metrics.pods_wanted.set(self.world.wanted_pods() as i64);
        metrics.pods_mirrored.set(self.world.mirrored_pods() as i64);
        metrics.taps_rejected.reset();
        for rejected in self.world.plan().into_iter().flat_map(Plan::rejected) {
            metrics.taps_rejected.with_label_values(&[rejected.reason.name()]).inc();
        }
    }

    fn tell_connected(&self, to: &str, yes: bool) {
        let connected = self.metrics.connected.with_label_values(&[to]);
        let changed = self.metrics.connection_changed.with_label_values(&[to]);
        if connected.get() != i64::from(yes) || changed.get() == 0.0 {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            changed.set(now.unwrap_or_default().as_secs_f64());
        }
        connected.set(yes.into());
    }
}
