//! Tables in Markdown, and their cells.

use std::fmt;

use crate::{
    metric::Metric,
    results::Results,
    scenario::Scenario,
    statistics::{difference, ratio},
    variant::Variant,
};

/// A table that grows row by row.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: impl IntoIterator<Item = String>) -> Self {
        let heads: Vec<_> = heads.into_iter().collect();
        let rule = heads.iter().map(|_| "---".to_owned()).collect();
        Self { rows: vec![heads, rule] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

/// How a variant compares with another, with the interval of confidence.
pub(super) fn compared(
    results: &Results,
    scenario: Scenario,
    variants: (Variant, Variant),
    metric: Metric,
    parameter: Option<u32>,
) -> String {
    let pairs = results.pairs(scenario, variants, metric, parameter);
    let (interval, nothing) =
        if metric.is_share() { (difference(&pairs), 0.0) } else { (ratio(&pairs), 1.0) };
    let Some(interval) = interval else { return "-".to_owned() };
    let unit = if metric.is_share() { " points" } else { "" };
    let noise = if interval.is_noise(nothing) { " *noise*" } else { "" };
    // Different sizes have different costs; only for one the difference means something.
    let added = parameter.filter(|_| metric.is_cost()).and_then(|_| difference(&pairs));
    let added = added.map_or(String::new(), |added| format!(", added {added}"));
    format!("{interval}{unit}{noise}{added}")
}
