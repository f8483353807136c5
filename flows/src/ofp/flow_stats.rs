//! `OFPMP_FLOW_DESC` and `OFPMP_FLOW_STATS`: the switch's flows and their counters (OpenFlow 1.5.1, 7.3.5.2 and 7.3.5.3).
//!
//! OVS (3.1 and later) answers the first, counters included, and refuses the second as `OFPBRC_BAD_STAT`.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader, padding, put_padding, set_length};
use super::numbers::{field_class, stats_field};
use super::{FlowFlags, GROUP_ANY, Timeouts};
use super::{instruction, oxm};
use crate::model::{Cookie, Flow, FlowCounters, FlowKey, Match, OfPort, TableId};

/// `struct ofp_flow_stats_request`: which flows to tell about; the default is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFilter {
    /// Those of this table, or of [`TableId::ALL`].
    pub table: TableId,
    /// Those that output to this port, unless [`OfPort::ANY`].
    pub out_port: OfPort,
    /// Those that send to this group, unless [`GROUP_ANY`].
    pub out_group: u32,
    /// Those with this cookie ...
    pub cookie: Cookie,
    /// ... in these bits.
    pub cookie_mask: u64,
    /// Those that are as specific as this or more.
    pub matching: Match,
}

impl Default for FlowFilter {
    fn default() -> Self {
        Self {
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            cookie: Cookie(0),
            cookie_mask: 0,
            matching: Match::default(),
        }
    }
}

/// `struct ofp_stats`: what the switch chose to tell of a flow's statistics, as OXS fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// How long ago the flow was installed.
    pub duration: Option<Duration>,
    /// How long ago it last had a packet.
    pub idle: Option<Duration>,
    /// Packets that it matched.
    pub packets: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// How many flows the figures are of.
    pub flows: Option<u32>,
    /// Fields that this crate has no name for, each with its header.
    pub other: Vec<Box<[u8]>>,
}

impl FlowStats {
    /// The counters; one that the switch did not tell is 0.
    #[must_use]
    pub fn counters(&self) -> FlowCounters {
        FlowCounters {
            packets: self.packets.unwrap_or_default(),
            bytes: self.bytes.unwrap_or_default(),
        }
    }
}

/// `struct ofp_flow_desc`: a flow of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDesc {
    /// The flow.
    pub flow: Flow,
    /// With which flags it was added.
    pub flags: FlowFlags,
    /// When it goes by itself.
    pub timeouts: Timeouts,
    /// How much it is worth keeping when the table is full.
    pub importance: u16,
    /// What it has counted.
    pub stats: FlowStats,
}

/// `struct ofp_flow_stats`: a flow's statistics without its instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatsEntry {
    /// Which flow.
    pub key: FlowKey,
    /// Why the switch tells, `OFPFSR_*`: 0 because it was asked, 1 because a trigger was reached.
    pub reason: u8,
    /// What it has counted.
    pub stats: FlowStats,
}

impl FlowFilter {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(reader.within("flow filter").u8()?);
        reader.skip(3)?;
        let out_port = OfPort(reader.u32()?);
        let out_group = reader.u32()?;
        reader.skip(4)?;
        let cookie = Cookie(reader.u64()?);
        let cookie_mask = reader.u64()?;
        let matching = oxm::decode_match(reader)?;
        Ok(Self { table, out_port, out_group, cookie, cookie_mask, matching })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u8(self.table.0);
        out.put_bytes(0, 3);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_u32(0);
        out.put_u64(self.cookie.0);
        out.put_u64(self.cookie_mask);
        oxm::encode_match(&self.matching, out)
    }
}

/// An OXS header but for its class: number (its lowest bit is reserved) and length of the value.
const fn oxs(number: u8, length: u8) -> [u8; 2] {
    [number << 1, length]
}

const DURATION: [u8; 2] = oxs(stats_field::DURATION, 8);
const IDLE_TIME: [u8; 2] = oxs(stats_field::IDLE_TIME, 8);
const PACKET_COUNT: [u8; 2] = oxs(stats_field::PACKET_COUNT, 8);
const BYTE_COUNT: [u8; 2] = oxs(stats_field::BYTE_COUNT, 8);
const FLOW_COUNT: [u8; 2] = oxs(stats_field::FLOW_COUNT, 4);

