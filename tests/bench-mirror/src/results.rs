//! What was measured, as it is kept in JSON: every sample with what it cost.

use std::{fs, path::Path};

use anyhow::Context as _;
use lab::Result;
use serde::{Deserialize, Serialize};

use crate::{metric::Metric, probe::Probe, scenario::Scenario, variant::Variant};

/// A run of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Processor, kernel, versions, day, load.
    pub(crate) machine: String,
    /// What measured, with versions.
    pub(crate) programs: String,
    /// `netdev`, which is Open vSwitch's own, or `system`, which is the kernel's.
    pub(crate) datapath: String,
    pub(crate) settings: Settings,
    /// Whether it came to its end.
    pub(crate) complete: bool,
    pub(crate) samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// What was to be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) repeats: u32,
    /// For each probe.
    pub(crate) seconds: u32,
    pub(crate) scenarios: Vec<Scenario>,
    /// Of messages, in bytes.
    pub(crate) sizes: Vec<u32>,
    /// For HTTP.
    pub(crate) connections: Vec<u32>,
    pub(crate) variants: Vec<Variant>,
}

/// One run of one probe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) scenario: Scenario,
    pub(crate) variant: Variant,
    /// Whether pings before it were copied on both nodes as the variant should copy them.
    pub(crate) took_effect: bool,
    pub(crate) probe: Probe,
    /// Bytes of a message, or connections.
    pub(crate) parameter: u32,
    pub(crate) reading: Reading,
    pub(crate) cost: Cost,
}

/// What a probe said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reading {
    /// Half of a round trip.
    Latency { microseconds: f64 },
    /// What arrived, of messages alone.
    Bandwidth { megabits_per_second: f64, bytes: f64, lost_percent: f64 },
    /// Requests that were answered, and how long that took.
    Http { requests_per_second: f64, average_ms: f64, stdev_ms: f64, max_ms: f64 },
}

/// What passed and what was used while a probe ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Processor time of the whole machine.
    pub(crate) machine_seconds: f64,
    /// That of ovs-vswitchd of both nodes.
    pub(crate) switch_seconds: f64,
    /// Frames that the server's interface received and sent.
    pub(crate) frames: u64,
    /// Frames on `mirror0` of each node.
    pub(crate) copies: [u64; 2],
}

impl Results {
    /// Reads a file that [`Self::write`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no result", path.display()))
    }

    /// Writes all, at once: whoever looks finds the former file or the new one.
    pub(crate) fn write(&self, path: &Path) -> Result {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)?;
        Ok(())
    }

    /// The samples that count for a metric: (round, parameter, value).
    pub(crate) fn values(
        &self,
        scenario: Scenario,
        variant: Variant,
        metric: Metric,
    ) -> impl Iterator<Item = (u32, u32, f64)> {
        let samples = self.samples.iter();
        samples
            .filter(move |s| s.scenario == scenario && s.variant == variant && s.took_effect)
            .filter_map(move |s| Some((s.round, s.parameter, metric.of(s)?)))
    }

    /// Values of two variants that were measured one soon after the other, with messages (or connections) of
    /// `parameter`, or of any.
    pub(crate) fn pairs(
        &self,
        scenario: Scenario,
        (variant, base): (Variant, Variant),
        metric: Metric,
        parameter: Option<u32>,
    ) -> Vec<(f64, f64)> {
        let bases: Vec<_> = self.values(scenario, base, metric).collect();
        let values = self.values(scenario, variant, metric);
        values
            .filter(|(_, of, _)| parameter.is_none_or(|wanted| wanted == *of))
            .filter_map(|(round, of, value)| {
                let same = |base: &&(u32, u32, f64)| (base.0, base.1) == (round, of);
                bases.iter().find(same).map(|base| (value, base.2))
            })
            .collect()
    }
}
