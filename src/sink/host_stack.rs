//! Whether copies get into the host's network stack, which has no use for them.
//!
//! It drops what has somebody else's hardware address at once. But at broadcasts and multicasts it looks for longer than it
//! took to copy them, and services of the node may hear them.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::{Facts, is_ours, port, shield::shield};
use crate::nic::{self, Link, NicError};

/// Who owns a NIC that is attached to the kernel's datapath, and takes all that comes in by it.
const SWITCH: &str = "ovs-system";

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

/// How long it takes until it is done again, should somebody undo it; twice as long each time, as he may go on.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Keeps copies from the host's network stack, where nobody behind it may want them.
///
/// That saves processor time, and is one of three things that each keep a Pod's frames from changing the node: the others are
/// IPv6 that is off, for which `/proc/sys` must be writable, and the filter of [`shield`]. Where neither of these can be had,
/// the bridge stays whoever may want the copies, and without the bridge nothing is copied.
#[derive(Debug)]
pub struct Sparing {
    wish: HostStack,
    /// Sees to it that a NIC's filter is there; returns whether it is.
    shielded: fn(&Link, HostStack) -> bool,
    /// The NIC as it was when the kernel refused, and why it did.
    refused: Option<(Link, String)>,
    /// Not to be done before then.
    next: Option<Instant>,
    pause: Duration,
}

/// What is to be done about a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Copies are to be kept from the host, all of them.
    Take,
    /// They are to get there.
    Leave,
}

impl Sparing {
    /// As is wished.
    #[must_use]
    pub fn new(wish: HostStack) -> Self {
        let shielded = |link: &Link, wish| {
            let shield = shield(&link.name, Some(link), wish);
            // Nothing else keeps ARP from the other end of a pair, where the node may answer and learn.
            let held = if link.reach.peer.is_some() { shield.hold() } else { shield.hold_ipv6() };
            held.is_ok()
        };
        Self { wish, shielded, refused: None, next: None, pause: PAUSE }
    }

    /// What is wished.
    #[must_use]
    pub fn wish(&self) -> HostStack {
        self.wish
    }

    /// The NIC, if there is something to be done about it now, and what. `by_protocol` looks for packet sockets for one protocol
    /// on it, if that matters.
    #[must_use]
    pub fn due<'a>(
        &self,
        facts: &Facts<'a>,
        by_protocol: impl FnOnce(&Link) -> bool,
    ) -> Option<(&'a Link, Due)> {
        let link = facts.link?;
        let needed = self.needs_bridge(link);
        let wanted = is_made_for_copies(facts)
            && link.master.is_none()
            && (needed
                || (self.wish == HostStack::Spared
                    && link.outlets.is_empty()
                    && !by_protocol(link)));
        match &link.drain {
            Some(_) if !wanted => Some((link, Due::Leave)),
            Some(drain) if !drain.leaks => None,
            None if !wanted => None,
            // What is only to save time is not attempted again as long as nothing changes.
            _ if self.pause().is_some() || (!needed && self.refusal(link).is_some()) => None,
            _ => Some((link, Due::Take)),
        }
    }

    /// Whether nothing else than the bridge keeps a router advertisement among the copies from changing the node.
    fn needs_bridge(&self, link: &Link) -> bool {
        let ipv6 = link.ipv6.as_ref().is_some_and(|ipv6| !ipv6.disabled);
        ipv6 && !(self.shielded)(link, self.wish)
    }

    /// Why nothing may be copied to a NIC: a Pod could change the node's routes and addresses by what it sends.
    #[must_use]
    pub fn exposure(&self, facts: &Facts<'_>) -> Option<String> {
        let (_, _, interface) = port(facts)?;
        let (link, nic) = (facts.link?, facts.nic);
        if interface.kind != "internal" {
            let peer = link.reach.peer.as_ref().filter(|_| !(self.shielded)(link, self.wish))?;
            return Some(format!(
                "nothing is copied to {nic}, as it leads to {peer} on this node, and nothing would keep router advertisements and ARP of Pods from the node: the kernel refuses a filter of nftables"
            ));
        }
        if is_taken(link) || !self.needs_bridge(link) {
            return None;
        }
        Some(format!(
            "nothing is copied to {nic}, as nothing would keep router advertisements of Pods from the node: /proc/sys can't be written to turn IPv6 off, the kernel refuses a filter of nftables, and a bridge can't take the copies ({})",
            self.refusal(link).unwrap_or("it belongs to others")
        ))
    }

    /// Why copies get to the host though that is not wished, on a NIC that is there for them.
    #[must_use]
    pub fn warning(
        &self,
        facts: &Facts<'_>,
        by_protocol: impl FnOnce(&Link) -> bool,
    ) -> Option<String> {
        let link = facts.link.filter(|_| is_made_for_copies(facts))?;
        let kept = link.drain.as_ref().is_some_and(|drain| !drain.leaks);
        if self.wish == HostStack::Reached || kept {
            return None;
        }
        let reason = if let Some(master) = &link.master {
            format!("it belongs to {master}")
        } else if !link.outlets.is_empty() {
            format!("it has {}, which may want them", link.outlets.join(", "))
        } else if by_protocol(link) {
            "a packet socket for one protocol on it wants them".to_owned()
        } else {
            self.refusal(link)?.to_owned()
        };
        let nic = facts.nic;
        Some(format!("copies on {nic} get to the host's network stack, too: {reason}"))
    }

    /// What the kernel said when it was asked of this very NIC.
    fn refusal(&self, link: &Link) -> Option<&str> {
        self.refused.as_ref().filter(|(refused, _)| refused == link).map(|(_, why)| why.as_str())
    }

    /// How long nothing is to be done, if so.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        let left = self.next?.saturating_duration_since(Instant::now());
        (left > Duration::ZERO).then_some(left)
    }

    /// Does what is due. Mirroring goes on without it where the kernel refuses: it only saves processor time.
    ///
    /// # Errors
    /// Copies are still kept from somebody who may want them.
    pub async fn settle(&mut self, link: &Link, due: Due) -> Result<(), NicError> {
        if due == Due::Leave {
            return nic::leave_to_host(&link.name).await;
        }
        let now = Instant::now();
        if self.next.is_some_and(|next| now > next + LONGEST) {
            self.pause = PAUSE;
        }
        self.next = Some(now + self.pause);
        self.pause = (2 * self.pause).min(LONGEST);
        if let Err(error) = nic::take_from_host(link).await {
            tracing::warn!(%error, "copies go on to the host's network stack, where services of the node may hear broadcasts");
            self.refused = Some((link.clone(), error.to_string()));
        }
        Ok(())
    }
}

