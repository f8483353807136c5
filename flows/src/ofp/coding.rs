//! Bounds-checked reading and writing of big-endian fields, and the errors of both.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// The longest body that fits a message: 65535 bytes of the header's length field less the header.
pub const MAX_BODY: usize = 0xffff - 8;

/// A message that isn't what its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bad {what} at byte {at} of the message body: {problem}")]
pub struct DecodeError {
    /// Where in the message body the structure's offending part begins.
    pub at: usize,
    /// Which structure.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a structure on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The bytes end too early.
    #[error("needs {need} bytes but {have} are left")]
    Short {
        /// Bytes that the structure needs.
        need: usize,
        /// Bytes that there are.
        have: usize,
    },
    /// A length field contradicts the structure that it is for.
    #[error("its length is said to be {0}, which cannot be")]
    Length(usize),
    /// A number has no meaning here.
    #[error("{0:#x} has no meaning there")]
    Value(u64),
    /// Something is there twice that may be there once.
    #[error("it is there twice")]
    Repeated,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// Actions or messages within each other.
    #[error("nested deeper than {0}")]
    Depth(usize),
}

/// A message that cannot be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A length field cannot hold the length.
    #[error("a {what} of {length} bytes is too long, {limit} is the limit: split it")]
    TooLong {
        /// Which structure.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The longest that can be.
        limit: usize,
    },
    /// A field of the structure cannot hold the value.
    #[error("a {what} cannot hold {value:#x}")]
    Value {
        /// Which structure.
        what: &'static str,
        /// The value.
        value: u128,
    },
    /// A [`crate::model::Action::Raw`] or the like isn't whole.
    #[error(
        "a raw {what} of {length} bytes is not a whole one: its length field or alignment disagrees"
    )]
    NotWhole {
        /// Which structure.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// Actions or messages within each other.
    #[error("a {what} is nested deeper than {limit}")]
    Depth {
        /// Which structure.
        what: &'static str,
        /// How deep can be.
        limit: usize,
    },
}

/// Reads a structure from a message body, front to back.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    /// Names the structure that is read from here on, for errors.
    pub(crate) const fn within(&mut self, what: &'static str) -> &mut Self {
        self.what = what;
        self
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the message body before this.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The error that the structure has `problem` here.
    pub(crate) const fn error(&self, problem: Problem) -> DecodeError {
        DecodeError { at: self.at, what: self.what, problem }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.error(Problem::Short { need: length, have: self.bytes.len() }));
        };
        self.bytes = rest;
        self.at += length;
        Ok(taken)
    }

    /// A reader of the next `length` bytes, which this one skips.
    pub(crate) fn part(&mut self, length: usize, what: &'static str) -> Result<Self, DecodeError> {
        let at = self.at;
        Ok(Self { bytes: self.take(length)?, at, what })
    }

    /// The next element of a list in which each begins with a type and its length, a multiple of 8 bytes: its type, the
    /// whole of it, and what follows type and length.
    pub(crate) fn element(
        &mut self,
        what: &'static str,
    ) -> Result<(u16, &'a [u8], Self), DecodeError> {
        let mut header = self.within(what).peek();
        let kind = header.u16()?;
        let length = usize::from(header.u16()?);
        if length < 8 || padding(length) != 0 {
            return Err(self.error(Problem::Length(length)));
        }
        let mut whole = self.peek();
        let mut body = self.part(length, what)?;
        body.skip(4)?;
        Ok((kind, whole.take(length)?, body))
    }

    /// Everything that is left.
    pub(crate) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.at += rest.len();
        self.bytes = &[];
        rest
    }

    /// The same position, to look ahead from.
    pub(crate) fn peek(&self) -> Self {
        self.clone()
    }

    pub(crate) fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        self.take(length).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.array()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number of `width` bytes, at most 16.
    pub(crate) fn number(&mut self, width: usize) -> Result<u128, DecodeError> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// That nothing is left.
    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(self.error(Problem::Trailing(left))),
        }
    }
}

/// Bytes from `length` to the next multiple of 8.
pub(crate) const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 7
}

/// Writes zeros until what begins at `start` is a multiple of 8 bytes long.
pub(crate) fn put_padding(out: &mut BytesMut, start: usize) {
    out.put_bytes(0, padding(out.len() - start));
}

/// Writes a number's lowest `width` bytes, at most 16.
pub(crate) fn put_number(out: &mut BytesMut, number: u128, width: usize) {
    out.put_slice(&number.to_be_bytes()[16 - width..]);
}

/// Sets the 16-bit field at `position` to `length`.
pub(crate) fn set_length(
    out: &mut BytesMut,
    position: usize,
    length: usize,
    what: &'static str,
) -> Result<(), EncodeError> {
    let length16 = u16::try_from(length).map_err(|_| EncodeError::TooLong {
        what,
        length,
        limit: usize::from(u16::MAX),
    })?;
    out[position..position + 2].copy_from_slice(&length16.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_where_and_what() {
        let mut reader = Reader::new(&[1, 2, 3], "port status");
        reader.skip(2).unwrap();
        let error = reader.u32().unwrap_err();
        assert_eq!(
            error.to_string(),
            "bad port status at byte 2 of the message body: needs 4 bytes but 1 are left"
        );
    }

    #[test]
    fn a_part_keeps_counting_from_the_start_of_the_message() {
        let mut reader = Reader::new(&[0; 8], "whole");
        reader.skip(3).unwrap();
        let mut part = reader.part(4, "part").unwrap();
        part.skip(3).unwrap();
        assert_eq!(
            part.u16().unwrap_err(),
            DecodeError { at: 6, what: "part", problem: Problem::Short { need: 2, have: 1 } }
        );
        assert_eq!(reader.finish().unwrap_err().problem, Problem::Trailing(1));
    }
}
