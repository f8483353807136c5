//! Steps that somebody else undoes again and again: they are taken with growing pauses.

use std::time::Instant;

use super::Step;
use crate::backoff::Backoff;

/// What was done to the mirror port lately.
#[derive(Debug, Default)]
pub(super) struct Contest {
    steps: Backoff<String, ()>,
    /// The step that a fight began over, as long as there is any fight.
    fought_over: Option<String>,
}

impl Contest {
    /// Whether the step may be taken now.
    pub(super) fn admit(&mut self, step: &Step<'_>) -> bool {
        matches!(step, Step::Done(_) | Step::Wait(_))
            || self.steps.admit(&step.to_string(), &(), Instant::now())
    }

    /// The step was taken.
    pub(super) fn taken(&mut self, step: &Step<'_>) {
        let name = step.to_string();
        if self.steps.done(name.clone(), (), Instant::now()) {
            self.fought_over.get_or_insert(name);
        }
    }

    /// Whether somebody undoes steps, so that the port is to be looked at again soon; forgets fights that are over.
    pub(super) fn is_on(&mut self) -> bool {
        self.steps.expire(Instant::now());
        let on = self.steps.fights() > 0;
        if !on {
            self.fought_over = None;
        }
        on
    }

    /// What is wrong with the NIC of this name, if somebody undoes steps. The text stays the same during a fight.
    pub(super) fn problem(&self, nic: &str) -> Option<String> {
        let step = self.fought_over.as_deref()?;
        Some(format!(
            "{nic}: somebody else undoes this again and again: {step}; it is done over after growing pauses, up to a minute"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::PATIENCE;
    use crate::nic::Change;
    use crate::sink::{Problem, tests::quiet_link};

    #[test]
    fn a_step_that_is_undone_again_and_again_is_held_up_and_told_and_no_other() {
        let link = quiet_link();
        let (arp, mtu) = (
            Step::Quiet(&link, vec![Change::StopArp]),
            Step::Quiet(&link, vec![Change::Mtu(1500)]),
        );
        let mut contest = Contest::default();
        for _ in 0..=PATIENCE {
            assert!(contest.admit(&arp));
            contest.taken(&arp);
            assert_eq!(contest.problem("mirror0"), None);
        }
        contest.taken(&arp);
        assert!(!contest.admit(&arp) && contest.admit(&mtu) && contest.is_on());
        assert!(contest.admit(&Step::Wait(Problem::NoLink("mirror0".to_owned()))));
        let told = contest.problem("mirror0").unwrap();
        assert!(told.starts_with("mirror0: ") && told.contains("turn ARP off"), "{told}");
    }
}
