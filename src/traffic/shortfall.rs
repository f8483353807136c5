//! Copies that the copy flows sent to the mirror port and the port never took.
//!
//! The two counts come at different times and one of them late: the switch adds to a flow's count when a revalidator looks
//! at the datapath, at least every second, and to a port's count at once. So the port's count is taken over a longer time
//! than the flows': from `LAG` before the first reading of the flows to after the last one. If the port took fewer packets
//! even in that time, copies were lost for certain. A loss that is smaller than what the port took in the extra time is not
//! noticed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How late a flow's count may be. Open vSwitch's `max-revalidator` is 500 ms, and a busy switch takes longer.
const LAG: Duration = Duration::from_secs(4);
/// Over how long copies are compared.
const WINDOW: Duration = Duration::from_secs(60);
/// The most readings that are kept: one a second, which is the most that the agent takes, for the window and the lag.
const MOST: usize = 128;

/// Copies that were lost within the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Copies that the flows made.
    pub offered: u64,
    /// Of these, how many the port did not take, at least.
    pub lost: u64,
}

impl Lost {
    /// Whether the port took none at all.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.lost >= self.offered
    }
}

/// Totals of both counts over the last minute.
#[derive(Debug, Default)]
pub struct Shortfall {
    offered: VecDeque<(Instant, u64)>,
    taken: VecDeque<(Instant, u64)>,
}

impl Shortfall {
    /// All copies that the flows have made by `now`, as they have counted.
    pub fn offered(&mut self, total: u64, now: Instant) {
        push(&mut self.offered, total, now);
    }

    /// All packets that the port has taken by `now`, as it has counted.
    pub fn taken(&mut self, total: u64, now: Instant) {
        push(&mut self.taken, total, now);
    }

    /// The counts are of something else from now on.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// What was lost; none if nothing was, as far as is known.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        let (last_taken, taken_by_then) = *self.taken.back()?;
        let (first_taken, taken_before) = *self.taken.front()?;
        let known = self.offered.iter().filter(|(at, _)| *at <= last_taken);
        let (_, offered_by_then) = known.clone().next_back()?;
        let (start, offered_before) = known.clone().find(|(at, _)| *at >= first_taken + LAG)?;
        // The latest reading of the port that is early enough, so that the comparison is as sharp as it can be.
        let early = self.taken.iter().take_while(|(at, _)| *at + LAG <= *start).last();
        let taken_before = early.map_or(taken_before, |(_, total)| *total);
        let offered = offered_by_then.saturating_sub(*offered_before);
        let lost = offered.saturating_sub(taken_by_then.saturating_sub(taken_before));
        (lost > 0).then_some(Lost { offered, lost })
    }
}

fn push(readings: &mut VecDeque<(Instant, u64)>, total: u64, now: Instant) {
    readings.push_back((now, total));
    let is_old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) > WINDOW + LAG;
    while readings.len() > MOST || readings.front().is_some_and(is_old) {
        readings.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found lost when each of these readings comes five seconds after the one before.
    fn lost(readings: &[(u64, u64)]) -> Option<Lost> {
        let start = Instant::now();
        let mut shortfall = Shortfall::default();
        for (place, (offered, taken)) in readings.iter().enumerate() {
            let now = start + Duration::from_secs(5) * place as u32;
            shortfall.offered(*offered, now);
            shortfall.taken(*taken, now + Duration::from_millis(1));
        }
        shortfall.lost()
    }

    #[test]
    fn a_port_that_takes_nothing_is_noticed() {
        let lost = lost(&[(0, 0), (0, 0), (29, 0)]);
        assert_eq!(lost, Some(Lost { offered: 29, lost: 29 }));
        assert!(lost.is_some_and(|lost| lost.is_everything()));
    }

    #[test]
    fn a_port_that_takes_some_is_told_from_one_that_takes_none() {
        let some = lost(&[(0, 0), (0, 0), (100, 31)]);
        assert_eq!(some, Some(Lost { offered: 100, lost: 69 }));
        assert!(some.is_some_and(|lost| !lost.is_everything()));
    }

    #[test]
    fn flows_that_count_late_are_no_loss() {
        assert_eq!(
            lost(&[(0, 0), (0, 1000), (1000, 1000)]),
            None,
            "a burst before the second reading"
        );
        let steady: Vec<_> = (0..20).map(|step| (step * 1000, step * 1000 + 300)).collect();
        assert_eq!(lost(&steady), None);
        assert_eq!(lost(&[(0, 700), (700, 700), (700, 700)]), None, "the port was read first");
    }

    #[test]
    fn what_others_send_to_the_port_is_no_loss() {
        assert_eq!(lost(&[(0, 0), (0, 0), (10, 500)]), None);
    }

    #[test]
    fn a_loss_is_reported_for_a_minute_and_no_longer() {
        let mut readings = vec![(0, 0), (0, 0), (50, 0)];
        readings.extend(std::iter::repeat_n((50, 0), 10));
        assert!(lost(&readings).is_some());
        readings.extend(std::iter::repeat_n((50, 0), 5));
        assert_eq!(lost(&readings), None);
    }

    #[test]
    fn one_reading_says_nothing() {
        assert_eq!(lost(&[]), None);
        assert_eq!(lost(&[(500, 0)]), None, "what was before is not known");
    }
}
