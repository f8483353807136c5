//! `/healthz`, `/readyz` and `/metrics` for probes and Prometheus, `/status` for scripts, and `/`, a page for people.
//!
//! Whoever reaches the address may send anything, so all that a client can take has a limit: one request a connection,
//! a time for it, a number of connections, the bytes of a request, the bytes of answers that nobody fetches. It all
//! runs on a thread of its own, so that the agent's loop, which heals, waits for no client.

mod budget;
mod page;
mod service;

use std::{
    collections::VecDeque, convert::Infallible, io, net, net::SocketAddr, thread, time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
pub use service::Service;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};

use crate::endpoint::Stream;

/// Connections at a time. One more ends the oldest: those that hold on to theirs must not keep others out.
const CONNECTIONS: usize = 64;
/// How long a client may take for the head of its request, and for all of it.
const HEAD_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head, the least that hyper allows.
const HEAD: usize = 8192;
/// Bytes that the kernel keeps for a connection in each direction; left to itself it keeps megabytes.
const SEND_BUFFER: u32 = 64 << 10;
const RECEIVE_BUFFER: u32 = 16 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address} for /metrics: {source}; choose another --metrics-addr, or none")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens at `address`, before anything else is done, so that a wrong one is told at once.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(address: SocketAddr) -> Result<net::TcpListener, ListenError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit both.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bind().map_err(|source| ListenError { address, source })
}

/// Starts a thread that serves as long as the process lives.
///
/// # Errors
/// There can be no more threads or file descriptors.
pub fn start(listener: net::TcpListener, service: Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let serve = move || runtime.block_on(serve(listener, service));
    thread::Builder::new().name("http".to_owned()).spawn(serve)?;
    Ok(())
}

async fn serve(listener: TcpListener, service: Service) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = timeout(CONNECTION_TIME, serve_connection(stream, service.clone()));
                connections.add(tokio::spawn(serving).abort_handle());
                // Each gets a turn before so many came after it that it is the oldest.
                yield_now().await;
            }
            // Out of file descriptors, perhaps; a connection that ends gives one back.
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for /metrics");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Those that are open, in the order in which they came.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn add(&mut self, connection: AbortHandle) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() == CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

async fn serve_connection(stream: impl Stream, service: Service) {
    let service = &service;
    let answer = service_fn(|request: Request<Incoming>| async move {
        let response = service.answer(request.method(), request.uri().path()).await;
        Ok::<_, Infallible>(response)
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a client of /metrics");
    }
}

#[cfg(test)]
mod tests;
