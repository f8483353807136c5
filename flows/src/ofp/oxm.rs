//! Matches and their OXM fields (OpenFlow 1.5.1, 7.2.3).
//!
//! ```text
//!  0                16             23  24           32
//! +-----------------+---------------+-+-------------+----------------- - -
//! |      class      |     number    |M|   length    | [experimenter] value [mask]
//! +-----------------+---------------+-+-------------+----------------- - -
//! ```
//! `length` counts everything after it; `M` says that a mask as wide as the value follows.
//!
//! In OpenFlow 1.5, OVS and its tools match on registers in pairs: what was `reg10=0/0x8000000` is
//! `xreg5=0/0x800000000000000` on the wire (`lib/nx-match.c`, `nx_put_raw`). So that a flow is recognised whatever
//! else of the pair it matches on, a match is taken apart into registers here, and put together when written.

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
    let mut registers = 0_u64;
    while !fields.is_empty() {
        let field = decode_field(&mut fields)?;
        // A register twice, perhaps once in a pair, could not be put together again. The switch refuses it, too.
        let these = registers_of(&field);
        if registers & these != 0 {
            return Err(fields.error(Problem::Repeated));
        }
        registers |= these;
        take_apart(field, &mut found);
    }
    Ok(Match::new(found))
}

pub(crate) fn encode_match(matching: &Match, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u16(match_type::OXM);
    out.put_u16(0);
    let fields = matching.fields();
    for (position, field) in fields.iter().enumerate() {
        let Some(half) = Half::of(field) else {
            encode_field(field, out)?;
            continue;
        };
        let other = |field: &&MatchField| Half::of(field).is_some_and(|h| h.pair == half.pair);
        if fields[..position].iter().any(|field| other(&field)) {
            // Written with the first register of the pair.
            continue;
        }
        let halves = fields[position..].iter().filter(other).filter_map(Half::of);
        let (value, mask) = halves.fold((0, 0), |(v, m), half| (v | half.value, m | half.mask));
        encode_field(&pair(half.pair, value, mask), out)?;
    }
    set_length(out, start + 2, out.len() - start, "match")?;
    put_padding(out, start);
    Ok(())
}

/// A register of a match as a part of its pair.
struct Half {
    /// Number of the pair: the first register's halved.
    pair: u8,
    /// In its place among the pair's 64 bits, like the mask.
    value: u128,
    mask: u128,
}

impl Half {
    fn of(field: &MatchField) -> Option<Self> {
        let MatchField::Typed { field, value, mask } = field else { return None };
        let register = match field.registers()? {
            (first, last) if first == last => first,
            _ => return None,
        };
        // The even one is uppermost. Bits that don't fit a register are left to `encode_field` to refuse.
        let shift = if register % 2 == 0 { 32 } else { 0 };
        let mask = mask.unwrap_or(field.all_ones());
        ((value | mask) & !field.all_ones() == 0).then_some(Self {
            pair: register / 2,
            value: value << shift,
            mask: mask << shift,
        })
    }
}

/// `OXM_OF_PKT_REGn`, without a mask if it is all ones.
fn pair(number: u8, value: u128, mask: u128) -> MatchField {
    let field = Field { class: field_class::PACKET_REGS, number, width: 8, experimenter: 0 };
    let mask = (mask != field.all_ones()).then_some(mask);
    MatchField::Typed { field, value, mask }
}

/// The registers that `field` matches on, a bit each.
fn registers_of(field: &MatchField) -> u64 {
    match field {
        MatchField::Typed { field, .. } => field.registers().map_or(0, |(first, last)| {
            (first..=last).fold(0, |bits, number| bits | 1 << (number % 64))
        }),
        MatchField::Raw(_) => 0,
    }
}

