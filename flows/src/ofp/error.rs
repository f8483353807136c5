//! `OFPT_ERROR`: what the switch refused (OpenFlow 1.5.1, 7.5.4).

use bytes::{BufMut, Bytes, BytesMut};

use super::coding::{DecodeError, Reader};
use super::numbers::error_type;

/// `struct ofp_error_msg` and `struct ofp_error_experimenter_msg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfpError {
    /// `OFPET_*`.
    pub kind: u16,
    /// `OFP*FC_*` and the like, by kind; of experimenter errors, their type.
    pub code: u16,
    /// Who defined the error, if `kind` is [`super::numbers::error_type::EXPERIMENTER`], else 0.
    pub experimenter: u32,
    /// At least the first 64 bytes of the request that failed, with header; text for a failed hello.
    pub data: Bytes,
}

impl OfpError {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u16()?;
        let code = reader.u16()?;
        let experimenter = if kind == error_type::EXPERIMENTER { reader.u32()? } else { 0 };
        Ok(Self { kind, code, experimenter, data: Bytes::copy_from_slice(reader.rest()) })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.kind);
        out.put_u16(self.code);
        if self.kind == error_type::EXPERIMENTER {
            out.put_u32(self.experimenter);
        }
        out.put_slice(&self.data);
    }
}
