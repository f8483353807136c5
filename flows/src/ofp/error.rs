//! `OFPT_ERROR`: what the switch refused (OpenFlow 1.5.1, 7.5.4).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::coding::{DecodeError, Reader};
use super::error_names::{CODES, KINDS, NICIRA};
use super::numbers::{error_type, experimenter};

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

impl OfpError {
    /// What the specification, or OVS for Nicira's errors, calls it.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match (self.kind, self.experimenter) {
            (error_type::EXPERIMENTER, experimenter::NICIRA) => {
                NICIRA.iter().find(|(code, _)| *code == self.code).map(|(_, name)| *name)
            }
            (error_type::EXPERIMENTER, _) => None,
            (kind, _) => CODES
                .iter()
                .find(|(candidate, code, _)| (*candidate, *code) == (kind, self.code))
                .map(|(.., name)| *name),
        }
    }
}

impl fmt::Display for OfpError {
    /// `bad action: OFPBAC_BAD_OUT_PORT`; numbers for what has no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.get(usize::from(self.kind)) {
            Some(kind) => f.write_str(kind)?,
            None if self.kind == error_type::EXPERIMENTER
                && self.experimenter == experimenter::NICIRA =>
            {
                f.write_str("refused")?;
            }
            None if self.kind == error_type::EXPERIMENTER => {
                write!(f, "error of experimenter {:#x}", self.experimenter)?;
            }
            None => write!(f, "error of type {}", self.kind)?,
        }
        match self.name() {
            Some(name) => write!(f, ": {name}"),
            None => write!(f, ": code {}", self.code),
        }
    }
}

impl std::error::Error for OfpError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: u16, code: u16, experimenter: u32) -> String {
        OfpError { kind, code, experimenter, data: Bytes::new() }.to_string()
    }

    #[test]
    fn an_error_is_named_as_ovs_names_it() {
        assert_eq!(error(2, 4, 0), "bad action: OFPBAC_BAD_OUT_PORT");
        assert_eq!(error(17, 13, 0), "bundle failed: OFPBFC_MSG_FAILED");
        assert_eq!(error(16, 1, 0), "flow monitor failed: OFPMOFC_MONITOR_EXISTS");
        assert_eq!(error(5, 1, 0), "flow mod failed: OFPFMFC_TABLE_FULL");
        assert_eq!(error(4, 9, 0), "bad match: OFPBMC_BAD_PREREQ");
        assert_eq!(error(0xffff, 22, experimenter::NICIRA), "refused: OFPBFC_BAD_VERSION");
    }

    #[test]
    fn an_unknown_error_keeps_its_numbers() {
        assert_eq!(error(2, 999, 0), "bad action: code 999");
        assert_eq!(error(99, 7, 0), "error of type 99: code 7");
        assert_eq!(error(0xffff, 7, 0x1234), "error of experimenter 0x1234: code 7");
    }
}
