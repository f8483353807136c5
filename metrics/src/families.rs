//! Every metric of ofmirror.

use crate::{Family, Unit};

/// Labels of the series of one direction of a Pod's port.
const TAP: &[&str] = &["namespace", "pod", "interface", "direction"];

pub(crate) const READY: Family = Family::gauge(
    "ofmirror_ready",
    Unit::Truth,
    &[],
    "Whether the agent mirrors, as /readyz tells. ofmirror_degraded says whether only in part.",
);
pub(crate) const DEGRADED: Family = Family::gauge(
    "ofmirror_degraded",
    Unit::Truth,
    &[],
    "Whether something that should be mirrored is not, or copies were lost in the last minute: /readyz names the Pods and reasons.",
);
pub(crate) const CONNECTED: Family = Family::gauge(
    "ofmirror_connected",
    Unit::Truth,
    &["to"],
    "Whether the agent is in sync with openflow (the bridge, not silent for 10 s) or ovsdb, and kubernetes (the API server) answers.",
);
pub(crate) const CONNECTION_CHANGED: Family = Family::gauge(
    "ofmirror_connection_changed_timestamp_seconds",
    Unit::Seconds,
    &["to"],
    "When ofmirror_connected last changed, in seconds since 1970.",
);
pub(crate) const PODS_WANTED: Family = Family::gauge(
    "ofmirror_pods_wanted",
    Unit::Number,
    &[],
    "Pods with at least one port that is to be mirrored.",
);
pub(crate) const PODS_MIRRORED: Family = Family::gauge(
    "ofmirror_pods_mirrored",
    Unit::Number,
    &[],
    "Those of them of which all that is to be copied is copied now.",
);
pub(crate) const PODS_REFUSED: Family = Family::gauge(
    "ofmirror_pods_refused",
    Unit::Number,
    &["reason"],
    "Pods that somebody asks to mirror in vain, by reason: those of the Events MirrorRefused.",
);
pub(crate) const TAPS_REJECTED: Family = Family::gauge(
    "ofmirror_taps_rejected",
    Unit::Number,
    &["reason"],
    "Directions of Pod ports that should be mirrored and can't be, by reason.",
);
pub(crate) const MIRRORED_PACKETS: Family = Family::counter(
    "ofmirror_mirrored_packets_total",
    Unit::Packets,
    TAP,
    "Copies made of what a Pod's port sent (from_pod) or was delivered (to_pod). A frame from one mirrored Pod to another is copied once, as from_pod.",
);
pub(crate) const MIRRORED_BYTES: Family = Family::counter(
    "ofmirror_mirrored_bytes_total",
    Unit::Bytes,
    TAP,
    "Bytes of these copies, Ethernet headers included.",
);
pub(crate) const COPIES_OFFERED: Family = Family::counter(
    "ofmirror_copies_offered_total",
    Unit::Packets,
    &[],
    "Copies that our flows sent to the mirror port, of all Pods.",
);
pub(crate) const COPIES_DELIVERED: Family = Family::counter(
    "ofmirror_copies_delivered_total",
    Unit::Packets,
    &[],
    "Packets that the mirror port took, by its own count. Less than offered: copies were lost.",
);
pub(crate) const MIRROR_PORT_BYTES: Family = Family::counter(
    "ofmirror_mirror_port_bytes_total",
    Unit::Bytes,
    &[],
    "Bytes that the mirror port took, by its own count, Ethernet headers included.",
);
pub(crate) const MIRROR_PORT_DROPS: Family = Family::counter(
    "ofmirror_mirror_port_drops_total",
    Unit::Packets,
    &[],
    "Packets that the mirror port dropped instead of sending them. With --host-stack=reached the host's kernel counts copies of protocols that it does not know here too, though they were delivered.",
);
pub(crate) const MIRROR_PORT_ERRORS: Family = Family::counter(
    "ofmirror_mirror_port_errors_total",
    Unit::Packets,
    &[],
    "Packets that the mirror port could not send.",
);
pub(crate) const MIRROR_NIC_UP: Family = Family::gauge(
    "ofmirror_mirror_nic_up",
    Unit::Truth,
    &[],
    "Whether the mirror NIC is there, up, and has a carrier.",
);
pub(crate) const LISTENERS: Family = Family::gauge(
    "ofmirror_listeners",
    Unit::Number,
    &[],
    "Packet sockets on the mirror NIC, as tcpdump's. Absent where they can't be counted.",
);
pub(crate) const PAUSED: Family = Family::gauge(
    "ofmirror_mirroring_paused",
    Unit::Truth,
    &[],
    "Whether hooks are left out as nobody listens (--mirror-when=listened).",
);
pub(crate) const FLOWS_DESIRED: Family = Family::gauge(
    "ofmirror_flows_desired",
    Unit::Number,
    &[],
    "Flows that the bridge should have for mirroring.",
);
pub(crate) const FLOWS_INSTALLED: Family = Family::gauge(
    "ofmirror_flows_installed",
    Unit::Number,
    &[],
    "Desired flows that the bridge has, by its own word.",
);
pub(crate) const FLOWS_MISSING: Family = Family::gauge(
    "ofmirror_flows_missing",
    Unit::Number,
    &[],
    "Desired flows that the bridge lacks.",
);
pub(crate) const FLOW_CHANGES: Family = Family::counter(
    "ofmirror_flow_changes_total",
    Unit::Number,
    &["result"],
    "Changes of flows that were asked of the bridge, by result: committed or refused.",
);
pub(crate) const FLOW_LOSSES: Family = Family::counter(
    "ofmirror_flow_losses_total",
    Unit::Number,
    &[],
    "Times that somebody else removed or changed flows of ours, as ovn-controller does when it reconnects.",
);
pub(crate) const FLOWS_LOST: Family = Family::counter(
    "ofmirror_flows_lost_total",
    Unit::Number,
    &[],
    "Flows of ours that somebody else removed or changed.",
);
pub(crate) const RESTORE: Family = Family::histogram(
    "ofmirror_restore_seconds",
    Unit::Seconds,
    "From noticing that flows are lost to having them back, without the time in which OVN's own flows, which ours depend on, were missing.",
);
pub(crate) const RECONCILE: Family = Family::histogram(
    "ofmirror_reconcile_seconds",
    Unit::Seconds,
    "What it takes to decide, after an event, which flows there should be and which are missing.",
);
pub(crate) const INSTALL: Family = Family::histogram(
    "ofmirror_install_seconds",
    Unit::Seconds,
    "From sending changes of flows to the bridge's word that they are made.",
);
pub(crate) const ERRORS: Family = Family::counter(
    "ofmirror_errors_total",
    Unit::Number,
    &["reason"],
    "What went wrong: openflow, ovsdb or kubernetes (a connection was lost, or not made), flow_refused, bundle_refused, event_refused, nic.",
);
pub(crate) const CPU: Family = Family::counter(
    "ofmirror_datapath_cpu_seconds_total",
    Unit::Seconds,
    &["component"],
    "Processor time of ovs-vswitchd's threads by role (main, handler, revalidator, pmd, other), and of softirq, the kernel's deferred work on the whole node, most of it for network traffic. Absent where it can't be read.",
);
pub(crate) const SWITCHED_PACKETS: Family = Family::counter(
    "ofmirror_switched_packets_total",
    Unit::Packets,
    &[],
    "Packets that came into the bridge by its ports, but for the mirror port.",
);
pub(crate) const SWITCHED_BYTES: Family =
    Family::counter("ofmirror_switched_bytes_total", Unit::Bytes, &[], "Bytes of these packets.");
