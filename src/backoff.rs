//! What somebody else undoes again and again is done with growing pauses, so that no fight keeps the node busy.
//!
//! Time is an argument. Whoever is about to do something asks [`Backoff::admit`], and says [`Backoff::done`] once it is
//! done. What has to be done over a few times within a short while is still done at once each time: ovn-controller takes
//! all flows at each of its starts, and may start several times in a row.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How often the same may be done over within [`WINDOW`] before it counts as a fight.
pub const PATIENCE: u32 = 5;
/// Beyond this time what was undone before no longer counts, and a fight is over when nothing was undone for it.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The first pause in a fight, twice as long each time,
const SHORTEST: Duration = Duration::from_secs(1);
/// and the longest.
pub const LONGEST: Duration = Duration::from_secs(60);

/// What was done lately: by `K`, something was made to be as `W` says. Another `W` for the same `K` is nothing done over,
/// but another intention of ours.
#[derive(Debug)]
pub struct Backoff<K, W> {
    things: HashMap<K, Thing<W>>,
    fights: usize,
}

#[derive(Debug)]
struct Thing<W> {
    what: W,
    /// When it was done first, of the times that count.
    since: Instant,
    /// When it was done last.
    last: Instant,
    /// How often, since then.
    times: u32,
    /// How long it is not done after it was done last; none if there is no fight.
    pause: Option<Duration>,
    /// When somebody last was about to do it and was to wait.
    held: Option<Instant>,
}

impl<K, W> Default for Backoff<K, W> {
    fn default() -> Self {
        Self { things: HashMap::new(), fights: 0 }
    }
}

impl<K: Eq + Hash, W: PartialEq> Backoff<K, W> {
    /// Whether it may be done now. Whoever is to wait asks again now and then, at least each [`WINDOW`].
    pub fn admit(&mut self, key: &K, what: &W, now: Instant) -> bool {
        let Some(thing) = self.things.get_mut(key).filter(|thing| thing.what == *what) else {
            return true;
        };
        let admitted = thing.pause.is_none_or(|pause| thing.last + pause <= now);
        if !admitted {
            thing.held = Some(now);
        }
        admitted
    }

    /// Takes note that it was done; returns whether that makes it a fight.
    pub fn done(&mut self, key: K, what: W, now: Instant) -> bool {
        let fresh = |what| Thing { what, since: now, last: now, times: 1, pause: None, held: None };
        let Some(thing) = self.things.get_mut(&key) else {
            self.things.insert(key, fresh(what));
            return false;
        };
        let is_old = thing.pause.is_none() && thing.since + WINDOW < now;
        if thing.what != what || is_old || thing.is_calm(now) {
            self.fights -= usize::from(thing.pause.is_some());
            *thing = fresh(what);
            return false;
        }
        thing.times = thing.times.saturating_add(1);
        thing.last = now;
        thing.held = None;
        let begins = thing.pause.is_none() && thing.times > 1 + PATIENCE;
        if begins || thing.pause.is_some() {
            let longer = thing.pause.map_or(SHORTEST, |pause| pause.saturating_mul(2));
            thing.pause = Some(longer.min(LONGEST));
        }
        self.fights += usize::from(begins);
        begins
    }

    /// How many things somebody else undoes again and again.
    #[must_use]
    pub fn fights(&self) -> usize {
        self.fights
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn is_fought_over(&self, key: &K) -> bool {
        self.things.get(key).is_some_and(|thing| thing.pause.is_some())
    }

    /// Forgets what no longer counts: to be called now and then.
    pub fn expire(&mut self, now: Instant) {
        self.things.retain(|_, thing| !thing.is_calm(now));
        self.fights = self.things.values().filter(|thing| thing.pause.is_some()).count();
        if self.things.is_empty() {
            // There may have been thousands.
            self.things.shrink_to_fit();
        }
    }

    /// Forgets everything, as all is to be done anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<W> Thing<W> {
    /// Whether it has been as it should for long, or nobody wants it any more.
    fn is_calm(&self, now: Instant) -> bool {
        self.held.map_or(self.last, |held| held.max(self.last)) + WINDOW <= now
    }
}

#[cfg(test)]
mod tests;
