//! Keeps flooded packets off a port, and has all others get out by it: sets its NO_FLOOD bit and clears its NO_FWD bit.
//!
//! The first exists in OpenFlow 1.0 only; OVS drops it from port modifications of later versions
//! (`lib/ofp-port.c`). So this speaks 1.0, on a short-lived connection of its own beside the agent's
//! session: in go the bridge's management socket, a port's number and its hardware address, which the switch wants as
//! well. (It would tell it, but of no more than 1,364 ports: a features reply has a length of 16 bits.) A new port has the bit
//! clear, and so has each port after a restart of OVS.
//!
//! What the switch sends is decoded here, not by `rust_ofp`, whose message parsers expect a benign
//! peer; only its header parser takes any bytes.

use std::{io, time::Duration};

use rust_ofp::{
    ofp_header::OfpHeader,
    ofp_message::OfpMessage as _,
    openflow0x01::{MsgCode, message::Message},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::endpoint::{Endpoint, Stream};

mod wire;

use wire::SwitchError;

/// Longest time for the whole conversation; a local switch takes milliseconds.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// OpenFlow 1.0 in the version field of a header.
const VERSION: u8 = 0x01;

/// Length of a header, in bytes (openflow-1.0 section 5.1).
const HEADER_LENGTH: usize = 8;

/// The message types that may come at any time, as bytes to compare with.
const HELLO_TYPE: u8 = MsgCode::Hello as u8;
const ERROR_TYPE: u8 = MsgCode::Error as u8;
const ECHO_TYPE: u8 = MsgCode::EchoReq as u8;
const BARRIER_TYPE: u8 = MsgCode::BarrierResp as u8;

/// The requests by their transaction ids, which join an error to what caused it.
const HELLO: u32 = 1;
const PORT_MOD: u32 = 2;
const BARRIER: u32 = 3;

/// Why the NO_FLOOD bit could not be set.
#[derive(Debug, thiserror::Error)]
pub enum NoFloodError {
    /// The socket could not be reached, or failed.
    #[error("no OpenFlow 1.0 connection to the bridge: {0}")]
    Io(io::Error),
    /// The switch did not do its part in time.
    #[error("the switch took longer than {} s to set no-flood", TIME_LIMIT.as_secs())]
    Timeout,
    /// The switch closed the connection in the middle of the conversation.
    #[error("the switch closed the connection before it answered")]
    Closed,
    /// The bridge is not allowed to speak OpenFlow 1.0.
    #[error(
        "the bridge refuses OpenFlow 1.0, which alone can set no-flood ({0}); add OpenFlow10 to its protocols (ovs-vsctl set bridge NAME protocols=...)"
    )]
    VersionRefused(String),
    /// The switch answered in another version than the one agreed on, so it is no OpenFlow 1.0 switch.
    #[error("the switch answered in version {0:#04x} instead of OpenFlow 1.0 (0x01)")]
    WrongVersion(u8),
    /// A message that no OpenFlow switch sends.
    #[error("the switch sent a malformed message: {0}")]
    Malformed(String),
    /// The switch refused a request.
    #[error("the switch refused {request}: {error}")]
    Refused {
        /// The request, in words.
        request: &'static str,
        /// The switch's reason.
        error: String,
    },
}

/// Sets the NO_FLOOD bit and clears the NO_FWD bit of the port with OpenFlow number `port` and this hardware address on the bridge at `endpoint`, within
/// five seconds.
///
/// # Errors
/// When the switch cannot be reached, refuses, or does not behave like an OpenFlow 1.0 switch. After an
/// error the bit may be set or not.
pub async fn set_no_flood(
    endpoint: &Endpoint,
    port: u16,
    hw_addr: [u8; 6],
) -> Result<(), NoFloodError> {
    let conversation = async {
        let stream = endpoint.connect().await?;
        converse(&mut Connection { stream }, port, hw_addr).await
    };
    timeout(TIME_LIMIT, conversation).await.unwrap_or(Err(NoFloodError::Timeout))
}

async fn converse(
    connection: &mut Connection,
    port: u16,
    hw_addr: [u8; 6],
) -> Result<(), NoFloodError> {
    // Together, since a switch that refuses the version closes the socket upon whatever comes later.
    let mut messages = Message::marshal(HELLO, Message::Hello);
    messages.extend(wire::port_mod(PORT_MOD, port, hw_addr));
    messages.extend(Message::marshal(BARRIER, Message::BarrierRequest));
    connection.stream.write_all(&messages).await?;
    connection.await_barrier().await
}

struct Connection {
    stream: Box<dyn Stream>,
}

impl Connection {
    /// Waits until the switch has done all that it was told. Serves echo requests meanwhile, and passes over messages that
    /// belong to no request.
    async fn await_barrier(&mut self) -> Result<(), NoFloodError> {
        loop {
            let (header, body) = self.receive().await?;
            match header.message_type {
                // The switch's hello bears the highest version it speaks, its errors any.
                HELLO_TYPE => {}
                ERROR_TYPE => check_error(header.xid, &body)?,
                _ if header.version != VERSION => {
                    return Err(NoFloodError::WrongVersion(header.version));
                }
                ECHO_TYPE => {
                    let reply = Message::marshal(header.xid, Message::EchoReply(body));
                    self.stream.write_all(&reply).await?;
                }
                BARRIER_TYPE if header.xid == BARRIER => return Ok(()),
                _ => {}
            }
        }
    }

    /// Reads one message, of at most 64 KiB since its length is a 16-bit number.
    async fn receive(&mut self) -> Result<(Header, Vec<u8>), NoFloodError> {
        let mut bytes = [0; HEADER_LENGTH];
        self.stream.read_exact(&mut bytes).await?;
        let header = Header::parse(bytes);
        let Some(length) = header.length.checked_sub(HEADER_LENGTH) else {
            return Err(NoFloodError::Malformed(format!(
                "a length of {} bytes, less than its own header",
                header.length
            )));
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((header, body))
    }
}

/// A header, with the type as the plain byte that it is.
struct Header {
    version: u8,
    message_type: u8,
    length: usize,
    xid: u32,
}

impl Header {
    fn parse(bytes: [u8; HEADER_LENGTH]) -> Self {
        let header = OfpHeader::parse(bytes);
        Self {
            version: header.version(),
            // Not `OfpHeader::type_code`, which is undefined for types that OpenFlow 1.0 does not have.
            message_type: bytes[1],
            length: header.length(),
            xid: header.xid(),
        }
    }
}

/// Fails for an error message that answers one of our requests.
fn check_error(xid: u32, body: &[u8]) -> Result<(), NoFloodError> {
    let error = SwitchError::decode(body)?;
    if error.is_hello_failed() {
        return Err(NoFloodError::VersionRefused(error.to_string()));
    }
    let request = match xid {
        PORT_MOD => "to set no-flood",
        BARRIER => "a barrier",
        _ => return Ok(()),
    };
    Err(NoFloodError::Refused { request, error: error.to_string() })
}

impl From<io::Error> for NoFloodError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
