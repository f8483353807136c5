//! A connection to the switch that comes back.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};

use super::{
    connection::{Connection, ConnectionError},
    session::Event,
};
use crate::endpoint::{Endpoint, reconnect_delays};

/// The connection, or the attempt to make it.
pub struct Link<T> {
    endpoint: Endpoint,
    delays: Box<dyn Iterator<Item = Duration>>,
    state: State<T>,
}

enum State<T> {
    Resting,
    Connecting(JoinHandle<Result<Connection<T>, ConnectionError>>),
    Connected(Box<Connection<T>>),
}

impl<T: Copy + Send + 'static> Link<T> {
    /// It connects as soon as somebody waits for [`Self::next`].
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, delays: Box::new(reconnect_delays()), state: State::Resting }
    }

    /// Ends the connection, or the attempt to make one, until somebody waits for [`Self::next`] again.
    pub fn rest(&mut self) {
        *self = Self::new(self.endpoint.clone());
    }

    /// Whether there is no connection, nor an attempt to make one.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting)
    }

    /// What the switch says next, or why there is no connection. After an error it goes on with the next attempt, so
    /// that the first event after one is [`Event::Up`]. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection broke, or could not be made.
    pub async fn next(&mut self) -> Result<Event<T>, ConnectionError> {
        let result = loop {
            match &mut self.state {
                State::Resting => {
                    let attempt = connect(self.endpoint.clone(), None);
                    self.state = State::Connecting(tokio::spawn(attempt));
                }
                State::Connected(connection) => break connection.next().await,
                State::Connecting(attempt) => match attempt.await {
                    Ok(Ok(connection)) => self.state = State::Connected(Box::new(connection)),
                    Ok(Err(error)) => break Err(error),
                    Err(_) => break Err(ConnectionError::Closed),
                },
            }
        };
        match &result {
            // A peer that accepts and then fails must not be asked again at full speed.
            Ok(Event::Up(_)) => self.delays = Box::new(reconnect_delays()),
            Ok(_) => {}
            Err(_) => {
                let attempt = connect(self.endpoint.clone(), self.delays.next());
                self.state = State::Connecting(tokio::spawn(attempt));
            }
        }
        result
    }

    /// The connection, if there is one; requests may be made once it is up.
    pub fn connection(&mut self) -> Option<&mut Connection<T>> {
        match &mut self.state {
            State::Connected(connection) => Some(connection),
            State::Resting | State::Connecting(_) => None,
        }
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        if let State::Connecting(attempt) = &self.state {
            attempt.abort();
        }
    }
}

async fn connect<T: Copy>(
    endpoint: Endpoint,
    delay: Option<Duration>,
) -> Result<Connection<T>, ConnectionError> {
    if let Some(delay) = delay {
        sleep(delay).await;
    }
    Connection::connect(&endpoint).await
}
