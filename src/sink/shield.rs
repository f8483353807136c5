//! Keeps the mirror NIC's filter installed for as long as the agent runs.
//!
//! Others may remove it: many firewalls begin with `nft flush ruleset`. The kernel numbers all changes of filters, so a look
//! at that number each second is enough, and the filter itself is read only after a change of whatever filter.

use std::time::Duration;

use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use super::{
    SinkState,
    host_stack::{HostStack, is_taken},
    keeper::Demand,
};
use crate::nic::{self, Ipv4, Link, Shield};

/// How often it is looked for changes; somebody who removes the filter again and again has it back no more often.
const LOOK: Duration = Duration::from_secs(1);

/// The filter for the mirror NIC as it is, and for its other end on the node, whose copies get to the host as is wished.
#[must_use]
pub fn shield(nic: &str, link: Option<&Link>, host_stack: HostStack) -> Shield {
    let peer = link.and_then(|link| link.reach.peer.as_deref());
    let ipv4 = match link {
        None => Ipv4::Nothing,
        Some(link) if is_taken(link) && peer.is_none() => Ipv4::Nothing,
        Some(_) if host_stack == HostStack::Reached => Ipv4::Icmp,
        Some(_) => Ipv4::Everything,
    };
    Shield::new(nic, peer, ipv4)
}

/// Installs the filter of a NIC that has been accepted as the mirror NIC. A failure is reported by [`keep`].
pub async fn raise(nic: &str, link: Option<&Link>, host_stack: HostStack) {
    let wanted = shield(nic, link, host_stack);
    // The kernel may take as long as its processors do.
    let _ = spawn_blocking(move || wanted.hold()).await;
}

/// Keeps the filter of `nic` installed, whose state `sinks` tells, while there is a demand for a mirror port: without one, the
/// bridge and perhaps the NIC are another agent's. It is installed only once the NIC is accepted as the mirror NIC, and comes
/// off one that is refused: it would cut off whoever else uses the NIC. Ends when one of the channels does.
pub async fn keep(
    nic: String,
    host_stack: HostStack,
    mut sinks: watch::Receiver<SinkState>,
    mut demands: watch::Receiver<Demand>,
) {
    let (mut held, mut reported) = (None, None);
    loop {
        if demands.wait_for(|demand| demand.mtu > 0).await.is_err() {
            return;
        }
        let (wanted, accepted, refused) = {
            let sink = sinks.borrow_and_update();
            let accepted = sink.ofport.is_some();
            (shield(&nic, sink.link.as_ref(), host_stack), accepted, sink.refused)
        };
        if refused && held.take().is_some() {
            let unwanted = wanted.clone();
            let _ = spawn_blocking(move || unwanted.lower()).await;
        }
        if !accepted && held.is_none() {
            if sinks.changed().await.is_err() {
                return;
            }
            continue;
        }
        let generation = nic::generation().ok();
        let now = generation.map(|generation| (generation, wanted.clone()));
        if now.is_none() || now != held {
            let missing = wanted.clone();
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
            let generation = nic::generation().ok().filter(|_| problem.is_none());
            held = generation.map(|generation| (generation, wanted));
            reported = problem;
        }
        tokio::select! {
            changed = sinks.changed() => if changed.is_err() { return },
            () = sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nic::{Drain, Master, Reach},
        sink::tests::quiet_link,
    };

    #[test]
    fn ipv4_is_filtered_only_where_copies_get_to_the_host() {
        let of = |link: &Link, wish| shield("mirror0", Some(link), wish);
        let plain = quiet_link();
        let drain = |leaks| Some(Drain { name: "mirror0-drain".to_owned(), leaks });
        let master = Some(Master { index: 3, name: Some("ovs-system".to_owned()) });
        let reach = Reach { peer: Some("peer0".to_owned()), ..Reach::default() };
        for (link, peer, ipv4) in [
            (&plain, None, Ipv4::Everything),
            (&Link { drain: drain(false), ..plain.clone() }, None, Ipv4::Nothing),
            (&Link { drain: drain(true), ..plain.clone() }, None, Ipv4::Everything),
            (&Link { master: master.clone(), ..plain.clone() }, None, Ipv4::Nothing),
            (&Link { master, reach, ..plain.clone() }, Some("peer0"), Ipv4::Everything),
        ] {
            assert_eq!(of(link, HostStack::Spared), Shield::new("mirror0", peer, ipv4));
        }
        let reached = of(&plain, HostStack::Reached);
        assert_eq!(reached, Shield::new("mirror0", None, Ipv4::Icmp));
        let absent = shield("mirror0", None, HostStack::Spared);
        assert_eq!(absent, Shield::new("mirror0", None, Ipv4::Nothing));
    }
}
