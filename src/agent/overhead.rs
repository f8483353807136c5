//! The agent's part that measures what mirroring costs.

use std::time::Instant;

use flows::{
    model::OfPort,
    ofp::{MultipartReply, MultipartRequest},
};

use super::Agent;
use crate::{
    openflow::session::Event,
    overhead::{Bridge, Situation, processor, window::Hooks},
    switch::{Switch, Tag},
    traffic::copies,
};

/// Where ovs-vswitchd leaves its process number, in the folder of its sockets.
pub const PIDFILE: &str = "ovs-vswitchd.pid";

impl Agent {
    /// Does what is due; returns whether that changes what is to be done.
    pub(super) fn measure_overhead(&mut self) -> bool {
        let connected = self.world.switch().is_ok();
        let due = self.overhead.wake(Instant::now(), connected);
        if due.read {
            let everyone = MultipartRequest::PortStats(OfPort::ANY);
            match self.openflow.connection() {
                Some(connection) => connection.ask(Tag::Ports, everyone),
                None => self.overhead.abandon(),
            }
        }
        due.replan
    }

    /// Takes in what the switch counted at its ports; gives back any other event.
    pub(super) fn hear_of_ports(&mut self, event: Event<Tag>) -> Option<Event<Tag>> {
        match event {
            Event::Part { tag: Tag::Ports, body, more } => {
                if let MultipartReply::PortStats(stats) = body {
                    let sides = self.world.sides();
                    for stats in &stats {
                        let counters = sides.side(stats.port).read(stats);
                        if let Some(received) = counters.received_packets {
                            self.evidence.coverage.take_in_port(stats.port, received);
                        }
                    }
                    self.overhead.hear(stats);
                }
                if !more {
                    let bridge = Bridge {
                        sink: self.world.sink().ofport,
                        datapath: self.world.datapath(),
                        sides: self.world.sides(),
                    };
                    let time = processor::read(&self.settings.run_folder.join(PIDFILE));
                    self.compare_ports(Instant::now());
                    self.overhead.finish(&bridge, time, Instant::now());
                }
                None
            }
            Event::Refused { tag: Tag::Ports, error } => {
                tracing::debug!(%error, "the switch does not tell what its ports counted");
                self.overhead.abandon();
                None
            }
            event => Some(event),
        }
    }

    /// Sees to it that hooks are lifted for a moment, or no more.
    pub(super) fn lift(&mut self) {
        let lost = self.world.switch().is_ok_and(|switch| switch.loss().is_some());
        let lifted = self.overhead.lifted(|| self.world.hooked(), lost, Instant::now());
        self.world.lift(lifted);
    }

    /// Tells how our flows are.
    pub(super) fn look_at_hooks(&mut self) {
        let situation = match self.world.switch() {
            Ok(switch) if switch.is_known() => Situation {
                hooks: Some(self.hooks(switch)),
                changing: self.repair.is_some() || switch.loss().is_some(),
                calm: self.is_complete() && switch.loss().is_none() && self.rescan.is_none(),
            },
            _ => Situation::default(),
        };
        self.overhead.look(situation, Instant::now());
    }

    fn hooks(&self, switch: &Switch) -> Hooks {
        match switch.observed().cookies().any(copies) {
            false => Hooks::None,
            true if self.overhead.is_lifting() => Hooks::Some,
            true => Hooks::All,
        }
    }
}
