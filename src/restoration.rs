//! From a loss of flows to having them back, without the time that is spent waiting for OVN.
//!
//! Whoever takes flows of ours often takes OVN's too. As long as OVN delivers nothing to a Pod's port there is nothing to copy,
//! so the plan has no flows for it, and all others may be back long since. The loss is over when the plan serves
//! as much as before; what it took is the time in which flows of the plan were missing. No sockets, no clock.

use std::time::{Duration, Instant};

/// How long OVN's delivery flows are waited for until a loss is over without them.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the flows are at one moment of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// When the loss was noticed.
    pub lost: Instant,
    /// Whether the switch has all flows of the plan.
    pub complete: bool,
    /// Whether the plan serves as many taps as before the loss.
    pub served: bool,
    /// When that is.
    pub now: Instant,
}

/// A loss that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// How long flows of the plan were missing.
    pub missing: Duration,
    /// How long nothing was missing but OVN's delivery flows.
    pub waiting: Duration,
    /// Whether the plan serves as many taps as before; OVN's delivery flows may still not be there.
    pub served: bool,
}

/// Follows one loss after the other.
#[derive(Debug, Default)]
pub struct Restoration {
    last: Option<Sight>,
    missing: Duration,
}

impl Restoration {
    /// Takes in how the flows are; returns what it took once the loss is over.
    pub fn look(&mut self, sight: Sight) -> Option<Restored> {
        let Sight { lost, complete, served, now } = sight;
        let before = self.last.filter(|last| last.lost == lost);
        if before.is_none() {
            self.missing = Duration::ZERO;
        }
        let since = match before {
            None => Some(lost),
            Some(last) => (!last.complete).then_some(last.now),
        };
        self.missing += since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.last = Some(sight);
        let elapsed = now.saturating_duration_since(lost);
        if !complete || !served && elapsed < PATIENCE {
            return None;
        }
        self.last = None;
        Some(Restored {
            missing: self.missing,
            waiting: elapsed.saturating_sub(self.missing),
            served,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Looks at a loss, each time so many milliseconds after it was noticed: whether the plan is complete, and whether it
    /// serves all.
    fn look(restoration: &mut Restoration, looks: &[(u64, bool, bool)]) -> Option<Restored> {
        let lost = Instant::now();
        let mut over = None;
        for (after, complete, served) in looks {
            assert_eq!(over, None, "it was over before");
            over = restoration.look(Sight {
                lost,
                complete: *complete,
                served: *served,
                now: lost + MS(*after),
            });
        }
        over
    }

    fn restored(missing: u64, waiting: u64, served: bool) -> Option<Restored> {
        Some(Restored { missing: MS(missing), waiting: MS(waiting), served })
    }

    #[test]
    fn a_loss_of_ours_alone_took_as_long_as_our_flows_were_missing() {
        let mut restoration = Restoration::default();
        assert_eq!(look(&mut restoration, &[(0, false, true)]), None);
        assert_eq!(
            look(&mut restoration, &[(0, false, true), (4, true, true)]),
            restored(4, 0, true)
        );
        assert_eq!(look(&mut restoration, &[(3, true, true)]), restored(3, 0, true), "another");
    }

    #[test]
    fn what_ovns_flows_took_to_come_back_is_not_our_time() {
        let looks = [
            (0, false, false),
            (2, true, false),
            // OVN's flows come, and ours for them are missing.
            (152, false, true),
            (155, true, true),
        ];
        assert_eq!(look(&mut Restoration::default(), &looks), restored(5, 150, true));
    }

    #[test]
    fn ovns_flows_are_not_waited_for_for_ever_and_their_absence_is_still_not_our_time() {
        let looks = [(0, false, false), (2, true, false), (29_999, true, false)];
        let mut restoration = Restoration::default();
        assert_eq!(look(&mut restoration, &looks), None);
        let looks = [(0, false, false), (2, true, false), (30_001, true, false)];
        assert_eq!(look(&mut restoration, &looks), restored(2, 29_999, false));
    }

    #[test]
    fn flows_of_ours_that_stay_away_for_long_are_told_with_all_that_time() {
        let looks = [(0, false, true), (60_000, false, true), (61_000, true, true)];
        assert_eq!(look(&mut Restoration::default(), &looks), restored(61_000, 0, true));
    }
}