/// Whether all that comes in by a link is taken before the host's own protocols get it: by our bridge, or by the switch.
pub(super) fn is_taken(link: &Link) -> bool {
    let drained = link.drain.as_ref().is_some_and(|drain| !drain.leaks);
    drained || link.master.as_ref().is_some_and(|owner| owner.name.as_deref() == Some(SWITCH))
}

/// Whether nothing but copies comes in by the NIC.
fn is_made_for_copies(facts: &Facts<'_>) -> bool {
    port(facts).is_some_and(|(_, port, interface)| is_ours(port) && interface.kind == "internal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::Drain;
    use crate::sink::tests::{Database, facts, quiet_link};

    /// On a node whose kernel keeps what comes in by a NIC from IPv6, too.
    fn sparing(wish: HostStack) -> Sparing {
        Sparing { shielded: |_, _| true, ..Sparing::new(wish) }
    }

    fn drained(link: Link) -> Link {
        Link { drain: Some(Drain { name: "mirror0-drain".to_owned(), leaks: false }), ..link }
    }

    #[tokio::test]
    async fn who_undoes_it_each_time_has_it_done_more_and_more_seldom() {
        let snapshot = Database::with_port().snapshot();
        let mut spared = sparing(HostStack::Spared);
        assert_eq!(spared.pause(), None);
        let mut last = Duration::ZERO;
        for number in 0..5 {
            // There is no such link, and each time it is another.
            let link = Link { index: i32::MAX as u32, mtu: 2000 + number, ..quiet_link() };
            spared.settle(&link, Due::Take).await.expect("mirroring goes on");
            let pause = spared.pause().expect("not at once again");
            assert!(pause > last, "{pause:?} after {last:?}");
            last = pause;
            let changed = Link { mtu: 9000, ..link };
            assert_eq!(spared.due(&facts(&snapshot, Some(&changed)), |_| false), None);
            let kept = drained(changed);
            let due = spared.due(&facts(&snapshot, Some(&kept)), |_| true);
            assert_eq!(due, Some((&kept, Due::Leave)), "who may want copies does not wait");
        }
    }

    /// What is done about a NIC: nothing, or whether copies are kept from the host then.
    fn done(wish: HostStack, database: &Database, link: &Link) -> Option<bool> {
        let snapshot = database.snapshot();
        let (_, due) = sparing(wish).due(&facts(&snapshot, Some(link)), |_| false)?;
        Some(due == Due::Take)
    }

    #[test]
    fn copies_are_kept_from_the_host_on_a_port_that_is_there_for_them() {
        let (fresh, kept) = (quiet_link(), drained(quiet_link()));
        let leaking = Some(Drain { name: "mirror0-drain".to_owned(), leaks: true });
        let leaking = Link { drain: leaking, ..quiet_link() };
        let ours = Database::with_port();
        assert_eq!(done(HostStack::Spared, &ours, &fresh), Some(true));
        assert_eq!(done(HostStack::Spared, &ours, &kept), None);
        assert_eq!(done(HostStack::Spared, &ours, &leaking), Some(true), "it is up");
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
            let kept = drained(link);
            assert_eq!(done(HostStack::Spared, &ours, &kept), Some(false));
        }
        let snapshot = Database::with_port().snapshot();
        let spared = sparing(HostStack::Spared);
        let kept = drained(quiet_link());
        for (link, changes) in [(&quiet_link(), false), (&kept, true)] {
            let due = spared.due(&facts(&snapshot, Some(link)), |_| true);
            assert_eq!(due.is_some(), changes, "packet sockets for one protocol come after");
        }
    }

    #[test]
    fn why_the_host_gets_copies_is_told_where_that_is_not_wished() {
        let outlets = vec!["tc filters".to_owned()];
        let tapped = Link { outlets, ..quiet_link() };
        let snapshot = Database::with_port().snapshot();
        let told = |wish, link: &Link, by_protocol| {
            sparing(wish).warning(&facts(&snapshot, Some(link)), |_| by_protocol)
        };
        for (link, by_protocol, reason) in [
            (&tapped, false, "it has tc filters"),
            (&quiet_link(), true, "a packet socket for one protocol"),
        ] {
            let words = told(HostStack::Spared, link, by_protocol).unwrap_or_default();
            assert!(words.contains(reason), "{words}");
            assert_eq!(told(HostStack::Reached, link, by_protocol), None);
        }
        assert_eq!(told(HostStack::Spared, &drained(quiet_link()), false), None);
        assert_eq!(told(HostStack::Spared, &quiet_link(), false), None, "it is about to be done");
    }

    #[tokio::test]
    async fn a_kernel_that_refuses_is_asked_again_only_when_the_nic_has_changed() {
        let snapshot = Database::with_port().snapshot();
        // There is no link of this number.
        let link = Link { index: i32::MAX as u32, ..quiet_link() };
        let mut spared = sparing(HostStack::Spared);
        let due = spared.due(&facts(&snapshot, Some(&link)), |_| false);
        let (due, what) = due.expect("it is not kept yet");
        spared.settle(due, what).await.expect("mirroring goes on");
        spared.next = None;
        assert_eq!(spared.due(&facts(&snapshot, Some(&link)), |_| false), None);
        let told = spared.warning(&facts(&snapshot, Some(&link)), |_| false).unwrap_or_default();
        assert!(
            told.starts_with("copies on mirror0 get to the host's network stack, too: "),
            "{told}"
        );
        assert!(told.contains("No such device"), "{told}");
        let changed = Link { mtu: 9000, ..link };
        assert!(spared.due(&facts(&snapshot, Some(&changed)), |_| false).is_some());
    }

    #[test]
    fn where_only_the_bridge_keeps_the_node_unchanged_it_stays_or_nothing_is_copied() {
        let ipv6 = Some(nic::Ipv6 { address_generation_off: true, ..nic::Ipv6::default() });
        let bare = Link { ipv6, ..quiet_link() };
        let kept = drained(bare.clone());
        let tapped = Link { outlets: vec!["tc filters".to_owned()], ..kept.clone() };
        let snapshot = Database::with_port().snapshot();
        for wish in [HostStack::Spared, HostStack::Reached] {
            let bridged = Sparing { shielded: |_, _| false, ..Sparing::new(wish) };
            for link in [&kept, &tapped] {
                let facts = facts(&snapshot, Some(link));
                assert_eq!(bridged.due(&facts, |_| true), None, "whoever wants copies");
                assert_eq!(bridged.exposure(&facts), None);
            }
            let facts = facts(&snapshot, Some(&bare));
            assert_eq!(bridged.due(&facts, |_| true), Some((&bare, Due::Take)));
            let why = bridged.exposure(&facts).unwrap_or_default();
            assert!(why.starts_with("nothing is copied to mirror0"), "{why}");
            assert_eq!(sparing(wish).exposure(&facts), None, "the filter does");
        }
        let bridged = Sparing { shielded: |_, _| false, ..Sparing::new(HostStack::Spared) };
        let exposure = |database: &Database, link: &Link| {
            bridged.exposure(&facts(&database.snapshot(), Some(link)))
        };
        assert_eq!(exposure(&Database::with_port(), &quiet_link()), None, "IPv6 is off");
        assert!(exposure(&Database::with_port().of_others(), &bare).is_some());
        let device = Database::with_port().interface(|row| row.kind.clear());
        assert_eq!(exposure(&device, &bare), None, "copies leave by it");
        let peer = Some("peer0".to_owned());
        let paired = Link { reach: nic::Reach { peer, ..nic::Reach::default() }, ..bare };
        assert!(exposure(&device, &paired).is_some(), "and come in by its other end");
    }
}
