//! Splits the byte stream into JSON texts: bytes in, one whole object out, nothing parsed.
//!
//! RFC 7047 section 4 puts no separator between messages, so an end is found by counting brackets
//! outside strings. The scan resumes where it stopped: each byte is looked at once, however the
//! stream is cut.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
use serde::Serialize;
use tokio_util::codec::{Decoder, Encoder};

/// Longest message accepted, in bytes; 10,000 Pod interfaces take about 6 MB.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Deepest nesting accepted, that of `serde_json`; an update needs nine levels.
pub const MAX_DEPTH: usize = 127;

/// A buffer that held a message longer than this is given back instead of kept for the next one.
const KEEP_BYTES: usize = 256 << 10;

/// The state of the scan between two reads.
#[derive(Debug)]
pub struct Framer {
    /// Bytes of the unfinished message that were looked at; 0 between messages.
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    max_bytes: usize,
}

/// Why the stream cannot be split; no later byte of it means anything.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Something other than white space or `{` between two messages.
    #[error("expected the start of a JSON object, found byte {0:#04x}; is this an OVSDB server?")]
    Garbage(u8),
    /// More bytes than the limit, without an end.
    #[error("a message is {0} bytes long and has no end")]
    TooLong(usize),
    /// More brackets open than the limit.
    #[error("a message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The stream ended within a message.
    #[error("the stream ended {0} bytes into a message")]
    Truncated(usize),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message of ours cannot be written as JSON.
    #[error("cannot write a message: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl Default for Framer {
    fn default() -> Self {
        Self::with_max_bytes(MAX_MESSAGE_BYTES)
    }
}

impl Framer {
    /// A framer that refuses messages longer than `max_bytes`.
    pub fn with_max_bytes(max_bytes: usize) -> Self {
        Self { scanned: 0, depth: 0, in_string: false, escaped: false, max_bytes }
    }

    /// Takes in one byte of a message; true when it was the last.
    fn step(&mut self, byte: u8) -> Result<bool, FrameError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' if self.depth == MAX_DEPTH => return Err(FrameError::TooDeep),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        Ok(self.depth == 0)
    }
}

impl Decoder for Framer {
    type Item = BytesMut;
    type Error = FrameError;

    fn decode(&mut self, received: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        if self.scanned == 0 {
            let blank = received.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
            received.advance(blank);
            match received.first() {
                None => return Ok(None),
                Some(b'{') => {}
                Some(&byte) => return Err(FrameError::Garbage(byte)),
            }
        }
        let end = received.len().min(self.max_bytes);
        for at in self.scanned..end {
            if self.step(received[at])? {
                self.scanned = 0;
                let message = received.split_to(at + 1);
                if message.len() > KEEP_BYTES {
                    *received = BytesMut::from(&received[..]);
                }
                return Ok(Some(message));
            }
        }
        self.scanned = end;
        // Checked here, before the reader makes room for more.
        if end == self.max_bytes { Err(FrameError::TooLong(end)) } else { Ok(None) }
    }

    fn decode_eof(&mut self, received: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        match self.decode(received)? {
            None if !received.is_empty() => Err(FrameError::Truncated(received.len())),
            message => Ok(message),
        }
    }
}

impl<T: Serialize> Encoder<&T> for Framer {
    type Error = FrameError;

    fn encode(&mut self, message: &T, outgoing: &mut BytesMut) -> Result<(), FrameError> {
        Ok(serde_json::to_writer(outgoing.writer(), message)?)
    }
}

#[cfg(test)]
mod tests;
