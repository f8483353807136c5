//! Who mirrors a bridge: an agent that holds the bridge's lock says so to whoever asks.
//!
//! A lock of OVSDB does not show its holder, and a row would outlive it; besides, ovn-controller computes all its flows
//! anew whenever the bridge's row changes (`en_ovs_bridge` in controller/ovn-controller.c). So the holder listens on an
//! abstract unix socket of the node's network namespace, which ends with it and needs no folder, and each connection gets
//! one line. Nothing depends on it: any process of that namespace may take the name first, and then the holder has none.

use std::{fmt, io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Longest line that is read, in bytes.
const LINE: u64 = 512;
/// Longest name of a NIC and of a time, in bytes: IFNAMSIZ less one, and one of RFC 3339.
const NIC: usize = 15;
const TIME: usize = 32;
/// How long the other side may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause until the name is tried again, which somebody else has.
const TAKEN: Duration = Duration::from_secs(1);
/// Pause after each connection, so that nobody keeps the agent busy.
const PAUSE: Duration = Duration::from_millis(10);

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Its process number: as seen from here, unless that is not to be seen.
    pub pid: u32,
    /// When it was started, as RFC 3339 has it.
    pub started: String,
    /// The mirror NIC.
    pub nic: String,
    /// Whether the process number is one of another PID namespace, such as a container's.
    #[serde(skip)]
    pub elsewhere: bool,
}

/// An agent's listening; it ends when dropped.
#[derive(Debug)]
pub struct Introducing(JoinHandle<()>);

impl Introduction {
    /// This process, which mirrors to `nic`.
    #[must_use]
    pub fn of_this_process(nic: &str) -> Self {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        Self {
            pid: std::process::id(),
            started: now.to_string(),
            nic: nic.to_owned(),
            elsewhere: false,
        }
    }

    /// Says this to whoever asks for the holder of `lock`, as soon as the name is free.
    #[must_use]
    pub fn give(&self, lock: &str) -> Introducing {
        let line = serde_json::to_vec(self).unwrap_or_default();
        Introducing(tokio::spawn(listen(name(lock), line)))
    }

    /// Reads what somebody has sent; none if it is no introduction.
    fn read(line: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(line).ok()?;
        let is_plain = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        (is_plain(&read.started, TIME) && is_plain(&read.nic, NIC)).then_some(read)
    }
}

impl Drop for Introducing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Display for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, started, nic, elsewhere } = self;
        let place = if *elsewhere { " in its own PID namespace" } else { "" };
        write!(f, "pid {pid}{place}, started {started}, mirrors to {nic}")
    }
}

/// Asks the holder of `lock` who it is; none if nobody answers in this network namespace.
pub async fn ask(lock: &str) -> Option<Introduction> {
    timeout(PATIENCE, hear(&name(lock))).await.ok()?.ok()?
}

async fn hear(name: &str) -> io::Result<Option<Introduction>> {
    let stream = UnixStream::connect(name).await?;
    // The kernel knows the process as it is numbered here; 0 is one that can't be seen from here.
    let peer = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
    let mut line = Vec::new();
    stream.take(LINE).read_to_end(&mut line).await?;
    let read = Introduction::read(&line).map(|told| match peer.filter(|pid| *pid != 0) {
        Some(pid) => Introduction { pid, ..told },
        None => Introduction { elsewhere: true, ..told },
    });
    Ok(read)
}

/// An abstract name, which is no path.
fn name(lock: &str) -> String {
    format!("\0{lock}")
}

async fn listen(name: String, line: Vec<u8>) {
    loop {
        match UnixListener::bind(&name) {
            Ok(listener) => answer(listener, &line).await,
            Err(error) => tracing::debug!(%error, "can't say who we are"),
        }
        sleep(TAKEN).await;
    }
}

/// Until the socket fails.
async fn answer(listener: UnixListener, line: &[u8]) {
    while let Ok((mut stream, _)) = listener.accept().await {
        // It fits into the socket's buffer; whoever has gone meanwhile does not miss it.
        let _ = timeout(PATIENCE, stream.write_all(line)).await;
        drop(stream);
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock of this test run's own: the names are the network namespace's.
    fn lock(test: &str) -> String {
        format!("ofmirror_test_{}_{test}", std::process::id())
    }

    async fn until_told(lock: &str) -> Introduction {
        loop {
            if let Some(told) = ask(lock).await {
                return told;
            }
            sleep(PAUSE).await;
        }
    }

    #[tokio::test]
    async fn an_agent_is_known_as_long_as_it_is_there() {
        let lock = lock("there");
        assert_eq!(ask(&lock).await, None);
        let us = Introduction::of_this_process("mirror0");
        let introducing = us.give(&lock);
        assert_eq!(until_told(&lock).await, us);
        assert_eq!(until_told(&lock).await, us, "as often as one likes");
        // The next one waits for the name.
        let next = Introduction { nic: "eth9".to_owned(), ..us.clone() };
        let _next = next.give(&lock);
        drop(introducing);
        while until_told(&lock).await == us {}
        assert_eq!(until_told(&lock).await, next);
        let text = next.to_string();
        assert_eq!(
            text,
            format!("pid {}, started {}, mirrors to eth9", std::process::id(), us.started)
        );
    }

    #[tokio::test]
    async fn whoever_says_nonsense_or_nothing_is_nobody() {
        let long = format!(r#"{{"pid":1,"started":"x","nic":"{}"}}"#, "n".repeat(16));
        let lines: [&[u8]; 6] = [
            b"",
            b"{}",
            &[0xff; 4096],
            br#"{"pid":-1,"started":"x","nic":"n"}"#,
            br#"{"pid":1,"started":"x","nic":"a\u001b[2Jb"}"#,
            long.as_bytes(),
        ];
        let lock = lock("nonsense");
        for line in lines {
            let listener = UnixListener::bind(name(&lock)).unwrap();
            let (told, ()) = tokio::join!(ask(&lock), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(line).await;
            });
            assert_eq!(told, None, "{}", String::from_utf8_lossy(line));
        }
        let silent = UnixListener::bind(name(&lock)).unwrap();
        assert_eq!(ask(&lock).await, None);
        drop(silent);
    }
}
