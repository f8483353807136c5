//! `OFPT_HELLO`: which versions a peer speaks (OpenFlow 1.5.1, 7.5.1).

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, Problem, Reader, padding};
use super::numbers::hello::VERSIONBITMAP;

/// A set of OpenFlow versions by the number of the header's version byte: bit 6 is OpenFlow 1.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions(pub u32);

impl Versions {
    /// Just this codec's version.
    pub const OURS: Self = Self(1 << super::VERSION);

    /// Whether `version` is in the set.
    #[must_use]
    pub const fn contains(self, version: u8) -> bool {
        version < 32 && self.0 >> version & 1 == 1
    }

    /// The highest version that is in both sets.
    #[must_use]
    pub const fn highest_common(self, other: Self) -> Option<u8> {
        match self.0 & other.0 {
            0 => None,
            common => Some(common.ilog2() as u8),
        }
    }
}

/// The first version bitmap of a hello's elements; `None` when there is none and the header's version counts alone.
impl Versions {
    /// Every version up to `version`, which is what a hello without a bitmap stands for.
    #[must_use]
    pub const fn up_to(version: u8) -> Self {
        Self(if version < 31 { (1 << (version + 1)) - 2 } else { u32::MAX })
    }
}

impl fmt::Display for Versions {
    /// `OpenFlow 1.0, 1.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenFlow")?;
        let mut separator = " ";
        for version in (1..32).filter(|version| self.contains(*version)) {
            match version {
                1..=6 => write!(f, "{separator}1.{}", version - 1)?,
                _ => write!(f, "{separator}version {version:#04x}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

pub(crate) fn decode(mut reader: Reader<'_>) -> Result<Option<Versions>, DecodeError> {
    let mut versions = None;
    while !reader.is_empty() {
        let kind = reader.u16()?;
        let length = usize::from(reader.u16()?);
        if length < 4 {
            return Err(reader.error(Problem::Length(length)));
        }
        let mut element = reader.part(length - 4, "hello element")?;
        reader.skip(padding(length).min(reader.len()))?;
        if kind == VERSIONBITMAP && versions.is_none() {
            versions = Some(Versions(element.u32()?));
        }
    }
    Ok(versions)
}

pub(crate) fn encode(versions: Option<Versions>, out: &mut BytesMut) {
    if let Some(Versions(bitmap)) = versions {
        out.put_u16(VERSIONBITMAP);
        out.put_u16(8);
        out.put_u32(bitmap);
    }
}
