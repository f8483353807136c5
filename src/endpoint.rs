//! Where a daemon of Open vSwitch listens: `unix:PATH` or `tcp:HOST:PORT`, the syntax of OVS's own tools.

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// Longest wait for a connection to be accepted; a local daemon answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A byte stream to a daemon, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The address of an OVSDB or OpenFlow socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket, the way to a local daemon.
    Unix(PathBuf),
    /// A TCP socket; an IPv6 host is written in brackets.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// TCP port, 1 to 65535.
        port: u16,
    },
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a socket address; write unix:PATH or tcp:HOST:PORT")]
pub struct ParseEndpointError(String);

impl Endpoint {
    /// Connects, within five seconds.
    ///
    /// # Errors
    /// What the operating system said, or [`io::ErrorKind::TimedOut`].
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connect = async {
            Ok(match self {
                Self::Unix(path) => Box::new(UnixStream::connect(path).await?) as Box<dyn Stream>,
                Self::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"))
        })
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseEndpointError(text.to_owned());
        match text.split_once(':').ok_or_else(invalid)? {
            ("unix", path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            ("tcp", address) => {
                let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
                if host.is_empty() {
                    return Err(invalid());
                }
                Ok(Self::Tcp { host: host.to_owned(), port })
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// How long to wait before each further attempt to connect: 50 ms, doubling to 2 s, with jitter, without end.
///
/// The sockets are local and a daemon that restarts is back within a second, so the pauses stay short;
/// start a new sequence after each connection that came to work.
pub fn reconnect_delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_it_was_read() {
        for text in ["unix:/var/run/openvswitch/db.sock", "tcp:127.0.0.1:6640", "tcp:[::1]:6653"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unusable_address_is_named_in_the_error() {
        for text in
            ["", "unix:", "tcp:host", "tcp::6640", "tcp:host:0", "ssl:host:6640", "/run/db.sock"]
        {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn reconnecting_never_gives_up() {
        let delays: Vec<_> = reconnect_delays().take(100).collect();
        assert_eq!(delays.len(), 100);
        assert!(delays.iter().all(|delay| *delay < Duration::from_secs(5)), "{delays:?}");
    }
}
