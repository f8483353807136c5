//! One connection's worth of protocol: bytes in, bytes out, time as an argument; no socket, no clock.
//!
//! The caller hands received bytes to [`Session::receive`], sends what [`Session::outgoing`] holds
//! and calls [`Session::handle_timeout`] when [`Session::deadline`] has come. The first error ends
//! the session.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::oneshot;
use tokio_util::codec::{Decoder as _, Encoder as _};
use tracing::{debug, warn};

use super::{
    DATABASE,
    error::{ConnectionError, OvsdbError},
    frame::Framer,
    lock::Lock,
    message::{Message, Request, Response},
    operation::{self, Operation, OperationResult},
    replica::{Replica, monitor_requests},
    snapshot::Snapshot,
};

/// After this long without a message we ask whether the server is alive.
pub(super) const IDLE: Duration = Duration::from_secs(5);

/// It is given up when it does not answer that in time.
pub(super) const ECHO_LIMIT: Duration = Duration::from_secs(5);

/// The first read may be large, and the node busy.
pub(super) const MONITOR_LIMIT: Duration = Duration::from_secs(60);

/// A local server commits within milliseconds, and our waits ask only once.
pub(super) const TRANSACT_LIMIT: Duration = Duration::from_secs(10);

/// Least time between two re-reads of all rows on one connection: they cost the server most of all that it is asked for.
pub(super) const REREAD: Duration = Duration::from_secs(60);

/// Requests that may wait for their answers at once.
pub(super) const MAX_PENDING: usize = 64;

/// Answers that may wait for the server to read them, in bytes.
pub(super) const MAX_BACKLOG_BYTES: usize = 1 << 20;

/// Longest part of a server's error that is repeated, in characters.
const ERROR_CHARS: usize = 200;

/// What a caller of `transact` waits for.
pub(super) type TransactResult = Result<Vec<OperationResult>, OvsdbError>;

/// A transaction and whom to tell.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) operations: Vec<Operation>,
    pub(super) reply: oneshot::Sender<TransactResult>,
}

#[derive(Debug)]
enum Pending {
    Monitor,
    Cancel,
    Echo,
    Lock,
    Unlock,
    Transact(Transaction),
}

impl Pending {
    fn name_and_limit(&self) -> (&'static str, Duration) {
        match self {
            Self::Monitor => ("monitor_cond", MONITOR_LIMIT),
            Self::Cancel => ("monitor_cancel", MONITOR_LIMIT),
            Self::Echo => ("echo", ECHO_LIMIT),
            // The server answers these without a look at the database, but may be busy with what was asked before.
            Self::Lock => ("lock", MONITOR_LIMIT),
            Self::Unlock => ("unlock", MONITOR_LIMIT),
            Self::Transact(_) => ("transact", TRANSACT_LIMIT),
        }
    }
}

