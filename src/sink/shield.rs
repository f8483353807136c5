//! Keeps the mirror NIC's filter installed for as long as the agent runs.
//!
//! Others may remove it: many firewalls begin with `nft flush ruleset`. The kernel numbers all changes of filters, so a look
//! at that number each second is enough, and the filter itself is read only after a change of whatever filter.

use std::time::Duration;

use tokio::{task::spawn_blocking, time::sleep};

use super::host_stack::HostStack;
use crate::nic::{self, Shield};

/// How often it is looked for changes; somebody who removes the filter again and again has it back no more often.
const LOOK: Duration = Duration::from_secs(1);

/// The filter for a NIC, and for its other end on the node, whose copies get to the host as is wished.
#[must_use]
pub fn shield(nic: &str, peer: Option<&str>, host_stack: HostStack) -> Shield {
    Shield::new(nic, peer, host_stack == HostStack::Reached)
}

/// Keeps the filter of `nic` installed; ends by being dropped.
pub async fn keep(nic: String, host_stack: HostStack) {
    let (mut seen, mut reported) = (None, None);
    loop {
        let peer = nic::peer(&nic).await.unwrap_or_default();
        let now = nic::generation().ok().map(|generation| (generation, peer.clone()));
        if now.is_none() || now != seen {
            let missing = shield(&nic, peer.as_deref(), host_stack);
            // The kernel lets go of filters only after all processors have.
            let problem = match spawn_blocking(move || missing.hold()).await {
                Ok(result) => result.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = problem.as_ref().filter(|_| problem != reported) {
                tracing::warn!(
                    error,
                    "only the bridge on the mirror NIC keeps copies from the node's network stack"
                );
            }
            seen = nic::generation().ok().map(|generation| (generation, peer));
            if problem.is_some() {
                seen = None;
            }
            reported = problem;
        }
        sleep(LOOK).await;
    }
}
