//! What has been copied: totals by Pod, port and direction that never go back.
//!
//! Each copying flow counts from 0 when it is installed, and flows come and go: with annotations, with ports, when
//! ovn-controller wipes the bridge. The ledger has an account for each flow, and adds to the totals what a flow has
//! counted since it was last heard of: at each reading, and for the last time when the switch tells that it is gone. A
//! flow that was there before this process counts from the first reading on: what it had counted then was another agent's.

pub mod coverage;
mod export;
mod meter;
pub mod shortfall;

use std::{
    cmp::Ordering::Equal,
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub use export::Export;
use flows::{
    model::{Cookie, FlowCounters, FlowKey, Purpose},
    tap::Direction,
};
pub use meter::Meter;

use crate::pods::Pod;

/// How long the totals of a port without any flow are kept: long enough for the next scrapes to see the last ones.
pub const GRACE: Duration = Duration::from_secs(300);
/// How long the last word about a flow that is gone may take; Open vSwitch tells it when no thread of its looks at the flow
/// any more.
const LAST_WORD: Duration = Duration::from_secs(60);

/// One direction of a Pod's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Whose port.
    pub pod: Pod,
    /// Its name in OVS.
    pub interface: Arc<str>,
    /// Whether it is what the Pod sent, or what was delivered to it.
    pub direction: Direction,
}

/// The copies of one [`Series`] since the agent began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Copies, and their bytes.
    pub total: FlowCounters,
    /// When there last was a flow for it.
    last: Instant,
}

/// A flow as the switch tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which flow.
    pub key: FlowKey,
    /// What it is for.
    pub cookie: Cookie,
    /// What it has counted.
    pub counters: FlowCounters,
    /// How long ago it was installed, if the switch tells.
    pub age: Option<Duration>,
}

/// All our flows, read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// What each was found to have counted.
    pub readings: Vec<Reading>,
    /// Flows that changed while they were read: whether these are there, and what they have counted, is not told.
    pub unsure: HashSet<FlowKey>,
}

impl From<Vec<Reading>> for Census {
    /// No flow changed meanwhile.
    fn from(readings: Vec<Reading>) -> Self {
        Self { readings, unsure: HashSet::new() }
    }
}

/// A flow that counts for somebody.
#[derive(Debug)]
struct Account {
    owner: Option<Arc<Series>>,
    /// What is in the totals already.
    booked: FlowCounters,
    /// How old it was when it was last read, if it was.
    age: Option<Duration>,
    /// When it was installed, as well as is known.
    born: Instant,
}

/// The books.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<FlowKey, Account>,
    /// Flows that are gone, and of which the switch's last word may still come; and since when.
    departing: HashMap<FlowKey, Vec<(Account, Instant)>>,
    lines: BTreeMap<Arc<Series>, Line>,
    /// All that was ever booked.
    offered: FlowCounters,
}

impl Ledger {
    /// We have installed a flow of this key and cookie. `existed` says that it took the place of one with its key, which lives on in it.
    pub fn install(
        &mut self,
        key: &FlowKey,
        cookie: Cookie,
        existed: bool,
        owner: Option<Arc<Series>>,
        now: Instant,
    ) {
        if !copies(cookie) {
            return;
        }
        if let Some(series) = &owner {
            self.line(series, now);
        }
        if existed && self.accounts.contains_key(key) {
            return;
        }
        let account = Account { owner, booked: FlowCounters::default(), age: None, born: now };
        if let Some(former) = self.accounts.insert(key.clone(), account) {
            self.departing.entry(key.clone()).or_default().push((former, now));
        }
    }

    /// The switch's last word about a flow: what it had counted, and how old it was, if that is told.
    pub fn remove(
        &mut self,
        key: &FlowKey,
        last: FlowCounters,
        age: Option<Duration>,
        now: Instant,
    ) {
        let Some(account) = self.take_account(key, age, now) else { return };
        self.book(account.owner.as_ref(), account.booked, last, now);
    }

