//! Matches and their OXM fields (OpenFlow 1.5.1, 7.2.3).
//!
//! ```text
//!  0                16             23  24           32
//! +-----------------+---------------+-+-------------+----------------- - -
//! |      class      |     number    |M|   length    | [experimenter] value [mask]
//! +-----------------+---------------+-+-------------+----------------- - -
//! ```
//! `length` counts everything after it; `M` says that a mask as wide as the value follows.

use bytes::{BufMut, BytesMut};

use super::coding::{
    DecodeError, EncodeError, Problem, Reader, padding, put_number, put_padding, set_length,
};
use super::numbers::{field_class, match_type};
use crate::model::{Field, Match, MatchField};

/// The widest value of a [`MatchField::Typed`].
const MAX_WIDTH: usize = 16;

/// `struct ofp_match` with its padding.
pub(crate) fn decode_match(reader: &mut Reader<'_>) -> Result<Match, DecodeError> {
    reader.within("match");
    let kind = reader.u16()?;
    if kind != match_type::OXM {
        return Err(reader.error(Problem::Value(kind.into())));
    }
    let length = usize::from(reader.u16()?);
    let Some(fields_length) = length.checked_sub(4) else {
        return Err(reader.error(Problem::Length(length)));
    };
    let mut fields = reader.part(fields_length, "match field")?;
    reader.skip(padding(length))?;
    let mut found = Vec::new();
    while !fields.is_empty() {
        found.push(decode_field(&mut fields)?);
    }
    Ok(Match::new(found))
}

pub(crate) fn encode_match(matching: &Match, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u16(match_type::OXM);
    out.put_u16(0);
    for field in matching.fields() {
        encode_field(field, out)?;
    }
    set_length(out, start + 2, out.len() - start, "match")?;
    put_padding(out, start);
    Ok(())
}

/// One field with its value.
pub(crate) fn decode_field(reader: &mut Reader<'_>) -> Result<MatchField, DecodeError> {
    let mut whole = reader.peek();
    let (field, masked) = decode_header(reader)?;
    let width = usize::from(field.width);
    if width > MAX_WIDTH {
        let before = whole.len();
        reader.skip(width << usize::from(masked))?;
        return Ok(MatchField::Raw(whole.take(before - reader.len())?.into()));
    }
    let value = reader.number(width)?;
    let mask = if masked { Some(reader.number(width)?) } else { None };
    Ok(MatchField::Typed { field, value, mask })
}

pub(crate) fn encode_field(field: &MatchField, out: &mut BytesMut) -> Result<(), EncodeError> {
    match field {
        MatchField::Typed { field, value, mask } => {
            if usize::from(field.width) > MAX_WIDTH {
                return Err(EncodeError::TooLong {
                    what: "match field",
                    length: field.width.into(),
                    limit: MAX_WIDTH,
                });
            }
            for number in [Some(*value), *mask].into_iter().flatten() {
                if number & !field.all_ones() != 0 {
                    return Err(EncodeError::Value { what: "match field", value: number });
                }
            }
            encode_header(*field, mask.is_some(), out)?;
            put_number(out, *value, field.width.into());
            if let Some(mask) = mask {
                put_number(out, *mask, field.width.into());
            }
        }
        MatchField::Raw(whole) => {
            if whole.get(3).is_none_or(|length| usize::from(*length) + 4 != whole.len()) {
                return Err(EncodeError::NotWhole { what: "match field", length: whole.len() });
            }
            out.put_slice(whole);
        }
    }
    Ok(())
}

/// A field's name, and whether a mask follows its value.
pub(crate) fn decode_header(reader: &mut Reader<'_>) -> Result<(Field, bool), DecodeError> {
    let class = reader.u16()?;
    let number = reader.u8()?;
    let length = reader.u8()?;
    let masked = number & 1 == 1;
    let (experimenter, payload) = if class == field_class::EXPERIMENTER {
        let Some(payload) = length.checked_sub(4) else {
            return Err(reader.error(Problem::Length(length.into())));
        };
        (reader.u32()?, payload)
    } else {
        (0, length)
    };
    if masked && payload & 1 == 1 {
        return Err(reader.error(Problem::Length(length.into())));
    }
    let width = if masked { payload / 2 } else { payload };
    Ok((Field { class, number: number >> 1, width, experimenter }, masked))
}

pub(crate) fn encode_header(
    field: Field,
    masked: bool,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let what = "field name";
    if field.number > 0x7f {
        return Err(EncodeError::Value { what, value: field.number.into() });
    }
    let named = field.class == field_class::EXPERIMENTER;
    if !named && field.experimenter != 0 {
        return Err(EncodeError::Value { what, value: field.experimenter.into() });
    }
    let length = (usize::from(field.width) << usize::from(masked)) + if named { 4 } else { 0 };
    let limit = usize::from(u8::MAX);
    let length = u8::try_from(length).map_err(|_| EncodeError::TooLong { what, length, limit })?;
    out.put_u16(field.class);
    out.put_u8(field.number << 1 | u8::from(masked));
    out.put_u8(length);
    if named {
        out.put_u32(field.experimenter);
    }
    Ok(())
}

/// A field's name where it stands alone and a mask has no meaning.
pub(crate) fn decode_field_name(reader: &mut Reader<'_>) -> Result<Field, DecodeError> {
    decode_header(reader).map(|(field, _)| field)
}
