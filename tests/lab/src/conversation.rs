//! A TCP connection in which a test sets the pace.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
};

use anyhow::{Context as _, ensure};

use crate::{Pod, Result, services::SILENCE};

/// What every line begins with, so that its frames can be found.
const PREFIX: &str = "ofmirror line ";
/// The length of a line, in bytes.
const LINE: usize = PREFIX.len() + 8;

/// One TCP connection to an [`crate::Echo`]; each line that is said comes back before the next.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    lines: u32,
}

impl Pod {
    /// Connects to an [`crate::Echo`].
    ///
    /// # Errors
    /// There is none.
    pub fn converse(&self, ip: IpAddr, port: u16) -> Result<Conversation> {
        let stream = self.namespace().inside(|| {
            let stream = TcpStream::connect(SocketAddr::new(ip, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Ok(stream)
        })?;
        Ok(Conversation { stream, lines: 0 })
    }
}

impl Conversation {
    /// Says that many more lines, numbered from 0 on within the connection, and hears each.
    ///
    /// # Errors
    /// The connection breaks, is silent for half a minute, or something else comes back.
    pub fn say(&mut self, lines: u32) -> Result {
        for number in self.lines..self.lines + lines {
            let line = format!("{PREFIX}{number:08}");
            self.stream.write_all(line.as_bytes())?;
            let mut answer = [0; LINE];
            self.stream.read_exact(&mut answer).with_context(|| format!("no answer to {line}"))?;
            ensure!(answer == line.as_bytes(), "something else came back for {line}");
        }
        self.lines += lines;
        Ok(())
    }

    /// Ends the connection and hears that the other side does. The last acknowledgement is under way then.
    ///
    /// # Errors
    /// The other side is silent for half a minute, or says more.
    pub fn end(mut self) -> Result {
        self.stream.shutdown(Shutdown::Write)?;
        let mut more = Vec::new();
        self.stream.read_to_end(&mut more).context("the other side does not end")?;
        ensure!(more.is_empty(), "{} bytes came back that nobody said", more.len());
        Ok(())
    }

    /// How many lines were said.
    pub fn lines(&self) -> u32 {
        self.lines
    }
}

/// The number of the line that a frame carries, if it carries one.
#[must_use]
pub fn line_of(frame: &[u8]) -> Option<u32> {
    let line = frame.len().checked_sub(LINE).map(|start| &frame[start..])?;
    std::str::from_utf8(line).ok()?.strip_prefix(PREFIX)?.parse().ok()
}
