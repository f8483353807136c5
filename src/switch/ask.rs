//! The questions that are put to the switch.

use flows::{
    marker::MarkerBits,
    model::{Cookie, Field, Match, MatchField, OfPort, TableId},
    ofp::{
        AsyncEvent, AsyncMask, AsyncRole, FlowFilter, FlowMonitorRequest, Message, MonitorFlags,
        MultipartRequest,
    },
};

/// Numbers of the flow monitors; that of a table's comes on top of the last.
const HOOKS: u32 = 1;
const GUARD: u32 = 2;
const PROBE: u32 = 3;
const INGRESS: u32 = 4;
const TABLE: u32 = 0x100;
/// `OFPRR_IDLE_TIMEOUT` to `OFPRR_EVICTION`: whatever the reason (OpenFlow 1.5.1, 7.4.2).
const FLOW_REMOVED_REASONS: u32 = 0x3f;
/// `OFPPR_MODIFY`: a port's configuration or state has changed (OpenFlow 1.5.1, 7.4.3).
const PORT_MODIFIED: u32 = 1 << 2;

/// Every flow.
pub(super) fn everything() -> MultipartRequest {
    MultipartRequest::FlowDesc(FlowFilter::default())
}

/// Our flows.
pub(super) fn ours() -> MultipartRequest {
    MultipartRequest::FlowDesc(FlowFilter {
        cookie: Cookie::OURS,
        cookie_mask: Cookie::TAG_MASK,
        ..FlowFilter::default()
    })
}

/// The flows of a table.
pub(super) fn table(table: TableId) -> MultipartRequest {
    MultipartRequest::FlowDesc(FlowFilter { table, ..FlowFilter::default() })
}

/// The flows that output to a port.
pub(super) fn outputs(port: OfPort) -> MultipartRequest {
    MultipartRequest::FlowDesc(FlowFilter { out_port: port, ..FlowFilter::default() })
}

/// Our copying flows, now and whenever they change. Only they look at the marker: all want its R to be 0.
pub(super) fn watch_hooks(
    before: Option<MarkerBits>,
    marker: Option<MarkerBits>,
) -> MultipartRequest {
    replace(HOOKS, before, marker, |marker| FlowMonitorRequest {
        matching: Match::new([MatchField::masked(
            Field::reg(MarkerBits::REGISTER),
            0,
            marker.delivered_mask().into(),
        )]),
        ..monitor(HOOKS)
    })
}

/// The flow that keeps everything out that comes by the mirror port.
pub(super) fn watch_guard(before: Option<OfPort>, sink: Option<OfPort>) -> MultipartRequest {
    replace(GUARD, before, sink, |sink| FlowMonitorRequest {
        table: TableId(0),
        matching: Match::new([MatchField::exact(Field::IN_PORT, sink.0.into())]),
        ..monitor(GUARD)
    })
}

/// What outputs to a port, now and later.
pub(super) fn watch_outputs(before: Option<OfPort>, port: Option<OfPort>) -> MultipartRequest {
    replace(PROBE, before, port, |port| FlowMonitorRequest { out_port: port, ..monitor(PROBE) })
}

/// The flows of a table, now and whenever they change.
pub(super) fn watch_table(table: TableId) -> MultipartRequest {
    let request = FlowMonitorRequest { table, ..monitor(TABLE + u32::from(table.0)) };
    MultipartRequest::FlowMonitor(vec![request])
}

/// What others install in table 0 from now on, without actions: a flow there may come before ours.
pub(super) fn watch_ingress() -> MultipartRequest {
    let flags = MonitorFlags::ADD | MonitorFlags::REMOVED | MonitorFlags::MODIFY;
    let request = FlowMonitorRequest { table: TableId(0), flags, ..monitor(INGRESS) };
    MultipartRequest::FlowMonitor(vec![request])
}

/// The switch's word when a flow of ours goes or a port changes, and no other that is not asked for. The second message lets them through
/// on a management socket, where nothing comes unasked before (OVS `ofconn_receives_async_msg`); the first sees to it
/// that OVN's packets for its controller are not among them.
pub(super) fn to_be_notified() -> [Message; 2] {
    let events = [
        (AsyncEvent::PACKET_IN, 0),
        (AsyncEvent::PORT_STATUS, PORT_MODIFIED),
        (AsyncEvent::FLOW_REMOVED, FLOW_REMOVED_REASONS),
    ];
    let role = AsyncRole::PrimaryOrEqual;
    let masks = events.map(|(event, reasons)| AsyncMask { event, role, reasons });
    [Message::SetAsync(masks.to_vec()), Message::SetConfig { flags: 0, miss_send_len: 128 }]
}

/// Stops the monitor for what was watched before, and starts it for what is to be watched now.
fn replace<T>(
    id: u32,
    before: Option<T>,
    now: Option<T>,
    start: impl FnOnce(T) -> FlowMonitorRequest,
) -> MultipartRequest {
    let stop = before.map(|_| FlowMonitorRequest::delete(id));
    MultipartRequest::FlowMonitor(stop.into_iter().chain(now.map(start)).collect())
}

/// Everything, with actions. Our own changes come abbreviated: the switch has answered them.
fn monitor(id: u32) -> FlowMonitorRequest {
    FlowMonitorRequest::add(
        id,
        MonitorFlags::INITIAL
            | MonitorFlags::ADD
            | MonitorFlags::REMOVED
            | MonitorFlags::MODIFY
            | MonitorFlags::INSTRUCTIONS,
    )
}
