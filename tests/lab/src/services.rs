//! Servers in Pods that send back what they get, and clients that check it.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::socket;

use crate::{Pod, Result, until};

/// How long a peer may be silent before an exchange counts as failed; generous, for slow machines.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// One connection per exchange.
    Tcp,
    /// One datagram at a time.
    Udp,
}

/// A server that sends back what it gets, until dropped.
#[derive(Debug)]
pub struct Echo {
    socket: Socket,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Pod {
    /// Starts a server on all of the Pod's addresses, IPv4 and IPv6.
    ///
    /// # Errors
    /// The port is taken.
    pub fn serve(&self, proto: Proto, port: u16) -> Result<Echo> {
        let any = (Ipv6Addr::UNSPECIFIED, port);
        self.namespace().inside(|| {
            let (socket, thread) = match proto {
                Proto::Tcp => {
                    let listener = free(|| TcpListener::bind(any))?;
                    let ours = listener.try_clone()?;
                    (Socket::Tcp(listener), thread::spawn(move || echo_streams(&ours)))
                }
                Proto::Udp => {
                    let socket = free(|| UdpSocket::bind(any))?;
                    let ours = socket.try_clone()?;
                    (Socket::Udp(socket), thread::spawn(move || echo_datagrams(&ours)))
                }
            };
            Ok(Echo { socket, thread: Some(thread) })
        })
    }

    /// Sends `length` bytes to an [`Echo`] and checks that the same come back. TCP takes one connection; UDP takes
    /// datagrams of up to 1200 bytes, one after the other.
    ///
    /// # Errors
    /// The connection fails, the server is silent for half a minute, or other bytes come back.
    pub fn exchange(&self, proto: Proto, ip: IpAddr, port: u16, length: usize) -> Result {
        let payload = payload(length);
        let to = SocketAddr::new(ip, port);
        let exchanged = self.namespace().inside(|| match proto {
            Proto::Tcp => exchange_stream(to, &payload),
            Proto::Udp => exchange_datagrams(to, payload.chunks(1200)),
        });
        exchanged.with_context(|| format!("{proto:?} from {} to {to}", self.name()))
    }

    /// Sends one datagram of exactly `length` bytes to an [`Echo`] and checks that the same comes back.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub fn exchange_datagram(&self, ip: IpAddr, port: u16, length: usize) -> Result {
        let payload = payload(length);
        let to = SocketAddr::new(ip, port);
        self.namespace()
            .inside(|| exchange_datagrams(to, [payload.as_slice()].into_iter()))
            .with_context(|| format!("a datagram of {length} bytes from {} to {to}", self.name()))
    }

    /// Tries to reach a port that the network rejects, and makes sure that it says so.
    ///
    /// # Errors
    /// Anything but a rejection comes back.
    pub fn expect_rejection(&self, proto: Proto, ip: IpAddr, port: u16) -> Result {
        let to = SocketAddr::new(ip, port);
        let exchanged = self.namespace().inside(|| match proto {
            Proto::Tcp => exchange_stream(to, b"?"),
            Proto::Udp => exchange_datagrams(to, [b"?".as_slice()].into_iter()),
        });
        let Err(error) = exchanged else { bail!("{to} was not rejected") };
        let refused = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable)
                || error.kind() == ErrorKind::PermissionDenied
        };
        ensure!(error.downcast_ref().is_some_and(refused), "{to} was not rejected: {error:#}");
        Ok(())
    }
}

/// Binds a port, and waits for it if need be: a child that another test is starting holds all sockets of this process
/// for a moment, those that were just closed included.
pub(crate) fn free<T>(bind: impl Fn() -> io::Result<T>) -> Result<T> {
    until("a port to be free", || match bind() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        bound => Ok(Some(bound?)),
    })
}

/// Bytes that differ from place to place, so that an exchange of two parts shows.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251).to_le_bytes()[0]).collect()
}

fn exchange_stream(to: SocketAddr, payload: &[u8]) -> Result {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut sender = stream.try_clone()?;
    let mut answer = Vec::new();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            sender.write_all(payload)?;
            sender.shutdown(Shutdown::Write)
        });
        stream.read_to_end(&mut answer)?;
        sending.join().map_err(|_| io::Error::other("the sender panicked"))?
    })?;
    ensure!(answer == payload, "{} of {} bytes came back, or others", answer.len(), payload.len());
    Ok(())
}

fn exchange_datagrams<'a>(to: SocketAddr, payloads: impl Iterator<Item = &'a [u8]>) -> Result {
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.connect(to)?;
    let mut answer = [0; 65536];
    for payload in payloads {
        socket.send(payload)?;
        let length = socket.recv(&mut answer)?;
        ensure!(&answer[..length] == payload, "another datagram of {length} bytes came back");
    }
    Ok(())
}

fn echo_streams(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 65536];
    // A read of nothing is also how the end is told.
    while let Ok((length @ 1.., from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Wakes the thread. On a datagram socket without a peer it does so too, although it reports an error.
        let _ = match &self.socket {
            Socket::Tcp(listener) => socket::shutdown(listener.as_raw_fd(), socket::Shutdown::Both),
            Socket::Udp(udp) => socket::shutdown(udp.as_raw_fd(), socket::Shutdown::Both),
        };
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
