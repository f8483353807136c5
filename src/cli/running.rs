//! The settings of the running agent, which those who look at its work go by.
//!
//! What an agent should do follows from its settings, so by others it would seem to do something wrong. Flags are for what it can't
//! tell, and for a node without an agent.

use std::net::SocketAddr;

use flows::marker::MarkerBits;

use super::{MarkerChoice, Node, nic_name, print};
use crate::{
    endpoint::Endpoint,
    observe::{self, ask_settings},
    settings::StatedSettings,
};

impl Node {
    /// Takes the settings of the agent that runs, and says on standard error where flags contradict them. Returns where to ask for its
    /// readiness; none if the agent that is there has another bridge, or nobody is to be asked.
    pub(super) async fn follow_agent(&mut self) -> Option<SocketAddr> {
        let address = self.agent_address()?;
        match ask_settings(address, observe::LIMIT).await {
            // Readiness says why nobody answers.
            Ok(None) => {}
            Ok(Some(theirs)) if self.is_given("bridge") && theirs.bridge != self.place.bridge => {
                print::tell(&format!(
                    "the agent at {address} has bridge {}, not {}: what follows is by the flags given here",
                    theirs.bridge, self.place.bridge
                ));
                return None;
            }
            Ok(Some(theirs)) => match self.adopt(&theirs) {
                Ok(contradictions) => contradictions.iter().for_each(|line| print::tell(line)),
                Err(reason) => print::tell(&unusable(address, &reason)),
            },
            Err(reason) => print::tell(&unusable(address, &reason)),
        }
        Some(address)
    }

    /// Takes these settings, and returns where flags contradict them.
    ///
    /// # Errors
    /// Something is among them that no agent can have.
    fn adopt(&mut self, theirs: &StatedSettings) -> Result<Vec<String>, String> {
        let contradictions = self.contradictions(theirs);
        let (bridge, mirror_iface) = (nic_name(&theirs.bridge)?, nic_name(&theirs.mirror_iface)?);
        let endpoint = |text: &String| text.parse::<Endpoint>().map_err(|error| error.to_string());
        let (ovsdb, openflow) = (endpoint(&theirs.ovsdb)?, endpoint(&theirs.openflow)?);
        self.pods.adopt(theirs)?;
        (self.place.bridge, self.mirror_iface) = (bridge, mirror_iface);
        self.mirror_iface_must_exist = theirs.mirror_iface_must_exist;
        self.mirror_when = theirs.mirror_when;
        let bits = theirs.marker_bits;
        self.marker_bits =
            MarkerChoice(bits.map(|[copied, delivered]| MarkerBits { copied, delivered }));
        // The agent's container may have sockets at paths where there are none here.
        let is_told = ["ovs_rundir", "ovsdb", "openflow"].iter().any(|id| self.is_given(id));
        if !is_told && is_here(&ovsdb) && is_here(&openflow) {
            self.place.ovs_rundir.clone_from(&theirs.ovs_rundir);
            (self.place.ovsdb, self.place.openflow) = (Some(ovsdb), Some(openflow));
        }
        self.is_agents = true;
        Ok(contradictions)
    }

    /// A line for each flag or variable that says something else than the running agent.
    fn contradictions(&self, theirs: &StatedSettings) -> Vec<String> {
        let pairs = self.stated().flags().into_iter().zip(theirs.flags());
        let contradicted = pairs.filter(|((flag, ours), (_, theirs))| {
            self.is_given(&flag.replace('-', "_")) && ours != theirs
        });
        let line = |((flag, ours), (_, theirs)): ((&str, String), (_, String))| {
            format!(
                "--{flag} is {ours:?} here, but {theirs:?} for the agent that runs: what follows is by the agent's settings; --status-addr=none asks no agent"
            )
        };
        contradicted.map(line).collect()
    }

    fn is_given(&self, id: &str) -> bool {
        self.given.contains(id)
    }

    fn stated(&self) -> StatedSettings {
        let rule = self.pods.rule();
        StatedSettings {
            bridge: self.place.bridge.clone(),
            mirror_iface: self.mirror_iface.clone(),
            mirror_iface_must_exist: self.mirror_iface_must_exist,
            mirror_when: self.mirror_when,
            enable_mirror: self.pods.enable_mirror,
            allow_namespaces: rule.allowed,
            deny_namespaces: rule.denied,
            pod_source: self.pods.stated_source(),
            node_name: self.pods.node_name().ok(),
            ovs_rundir: self.place.ovs_rundir.clone(),
            ovsdb: self.place.ovsdb().to_string(),
            openflow: self.place.openflow().to_string(),
            marker_bits: self.marker_bits.0.map(|bits| [bits.copied, bits.delivered]),
        }
    }
}

/// Whether there is something to connect to, as far as that can be told without connecting.
fn is_here(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(path) => path.exists(),
        Endpoint::Tcp { .. } => true,
    }
}

fn unusable(address: SocketAddr, reason: &str) -> String {
    format!(
        "the agent at {address} does not state its settings ({reason}): what follows is by the flags given here"
    )
}
