//! Whether copies get into the host's network stack, which has no use for them.
//!
//! It drops what has somebody else's hardware address at once. But at broadcasts and multicasts it looks for longer than it
//! took to copy them, and services of the node may hear them.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::time::sleep;

use super::{Facts, is_ours, port};
use crate::nic::{self, Link, NicError};

/// Whether copies get into the host's network stack, after packet sockets have had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HostStack {
    /// They don't, unless a device, a tc filter, an XDP program or a packet socket for one protocol on the mirror NIC may want
    /// them: no service of the node hears what Pods broadcast, and copies of that are cheaper by half
    #[default]
    Spared,
    /// They do, as with any NIC: a bridge or a macvlan can be put on it
    Reached,
}

/// How long it takes at least until it is done again: somebody may undo it each time.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps copies from the host's network stack, where nobody behind it may want them.
#[derive(Debug)]
pub struct Sparing {
    wish: HostStack,
    /// The NIC as it was when the kernel refused.
    refused: Option<Link>,
    /// When it was done last.
    done: Option<Instant>,
}

impl Sparing {
    /// As is wished.
    #[must_use]
    pub fn new(wish: HostStack) -> Self {
        Self { wish, refused: None, done: None }
    }

    /// The NIC, if there is something to be done about it. `by_protocol` tells of packet sockets for one protocol on it.
    #[must_use]
    pub fn due<'a>(&self, facts: &Facts<'a>, by_protocol: bool) -> Option<&'a Link> {
        let link = facts.link.filter(|link| self.refused.as_ref() != Some(*link))?;
        let wanted = self.wish == HostStack::Spared && !by_protocol && may_be_spared(facts, link);
        (wanted != link.kept_from_host).then_some(link)
    }

    /// Does it. Mirroring goes on without it where the kernel refuses: it only saves processor time.
    ///
    /// # Errors
    /// Copies are still kept from somebody who may want them.
    pub async fn settle(&mut self, link: &Link) -> Result<(), NicError> {
        if link.kept_from_host {
            return nic::leave_to_host(&link.name).await;
        }
        if self.done.is_some_and(|done| done.elapsed() < PAUSE) {
            sleep(PAUSE).await;
        }
        self.done = Some(Instant::now());
        if let Err(error) = nic::take_from_host(link).await {
            tracing::warn!(%error, "copies go on to the host's network stack, where services of the node may hear broadcasts");
            self.refused = Some(link.clone());
        }
        Ok(())
    }
}

/// Whether nothing but copies comes in by the NIC, and nobody gets them but packet sockets and the host's network stack, as
/// far as can be seen.
fn may_be_spared(facts: &Facts<'_>, link: &Link) -> bool {
    let is_made_for_copies = port(facts)
        .is_some_and(|(_, port, interface)| is_ours(port) && interface.kind == "internal");
    is_made_for_copies && link.master.is_none() && link.outlets.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tests::{Database, facts, quiet_link};

    /// What is done about a NIC: nothing, or whether copies are kept from the host then.
    fn done(wish: HostStack, database: &Database, link: &Link) -> Option<bool> {
        let snapshot = database.snapshot();
        let due = Sparing::new(wish).due(&facts(&snapshot, Some(link)), false)?.kept_from_host;
        Some(!due)
    }

    #[test]
    fn copies_are_kept_from_the_host_on_a_port_that_is_there_for_them() {
        let (fresh, kept) = (quiet_link(), Link { kept_from_host: true, ..quiet_link() });
        let ours = Database::with_port();
        assert_eq!(done(HostStack::Spared, &ours, &fresh), Some(true));
        assert_eq!(done(HostStack::Spared, &ours, &kept), None);
        assert_eq!(done(HostStack::Reached, &ours, &fresh), None);
        assert_eq!(done(HostStack::Reached, &ours, &kept), Some(false), "it was wished once");

        let others = Database::with_port().of_others();
        assert_eq!(done(HostStack::Spared, &others, &fresh), None);
        let device = Database::with_port().interface(|row| row.kind.clear());
        assert_eq!(done(HostStack::Spared, &device, &fresh), None, "more than copies comes in");
    }

    #[test]
    fn whoever_may_want_copies_behind_packet_sockets_gets_them() {
        let outlets = vec!["the device vlan5 on it".to_owned()];
        let master = Some(nic::Master { index: 9, name: Some("br-ids".to_owned()) });
        for link in [Link { outlets, ..quiet_link() }, Link { master, ..quiet_link() }] {
            let ours = Database::with_port();
            assert_eq!(done(HostStack::Spared, &ours, &link), None);
            let kept = Link { kept_from_host: true, ..link };
            assert_eq!(done(HostStack::Spared, &ours, &kept), Some(false));
        }
        let snapshot = Database::with_port().snapshot();
        let sparing = Sparing::new(HostStack::Spared);
        let kept = Link { kept_from_host: true, ..quiet_link() };
        for (link, changes) in [(&quiet_link(), false), (&kept, true)] {
            let due = sparing.due(&facts(&snapshot, Some(link)), true);
            assert_eq!(due.is_some(), changes, "packet sockets for one protocol come after");
        }
    }

    #[tokio::test]
    async fn a_kernel_that_refuses_is_asked_again_only_when_the_nic_has_changed() {
        let snapshot = Database::with_port().snapshot();
        // There is no link of this number.
        let link = Link { index: i32::MAX as u32, ..quiet_link() };
        let mut sparing = Sparing::new(HostStack::Spared);
        let due = sparing.due(&facts(&snapshot, Some(&link)), false).expect("it is not kept yet");
        sparing.settle(due).await.expect("mirroring goes on");
        assert_eq!(sparing.due(&facts(&snapshot, Some(&link)), false), None);
        let changed = Link { mtu: 9000, ..link };
        assert!(sparing.due(&facts(&snapshot, Some(&changed)), false).is_some());
    }
}
