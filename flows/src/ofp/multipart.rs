//! Multipart messages: questions whose answer may take several messages (OpenFlow 1.5.1, 7.3.5).

use bytes::Bytes;

use super::{
    FlowDesc, FlowFilter, FlowMonitorRequest, FlowStatsEntry, FlowUpdate, PortDesc, PortStats,
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
