//! The client: connects, reconnects, publishes what it knows, carries transactions.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use super::{
    connection,
    error::{ConnectionError, OvsdbError},
    lock::{GRACE, Lock},
    operation::{Operation, OperationResult},
    session::{LockWish, Transaction},
    snapshot::Snapshot,
};
use crate::endpoint::{Endpoint, reconnect_delays};

/// Transactions that may wait to be sent.
const QUEUE: usize = 32;

/// A connection that was in sync for this long starts the delays between attempts anew.
const SETTLED: Duration = Duration::from_secs(2);

/// What is known of the database, and whether it is up to date.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether [`State::snapshot`] follows the server.
    pub connection: Connection,
    /// All rows as last heard; empty until the first read.
    pub snapshot: Snapshot,
    /// Whether the client holds the lock that it asked for, on the connection that there is now.
    pub lock: Lock,
}

/// Whether the snapshot follows the server.
#[derive(Clone, Debug)]
pub enum Connection {
    /// No connection, or its first read is not complete.
    Connecting {
        /// Why the last attempt or connection ended; none before the first.
        reason: Option<Arc<ConnectionError>>,
    },
    /// Every change is in the snapshot as soon as the server tells it.
    Synced,
}

impl Default for Connection {
    fn default() -> Self {
        Self::Connecting { reason: None }
    }
}

impl State {
    /// Whether the snapshot follows the server.
    pub fn is_synced(&self) -> bool {
        matches!(self.connection, Connection::Synced)
    }
}

/// A handle to the client's task; the task ends with the last handle.
#[derive(Clone, Debug)]
pub struct Client {
    transactions: mpsc::Sender<Transaction>,
    states: watch::Receiver<State>,
    stop: CancellationToken,
    _stop_with_last: Arc<DropGuard>,
}

impl Client {
    /// A handle, and the task that the caller is to spawn.
    ///
    /// The task connects to `endpoint` and stays connected until [`Client::shutdown`] is called or
    /// every handle is dropped.
    pub fn new(endpoint: Endpoint) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::start(endpoint, None)
    }

    /// As [`Client::new`], with a lock: the client asks for it on each connection, [`State::lock`] has whether it holds it,
    /// and the server refuses its transactions otherwise.
    ///
    /// A client that waits for the lock when the connection ends lets the others ask first on the next one.
    pub fn with_lock(
        endpoint: Endpoint,
        lock: String,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::start(endpoint, Some(lock))
    }

    fn start(
        endpoint: Endpoint,
        lock: Option<String>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (transactions, queue) = mpsc::channel(QUEUE);
        let (publisher, states) = watch::channel(State::default());
        let stop = CancellationToken::new();
        let client = Self {
            transactions,
            states,
            stop: stop.clone(),
            _stop_with_last: Arc::new(stop.clone().drop_guard()),
        };
        let task = async move {
            // On a stop everything is dropped: the socket closes, callers get `Stopped`.
            stop.run_until_cancelled(run(endpoint, lock, queue, publisher)).await;
        };
        (client, task)
    }

    /// The newest state; changes in between may be left out.
    ///
    /// Its `changed` fails once the task has ended.
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// Has the server carry out `operations`: all of them, or none.
    ///
    /// Ends within a few seconds, whatever the server does. Dropping the future does not call the
    /// transaction back once it is on its way.
    ///
    /// # Errors
    /// [`OvsdbError`] tells whether the server refused it, never got it, or may have done it.
    pub async fn transact(
        &self,
        operations: Vec<Operation>,
    ) -> Result<Vec<OperationResult>, OvsdbError> {
        let (reply, answer) = oneshot::channel();
        let transaction = Transaction { operations, reply };
        self.transactions.send(transaction).await.map_err(|_| OvsdbError::Stopped)?;
        answer.await.unwrap_or(Err(OvsdbError::Stopped))
    }

    /// Ends the task, for all handles.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }
}

async fn run(
    endpoint: Endpoint,
    lock: Option<String>,
    mut transactions: mpsc::Receiver<Transaction>,
    states: watch::Sender<State>,
) {
    let mut delays = reconnect_delays();
    let mut grace = Duration::ZERO;
    loop {
        let mut synced_since = None;
        let error = match refuse_during(endpoint.connect(), &mut transactions).await {
            Err(source) => {
                let endpoint = endpoint.clone();
                Arc::new(ConnectionError::Connect { endpoint, source })
            }
            Ok(stream) => {
                let wish =
                    lock.clone().map(|id| LockWish { id, at: (Instant::now() + grace).into_std() });
                let publish = |snapshot: Option<Snapshot>, lock| {
                    grace = if lock == Lock::Waiting { GRACE } else { Duration::ZERO };
                    let Some(snapshot) = snapshot else {
                        states.send_modify(|state| state.lock = lock);
                        return;
                    };
                    if synced_since.is_none() {
                        synced_since = Some(Instant::now());
                        info!(%endpoint, "in sync with the database");
                    }
                    report_new_faults(&states.borrow().snapshot, &snapshot);
                    states.send_replace(State { connection: Connection::Synced, snapshot, lock });
                };
                connection::run(stream, wish, &mut transactions, publish).await
            }
        };
        if synced_since.is_some() {
            warn!(%endpoint, %error, "lost the database; reconnecting");
        } else {
            debug!(%endpoint, %error, "no connection to the database yet; trying again");
        }
        if synced_since.is_some_and(|since| since.elapsed() >= SETTLED) {
            delays = reconnect_delays();
        }
        states.send_modify(|state| {
            state.connection = Connection::Connecting { reason: Some(error) };
            state.lock = Lock::Unknown;
        });
        let delay = delays.next().expect("the delays never end");
        refuse_during(sleep(delay), &mut transactions).await;
    }
}

/// Waits for `future`; what callers want sent meanwhile is refused at once.
async fn refuse_during<T>(
    future: impl Future<Output = T>,
    transactions: &mut mpsc::Receiver<Transaction>,
) -> T {
    tokio::pin!(future);
    loop {
        select! {
            output = &mut future => return output,
            Some(transaction) = transactions.recv() => {
                // Whoever gave up waiting is not told.
                let _ = transaction.reply.send(Err(OvsdbError::NotConnected));
            }
        }
    }
}

/// Faults named in the log at once; the snapshot holds them all.
const LOGGED_FAULTS: usize = 10;

fn report_new_faults(before: &Snapshot, now: &Snapshot) {
    if Arc::ptr_eq(&before.faults, &now.faults) {
        return;
    }
    let new = now.faults.iter().filter(|(key, fault)| before.faults.get(*key) != Some(*fault));
    for (_, fault) in new.take(LOGGED_FAULTS) {
        warn!(%fault, "a value in the database cannot be understood and is passed over");
    }
}
