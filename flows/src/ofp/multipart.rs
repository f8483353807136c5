//! Multipart messages: questions whose answer may take several messages (OpenFlow 1.5.1, 7.3.5).

use bytes::{BufMut, Bytes, BytesMut};

use super::coding::{DecodeError, EncodeError, Reader};
use super::numbers::multipart;

use super::{
    FlowDesc, FlowFilter, FlowMonitorRequest, FlowStats, FlowStatsEntry, FlowUpdate, PortDesc,
    PortStats, TableStats,
};
use crate::model::OfPort;

/// `OFPT_MULTIPART_REQUEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartRequest {
    /// `OFPMP_PORT_DESC`: what this port is, or every one ([`OfPort::ANY`]).
    PortDesc(OfPort),
    /// `OFPMP_PORT_STATS`: what this port has counted, or every one ([`OfPort::ANY`]).
    PortStats(OfPort),
    /// `OFPMP_FLOW_DESC`: which flows there are, with counters.
    FlowDesc(FlowFilter),
    /// `OFPMP_FLOW_STATS`: what flows have counted; OVS refuses it.
    FlowStats(FlowFilter),
    /// `OFPMP_AGGREGATE_STATS`: how many flows there are, and what they have counted together.
    Aggregate(FlowFilter),
    /// `OFPMP_TABLE_STATS`: how many flows each table has.
    TableStats,
    /// `OFPMP_FLOW_MONITOR`: begins, changes and ends monitors.
    FlowMonitor(Vec<FlowMonitorRequest>),
    /// Any other.
    Raw {
        /// `OFPMP_*`.
        kind: u16,
        /// `OFPMPF_REQ_MORE` if more parts follow.
        flags: u16,
        /// The body after the multipart header.
        body: Bytes,
    },
}

/// `OFPT_MULTIPART_REPLY`; OVS also sends flow monitor updates as such, with xid 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartReply {
    /// `OFPMP_PORT_DESC`.
    PortDesc(Vec<PortDesc>),
    /// `OFPMP_PORT_STATS`.
    PortStats(Vec<PortStats>),
    /// `OFPMP_FLOW_DESC`.
    FlowDesc(Vec<FlowDesc>),
    /// `OFPMP_FLOW_STATS`.
    FlowStats(Vec<FlowStatsEntry>),
    /// `OFPMP_AGGREGATE_STATS`.
    Aggregate(FlowStats),
    /// `OFPMP_TABLE_STATS`.
    TableStats(Vec<TableStats>),
    /// `OFPMP_FLOW_MONITOR`.
    FlowMonitor(Vec<FlowUpdate>),
    /// Any other.
    Raw {
        /// `OFPMP_*`.
        kind: u16,
        /// The body after the multipart header.
        body: Bytes,
    },
}

impl MultipartRequest {
    /// Kind, flags and body.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u16()?;
        let flags = reader.u16()?;
        reader.skip(4)?;
        if flags != 0 {
            // A part of a request: what it says is only known with the others.
            return Ok(Self::Raw { kind, flags, body: Bytes::copy_from_slice(reader.rest()) });
        }
        let request = match kind {
            multipart::PORT_DESC => Self::PortDesc(decode_port(&mut reader)?),
            multipart::PORT_STATS => Self::PortStats(decode_port(&mut reader)?),
            multipart::FLOW_DESC => Self::FlowDesc(FlowFilter::decode(&mut reader)?),
            multipart::FLOW_STATS => Self::FlowStats(FlowFilter::decode(&mut reader)?),
            multipart::AGGREGATE => Self::Aggregate(FlowFilter::decode(&mut reader)?),
            multipart::TABLE_STATS => Self::TableStats,
            multipart::FLOW_MONITOR => {
                Self::FlowMonitor(list(&mut reader, FlowMonitorRequest::decode)?)
            }
            _ => Self::Raw { kind, flags, body: Bytes::copy_from_slice(reader.rest()) },
        };
        reader.finish()?;
        Ok(request)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (kind, flags) = match self {
            Self::PortDesc(_) => (multipart::PORT_DESC, 0),
            Self::PortStats(_) => (multipart::PORT_STATS, 0),
            Self::FlowDesc(_) => (multipart::FLOW_DESC, 0),
            Self::FlowStats(_) => (multipart::FLOW_STATS, 0),
            Self::Aggregate(_) => (multipart::AGGREGATE, 0),
            Self::TableStats => (multipart::TABLE_STATS, 0),
            Self::FlowMonitor(_) => (multipart::FLOW_MONITOR, 0),
            Self::Raw { kind, flags, .. } => (*kind, *flags),
        };
        put_header(kind, flags, out);
        match self {
            Self::PortDesc(port) | Self::PortStats(port) => {
                out.put_u32(port.0);
                out.put_u32(0);
                Ok(())
            }
            Self::FlowDesc(filter) | Self::FlowStats(filter) | Self::Aggregate(filter) => {
                filter.encode(out)
            }
            Self::TableStats => Ok(()),
            Self::FlowMonitor(requests) => {
                requests.iter().try_for_each(|request| request.encode(out))
            }
            Self::Raw { body, .. } => {
                out.put_slice(body);
                Ok(())
            }
        }
    }
}