/// Appends what `field` says of each register in it, or itself if it has none.
fn take_apart(field: MatchField, found: &mut Vec<MatchField>) {
    let MatchField::Typed { field: whole, value, mask } = field else {
        found.push(field);
        return;
    };
    let Some((first, last)) = whole.registers() else {
        found.push(field);
        return;
    };
    let mask = mask.unwrap_or(whole.all_ones());
    for number in first..=last {
        let register = Field::reg(number);
        let shift = u32::from(last - number) * register.bits();
        let value = value >> shift & register.all_ones();
        match mask >> shift & register.all_ones() {
            0 => {}
            mask if mask == register.all_ones() => found.push(MatchField::exact(register, value)),
            mask => found.push(MatchField::Typed { field: register, value, mask: Some(mask) }),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &[u8] = &[0x80, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 3];

    /// `struct ofp_match` with these fields.
    fn wire(fields: &[&[u8]]) -> Vec<u8> {
        let fields = fields.concat();
        let mut bytes = vec![0, 1, 0, fields.len() as u8 + 4];
        bytes.extend(fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[track_caller]
    fn assert_means(bytes: &[u8], fields: &[MatchField]) {
        let matching = decode_match(&mut Reader::new(bytes, "match")).unwrap();
        assert_eq!(matching.fields(), fields);
        let mut out = BytesMut::new();
        encode_match(&matching, &mut out).unwrap();
        assert_eq!(&out[..], bytes);
    }

    #[test]
    fn registers_are_told_apart_though_ovs_tells_them_in_pairs() {
        // xreg7=0x2/0xffffffff, metadata=3, xreg5=0/0x800000000000000
        assert_means(
            &wire(&[
                &[0x80, 1, 15, 16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 255],
                METADATA,
                &[0x80, 1, 11, 16, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
            ]),
            &[
                MatchField::exact(Field::reg(15), 2),
                MatchField::exact(Field::METADATA, 3),
                MatchField::masked(Field::reg(10), 0, 0x0800_0000),
            ],
        );
    }

    #[test]
    fn both_registers_of_a_pair_are_written_as_one_field() {
        // xreg7=0x500000006
        assert_means(
            &wire(&[&[0x80, 1, 14, 8, 0, 0, 0, 5, 0, 0, 0, 6]]),
            &[MatchField::exact(Field::reg(14), 5), MatchField::exact(Field::reg(15), 6)],
        );
        let apart = Match::new([
            MatchField::masked(Field::reg(15), 6, 0xff),
            MatchField::exact(Field::METADATA, 3),
            MatchField::exact(Field::reg(14), 5),
        ]);
        let mut out = BytesMut::new();
        encode_match(&apart, &mut out).unwrap();
        let pair = [0x80, 1, 15, 16, 0, 0, 0, 5, 0, 0, 0, 6, 255, 255, 255, 255, 0, 0, 0, 255];
        assert_eq!(&out[..], wire(&[&pair, METADATA]));
        assert_eq!(decode_match(&mut Reader::new(&out, "match")).unwrap(), apart);
    }

    #[test]
    fn a_length_that_contradicts_the_field_is_refused() {
        let odd = wire(&[&[0x80, 0, 5, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
        let error = decode_match(&mut Reader::new(&odd, "match")).unwrap_err();
        assert_eq!(error.problem, Problem::Length(15));
        let short = wire(&[&[0x80, 0, 4, 8, 0, 0, 0, 3]]);
        let error = decode_match(&mut Reader::new(&short, "match")).unwrap_err();
        assert_eq!(error.problem, Problem::Short { need: 8, have: 4 });
        let experimenter = wire(&[&[0xff, 0xff, 4, 3, 0, 0, 0x23]]);
        let error = decode_match(&mut Reader::new(&experimenter, "match")).unwrap_err();
        assert_eq!(error.problem, Problem::Length(3));
    }

    #[test]
    fn a_value_that_does_not_fit_its_field_is_not_written() {
        for field in [Field::IN_PORT, Field::reg(10)] {
            let matching = Match::new([MatchField::exact(field, 1 << 32)]);
            let error = encode_match(&matching, &mut BytesMut::new()).unwrap_err();
            assert_eq!(error, EncodeError::Value { what: "match field", value: 1 << 32 });
        }
    }
}
