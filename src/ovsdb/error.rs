//! What can go wrong: with the connection, and with one transaction.

use std::{io, sync::Arc, time::Duration};

use super::{
    frame::FrameError, message::MessageError, operation::Rejection, replica::ReplicaError,
};
use crate::endpoint::Endpoint;

/// Why there is no connection; the client tries again by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody listens, or we may not.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// What the operating system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("connection lost: {0}")]
    Io(#[source] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The bytes are not JSON texts.
    #[error(transparent)]
    Frame(FrameError),
    /// A JSON text is not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// An answer or notification has the wrong contents.
    #[error("{what} cannot be understood: {error}")]
    Contents {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Updates that do not fit the local copy.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// An answer to something that was not asked.
    #[error("the server answered a request that was never sent, id {0}")]
    UnknownReply(String),
    /// The server will not send the tables.
    #[error("the server refused to monitor the database: {0}")]
    MonitorRefused(String),
    /// The server stopped sending updates; the database was removed or converted.
    #[error("the server stopped the monitoring of the database")]
    MonitorCanceled,
    /// No answer in time.
    #[error("the server did not answer {request} within {} s", .limit.as_secs())]
    Unanswered {
        /// What was asked.
        request: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The server asks without reading the answers.
    #[error("the server left {0} bytes of answers unread")]
    Backlog(usize),
}

impl ConnectionError {
    /// The kind of error, for a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Io(_) => "io",
            Self::Closed => "closed",
            Self::Frame(_) | Self::Message(_) | Self::Contents { .. } => "malformed",
            Self::Replica(_) | Self::UnknownReply(_) => "inconsistent",
            Self::MonitorRefused(_) | Self::MonitorCanceled => "refused",
            Self::Unanswered { .. } => "timeout",
            Self::Backlog(_) => "backlog",
        }
    }
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
            error => Self::Frame(error),
        }
    }
}

/// Why a transaction did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OvsdbError {
    /// The server refused it; nothing of it took effect.
    #[error("transaction refused, {0}")]
    Rejected(#[from] Rejection),
    /// The server did not even look at the operations; nothing took effect.
    #[error("transaction refused: {0}")]
    Refused(String),
    /// It was not sent.
    #[error("not connected to the database; try again when it is synced")]
    NotConnected,
    /// The connection broke before the answer came; whether it took effect shows after the re-read.
    #[error("the transaction was not answered: {0}")]
    Interrupted(Arc<ConnectionError>),
    /// The client was shut down; whether it took effect is unknown.
    #[error("the database client was shut down")]
    Stopped,
}
