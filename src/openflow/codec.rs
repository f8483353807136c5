//! OpenFlow messages out of a byte stream, and into it.
//!
//! The header, which all versions share, is `rust_ofp`'s. Its accessors for version, length and xid are sound on any
//! bytes; the type byte is taken from the buffer, as `OfpHeader::type_code` is undefined above 21.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flows::ofp::{EncodeError, Message, VERSION};
use rust_ofp::ofp_header::OfpHeader;
use tokio_util::codec::{Decoder, Encoder};

/// Bytes of a header.
const HEADER: usize = 8;
/// Where the type stands in it.
const TYPE: usize = 1;

/// A message as it came, not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Version of the header: 1 is OpenFlow 1.0, 6 is 1.5.
    pub version: u8,
    /// `OFPT_*` of that version.
    pub type_code: u8,
    /// Transaction: a reply has its request's.
    pub xid: u32,
    /// What follows the header, at most 65527 bytes.
    pub body: Bytes,
}

/// Why a stream can't be cut into messages, or a message not be sent.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The peer's bytes are not OpenFlow.
    #[error(
        "a message header says that the message is {0} bytes long, less than the header itself"
    )]
    Length(usize),
    /// Ours don't fit.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Cuts the stream at message boundaries. It never holds more than one message of 64 KiB and what was read with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

impl Decoder for Codec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        let Some(bytes) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let type_code = bytes[TYPE];
        let header = OfpHeader::parse(*bytes);
        let length = header.length();
        if length < HEADER {
            return Err(CodecError::Length(length));
        }
        if buffer.len() < length {
            buffer.reserve(length - buffer.len());
            return Ok(None);
        }
        let mut message = buffer.split_to(length);
        message.advance(HEADER);
        let body = message.freeze();
        Ok(Some(Frame { version: header.version(), type_code, xid: header.xid(), body }))
    }
}

impl Encoder<(u32, Message)> for Codec {
    type Error = CodecError;

    fn encode(
        &mut self,
        (xid, message): (u32, Message),
        out: &mut BytesMut,
    ) -> Result<(), CodecError> {
        let start = out.len();
        out.put_bytes(0, HEADER);
        if let Err(error) = message.encode(xid, out) {
            out.truncate(start);
            return Err(error.into());
        }
        let length = out.len() - start;
        let Ok(length) = u16::try_from(length) else {
            out.truncate(start);
            let limit = u16::MAX.into();
            return Err(EncodeError::TooLong { what: "message", length, limit }.into());
        };
        let header = OfpHeader::new(VERSION, message.type_code(), length, xid);
        let mut bytes = &mut out[start..start + HEADER];
        bytes.put_u8(header.version());
        bytes.put_u8(message.type_code());
        bytes.put_u16(length);
        bytes.put_u32(header.xid());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