pub(crate) const OVERHEAD: Family = Family::gauge(
    "ofmirror_cpu_overhead_ratio",
    Unit::Ratio,
    &[],
    "Processor time per switched packet with mirroring over that without, minus 1: 0.07 is 7 % more. Over the last two hours; absent as long as it can't be told.",
);
pub(crate) const OVERHEAD_ERROR: Family = Family::gauge(
    "ofmirror_cpu_overhead_standard_error",
    Unit::Ratio,
    &[],
    "Standard error of ofmirror_cpu_overhead_ratio.",
);
pub(crate) const BASELINE_COST: Family = Family::gauge(
    "ofmirror_cpu_overhead_baseline_seconds_per_packet",
    Unit::SecondsPerPacket,
    &[],
    "Processor time per switched packet without mirroring, which the ratio is taken from.",
);
pub(crate) const MIRRORING_COST: Family = Family::gauge(
    "ofmirror_cpu_overhead_mirroring_seconds_per_packet",
    Unit::SecondsPerPacket,
    &[],
    "Processor time per switched packet with mirroring, which the ratio is taken from.",
);
pub(crate) const BASELINE_AGE: Family = Family::gauge(
    "ofmirror_cpu_overhead_baseline_age_seconds",
    Unit::Seconds,
    &[],
    "How long ago nothing was mirrored, for the last time that was measured. Absent if that was never, or more than two hours ago.",
);
pub(crate) const BASELINE_PACKETS: Family = Family::gauge(
    "ofmirror_cpu_overhead_baseline_packets",
    Unit::Packets,
    &[],
    "Packets switched in the last two hours while nothing was mirrored, as far as that was measured.",
);
pub(crate) const BUILD: Family = Family::gauge(
    "ofmirror_build_info",
    Unit::Truth,
    &["version"],
    "The version that runs; always 1.",
);

/// All of them, in the order in which people want to read them.
pub const ALL: &[Family] = &[
    READY,
    DEGRADED,
    CONNECTED,
    CONNECTION_CHANGED,
    PODS_WANTED,
    PODS_MIRRORED,
    PODS_REFUSED,
    TAPS_REJECTED,
    MIRRORED_PACKETS,
    MIRRORED_BYTES,
    COPIES_OFFERED,
    COPIES_DELIVERED,
    MIRROR_PORT_BYTES,
    MIRROR_PORT_DROPS,
    MIRROR_PORT_ERRORS,
    MIRROR_NIC_UP,
    LISTENERS,
    PAUSED,
    FLOWS_DESIRED,
    FLOWS_INSTALLED,
    FLOWS_MISSING,
    FLOW_CHANGES,
    FLOW_LOSSES,
    FLOWS_LOST,
    RESTORE,
    RECONCILE,
    INSTALL,
    ERRORS,
    CPU,
    SWITCHED_PACKETS,
    SWITCHED_BYTES,
    OVERHEAD,
    OVERHEAD_ERROR,
    BASELINE_COST,
    MIRRORING_COST,
    BASELINE_AGE,
    BASELINE_PACKETS,
    BUILD,
];