impl MultipartReply {
    /// Whether more follows, and this part.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<(bool, Self), DecodeError> {
        let kind = reader.u16()?;
        let more = reader.u16()? & multipart::MORE != 0;
        reader.skip(4)?;
        let reply = match kind {
            multipart::PORT_DESC => Self::PortDesc(list(&mut reader, PortDesc::decode)?),
            multipart::PORT_STATS => Self::PortStats(list(&mut reader, PortStats::decode)?),
            multipart::FLOW_DESC => Self::FlowDesc(list(&mut reader, FlowDesc::decode)?),
            multipart::FLOW_STATS => Self::FlowStats(list(&mut reader, FlowStatsEntry::decode)?),
            multipart::AGGREGATE => Self::Aggregate(FlowStats::decode(&mut reader)?),
            multipart::TABLE_STATS => Self::TableStats(list(&mut reader, TableStats::decode)?),
            multipart::FLOW_MONITOR => Self::FlowMonitor(list(&mut reader, FlowUpdate::decode)?),
            _ => Self::Raw { kind, body: Bytes::copy_from_slice(reader.rest()) },
        };
        Ok((more, reply))
    }

    pub(super) fn encode(&self, more: bool, out: &mut BytesMut) -> Result<(), EncodeError> {
        let flags = if more { multipart::MORE } else { 0 };
        match self {
            Self::PortDesc(ports) => {
                put_header(multipart::PORT_DESC, flags, out);
                ports.iter().try_for_each(|port| port.encode(out))
            }
            Self::PortStats(ports) => {
                put_header(multipart::PORT_STATS, flags, out);
                ports.iter().try_for_each(|port| port.encode(out))
            }
            Self::FlowDesc(flows) => {
                put_header(multipart::FLOW_DESC, flags, out);
                flows.iter().try_for_each(|flow| flow.encode(out))
            }
            Self::FlowStats(flows) => {
                put_header(multipart::FLOW_STATS, flags, out);
                flows.iter().try_for_each(|flow| flow.encode(out))
            }
            Self::Aggregate(stats) => {
                put_header(multipart::AGGREGATE, flags, out);
                stats.encode(out)
            }
            Self::TableStats(tables) => {
                put_header(multipart::TABLE_STATS, flags, out);
                tables.iter().for_each(|table| table.encode(out));
                Ok(())
            }
            Self::FlowMonitor(updates) => {
                put_header(multipart::FLOW_MONITOR, flags, out);
                updates.iter().try_for_each(|update| update.encode(out))
            }
            Self::Raw { kind, body } => {
                put_header(*kind, flags, out);
                out.put_slice(body);
                Ok(())
            }
        }
    }
}

/// `struct ofp_multipart_request` and `struct ofp_multipart_reply`.
fn put_header(kind: u16, flags: u16, out: &mut BytesMut) {
    out.put_u16(kind);
    out.put_u16(flags);
    out.put_u32(0);
}

fn decode_port(reader: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    let port = OfPort(reader.within("port request").u32()?);
    reader.skip(4)?;
    Ok(port)
}

/// Entries up to the end; each takes at least one byte.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    entry: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut entries = Vec::new();
    while !reader.is_empty() {
        entries.push(entry(reader)?);
    }
    Ok(entries)
}
