//! The socket of a [`Session`].

use std::{
    task::{Context, Poll},
    time::Instant,
};

use flows::ofp::{FlowMod, Message, MultipartRequest};
use futures::{SinkExt as _, StreamExt as _, future::poll_fn};
use tokio::time::{self, sleep_until};
use tokio_util::codec::Framed;

use super::{
    codec::{Codec, CodecError, Frame},
    session::{Event, Session, SessionError},
};
use crate::endpoint::{Endpoint, Stream};

/// A connection to a switch, from the first byte on.
pub struct Connection<T> {
    session: Session<T>,
    framed: Framed<Box<dyn Stream>, Codec>,
}

/// Why a connection is at its end.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody listens there.
    #[error("can't connect to {endpoint}: {source}")]
    Connect {
        /// Where.
        endpoint: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The stream can't be cut into messages, or the socket failed.
    #[error("the OpenFlow connection broke: {0}")]
    Codec(#[from] CodecError),
    /// The peer's end.
    #[error("the switch closed the connection")]
    Closed,
    /// The protocol's end.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl<T: Copy> Connection<T> {
    /// Connects; the first event is [`Event::Up`].
    ///
    /// # Errors
    /// Nobody listens at `endpoint`.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectionError> {
        let stream = endpoint.connect().await.map_err(|source| ConnectionError::Connect {
            endpoint: endpoint.to_string(),
            source,
        })?;
        let session = Session::new(now());
        Ok(Self { session, framed: Framed::new(stream, Codec) })
    }

    /// Asks a question that may take several messages to answer.
    pub fn ask(&mut self, tag: T, request: MultipartRequest) {
        self.session.ask(tag, request, now());
    }

    /// Makes `changes` in one atomic bundle; returns `false` while another is under way.
    pub fn commit(&mut self, tag: T, changes: impl IntoIterator<Item = FlowMod>) -> bool {
        self.session.commit(tag, changes, now())
    }

    /// Sends a message that the switch does not answer.
    pub fn tell(&mut self, message: Message) {
        self.session.tell(message);
    }

    /// Whether the switch has not been heard for 10 s, though it was asked for a sign of life.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.session.is_stalled(now())
    }

    /// Reads and writes until there is something to tell. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection is at its end.
    pub async fn next(&mut self) -> Result<Event<T>, ConnectionError> {
        loop {
            let deadline = sleep_until(self.session.poll_timeout().into());
            let frame = tokio::select! {
                frame = poll_fn(|cx| self.poll_frame(cx)) => frame?,
                () = deadline => {
                    self.session.handle_timeout(now())?;
                    continue;
                }
            };
            if let Some(event) = self.session.handle_frame(&frame, now())? {
                return Ok(event);
            }
        }
    }

    /// Writes what the socket takes, and reads the next frame: neither waits for the other.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, ConnectionError>> {
        let written = self.poll_write(cx);
        // A switch may say why before it hangs up, so what it said counts before a write that failed.
        match self.framed.poll_next_unpin(cx)? {
            Poll::Ready(Some(frame)) => Poll::Ready(Ok(frame)),
            Poll::Ready(None) => Poll::Ready(Err(ConnectionError::Closed)),
            Poll::Pending => match written {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error.into())),
            },
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), CodecError> {
        while self.session.has_output() {
            let Poll::Ready(ready) = self.framed.poll_ready_unpin(cx) else { break };
            ready?;
            if let Some(message) = self.session.poll_transmit() {
                self.framed.start_send_unpin(message)?;
            }
        }
        match self.framed.poll_flush_unpin(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }
}

/// The time by tokio's clock, which a test can pause.
fn now() -> Instant {
    time::Instant::now().into_std()
}
