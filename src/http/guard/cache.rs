//! What is remembered of tokens for a while: a bounded number of them, and of each only its hash.

use std::{collections::VecDeque, time::Duration};

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

/// A token's SHA-256.
pub(super) type Key = [u8; 32];

/// What has been found about tokens, the oldest first.
#[derive(Debug)]
pub(super) struct Cache<V> {
    entries: VecDeque<(Key, Instant, V)>,
    capacity: usize,
    fresh: Duration,
}

/// The key of a token.
pub(super) fn key(token: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

impl<V: Clone> Cache<V> {
    /// Room for `capacity` tokens; what was found about each is good for `fresh`.
    pub(super) fn new(capacity: usize, fresh: Duration) -> Self {
        Self { entries: VecDeque::with_capacity(capacity), capacity, fresh }
    }

    /// What was found, if that is recent.
    pub(super) fn get(&self, key: &Key) -> Option<V> {
        let (_, at, value) = self.entries.iter().find(|(other, ..)| other == key)?;
        (at.elapsed() < self.fresh).then(|| value.clone())
    }

    /// Whether something was found, however long ago.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.entries.iter().any(|(other, ..)| other == key)
    }

    /// Takes down what was found now. If there is no room, the oldest entry goes.
    pub(super) fn put(&mut self, key: Key, value: V) {
        self.remove(&key);
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back((key, Instant::now(), value));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.entries.retain(|(other, ..)| other != key);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_known_and_no_answer_and_the_oldest_makes_room() {
        let mut cache = Cache::new(2, Duration::from_secs(60));
        let [a, b, c] = ["a", "b", "c"].map(key);
        cache.put(a, 1);
        advance(Duration::from_secs(59)).await;
        assert_eq!(cache.get(&a), Some(1));
        advance(Duration::from_secs(1)).await;
        assert_eq!((cache.get(&a), cache.knows(&a)), (None, true));
        cache.put(b, 2);
        cache.put(a, 3);
        cache.put(c, 4);
        assert_eq!((cache.get(&a), cache.knows(&b), cache.get(&c)), (Some(3), false, Some(4)));
    }
}