    /// The account of the flow with this key that is as old as this, or else of that which went first.
    fn take_account(
        &mut self,
        key: &FlowKey,
        age: Option<Duration>,
        now: Instant,
    ) -> Option<Account> {
        let off = |account: &Account| {
            let age = age?.as_secs_f64();
            Some((now.saturating_duration_since(account.born).as_secs_f64() - age).abs())
        };
        let former = self.departing.get_mut(key).filter(|former| !former.is_empty());
        let Some(former) = former else { return self.accounts.remove(key) };
        let nearest = (0..former.len())
            .min_by(|a, b| off(&former[*a].0).partial_cmp(&off(&former[*b].0)).unwrap_or(Equal))?;
        let current = self.accounts.get(key).and_then(off);
        if current.is_some_and(|current| Some(current) < off(&former[nearest].0)) {
            return self.accounts.remove(key);
        }
        Some(former.remove(nearest).0)
    }

    /// All our flows have been read; `owner` tells for whom each copies now.
    pub fn read(
        &mut self,
        census: Census,
        owner: impl Fn(Cookie) -> Option<Arc<Series>>,
        now: Instant,
    ) {
        let Census { readings, unsure } = census;
        let read = readings.iter().map(|reading| &reading.key);
        let present: HashSet<&FlowKey> = read.chain(&unsure).collect();
        for (key, account) in self.accounts.extract_if(|key, _| !present.contains(key)) {
            self.departing.entry(key).or_default().push((account, now));
        }
        for Reading { key, cookie, counters, age } in readings {
            if !copies(cookie) {
                continue;
            }
            let owner = owner(cookie);
            if let Some(series) = &owner {
                self.line(series, now);
            }
            let Some(account) = self.accounts.get_mut(&key) else {
                let born = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
                self.accounts.insert(key, Account { owner, booked: counters, age, born });
                continue;
            };
            // One that is younger than it was, or has counted less, is another flow.
            let is_younger = age.zip(account.age).is_some_and(|(now, before)| now < before);
            let is_another = is_younger || counters.packets < account.booked.packets;
            let before = if is_another { FlowCounters::default() } else { account.booked };
            // What it has counted up to now was its former owner's.
            let former = std::mem::replace(&mut account.owner, owner);
            (account.booked, account.age) = (counters, age);
            if is_another {
                account.born = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
            }
            self.book(former.as_ref(), before, counters, now);
        }
        self.lines.retain(|_, line| now.saturating_duration_since(line.last) < GRACE);
        for former in self.departing.values_mut() {
            former.retain(|(_, since)| now.saturating_duration_since(*since) < LAST_WORD);
        }
        self.departing.retain(|_, former| !former.is_empty());
    }

    /// No port is to have a flow for now, so that it has none does not say that it is gone. The totals of these stay.
    pub fn keep(&mut self, series: impl IntoIterator<Item = Series>, now: Instant) {
        for series in series {
            if let Some(line) = self.lines.get_mut(&series) {
                line.last = now;
            }
        }
    }

    /// The totals of all ports that are mirrored or were lately.
    pub fn lines(&self) -> impl Iterator<Item = (&Arc<Series>, &Line)> {
        self.lines.iter()
    }

    /// All copies since the agent began, of Pods that are gone too.
    #[must_use]
    pub fn offered(&self) -> FlowCounters {
        self.offered
    }

    fn line(&mut self, series: &Arc<Series>, now: Instant) -> &mut Line {
        let zero = Line { total: FlowCounters::default(), last: now };
        let line = self.lines.entry(Arc::clone(series)).or_insert(zero);
        line.last = now;
        line
    }

    fn book(
        &mut self,
        owner: Option<&Arc<Series>>,
        before: FlowCounters,
        after: FlowCounters,
        now: Instant,
    ) {
        let more = FlowCounters {
            packets: after.packets.saturating_sub(before.packets),
            bytes: after.bytes.saturating_sub(before.bytes),
        };
        add(&mut self.offered, more);
        if let Some(series) = owner {
            add(&mut self.line(series, now).total, more);
        }
    }
}

/// Whether a flow makes copies; others mend or guard.
#[must_use]
pub fn copies(cookie: Cookie) -> bool {
    direction(cookie).is_some()
}

/// The direction that a flow copies, if it does.
#[must_use]
pub fn direction(cookie: Cookie) -> Option<Direction> {
    match cookie.purpose()?.0 {
        Purpose::FromPod => Some(Direction::FromPod),
        Purpose::ToPod => Some(Direction::ToPod),
        Purpose::Rewritten | Purpose::Guard => None,
    }
}

fn add(total: &mut FlowCounters, more: FlowCounters) {
    total.packets = total.packets.saturating_add(more.packets);
    total.bytes = total.bytes.saturating_add(more.bytes);
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pod, self.interface, self.direction)
    }
}

#[cfg(test)]
mod tests;