impl FlowStats {
    /// `struct ofp_stats` with its padding.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.within("flow statistics").skip(2)?;
        let length = usize::from(reader.u16()?);
        let Some(fields_length) = length.checked_sub(4) else {
            return Err(reader.error(Problem::Length(length)));
        };
        let mut fields = reader.part(fields_length, "statistics field")?;
        reader.skip(padding(length))?;
        let mut stats = Self::default();
        while !fields.is_empty() {
            let mut whole = fields.peek();
            let class = fields.u16()?;
            let name = fields.bytes::<2>()?;
            let mut value = fields.part(name[1].into(), "statistics field")?;
            match (class, name) {
                (field_class::STATS_BASIC, DURATION) if stats.duration.is_none() => {
                    stats.duration = Some(duration(&mut value)?);
                }
                (field_class::STATS_BASIC, IDLE_TIME) if stats.idle.is_none() => {
                    stats.idle = Some(duration(&mut value)?);
                }
                (field_class::STATS_BASIC, PACKET_COUNT) if stats.packets.is_none() => {
                    stats.packets = Some(value.u64()?);
                }
                (field_class::STATS_BASIC, BYTE_COUNT) if stats.bytes.is_none() => {
                    stats.bytes = Some(value.u64()?);
                }
                (field_class::STATS_BASIC, FLOW_COUNT) if stats.flows.is_none() => {
                    stats.flows = Some(value.u32()?);
                }
                _ => stats.other.push(whole.take(4 + usize::from(name[1]))?.into()),
            }
        }
        Ok(stats)
    }

    /// Writes the fields in the order in which OVS does.
    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(0);
        let name = |out: &mut BytesMut, name: [u8; 2]| {
            out.put_u16(field_class::STATS_BASIC);
            out.put_slice(&name);
        };
        for (field, time) in [(DURATION, self.duration), (IDLE_TIME, self.idle)] {
            if let Some(time) = time {
                name(out, field);
                put_duration(out, time)?;
            }
        }
        for (field, count) in [(PACKET_COUNT, self.packets), (BYTE_COUNT, self.bytes)] {
            if let Some(count) = count {
                name(out, field);
                out.put_u64(count);
            }
        }
        if let Some(flows) = self.flows {
            name(out, FLOW_COUNT);
            out.put_u32(flows);
        }
        for field in &self.other {
            if field.get(3).is_none_or(|length| usize::from(*length) + 4 != field.len()) {
                let length = field.len();
                return Err(EncodeError::NotWhole { what: "statistics field", length });
            }
            out.put_slice(field);
        }
        set_length(out, start + 2, out.len() - start, "flow statistics")?;
        put_padding(out, start);
        Ok(())
    }
}

/// Seconds and nanoseconds, 32 bits each.
pub(super) fn duration(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    let seconds = reader.u32()?;
    match reader.u32()? {
        nanoseconds @ 0..1_000_000_000 => Ok(Duration::new(seconds.into(), nanoseconds)),
        other => Err(reader.error(Problem::Value(other.into()))),
    }
}

/// Seconds and nanoseconds, 32 bits each.
pub(super) fn put_duration(out: &mut BytesMut, time: Duration) -> Result<(), EncodeError> {
    let seconds = u32::try_from(time.as_secs())
        .map_err(|_| EncodeError::Value { what: "duration", value: time.as_secs().into() })?;
    out.put_u32(seconds);
    out.put_u32(time.subsec_nanos());
    Ok(())
}

impl FlowDesc {
    /// One entry, whose length field says where it ends.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entry = entry(reader, "flow description")?;
        entry.skip(2)?;
        let table = TableId(entry.u8()?);
        entry.skip(1)?;
        let priority = entry.u16()?;
        let timeouts = Timeouts::decode(&mut entry)?;
        let flags = FlowFlags::from_bits_retain(entry.u16()?);
        let importance = entry.u16()?;
        let cookie = Cookie(entry.u64()?);
        let matching = oxm::decode_match(&mut entry)?;
        let stats = FlowStats::decode(&mut entry)?;
        let instructions = instruction::decode_list(entry)?.into();
        let flow = Flow { key: FlowKey { table, priority, matching }, cookie, instructions };
        Ok(Self { flow, flags, timeouts, importance, stats })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(self.flow.key.table.0);
        out.put_u8(0);
        out.put_u16(self.flow.key.priority);
        self.timeouts.encode(out);
        out.put_u16(self.flags.bits());
        out.put_u16(self.importance);
        out.put_u64(self.flow.cookie.0);
        oxm::encode_match(&self.flow.key.matching, out)?;
        self.stats.encode(out)?;
        instruction::encode_list(&self.flow.instructions, out)?;
        set_length(out, start, out.len() - start, "flow description")
    }
}

impl FlowStatsEntry {
    /// One entry, whose length field says where it ends.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entry = entry(reader, "flow statistics entry")?;
        entry.skip(2)?;
        let table = TableId(entry.u8()?);
        let reason = entry.u8()?;
        let priority = entry.u16()?;
        let matching = oxm::decode_match(&mut entry)?;
        let stats = FlowStats::decode(&mut entry)?;
        entry.finish()?;
        Ok(Self { key: FlowKey { table, priority, matching }, reason, stats })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(self.key.table.0);
        out.put_u8(self.reason);
        out.put_u16(self.key.priority);
        oxm::encode_match(&self.key.matching, out)?;
        self.stats.encode(out)?;
        set_length(out, start, out.len() - start, "flow statistics entry")
    }
}

/// The next entry of a list, without the 16-bit length with which it begins.
pub(super) fn entry<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Reader<'a>, DecodeError> {
    let length = usize::from(reader.within(what).u16()?);
    let Some(rest) = length.checked_sub(2) else {
        return Err(reader.error(Problem::Length(length)));
    };
    reader.part(rest, what)
}
