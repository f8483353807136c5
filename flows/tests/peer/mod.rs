//! The other end of an OpenFlow connection, blocking, for tests.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use flows::ofp::{Message, VERSION};

/// The longest that a test waits for a message before it fails instead of hanging.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A connection to a switch or from a controller.
pub(crate) struct Peer(UnixStream);

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends a message under `xid`.
    pub(crate) fn send(&mut self, xid: u32, message: &Message) {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&[VERSION, message.type_code(), 0, 0]);
        bytes.extend_from_slice(&xid.to_be_bytes());
        message.encode(xid, &mut bytes).unwrap();
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&bytes).unwrap();
    }

    /// The next message with its xid, and its bytes with header; `None` when the other end has hung up.
    ///
    /// What is read must come out the same when it is written again.
    pub(crate) fn receive(&mut self) -> Option<(u32, Message)> {
        let mut header = [0; 8];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let [_, type_code, high, low, xid @ ..] = header;
        let mut body = vec![0; usize::from(u16::from_be_bytes([high, low])) - 8];
        self.0.read_exact(&mut body).unwrap();
        let message = Message::decode(type_code, &body)
            .unwrap_or_else(|error| panic!("{error}: {type_code} {body:02x?}"));
        let xid = u32::from_be_bytes(xid);
        let mut again = BytesMut::new();
        message.encode(xid, &mut again).unwrap();
        assert_eq!(again, body, "{message:?}");
        Some((xid, message))
    }
}
