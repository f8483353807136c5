//! Windows of one kind, a bounded number of them.
//!
//! When there are too many, neighbours are joined, and from then on each batch takes as many windows as the old ones
//! have. So the variance between batches tells of slow changes too, which that between short windows next to each other
//! would hide (the method of batch means; Law, "Simulation Modeling and Analysis", 9.5.3).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::window::Window;

/// The most batches that are kept.
const MOST: usize = 64;
/// How long a batch counts. What traffic costs changes with the traffic.
pub(super) const LIFE: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Debug)]
pub(super) struct Batches {
    whole: VecDeque<Window>,
    /// The batch that is not complete yet, and how many windows it has.
    open: Option<(Window, u32)>,
    /// How many windows make a batch.
    size: u32,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self { whole: VecDeque::new(), open: None, size: 1 }
    }

    pub(super) fn push(&mut self, window: Window) {
        self.expire(window.ended);
        let (batch, windows) = match self.open.take() {
            Some((batch, windows)) => (batch.join(window), windows + 1),
            None => (window, 1),
        };
        if windows < self.size {
            self.open = Some((batch, windows));
            return;
        }
        self.whole.push_back(batch);
        if self.whole.len() > MOST {
            // An odd one is the newest, which goes on as the open batch.
            if self.whole.len() % 2 == 1 {
                self.open = self.whole.pop_back().map(|batch| (batch, self.size));
            }
            self.whole = pairs(&self.whole).collect();
            self.size *= 2;
        }
    }

    /// Forgets what is too old at `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        let old = |batch: &Window| now.saturating_duration_since(batch.ended) > LIFE;
        self.whole.retain(|batch| !old(batch));
        self.open.take_if(|(batch, _)| old(batch));
        if self.whole.is_empty() && self.open.is_none() {
            self.size = 1;
        }
    }

    /// The complete ones, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Window> {
        self.whole.iter()
    }
}

fn pairs(batches: &VecDeque<Window>) -> impl Iterator<Item = Window> {
    let (first, second) = (batches.iter().step_by(2), batches.iter().skip(1).step_by(2));
    first.zip(second).map(|(first, second)| first.join(*second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(ended: Instant) -> Window {
        Window { ended, seconds: 10.0, cpu: 1.0, switched: 100.0, copied: 50.0 }
    }

    #[test]
    fn however_many_windows_come_few_are_kept_and_nothing_of_the_last_two_hours_is_lost() {
        let mut batches = Batches::new();
        let start = Instant::now();
        let last = start + Duration::from_secs(7190);
        for index in 1..=719 {
            batches.push(window(start + Duration::from_secs(10 * index)));
            assert!(batches.iter().count() <= MOST);
        }
        let open = batches.open.map_or(0.0, |(batch, _)| batch.seconds);
        let seconds: f64 = batches.iter().map(|batch| batch.seconds).sum();
        assert_eq!(seconds + open, 7190.0);
        let lengths: Vec<_> = batches.iter().map(|batch| batch.seconds).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        batches.expire(last + LIFE + Duration::from_secs(1));
        assert_eq!((batches.iter().count(), batches.size), (0, 1));
    }
}
