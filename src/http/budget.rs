//! How much memory answers may take that have been made and not been sent yet.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a permit stands for, in bytes.
const UNIT: usize = 1024;

/// Memory for answers.
#[derive(Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    all: usize,
}

/// An answer, which counts until the last who sends it is done.
struct Held {
    text: Vec<u8>,
    _units: OwnedSemaphorePermit,
}

impl Budget {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let all = bytes / UNIT;
        Self { units: Arc::new(Semaphore::new(all)), all }
    }

    /// The text, if there is room for it. One that is larger than all of the budget has room when there is no other.
    pub(super) fn hold(&self, text: Vec<u8>) -> Option<Bytes> {
        let units = text.len().div_ceil(UNIT).min(self.all);
        let units = u32::try_from(units).ok()?;
        let held = Arc::clone(&self.units).try_acquire_many_owned(units).ok()?;
        Some(Bytes::from_owner(Held { text, _units: held }))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sent_yet_takes_room_from_what_comes_then() {
        let budget = Budget::new(10 * UNIT);
        let first = budget.hold(vec![1; 6 * UNIT]).unwrap();
        let shared = first.clone();
        assert!(budget.hold(vec![2; 6 * UNIT]).is_none());
        drop(first);
        assert!(budget.hold(vec![2; 6 * UNIT]).is_none(), "somebody still sends it");
        drop(shared);
        assert_eq!(budget.hold(vec![2; 6 * UNIT]).unwrap(), vec![2; 6 * UNIT]);
    }

    #[test]
    fn an_answer_that_is_larger_than_the_budget_is_given_alone() {
        let budget = Budget::new(10 * UNIT);
        let small = budget.hold(vec![1]).unwrap();
        assert!(budget.hold(vec![2; 11 * UNIT]).is_none());
        drop(small);
        assert!(budget.hold(vec![2; 11 * UNIT]).is_some());
    }
}
