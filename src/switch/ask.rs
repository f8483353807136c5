//! The questions that are put to the switch.

use flows::{
    marker::MarkerBits,
    model::{Field, Match, MatchField, OfPort, TableId},
    ofp::{
        AsyncEvent, AsyncMask, AsyncRole, FlowMonitorRequest, Message, MonitorFlags,
        MultipartRequest,
    },
    pipeline::RESUMED,
};

use super::reading::delivered;

/// Numbers of the flow monitors; that of a table's comes on top of the last.
const HOOKS: u32 = 1;
const GUARD: u32 = 2;
const PROBE: u32 = 3;
const HOOKS_PASSED: u32 = 4;
const INGRESS: u32 = 5;
const FLOODS: u32 = 6;
const TABLE: u32 = 0x100;
/// `OFPRR_IDLE_TIMEOUT` to `OFPRR_EVICTION`: whatever the reason (OpenFlow 1.5.1, 7.4.2).
const FLOW_REMOVED_REASONS: u32 = 0x3f;
/// `OFPPR_MODIFY`: a port's configuration or state has changed (OpenFlow 1.5.1, 7.4.3).
const PORT_MODIFIED: u32 = 1 << 2;

/// Changes of our flows: only they look at the marker's R, which one of them wants to be 1 and all others to be 0.
pub(super) fn watch_hooks(
    before: Option<MarkerBits>,
    marker: Option<MarkerBits>,
) -> MultipartRequest {
    let both = [(HOOKS, false), (HOOKS_PASSED, true)];
    MultipartRequest::FlowMonitor(
        both.into_iter()
            .flat_map(|(id, passed)| {
                replace(id, before, marker, |marker| {
                    let value = if passed { marker.delivered_mask() } else { 0 };
                    let matching = Match::new([delivered(marker, value)]);
                    FlowMonitorRequest { matching, ..changes(id) }
                })
            })
            .collect(),
    )
}

/// The flow that keeps everything out that comes by the mirror port.
pub(super) fn watch_guard(before: Option<OfPort>, sink: Option<OfPort>) -> MultipartRequest {
    let monitors = replace(GUARD, before, sink, |sink| {
        let FlowMonitorRequest { flags, .. } = changes(GUARD);
        FlowMonitorRequest {
            flags: flags | MonitorFlags::INITIAL,
            table: TableId(0),
            matching: Match::new([MatchField::exact(Field::IN_PORT, sink.0.into())]),
            ..changes(GUARD)
        }
    });
    MultipartRequest::FlowMonitor(monitors)
}

/// What comes to output to a port.
pub(super) fn watch_outputs(before: Option<OfPort>, port: Option<OfPort>) -> MultipartRequest {
    MultipartRequest::FlowMonitor(replace(PROBE, before, port, |port| FlowMonitorRequest {
        out_port: port,
        ..changes(PROBE)
    }))
}

/// Changes of a table's flows.
pub(super) fn watch_table(table: TableId) -> MultipartRequest {
    let request = FlowMonitorRequest { table, ..changes(TABLE + u32::from(table.0)) };
    MultipartRequest::FlowMonitor(vec![request])
}

/// What others install from now on in table 0, where a flow may come before ours (without its actions), and changes of the
/// flows by which OVN goes on with a flood.
pub(super) fn watch_others() -> MultipartRequest {
    let flags = MonitorFlags::ADD | MonitorFlags::REMOVED | MonitorFlags::MODIFY;
    let ingress = FlowMonitorRequest { table: TableId(0), flags, ..changes(INGRESS) };
    let matching = Match::new([RESUMED]);
    let floods = FlowMonitorRequest { matching, ..changes(FLOODS) };
    MultipartRequest::FlowMonitor(vec![ingress, floods])
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
) -> Vec<FlowMonitorRequest> {
    let stop = before.map(|_| FlowMonitorRequest::delete(id));
    stop.into_iter().chain(now.map(start)).collect()
}

/// All changes from now on, with actions. Our own come abbreviated: the switch has answered them. What is there already is
/// read in pieces, which a monitor can't tell it in.
fn changes(id: u32) -> FlowMonitorRequest {
    FlowMonitorRequest::add(
        id,
        MonitorFlags::ADD
            | MonitorFlags::REMOVED
            | MonitorFlags::MODIFY
            | MonitorFlags::INSTRUCTIONS,
    )
}
