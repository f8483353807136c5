//! The end of the agent: everything of ours is taken away, within two seconds at most.
//!
//! Of ours is only what an agent that has the bridge finds there: flows that bear our mark, and a mirror port that does, with
//! its bridge. An agent that never had the bridge, as another has it or as Open vSwitch was never reached, has nothing to
//! take away, whatever names it may find.

use std::{fmt::Display, future::pending, time::Duration};

use flows::{model::Cookie, ofp::FlowMod};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Agent;
use crate::{
    nic,
    openflow::{connection::ConnectionError, session::Event},
    ovsdb::{self, mirror_port},
    sink,
    switch::Tag,
};

/// How long taking each of flows, bridge and port away may take, and what those before it have left of theirs.
const STEP: Duration = Duration::from_millis(600);

impl Agent {
    pub(super) async fn say_farewell(&mut self) {
        self.keeper.abort();
        self.shield.abort();
        if self.manners.keep_on_exit {
            info!("stopping; flows and mirror port stay as they are, as asked");
            return;
        }
        if !self.ownership.is_held() {
            info!("stopping; nothing was changed");
            return;
        }
        let start = Instant::now();
        if by(start + STEP, "the switch", "our flows", self.remove_flows()).await {
            info!("our flows are gone");
            self.pod_log.end(&self.settings.nic, "the agent stops");
        }
        // One that this agent has not seen on its port may be another agent's.
        if self.has_drain() {
            let bridge = "the bridge that keeps copies from the host";
            let removal = nic::leave_to_host(&self.settings.nic);
            by(start + 2 * STEP, "the kernel", bridge, removal).await;
        }
        by(start + 3 * STEP, "OVSDB", "the mirror port", self.remove_port()).await;
        // Last, as it is to hold as long as a copy may come.
        let shield = sink::shield::shield(&self.settings.nic, None, self.manners.host_stack);
        by(start + 3 * STEP, "the kernel", "the mirror NIC's filter", async { shield.lower() })
            .await;
    }

    async fn remove_flows(&mut self) -> Result<(), ConnectionError> {
        let Ok(switch) = self.world.switch() else { return pending().await };
        // What a repair under way will have installed is not known yet.
        let everything = match self.repair {
            None => switch.removal(),
            Some(_) => vec![FlowMod::delete_by_cookie(Cookie::OURS, Cookie::TAG_MASK)],
        };
        let mut sent = false;
        loop {
            if !sent {
                // While a repair is under way the switch takes no other bundle from us.
                let connection = self.openflow.connection();
                sent = connection
                    .is_some_and(|connection| connection.commit(Tag::Remove, everything.clone()));
            }
            if let Event::Bundle { tag: Tag::Remove, .. } = self.openflow.next().await? {
                return Ok(());
            }
        }
    }

    /// Whether the bridge that keeps copies from the host belongs to a mirror port of this agent, as last seen.
    fn has_drain(&self) -> bool {
        let sink = self.world.sink();
        let seen = sink.link.as_ref().is_some_and(|link| link.drain.is_some());
        (sink.internal && seen) || self.our_port().is_some()
    }

    /// The mirror port, if it is to be taken off the bridge.
    fn our_port(&self) -> Option<(&ovsdb::Bridge, &ovsdb::Port)> {
        let (settings, snapshot) = (&self.settings, &self.world.ovsdb().snapshot);
        let facts = sink::Facts::of(&settings.wish.bridge, &settings.nic, snapshot);
        let (bridge, port, interface) = sink::port(&facts)?;
        sink::may_remove(port, interface).then_some((bridge, port))
    }

    async fn remove_port(&self) -> Result<(), ovsdb::OvsdbError> {
        if let Some((bridge, port)) = self.our_port() {
            let removal = mirror_port::remove_port(bridge, port, sink::OWNER);
            self.ovsdb.transact(removal).await?;
            info!(nic = self.settings.nic, "our mirror port is gone");
        }
        Ok(())
    }
}

/// Takes something away, and tells if it may be left; returns whether it is gone.
async fn by<E: Display>(
    deadline: Instant,
    who: &str,
    what: &str,
    removal: impl Future<Output = Result<(), E>>,
) -> bool {
    match timeout_at(deadline, removal).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => warn!(%error, "{what} may be left"),
        Err(_) => warn!("no answer from {who} in time; {what} may be left"),
    }
    false
}
