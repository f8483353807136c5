//! The agent's part that keeps two agents from one bridge: only the holder of the bridge's lock in OVSDB changes anything.
//!
//! The lock ends with the holder's connection, so the next agent in line takes over as soon as the holder ends, killed or
//! not. While the database is away the holder goes on: the switch's flows need no database, and no other agent can have been
//! told that it may change something.

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tracing::{info, warn};

use super::Agent;
use crate::{
    introduction::{self, Introducing, Introduction},
    ovsdb::{self, Lock, lock_of_bridge},
};

/// How often a waiting agent asks who the holder is: it may be another one meanwhile.
const ASK: Duration = Duration::from_secs(2);

/// Whether this agent may change anything, and who may otherwise.
pub(super) struct Ownership {
    lock_id: String,
    us: Introduction,
    /// As last reported; the holder remains one while the database is away.
    lock: Lock,
    introducing: Option<Introducing>,
    asking: Option<Asking>,
    other: Option<Introduction>,
}

/// Asks until it is dropped.
struct Asking {
    task: JoinHandle<()>,
    answers: mpsc::Receiver<Option<Introduction>>,
}

impl Ownership {
    pub(super) fn new(bridge: &str, nic: &str) -> Self {
        Self {
            lock_id: lock_of_bridge(bridge),
            us: Introduction::of_this_process(nic),
            lock: Lock::Unknown,
            introducing: None,
            asking: None,
            other: None,
        }
    }

    /// The lock to ask for.
    pub(super) fn lock_id(&self) -> &str {
        &self.lock_id
    }

    /// Whether this agent may change anything.
    pub(super) fn is_held(&self) -> bool {
        self.lock == Lock::Held
    }

    /// Whether another agent may.
    pub(super) fn is_others(&self) -> bool {
        self.lock == Lock::Waiting
    }

    /// Who mirrors the bridge, as far as known.
    pub(super) fn owner(&self) -> Option<&Introduction> {
        if self.is_held() { Some(&self.us) } else { self.other.as_ref() }
    }

    /// What keeps this agent from everything, if another one holds the lock.
    pub(super) fn problem(&self, bridge: &str) -> Option<String> {
        let who = match &self.other {
            _ if !self.is_others() => return None,
            Some(other) => format!("another ofmirror, {other}, has bridge {bridge}"),
            None => format!("another ofmirror has bridge {bridge}"),
        };
        Some(format!(
            "{who}: this one changes nothing, and takes over as soon as that one ends; stop one of them"
        ))
    }

    /// Takes in what the database says of the lock; returns whether that is news.
    fn follow(&mut self, lock: Lock) -> bool {
        if lock == Lock::Unknown || lock == self.lock {
            return false;
        }
        self.lock = lock;
        self.other = None;
        if self.is_held() {
            self.asking = None;
            self.introducing = Some(self.us.give(&self.lock_id));
        } else {
            self.introducing = None;
            self.asking = Some(Asking::start(self.lock_id.clone()));
        }
        true
    }

    /// Waits for news of the other agent; none ever comes as long as there is none.
    pub(super) async fn changed(&mut self) {
        let answer = match &mut self.asking {
            Some(asking) => asking.answers.recv().await,
            None => None,
        };
        match answer {
            Some(other) => self.other = other,
            None => std::future::pending().await,
        }
    }
}

impl Asking {
    fn start(lock_id: String) -> Self {
        let (sender, answers) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut last = None;
            loop {
                let other = introduction::ask(&lock_id).await;
                if other != last {
                    last.clone_from(&other);
                    if sender.send(other).await.is_err() {
                        return;
                    }
                }
                sleep(ASK).await;
            }
        });
        Self { task, answers }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    /// Takes in what the database says of the lock. Whoever loses it lets go of the switch at once.
    pub(super) fn follow_lock(&mut self, lock: Lock) {
        let waited = self.ownership.is_others();
        if !self.ownership.follow(lock) {
            return;
        }
        let bridge = &self.settings.wish.bridge;
        if self.ownership.is_others() {
            warn!(bridge, "another ofmirror has this bridge; waiting for it to end");
            self.openflow.rest();
            self.forget_switch("another ofmirror has the bridge".to_owned());
        } else if waited {
            info!(bridge, "the other ofmirror has ended; taking over");
        }
    }

    /// Whether to connect to the switch. While the database can't be reached it is of use to know whether the switch can; an
    /// agent that is about to hear that another one has the bridge has nothing to ask.
    pub(super) fn may_connect(&self) -> bool {
        let database = &self.world.ovsdb().connection;
        let is_away = matches!(database, ovsdb::Connection::Connecting { reason: Some(_) });
        self.ownership.is_held()
            || (!self.ownership.is_others() && (is_away || !self.openflow.is_resting()))
    }
}
