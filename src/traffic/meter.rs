//! A counter of somebody else's that may start anew.

/// What a counter of the switch has counted since it was first read, however often it began at 0 again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    last: Option<u64>,
    total: u64,
}

impl Meter {
    /// Takes in the counter as it is now. One that is lower than before has begun at 0 again.
    pub fn read(&mut self, counter: u64) {
        let more = match self.last {
            None => 0,
            Some(last) if counter < last => counter,
            Some(last) => counter - last,
        };
        self.total = self.total.saturating_add(more);
        self.last = Some(counter);
    }

    /// What is read next is another counter, which begins at 0.
    pub fn restart(&mut self) {
        if self.last.is_some() {
            self.last = Some(0);
        }
    }

    /// What has been counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_first_reading_on_and_never_back() {
        let mut meter = Meter::default();
        let totals = [100, 130, 20, 25].map(|counter| {
            meter.read(counter);
            meter.total()
        });
        assert_eq!(totals, [0, 30, 50, 55]);
    }

    #[test]
    fn another_counter_counts_whole_even_if_it_is_higher_already() {
        let mut meter = Meter::default();
        meter.read(10);
        meter.restart();
        meter.read(15);
        assert_eq!(meter.total(), 15);
        let mut fresh = Meter::default();
        fresh.restart();
        fresh.read(15);
        assert_eq!(fresh.total(), 0, "nobody knows since when it counts");
    }
}
