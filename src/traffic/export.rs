//! The books as metrics.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use flows::{model::OfPort, ofp::PortStats};
use metrics::{IntCounter, Metrics};

use super::{Ledger, Meter, Series};

/// Counters of Prometheus, and what they follow.
pub struct Export {
    metrics: Metrics,
    series: HashMap<Arc<Series>, [IntCounter; 2]>,
    port: Port,
}

/// What the mirror port has counted.
#[derive(Default)]
struct Port {
    number: Option<OfPort>,
    packets: Meter,
    bytes: Meter,
    drops: Meter,
    errors: Meter,
}

impl Export {
    /// An export to `metrics`, of nothing yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, series: HashMap::new(), port: Port::default() }
    }

    /// Brings the counters up to what the ledger has, and takes away those of ports that it has no more.
    pub fn follow(&mut self, ledger: &Ledger) {
        let mut present = HashSet::new();
        for (series, line) in ledger.lines() {
            present.insert(Arc::clone(series));
            let metrics = &self.metrics;
            let [packets, bytes] = self.series.entry(Arc::clone(series)).or_insert_with(|| {
                with_labels(series, |labels| {
                    [&metrics.mirrored_packets, &metrics.mirrored_bytes]
                        .map(|counters| counters.with_label_values(labels))
                })
            });
            raise(packets, line.total.packets);
            raise(bytes, line.total.bytes);
        }
        for (series, _) in self.series.extract_if(|series, _| !present.contains(series)) {
            with_labels(&series, |labels| {
                for counters in [&self.metrics.mirrored_packets, &self.metrics.mirrored_bytes] {
                    // It is there, or else it is gone already.
                    let _ = counters.remove_label_values(labels);
                }
            });
        }
        raise(&self.metrics.copies_offered, ledger.offered().packets);
    }

    /// Takes in what the mirror port has counted.
    pub fn read_port(&mut self, stats: &PortStats) {
        let (port, metrics) = (&mut self.port, &self.metrics);
        let is_another = port.number.replace(stats.port) != Some(stats.port);
        for (meter, counter, now) in [
            (&mut port.packets, &metrics.copies_delivered, stats.tx_packets),
            (&mut port.bytes, &metrics.mirror_port_bytes, stats.tx_bytes),
            (&mut port.drops, &metrics.mirror_port_drops, stats.tx_dropped),
            (&mut port.errors, &metrics.mirror_port_errors, stats.tx_errors),
        ] {
            if let Some(now) = now {
                if is_another {
                    meter.restart();
                }
                meter.read(now);
                raise(counter, meter.total());
            }
        }
    }
}

fn with_labels<T>(series: &Series, work: impl FnOnce(&[&str]) -> T) -> T {
    let direction = series.direction.to_string();
    let namespace = series.pod.namespace.as_deref().unwrap_or_default();
    work(&[namespace, &series.pod.name, &series.interface, &direction])
}

fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
