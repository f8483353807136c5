//! A metric's description, and the metric made from it.

use std::fmt;

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// What a metric's figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They go up and down.
    Gauge,
    /// They only go up, from 0 when the agent starts.
    Counter,
    /// How often they were in each range.
    Histogram,
}

/// What a metric's figures are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things; the name says of which kind.
    Number,
    /// 1 for yes, 0 for no.
    Truth,
    /// A part of something, 1 being all of it.
    Ratio,
    /// Packets, be they large or small.
    Packets,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Seconds for each packet.
    SecondsPerPacket,
}

/// A metric: all that there is to say of it.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its figures are of.
    pub unit: Unit,
    /// What its figures are.
    pub kind: Kind,
    /// What its series differ by.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence or two.
    pub help: &'static str,
}

impl Family {
    pub(crate) const fn gauge(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, unit, kind: Kind::Gauge, labels, help }
    }

    pub(crate) const fn counter(
        name: &'static str,
        unit: Unit,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, unit, kind: Kind::Counter, labels, help }
    }

    pub(crate) const fn histogram(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, unit, kind: Kind::Histogram, labels: &[], help }
    }

    fn options(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    pub(crate) fn int_gauge(&self, registry: &Registry) -> IntGauge {
        register(registry, IntGauge::with_opts(self.options()))
    }

    pub(crate) fn int_gauges(&self, registry: &Registry) -> IntGaugeVec {
        register(registry, IntGaugeVec::new(self.options(), self.labels))
    }

    pub(crate) fn int_counter(&self, registry: &Registry) -> IntCounter {
        register(registry, IntCounter::with_opts(self.options()))
    }

    pub(crate) fn int_counters(&self, registry: &Registry) -> IntCounterVec {
        register(registry, IntCounterVec::new(self.options(), self.labels))
    }

    pub(crate) fn float_gauges(&self, registry: &Registry) -> GaugeVec {
        register(registry, GaugeVec::new(self.options(), self.labels))
    }

    pub(crate) fn float_counters(&self, registry: &Registry) -> CounterVec {
        register(registry, CounterVec::new(self.options(), self.labels))
    }

    /// One that is absent as long as it is not known.
    pub(crate) fn optional(&self, registry: &Registry) -> Optional {
        Optional(self.float_gauges(registry))
    }

    pub(crate) fn buckets(&self, registry: &Registry, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(self.name, self.help).buckets(buckets.to_vec());
        register(registry, Histogram::with_opts(options))
    }

    /// A gauge that is always 1, and says something by its label.
    pub(crate) fn constant(&self, registry: &Registry, value: &str) {
        let gauge = self.int_gauges(registry);
        gauge.with_label_values(&[value]).set(1);
    }
}

/// A gauge that is absent as long as its figure is not known.
#[derive(Clone, Debug)]
pub struct Optional(GaugeVec);

impl Optional {
    /// Tells the figure, or that there is none.
    pub fn set(&self, figure: Option<f64>) {
        match figure {
            Some(figure) => self.0.with_label_values::<&str>(&[]).set(figure),
            None => self.0.reset(),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Truth => "0 or 1",
            Self::Ratio => "ratio",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
            Self::SecondsPerPacket => "seconds per packet",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        })
    }
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("names, labels and buckets are constants of this crate, and valid");
    registry.register(Box::new(metric.clone())).expect("no name is registered twice");
    metric
}
