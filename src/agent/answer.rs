//! What the agent tells to those who ask.

use std::fs;

use super::Agent;
use crate::{
    cluster::Cluster,
    inquiry::Question,
    settings::PodSource,
    sink::Facts,
    status::{Difference, Status, View, live::Live},
};

/// Where the kernel tells the host's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

impl Agent {
    /// Answers; whoever asked may have gone meanwhile.
    pub(super) fn answer(&self, question: Question<Live>) {
        let _ = question.send(self.live());
    }

    fn live(&self) -> Live {
        let mut health = self.health.borrow().clone();
        health.remarks.extend(self.world.sink().warning.clone());
        Live {
            version: env!("CARGO_PKG_VERSION"),
            node: self.node_name(),
            uptime_seconds: self.begun.elapsed().as_secs_f64(),
            health,
            status: self.status(),
        }
    }

    fn status(&self) -> Status {
        let world = &self.world;
        let switch = self.plan.as_ref().zip(world.switch().ok());
        let difference = switch.map(|(plan, switch)| Difference::between(plan, switch.observed()));
        let view = View {
            settings: &self.settings,
            world,
            sink: Facts {
                bridge: &self.settings.wish.bridge,
                nic: &self.settings.nic,
                snapshot: &world.ovsdb().snapshot,
                link: world.sink().link.as_ref(),
                mtu: world.demand().mtu,
            },
            plan: self.plan.as_ref(),
            difference: difference.as_ref(),
            kubernetes: world.cluster().is_some_and(Cluster::is_connected),
        };
        // Nobody reads yet what the flows count.
        Status::of(&view, |_, _| None)
    }

    fn node_name(&self) -> Option<String> {
        match &self.settings.pods {
            PodSource::Kubernetes { node, .. } => Some(node.clone()),
            PodSource::Ovsdb => {
                fs::read_to_string(HOSTNAME).ok().map(|name| name.trim().to_owned())
            }
        }
    }
}