/// An element of the parameters of `transact`.
#[derive(Serialize)]
#[serde(untagged)]
enum TransactParam<'a> {
    Database(&'static str),
    Operation(&'a Operation),
}

/// The result of `lock`.
#[derive(Deserialize)]
struct Locked {
    locked: bool,
}

/// A lock to ask for.
#[derive(Clone, Debug)]
pub(super) struct LockWish {
    /// Its name.
    pub(super) id: String,
    /// When to ask for it; at once if that has passed.
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Session {
    framer: Framer,
    outgoing: BytesMut,
    replica: Replica,
    synced: bool,
    /// The replica changed since the last [`Session::take_snapshot`].
    changed: bool,
    /// When all rows were asked for again last, and when to do so next, if that is to be.
    reread: Option<Instant>,
    reread_due: Option<Instant>,
    next_id: u64,
    /// Requests without an answer, by id, and when their time is up.
    pending: BTreeMap<u64, (Instant, Pending)>,
    /// When the last whole message came.
    last_heard: Instant,
    /// The lock without which no transaction is to take effect.
    lock_id: Option<String>,
    /// When to ask for it, as long as that has not been done.
    lock_due: Option<Instant>,
    lock: Lock,
}

impl Session {
    /// Begins by asking for the lock, if one is wished for now, and for all rows.
    pub(super) fn new(wish: Option<LockWish>, now: Instant) -> Result<Self, ConnectionError> {
        let (lock_id, lock_due) = wish.map(|wish| (wish.id, wish.at)).unzip();
        let mut session = Self {
            framer: Framer::default(),
            outgoing: BytesMut::new(),
            replica: Replica::default(),
            synced: false,
            changed: false,
            reread: None,
            reread_due: None,
            next_id: 0,
            pending: BTreeMap::new(),
            last_heard: now,
            lock_id,
            lock_due,
            // Whoever lets others ask first counts on waiting.
            lock: if lock_due.is_some_and(|due| due > now) { Lock::Waiting } else { Lock::Unknown },
        };
        // First, as it is answered at once, and the rows may take long.
        session.ask_for_lock(now)?;
        session.monitor(now)?;
        Ok(session)
    }

    fn monitor(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let params = (DATABASE, Value::Null, monitor_requests());
        self.send("monitor_cond", params, Pending::Monitor, now)
    }

    /// Takes in what came; unfinished messages stay in `received`.
    pub(super) fn receive(
        &mut self,
        received: &mut BytesMut,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while let Some(text) = self.framer.decode(received)? {
            self.last_heard = now;
            self.handle(Message::parse(&text)?, now)?;
        }
        Ok(())
    }

    /// The server closed its end; `received` is what is left.
    pub(super) fn end(&mut self, received: &mut BytesMut) -> ConnectionError {
        self.framer.decode_eof(received).err().map_or(ConnectionError::Closed, Into::into)
    }

    /// Bytes to be sent; the caller takes off what it sent.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Whether [`Session::transact`] may be called now.
    pub(super) fn accepts_transactions(&self) -> bool {
        // Before the first read they are refused at once.
        !self.synced
            || (self.pending.len() < MAX_PENDING && self.outgoing.len() < MAX_BACKLOG_BYTES)
    }

    /// Sends a transaction, or refuses it while the first read is not complete.
    pub(super) fn transact(
        &mut self,
        mut transaction: Transaction,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if !self.synced {
            // Whoever gave up waiting is not told.
            let _ = transaction.reply.send(Err(OvsdbError::NotConnected));
            return Ok(());
        }
        if let Some(lock) = self.lock_id.clone() {
            transaction.operations.push(Operation::Assert { lock });
        }
        let operations = transaction.operations.clone();
        let operations = operations.iter().map(TransactParam::Operation);
        let params: Vec<_> =
            std::iter::once(TransactParam::Database(DATABASE)).chain(operations).collect();
        self.send("transact", params, Pending::Transact(transaction), now)
    }

    /// The tables, if all rows are known and something changed since the last call.
    pub(super) fn take_snapshot(&mut self) -> Option<Snapshot> {
        std::mem::take(&mut self.changed).then(|| self.replica.snapshot())
    }

    /// Whether we hold the lock that was wished for.
    pub(super) fn lock(&self) -> Lock {
        self.lock
    }

    /// When to call [`Session::handle_timeout`] at the latest.
    pub(super) fn deadline(&self) -> Instant {
        let answers = self.pending.values().map(|(deadline, _)| *deadline);
        match answers.chain(self.lock_due).chain(self.reread_due).min() {
            Some(deadline) if !self.may_probe() => deadline,
            Some(deadline) => deadline.min(self.last_heard + IDLE),
            None => self.last_heard + IDLE,
        }
    }

    /// Asks for a sign of life, or gives up.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let Some((_, late)) = self.pending.values().find(|(deadline, _)| *deadline <= now) {
            let (request, limit) = late.name_and_limit();
            return Err(ConnectionError::Unanswered { request, limit });
        }
        self.ask_for_lock(now)?;
        if self.reread_due.is_some_and(|due| due <= now) {
            self.read_anew(now)?;
        }
        if self.may_probe() && self.last_heard + IDLE <= now {
            self.send("echo", json!([]), Pending::Echo, now)?;
        }
        Ok(())
    }

    /// Tells everybody who waits for an answer that there will be none.
    pub(super) fn fail(self, error: &Arc<ConnectionError>) {
        for (_, pending) in self.pending.into_values() {
            if let Pending::Transact(transaction) = pending {
                // Whoever gave up waiting is not told.
                let _ = transaction.reply.send(Err(OvsdbError::Interrupted(error.clone())));
            }
        }
    }

    /// Asks for the lock, if that is due.
    fn ask_for_lock(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let due = self.lock_due.take_if(|due| *due <= now).and(self.lock_id.clone());
        match due {
            Some(id) => self.send("lock", [id], Pending::Lock, now),
            None => Ok(()),
        }
    }

    /// Somebody took the lock by force (`steal`): gets in line for it again.
    fn lose_lock(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.lock = Lock::Waiting;
        self.lock_due = Some(now);
        if let Some(id) = self.lock_id.clone() {
            self.send("unlock", [id], Pending::Unlock, now)?;
        }
        self.ask_for_lock(now)
    }

    /// One probe at a time, and none while the first read may keep the server busy.
    fn may_probe(&self) -> bool {
        self.synced && !self.pending.values().any(|(_, pending)| matches!(pending, Pending::Echo))
    }

    fn send(
        &mut self,
        method: &str,
        params: impl Serialize,
        pending: Pending,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let id = self.next_id;
        self.next_id += 1;
        self.framer.encode(&Request { method, params, id }, &mut self.outgoing)?;
        self.pending.insert(id, (now + pending.name_and_limit().1, pending));
        Ok(())
    }

    fn handle(&mut self, message: Message<'_>, now: Instant) -> Result<(), ConnectionError> {
        match message {
            Message::Request { method, params, id } => self.answer(&method, params, id),
            Message::Notification { method, params } => match &*method {
                "update2" if self.synced => self.update(params, now),
                "monitor_canceled" => Err(ConnectionError::MonitorCanceled),
                "locked" if self.is_our_lock(params) => {
                    self.lock = Lock::Held;
                    Ok(())
                }
                "stolen" if self.is_our_lock(params) => self.lose_lock(now),
                _ => {
                    debug!(%method, "ignored a notification");
                    Ok(())
                }
            },
            Message::Response { id, outcome } => self.match_reply(id, outcome),
        }
    }

    /// Whether a notification is about the lock that we asked for.
    fn is_our_lock(&self, params: Option<&RawValue>) -> bool {
        let told = params.and_then(|params| serde_json::from_str::<[String; 1]>(params.get()).ok());
        told.is_some_and(|[id]| Some(id) == self.lock_id)
    }

    fn answer(
        &mut self,
        method: &str,
        params: Option<&RawValue>,
        id: &RawValue,
    ) -> Result<(), ConnectionError> {
        if self.outgoing.len() > MAX_BACKLOG_BYTES {
            return Err(ConnectionError::Backlog(self.outgoing.len()));
        }
        let (result, error) = match method {
            "echo" => (params, None),
            _ => (None, Some("unknown method")),
        };
        Ok(self.framer.encode(&Response { result, error, id }, &mut self.outgoing)?)
    }

    /// Begins anew with nothing, on the same connection, as with that the lock would go. The server carries out what it is asked
    /// for in turn, so until all rows come, what comes is of the old monitor.
    fn read_anew(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.replica = Replica::default();
        (self.synced, self.changed) = (false, false);
        (self.reread, self.reread_due) = (Some(now), None);
        self.send("monitor_cancel", [Value::Null], Pending::Cancel, now)?;
        self.monitor(now)
    }

    /// When all rows may be read again.
    fn reread_from(&self, now: Instant) -> Instant {
        self.reread.map_or(now, |reread| now.max(reread + REREAD))
    }

    fn update(&mut self, params: Option<&RawValue>, now: Instant) -> Result<(), ConnectionError> {
        // The name of the monitor tells nothing: there is one.
        let (_, updates): (Value, &RawValue) =
            serde_json::from_str(params.map_or("null", RawValue::get))
                .map_err(|error| ConnectionError::Contents { what: "update2", error })?;
        if let Err(error) = self.replica.apply(updates) {
            if self.reread_from(now) > now {
                return Err(error.into());
            }
            warn!(%error, "the copy of the database is out of step; reading all of it anew");
            return self.read_anew(now);
        }
        self.changed = true;
        if self.replica.take_doubt() && self.reread_due.is_none() {
            warn!("a change of the database can't be understood; reading all of it anew");
            self.reread_due = Some(self.reread_from(now));
        }
        Ok(())
    }

    fn match_reply(
        &mut self,
        id: &RawValue,
        outcome: Result<Option<&RawValue>, &RawValue>,
    ) -> Result<(), ConnectionError> {
        let pending = id.get().parse().ok().and_then(|id: u64| self.pending.remove_entry(&id));
        let Some((id, (deadline, pending))) = pending else {
            return Err(ConnectionError::UnknownReply(excerpt(id)));
        };
        let missing = || serde::de::Error::custom("the result is missing");
        match pending {
            // Any answer is a sign of life.
            Pending::Echo => {}
            Pending::Unlock => {}
            Pending::Cancel => {
                outcome.map_err(|error| ConnectionError::MonitorRefused(excerpt(error)))?;
            }
            Pending::Lock => match outcome {
                Ok(reply) => {
                    let locked: Locked = serde_json::from_str(reply.map_or("null", RawValue::get))
                        .map_err(|error| ConnectionError::Contents { what: "lock", error })?;
                    self.lock = if locked.locked { Lock::Held } else { Lock::Waiting };
                }
                Err(error) => {
                    let error = excerpt(error);
                    warn!(%error, "the database gives no locks: a second ofmirror on this bridge would not be noticed");
                    self.lock_id = None;
                    self.lock = Lock::Held;
                }
            },
            Pending::Monitor => {
                let rows = outcome
                    .map_err(|error| ConnectionError::MonitorRefused(excerpt(error)))?
                    .ok_or_else(missing)
                    .map_err(|error| ConnectionError::Contents { what: "monitor_cond", error })?;
                self.replica.apply(rows)?;
                self.synced = true;
                self.changed = true;
            }
            Pending::Transact(transaction) => {
                let asserts =
                    matches!(transaction.operations.last(), Some(Operation::Assert { .. }));
                let result = match outcome {
                    Err(error) => Ok(Err(OvsdbError::Refused(excerpt(error)))),
                    Ok(reply) => reply
                        .ok_or_else(missing)
                        .and_then(|reply| operation::results(&transaction.operations, reply))
                        .map(|result| result.map_err(OvsdbError::from)),
                };
                let result = result.map(|result| {
                    result.map(|mut results| {
                        // The caller does not know of it.
                        results.truncate(results.len() - usize::from(asserts));
                        results
                    })
                });
                match result {
                    // Whoever gave up waiting is not told.
                    Ok(result) => drop(transaction.reply.send(result)),
                    Err(error) => {
                        self.pending.insert(id, (deadline, Pending::Transact(transaction)));
                        return Err(ConnectionError::Contents { what: "transact", error });
                    }
                }
            }
        }
        Ok(())
    }
}

fn excerpt(text: &RawValue) -> String {
    text.get().chars().take(ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests;
