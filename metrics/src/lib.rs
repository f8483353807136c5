//! Every metric that ofmirror exports: its name, its type, its unit, its labels and its help, in one place.

mod failure;
mod families;
mod family;

pub use failure::Failure;
pub use families::ALL;
pub use family::{Family, Kind, Optional, Unit};
pub use prometheus::IntCounter;
use prometheus::{
    CounterVec, Encoder as _, GaugeVec, Histogram, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

/// Bounds in seconds of what is decided and done with flows: from a tenth of a millisecond, a single flow, to ten seconds, a
/// switch that is busy with itself.
const QUICK: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// Bounds in seconds of a loss: from a millisecond, a single flow, to two minutes, an ovn-controller that is slow to come back.
const LOSS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];

/// The agent's metrics, as [`ALL`] describes them. A clone counts into the same ones.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is described where it is named, in families.rs")]
pub struct Metrics {
    registry: Registry,
    pub ready: IntGauge,
    pub degraded: IntGauge,
    pub connected: IntGaugeVec,
    pub connection_changed: GaugeVec,
    pub pods_wanted: IntGauge,
    pub pods_mirrored: IntGauge,
    pub pods_refused: IntGaugeVec,
    pub taps_rejected: IntGaugeVec,
    pub mirrored_packets: IntCounterVec,
    pub mirrored_bytes: IntCounterVec,
    pub copies_offered: IntCounter,
    pub copies_delivered: IntCounter,
    pub mirror_port_bytes: IntCounter,
    pub mirror_port_drops: IntCounter,
    pub mirror_port_errors: IntCounter,
    pub mirror_nic_up: IntGauge,
    pub listeners: Optional,
    pub mirroring_paused: IntGauge,
    pub flows_desired: IntGauge,
    pub flows_installed: IntGauge,
    pub flows_missing: IntGauge,
    pub flow_changes: IntCounterVec,
    pub losses: IntCounter,
    pub flows_lost: IntCounter,
    pub restore: Histogram,
    pub reconcile: Histogram,
    pub install: Histogram,
    errors: IntCounterVec,
    pub cpu: CounterVec,
    pub switched_packets: IntCounter,
    pub switched_bytes: IntCounter,
    pub overhead: Optional,
    pub overhead_error: Optional,
    pub baseline_cost: Optional,
    pub mirroring_cost: Optional,
    pub baseline_age: Optional,
    pub baseline_packets: Optional,
}

impl Metrics {
    /// A fresh set, all zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = &Registry::new();
        families::BUILD.constant(registry, env!("CARGO_PKG_VERSION"));
        Self {
            ready: families::READY.int_gauge(registry),
            degraded: families::DEGRADED.int_gauge(registry),
            connected: families::CONNECTED.int_gauges(registry),
            connection_changed: families::CONNECTION_CHANGED.float_gauges(registry),
            pods_wanted: families::PODS_WANTED.int_gauge(registry),
            pods_mirrored: families::PODS_MIRRORED.int_gauge(registry),
            pods_refused: families::PODS_REFUSED.int_gauges(registry),
            taps_rejected: families::TAPS_REJECTED.int_gauges(registry),
            mirrored_packets: families::MIRRORED_PACKETS.int_counters(registry),
            mirrored_bytes: families::MIRRORED_BYTES.int_counters(registry),
            copies_offered: families::COPIES_OFFERED.int_counter(registry),
            copies_delivered: families::COPIES_DELIVERED.int_counter(registry),
            mirror_port_bytes: families::MIRROR_PORT_BYTES.int_counter(registry),
            mirror_port_drops: families::MIRROR_PORT_DROPS.int_counter(registry),
            mirror_port_errors: families::MIRROR_PORT_ERRORS.int_counter(registry),
            mirror_nic_up: families::MIRROR_NIC_UP.int_gauge(registry),
            listeners: families::LISTENERS.optional(registry),
            mirroring_paused: families::PAUSED.int_gauge(registry),
            flows_desired: families::FLOWS_DESIRED.int_gauge(registry),
            flows_installed: families::FLOWS_INSTALLED.int_gauge(registry),
            flows_missing: families::FLOWS_MISSING.int_gauge(registry),
            flow_changes: families::FLOW_CHANGES.int_counters(registry),
            losses: families::FLOW_LOSSES.int_counter(registry),
            flows_lost: families::FLOWS_LOST.int_counter(registry),
            restore: families::RESTORE.buckets(registry, LOSS),
            reconcile: families::RECONCILE.buckets(registry, QUICK),
            install: families::INSTALL.buckets(registry, QUICK),
            errors: families::ERRORS.int_counters(registry),
            cpu: families::CPU.float_counters(registry),
            switched_packets: families::SWITCHED_PACKETS.int_counter(registry),
            switched_bytes: families::SWITCHED_BYTES.int_counter(registry),
            overhead: families::OVERHEAD.optional(registry),
            overhead_error: families::OVERHEAD_ERROR.optional(registry),
            baseline_cost: families::BASELINE_COST.optional(registry),
            mirroring_cost: families::MIRRORING_COST.optional(registry),
            baseline_age: families::BASELINE_AGE.optional(registry),
            baseline_packets: families::BASELINE_PACKETS.optional(registry),
            registry: registry.clone(),
        }
    }

    /// How often this went wrong.
    #[must_use]
    pub fn failures(&self, failure: Failure) -> IntCounter {
        self.errors.with_label_values(&[failure.label()])
    }

    /// All metrics in Prometheus' text format, with those of the process.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut families = self.registry.gather();
        families.append(&mut prometheus::gather());
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("writing to memory can't fail, and gathered families are well-formed");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// All metrics as a table of Markdown, as README has it.
#[must_use]
pub fn table() -> String {
    let mut table =
        "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for Family { name, unit, kind, labels, help } in ALL {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!(
            "| `{name}` | {kind} | {unit} | {} | {help} |\n",
            labels.join(", ")
        ));
    }
    table
}

#[cfg(test)]
mod tests;
