//! What the agent tells to those who ask.

use std::time::Instant;

use super::{Agent, TICK, traffic::series};
use crate::{
    cluster::Cluster,
    inquiry::Question,
    settings::{PodSource, host_name},
    sink::Facts,
    status::{Difference, Status, View, live::Live},
};

impl Agent {
    /// Answers with what is known now, and reads the counters, which are read more seldom while nobody asks: who asks
    /// again wants to see them move.
    pub(super) fn answer(&mut self, question: Question<Live>) {
        // Whoever asked may have gone meanwhile.
        let _ = question.send(self.live());
        if self.traffic.read.is_none_or(|read| read.elapsed() >= TICK)
            && let Some(switch) = self.world.switch_mut()
        {
            switch.reread();
            self.send_requests();
        }
    }

    fn live(&self) -> Live {
        let mut health = self.health.borrow().clone();
        health.remarks.extend(self.world.sink().warning.clone());
        Live {
            version: env!("CARGO_PKG_VERSION"),
            node: self.node_name(),
            uptime_seconds: self.begun.elapsed().as_secs_f64(),
            counted_seconds: self.traffic.read.map(|read| since(self.begun, read)),
            overhead: self.overhead.estimate(),
            health,
            status: self.status(),
        }
    }

    fn status(&self) -> Status {
        let world = &self.world;
        let switch = world.plan().zip(world.switch().ok());
        let difference = switch.map(|(plan, switch)| Difference::between(plan, switch.observed()));
        let view = View {
            settings: &self.settings,
            world,
            owner: self.ownership.owner(),
            sink: Facts {
                link: world.sink().link.as_ref(),
                mtu: world.demand().mtu,
                ..Facts::of(&self.settings.wish.bridge, &self.settings.nic, &world.ovsdb().snapshot)
            },
            difference: difference.as_ref(),
            openflow: self.is_switch_heard(),
            kubernetes: world.cluster().is_some_and(Cluster::is_connected),
        };
        let totals = self.traffic.totals();
        Status::of(&view, |selected, direction| totals.get(&series(selected, direction)).copied())
    }

    fn node_name(&self) -> Option<String> {
        match &self.settings.pods {
            PodSource::Kubernetes { node, .. } | PodSource::Unreadable { node, .. } => {
                Some(node.clone())
            }
            PodSource::Ovsdb => host_name().ok(),
        }
    }
}

/// In seconds.
fn since(begun: Instant, later: Instant) -> f64 {
    later.saturating_duration_since(begun).as_secs_f64()
}
