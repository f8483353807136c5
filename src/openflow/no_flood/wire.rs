//! The parts of OpenFlow 1.0 that setting a port's configuration needs (`openflow-1.0.h` of OVS).

use std::fmt;

use super::{HEADER_LENGTH, NoFloodError, VERSION};

/// `OFPPC10_NO_FLOOD`: floods leave the port out.
const NO_FLOOD: u32 = 1 << 4;
/// `OFPPC_NO_FWD`: the switch drops what is sent to the port.
const NO_FWD: u32 = 1 << 5;

/// `OFPT_PORT_MOD`.
const PORT_MOD_TYPE: u8 = 15;

/// Length of `struct ofp_port_mod` with its header.
const PORT_MOD_LENGTH: u16 = 32;

/// `OFPET_HELLO_FAILED`.
const HELLO_FAILED: u16 = 0;

/// The request to set `port`'s NO_FLOOD bit, clear its NO_FWD bit, and leave its other bits as they are:
///
/// ```text
/// header 8 | port_no 2 | hw_addr 6 | config 4 | mask 4 | advertise 4 | pad 4
/// ```
pub(super) fn port_mod(xid: u32, port: u16, hw_addr: [u8; 6]) -> Vec<u8> {
    let mut message = Vec::with_capacity(PORT_MOD_LENGTH.into());
    message.extend([VERSION, PORT_MOD_TYPE]);
    message.extend(PORT_MOD_LENGTH.to_be_bytes());
    message.extend(xid.to_be_bytes());
    message.extend(port.to_be_bytes());
    message.extend(hw_addr);
    message.extend(NO_FLOOD.to_be_bytes());
    message.extend((NO_FLOOD | NO_FWD).to_be_bytes());
    message.extend([0; 8]);
    message
}

/// An error message: type and code, and the text that a failed hello carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SwitchError {
    error_type: u16,
    code: u16,
    text: String,
}

impl SwitchError {
    pub(super) fn decode(body: &[u8]) -> Result<Self, NoFloodError> {
        let &[t0, t1, c0, c1, ref data @ ..] = body else {
            let length = body.len() + HEADER_LENGTH;
            return Err(NoFloodError::Malformed(format!("an error message of {length} bytes")));
        };
        let (error_type, code) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
        // The data of other errors is the request that failed, not text.
        let data = if error_type == HELLO_FAILED { data } else { &[] };
        let printable = data.iter().copied().filter(|byte| (0x20..0x7f).contains(byte));
        let text = printable.take(LONGEST_TEXT).map(char::from).collect();
        Ok(Self { error_type, code, text })
    }

    pub(super) fn is_hello_failed(&self) -> bool {
        self.error_type == HELLO_FAILED
    }

    /// The names that `openflow-1.0.h` gives to the errors which may meet us.
    fn name(&self) -> Option<&'static str> {
        Some(match (self.error_type, self.code) {
            (0, 0) => "no common version",
            (0, 1) => "hello not permitted",
            (1, 0) => "bad version",
            (1, 1) => "bad type",
            (1, 2) => "bad statistics type",
            (1, 3) => "bad vendor",
            (1, 4) => "bad vendor subtype",
            (1, 5) => "not permitted",
            (1, 6) => "bad length",
            (4, 0) => "no such port",
            (4, 1) => "another hardware address",
            _ => return None,
        })
    }
}

/// Longest text of a switch to repeat in an error; OVS writes at most 128 bytes.
const LONGEST_TEXT: usize = 200;

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            write!(f, "{name}, ")?;
        }
        write!(f, "error type {} code {}", self.error_type, self.code)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}
