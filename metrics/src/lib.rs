//! Every metric that ofmirror exports: its name, its labels and its help, in one place.

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// The agent's metrics. A clone counts into the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `ofmirror_connected{to}`: 1 while in sync with `openflow` or `ovsdb`, or while `kubernetes` answers.
    pub connected: IntGaugeVec,
    /// `ofmirror_ready`: 1 while everything that should be mirrored is.
    pub ready: IntGauge,
    /// `ofmirror_flows_desired`: flows that the switch should have.
    pub flows_desired: IntGauge,
    /// `ofmirror_flows_installed`: those of them that it has.
    pub flows_installed: IntGauge,
    /// `ofmirror_pods_mirrored`: Pods with at least one mirrored port.
    pub pods_mirrored: IntGauge,
    /// `ofmirror_taps_rejected{reason}`: directions of ports that can't be mirrored.
    pub taps_rejected: IntGaugeVec,
    /// `ofmirror_flow_losses_total`: times that somebody else removed or changed flows of ours.
    pub losses: IntCounter,
    /// `ofmirror_flows_lost_total`: how many flows that were.
    pub flows_lost: IntCounter,
    /// `ofmirror_restore_seconds`: from noticing a loss to the switch's word that all is back.
    pub restore: Histogram,
    /// `ofmirror_flow_changes_total{result}`: changes that the switch `committed` or `refused`.
    pub flow_changes: IntCounterVec,
}

impl Metrics {
    /// A fresh set, all zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            connected: gauges(
                &registry,
                "connected",
                "Whether the agent is in sync with openflow (the bridge) or ovsdb, and kubernetes (the API server) answers.",
                "to",
            ),
            ready: gauge(
                &registry,
                "ready",
                "Whether everything that should be mirrored is, as /readyz tells.",
            ),
            flows_desired: gauge(
                &registry,
                "flows_desired",
                "Flows that the bridge should have for mirroring.",
            ),
            flows_installed: gauge(
                &registry,
                "flows_installed",
                "Desired flows that the bridge has, by its own word.",
            ),
            pods_mirrored: gauge(
                &registry,
                "pods_mirrored",
                "Pods with at least one port that is mirrored.",
            ),
            taps_rejected: gauges(
                &registry,
                "taps_rejected",
                "Directions of Pod ports that should be mirrored and can't be, by reason.",
                "reason",
            ),
            losses: counter(
                &registry,
                "flow_losses_total",
                "Times that somebody else removed or changed flows of ours, as ovn-controller does when it reconnects.",
            ),
            flows_lost: counter(
                &registry,
                "flows_lost_total",
                "Flows of ours that somebody else removed or changed.",
            ),
            restore: restore(&registry),
            flow_changes: counters(
                &registry,
                "flow_changes_total",
                "Changes of flows that were asked of the bridge, by result: committed or refused.",
                "result",
            ),
            registry,
        };
        let version = Opts::new("ofmirror_build_info", "The version that runs; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        register(&metrics.registry, IntGauge::with_opts(version)).set(1);
        metrics
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

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("ofmirror_{name}"), help)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::with_opts(options(name, help)))
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(options(name, help), &[label]))
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::with_opts(options(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    register(registry, IntCounterVec::new(options(name, help), &[label]))
}

/// A millisecond to two minutes: the first is a single flow, the last an ovn-controller that is slow to come back.
fn restore(registry: &Registry) -> Histogram {
    let help = "Seconds from noticing that flows are lost to having them back.";
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];
    let options = HistogramOpts::new("ofmirror_restore_seconds", help).buckets(buckets);
    register(registry, Histogram::with_opts(options))
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("names, labels and buckets are constants of this file, and valid");
    registry.register(Box::new(metric.clone())).expect("no name is registered twice");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_and_a_help_text() {
        let metrics = Metrics::new();
        for family in metrics.registry.gather() {
            assert!(family.name().starts_with("ofmirror_"), "{}", family.name());
            assert!(family.help().ends_with('.'), "{}", family.name());
        }
        metrics.losses.inc();
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(text.contains("ofmirror_flow_losses_total 1"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
