//! Moves bytes between a socket and a [`Session`], until one of them ends.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    select,
    sync::mpsc,
    time::sleep_until,
};

use super::{
    error::ConnectionError,
    lock::Lock,
    session::{LockWish, Session, Transaction},
    snapshot::Snapshot,
};
use crate::endpoint::Stream;

/// Room for one read, in bytes; updates that come together are published together.
const READ_BYTES: usize = 64 << 10;

/// Serves one connection to its end, and says why it ended.
///
/// `publish` is told the tables after the first read and after each change, and how it stands with the lock whenever that
/// changes.
pub(super) async fn run(
    stream: Box<dyn Stream>,
    wish: Option<LockWish>,
    transactions: &mut mpsc::Receiver<Transaction>,
    mut publish: impl FnMut(Option<Snapshot>, Lock),
) -> Arc<ConnectionError> {
    let now = || tokio::time::Instant::now().into_std();
    let mut session = match Session::new(wish, now()) {
        Ok(session) => session,
        Err(error) => return Arc::new(error),
    };
    let error = drive(stream, &mut session, transactions, &mut publish, now).await;
    let error = Arc::new(error);
    session.fail(&error);
    error
}

async fn drive(
    stream: Box<dyn Stream>,
    session: &mut Session,
    transactions: &mut mpsc::Receiver<Transaction>,
    publish: &mut impl FnMut(Option<Snapshot>, Lock),
    now: impl Fn() -> Instant,
) -> ConnectionError {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut received = BytesMut::new();
    let mut lock = Lock::Unknown;
    loop {
        received.reserve(READ_BYTES);
        let deadline = session.deadline().into();
        let may_send = !session.outgoing().is_empty();
        let accepts = session.accepts_transactions();
        let outcome = select! {
            read = reader.read_buf(&mut received) => match read {
                Ok(0) => Err(session.end(&mut received)),
                Ok(_) => session.receive(&mut received, now()),
                Err(error) => Err(ConnectionError::Io(error)),
            },
            written = writer.write_buf(session.outgoing()), if may_send => match written {
                Ok(_) => Ok(()),
                Err(error) => Err(ConnectionError::Io(error)),
            },
            Some(transaction) = transactions.recv(), if accepts => {
                session.transact(transaction, now())
            }
            () = sleep_until(deadline) => session.handle_timeout(now()),
        };
        // What came before an error is right all the same.
        let snapshot = session.take_snapshot();
        if snapshot.is_some() || lock != session.lock() {
            lock = session.lock();
            publish(snapshot, lock);
        }
        if let Err(error) = outcome {
            return error;
        }
    }
}
