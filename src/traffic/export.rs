//! The books as metrics.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use flows::{model::OfPort, ofp::PortStats};
use metrics::{IntCounter, Metrics};

use super::{Ledger, Meter, Series};
use crate::{foreign, port_counters::Side};

/// Counters of Prometheus, and what they follow.
pub struct Export {
    metrics: Metrics,
    series: HashMap<Arc<Series>, [IntCounter; 2]>,
    port: Port,
}

/// What the mirror port has counted.
#[derive(Default)]
struct Port {
    /// Which port it is, and from whose side it counts.
    counts: Option<(OfPort, Side)>,
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

    /// Takes in what the mirror port has counted, and from whose side it counts.
    pub fn read_port(&mut self, stats: &PortStats, side: Side) {
        let (port, metrics, counters) = (&mut self.port, &self.metrics, side.read(stats));
        let now = (stats.port, side);
        let is_another = port.counts.replace(now) != Some(now);
        for (meter, counter, now) in [
            (&mut port.packets, &metrics.copies_delivered, counters.sent_packets),
            (&mut port.bytes, &metrics.mirror_port_bytes, counters.sent_bytes),
            (&mut port.drops, &metrics.mirror_port_drops, counters.sent_dropped),
            (&mut port.errors, &metrics.mirror_port_errors, counters.sent_errors),
        ] {
            if is_another {
                meter.restart();
            }
            if let Some(now) = now {
                meter.read(now);
                raise(counter, meter.total());
            }
        }
    }
}

fn with_labels<T>(series: &Series, work: impl FnOnce(&[&str]) -> T) -> T {
    let direction = series.direction.to_string();
    let namespace = foreign::line(series.pod.namespace.as_deref().unwrap_or_default());
    let [name, interface] = [&series.pod.name, &series.interface].map(|text| foreign::line(text));
    work(&[&namespace, &name, &interface, &direction])
}

fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use flows::{
        model::{Cookie, Field, FlowCounters, FlowKey, Match, MatchField, Purpose, TableId},
        tap::Direction,
    };

    use super::*;
    use crate::{
        pods::Pod,
        traffic::{Census, GRACE, Reading},
    };

    const PORT: OfPort = OfPort(5);

    /// The lines of `/metrics` that begin with a name.
    fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = String::from_utf8(metrics.render()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name)).map(str::to_owned);
        lines.collect()
    }

    #[test]
    fn a_deleted_pod_is_told_of_for_a_while_and_its_copies_for_ever() {
        let metrics = Metrics::new();
        let (mut ledger, mut export) = (Ledger::default(), Export::new(metrics.clone()));
        let start = Instant::now();
        let pod = Pod::new("shop", "web");
        let series =
            Arc::new(Series { pod, interface: "web_h".into(), direction: Direction::ToPod });
        let matching = Match::new([MatchField::exact(Field::IN_PORT, 5)]);
        let key = FlowKey { table: TableId(65), priority: 1, matching };
        let cookie = Cookie::new(Purpose::ToPod, PORT);
        ledger.install(&key, cookie, false, Some(Arc::clone(&series)), start);
        let counters = FlowCounters { packets: 3, bytes: 230 };
        let age = Some(Duration::from_secs(1));
        let reading = Reading { key, cookie, counters, age };
        ledger.read(vec![reading].into(), |_| Some(Arc::clone(&series)), start);
        export.follow(&ledger);
        let labels = r#"{direction="to_pod",interface="web_h",namespace="shop",pod="web"}"#;
        let told = |metrics: &Metrics| lines(metrics, "ofmirror_mirrored_");
        let [bytes, packets] = [("bytes", 230), ("packets", 3)]
            .map(|(what, count)| format!("ofmirror_mirrored_{what}_total{labels} {count}"));
        assert_eq!(told(&metrics), [bytes, packets]);

        ledger.read(Census::default(), |_| None, start + GRACE / 2);
        export.follow(&ledger);
        assert_eq!(told(&metrics).len(), 2);
        ledger.read(Census::default(), |_| None, start + GRACE);
        export.follow(&ledger);
        assert_eq!(told(&metrics), [""; 0]);
        assert_eq!(metrics.copies_offered.get(), 3);
    }

    #[test]
    fn what_the_host_received_by_an_internal_mirror_port_is_what_the_port_took() {
        let metrics = Metrics::new();
        let mut export = Export::new(metrics.clone());
        for copies in [100, 142] {
            let stats = PortStats {
                rx_packets: Some(copies),
                rx_bytes: Some(100 * copies),
                rx_dropped: Some(copies / 50),
                rx_errors: Some(0),
                ..port(5, [0, 0, 0, copies / 100].map(Some))
            };
            export.read_port(&stats, Side::Host);
        }
        assert_eq!(metrics.copies_delivered.get(), 42);
        assert_eq!(metrics.mirror_port_bytes.get(), 42 * (100 + 14));
        assert_eq!(metrics.mirror_port_drops.get(), 0);
        assert_eq!(metrics.mirror_port_errors.get(), 0);
    }

    fn port(number: u32, figures: [Option<u64>; 4]) -> PortStats {
        let [tx_packets, tx_bytes, tx_dropped, tx_errors] = figures;
        PortStats {
            port: OfPort(number),
            duration: None,
            rx_packets: Some(77),
            tx_packets,
            rx_bytes: Some(77),
            tx_bytes,
            rx_dropped: Some(77),
            tx_dropped,
            rx_errors: Some(77),
            tx_errors,
            properties: Box::default(),
        }
    }

    #[test]
    fn what_the_mirror_port_sent_dropped_and_failed_to_send_is_told_also_when_it_is_made_anew() {
        let metrics = Metrics::new();
        let mut export = Export::new(metrics.clone());
        let mut totals = |number, figures: [Option<u64>; 4]| {
            export.read_port(&port(number, figures), Side::Switch);
            let Metrics {
                copies_delivered,
                mirror_port_bytes,
                mirror_port_drops,
                mirror_port_errors,
                ..
            } = &metrics;
            [copies_delivered, mirror_port_bytes, mirror_port_drops, mirror_port_errors]
                .map(IntCounter::get)
        };
        let before = [100, 9000, 10, 1].map(Some);
        assert_eq!(totals(5, before), [0; 4], "it was there before the agent");
        assert_eq!(totals(5, [130, 9300, 14, 3].map(Some)), [30, 300, 4, 2]);
        assert_eq!(totals(5, [Some(131), None, None, None]), [31, 300, 4, 2], "not all is known");
        let anew = [200, 9900, 50, 9].map(Some);
        assert_eq!(totals(6, anew), [231, 10_200, 54, 11], "another port counts whole");
        assert_eq!(
            totals(6, [1, 90, 0, 0].map(Some)),
            [232, 10_290, 54, 11],
            "the switch began anew"
        );
    }
}
