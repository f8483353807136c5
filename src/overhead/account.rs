//! Processor time that never goes back, through threads that come and go and a daemon that starts anew.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::processor::{Component, Reading};

/// What was used since the first reading.
#[derive(Debug, Default)]
pub struct Account {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    process: (i32, u64),
    threads: HashMap<i32, Duration>,
    softirq: Duration,
}

/// What was used between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// In each role.
    pub times: BTreeMap<Component, Duration>,
    /// Whether both readings are of the same process.
    pub same: bool,
}

impl Account {
    /// Takes in a reading; returns what was used since the last. What a thread used that ended since is lost; what one
    /// used that began since counts whole, with all threads of a daemon that began since.
    pub fn take_in(&mut self, reading: &Reading) -> Used {
        let last = self.last.take();
        let same = last.as_ref().is_some_and(|last| last.process == reading.process);
        let mut times: BTreeMap<_, _> =
            Component::ALL.into_iter().map(|component| (component, Duration::ZERO)).collect();
        if let Some(last) = &last {
            for (thread, component, busy) in &reading.threads {
                let before = last.threads.get(thread).copied().filter(|_| same);
                *times.entry(*component).or_default() +=
                    busy.saturating_sub(before.unwrap_or_default());
            }
            let softirq = reading.softirq.saturating_sub(last.softirq);
            times.insert(Component::Softirq, softirq);
        }
        self.last = Some(Last {
            process: reading.process,
            threads: reading.threads.iter().map(|(thread, _, busy)| (*thread, *busy)).collect(),
            softirq: reading.softirq,
        });
        Used { times, same }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn reading(process: (i32, u64), threads: &[(i32, Component, u64)], softirq: u64) -> Reading {
        Reading {
            process,
            threads: threads.iter().map(|(id, role, busy)| (*id, *role, MS(*busy))).collect(),
            softirq: MS(softirq),
        }
    }

    fn used(used: &Used) -> [Duration; 3] {
        [Component::Main, Component::Handler, Component::Softirq].map(|role| used.times[&role])
    }

    #[test]
    fn only_what_was_used_since_the_first_reading_counts() {
        use Component::{Handler, Main};
        let mut account = Account::default();
        let first = account.take_in(&reading((7, 1), &[(7, Main, 900), (8, Handler, 50)], 1000));
        assert_eq!((used(&first), first.same), ([MS(0); 3], false));
        let second = account.take_in(&reading((7, 1), &[(7, Main, 950), (9, Handler, 5)], 1010));
        assert_eq!(used(&second), [MS(50), MS(5), MS(10)], "thread 8 ended, 9 began");
        assert!(second.same);
    }

    #[test]
    fn a_daemon_that_starts_anew_counts_on() {
        use Component::Main;
        let mut account = Account::default();
        account.take_in(&reading((7, 1), &[(7, Main, 900)], 1000));
        let anew = account.take_in(&reading((20, 5), &[(20, Main, 30)], 1020));
        assert_eq!((used(&anew), anew.same), ([MS(30), MS(0), MS(20)], false));
        let same_number = account.take_in(&reading((20, 9), &[(20, Main, 31)], 1020));
        assert_eq!(used(&same_number), [MS(31), MS(0), MS(0)]);
        let on = account.take_in(&reading((20, 9), &[(20, Main, 40)], 1020));
        assert_eq!((used(&on), on.same), ([MS(9), MS(0), MS(0)], true));
    }
}
