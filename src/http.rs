//! `/healthz` and `/readyz` for probes, `/metrics` for Prometheus, `/status` for scripts, and `/`, a page for people.
//!
//! What tells who is watched is for programs of the node, at an address of localhost; `/metrics` is for whoever reaches the
//! node, or for those whom Kubernetes lets ([`Guard`]).
//!
//! Whoever reaches an address may send anything, so all that a client can take has a limit: one request a connection,
//! a time for it, a number of connections, the bytes of a request, the bytes of answers that nobody fetches. It all
//! runs on a thread of its own, so that the agent's loop, which heals, waits for no client.

mod budget;
mod guard;
mod host;
mod page;
mod service;
mod site;
mod tls;

use std::{
    collections::VecDeque, convert::Infallible, io, net, net::SocketAddr, thread, time::Duration,
};

pub use guard::Guard;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
pub use service::Service;
pub use site::{Addresses, Site, Unguarded};
use site::{Rule, View};
pub use tls::{Identity, Source as CertificateSource, TlsError};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};

use crate::endpoint::Stream;

/// Connections at a time, of those that get everything and of those that get `/metrics` alone: who comes from elsewhere must
/// not keep out the node's own probes. One more ends the oldest: those that hold on to theirs must not keep others out.
const CONNECTIONS: usize = 64;
/// How long a client may take for its part of TLS, for the head of its request, and for all of it.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const HEAD_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head, the least that hyper allows.
const HEAD: usize = 8192;
/// Bytes that the kernel keeps for a connection in each direction; left to itself it keeps megabytes.
const SEND_BUFFER: u32 = 64 << 10;
const RECEIVE_BUFFER: u32 = 16 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// What a client's first record of TLS begins with (RFC 8446, 5.1: handshake).
const TLS_HANDSHAKE: u8 = 22;

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address}: {error}; choose another {flag}, or none")]
pub struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    error: io::Error,
}

/// A site that is listened at.
pub struct Listener {
    socket: net::TcpListener,
    rule: Rule,
}

impl Listener {
    /// Where it listens; of a site with port 0 the system has chosen one.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Listens at a site, before anything else is done, so that a wrong address is told at once.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(site: &Site) -> Result<Listener, ListenError> {
    let Site { address, flag, rule } = site.clone();
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit both.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    let socket = bind().map_err(|error| ListenError { address, flag, error })?;
    Ok(Listener { socket, rule })
}

/// Starts a thread that serves at all of these as long as the process lives.
///
/// # Errors
/// There can be no more threads or file descriptors.
pub fn start(listeners: Vec<Listener>, service: Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serving = {
        let _context = runtime.enter();
        let serve = |listener: Listener| {
            Ok(serve(TcpListener::from_std(listener.socket)?, listener.rule, service.clone()))
        };
        listeners.into_iter().map(serve).collect::<io::Result<Vec<_>>>()?
    };
    let serve = move || runtime.block_on(futures::future::join_all(serving));
    thread::Builder::new().name("http".to_owned()).spawn(serve)?;
    Ok(())
}

async fn serve(listener: TcpListener, rule: Rule, service: Service) {
    let (mut inside, mut outside) = (Connections::default(), Connections::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // One that has gone already has no address.
                let Ok(local) = stream.local_addr() else { continue };
                let Some(view) = rule.view(local.ip(), peer.ip()) else { continue };
                let connections = match view {
                    View::Local | View::Everything => &mut inside,
                    View::Metrics | View::Guarded(_) | View::Plain => &mut outside,
                };
                let serving = timeout(CONNECTION_TIME, welcome(stream, view, service.clone()));
                connections.add(tokio::spawn(serving).abort_handle());
                // Each gets a turn before so many came after it that it is the oldest.
                yield_now().await;
            }
            // Out of file descriptors, perhaps; a connection that ends gives one back.
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection by HTTP");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a client, by TLS where there is a guard.
async fn welcome(stream: TcpStream, view: View, service: Service) {
    let View::Guarded(guard) = &view else {
        return serve_connection(stream, view, service).await;
    };
    let handshake = async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first != [TLS_HANDSHAKE] {
            return Ok(Err(stream));
        }
        guard.identity().acceptor().accept(stream).await.map(Ok)
    };
    match timeout(HANDSHAKE_TIME, handshake).await {
        Ok(Ok(Ok(stream))) => serve_connection(stream, view, service).await,
        Ok(Ok(Err(plain))) => serve_connection(plain, View::Plain, service).await,
        Ok(Err(error)) => tracing::debug!(%error, "a client's TLS"),
        Err(_) => tracing::debug!("a client began no TLS"),
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

async fn serve_connection(stream: impl Stream, view: View, service: Service) {
    let (view, service) = (&view, &service);
    let answer = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(service.answer(view, &request).await)
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a client of HTTP");
    }
}

#[cfg(test)]
mod tests;
