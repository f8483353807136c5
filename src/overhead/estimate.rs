//! What mirroring costs, estimated from windows. No clock, no sockets.
//!
//! **Comparison.** From windows without any hook follows what a switched packet costs without mirroring, the baseline. What
//! the windows with mirroring cost is divided by what the baseline says that they would have cost. Both are
//! ratio estimators, sums over sums (Cochran, "Sampling Techniques", chapter 6), so that a window counts by its
//! packets. The baseline has a second term, processor time by the clock, if the load varied so much that
//! it can be told apart; without it, only windows of like load are compared, since then idle work cancels out.
//!
//! **Regression.** Where the comparison can't be made, processor time is explained by switched and by copied packets, over
//! all windows of like load. That works if the share of copied packets varies, be it by itself or because a share of
//! the hooks was lifted.
//!
//! Errors come from how much the windows differ from what is expected of them; that of the ratio by the
//! delta method. What is not known well enough for that is not told.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    batches::Batches,
    fit::{Fit, Row},
    window::{Hooks, Window},
};

/// The fewest windows of a kind to compare: without hooks and with them, or with few copies and with many.
const FEWEST: usize = 4;
/// How much higher the highest load must be than the lowest for idle work to be told from that for packets.
const SPREAD: f64 = 2.0;
/// How much higher or lower than others the load of a window may be to be compared with them.
const LIKE: f64 = 1.5;
/// How many of its standard errors the cost without mirroring must be away from 0: the delta method is for small errors.
const CERTAIN: f64 = 4.0;

/// What mirroring costs, and how well that is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Processor time per switched packet with mirroring over that without, minus 1.
    pub ratio: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Processor time per switched packet without mirroring, in seconds.
    #[serde(rename = "baseline_seconds_per_packet")]
    pub baseline: f64,
    /// The same with mirroring.
    #[serde(rename = "mirroring_seconds_per_packet")]
    pub mirroring: f64,
}

/// What was seen without any hook.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// How long ago the last window ended.
    pub age: Duration,
    /// Packets switched in all of them.
    pub packets: f64,
}

/// Remembers windows of the last two hours, and estimates.
#[derive(Debug)]
pub struct Estimator {
    bare: Batches,
    partly: Batches,
    mirrored: Batches,
}

impl Default for Estimator {
    fn default() -> Self {
        Self { bare: Batches::new(), partly: Batches::new(), mirrored: Batches::new() }
    }
}

impl Estimator {
    /// Takes in a window.
    pub fn push(&mut self, hooks: Hooks, window: Window) {
        match hooks {
            Hooks::None => self.bare.push(window),
            Hooks::Some => self.partly.push(window),
            Hooks::All => self.mirrored.push(window),
        }
    }

    /// What there is without any hook, not older than two hours.
    pub fn baseline(&mut self, now: Instant) -> Option<Baseline> {
        self.bare.expire(now);
        let last = self.bare.iter().last()?;
        let age = now.saturating_duration_since(last.ended);
        Some(Baseline { age, packets: self.bare.iter().map(|window| window.switched).sum() })
    }

    /// What mirroring costs, if that can be told.
    pub fn estimate(&mut self, now: Instant) -> Option<Estimate> {
        for batches in [&mut self.bare, &mut self.partly, &mut self.mirrored] {
            batches.expire(now);
        }
        let busy = |batches: &Batches| -> Vec<Window> {
            batches.iter().copied().filter(|window| window.switched >= 1.0).collect()
        };
        let (bare, mut all, mirrored) =
            (busy(&self.bare), busy(&self.partly), busy(&self.mirrored));
        compare(&bare, &mirrored).or_else(|| {
            all.extend(&bare);
            all.extend(&mirrored);
            regress(&all, &mirrored)
        })
    }
}

fn compare(bare: &[Window], mirrored: &[Window]) -> Option<Estimate> {
    let (least, most) = loads(bare)?;
    let mirrored = of_load(mirrored, least, most);
    if bare.len().min(mirrored.len()) < FEWEST {
        return None;
    }
    let fit = baseline(bare, most >= SPREAD * least)?;
    let expect = |window: &Window| fit.at([window.switched, window.seconds]);
    let rows: Vec<_> = mirrored
        .iter()
        .map(|window| (expect(window), window.cpu))
        .map(|(expected, cpu)| Row { x: [expected], y: cpu, weight: 1.0 / expected })
        .collect();
    let times = Fit::of(&rows)?;
    let factor = times.coefficients[0];
    let total = sum(&mirrored)?;
    let (expected, variance) = (expect(&total), fit.variance([total.switched, total.seconds]));
    if !is_certain(expected, variance) {
        return None;
    }
    let relative = variance / expected.powi(2);
    Some(Estimate {
        ratio: factor - 1.0,
        standard_error: (times.variance([1.0]) + factor.powi(2) * relative).sqrt(),
        baseline: expected / total.switched,
        mirroring: expected * factor / total.switched,
    })
}

/// Processor time by packets and, if it can be told apart, by the clock. Neither is negative.
fn baseline(windows: &[Window], spread: bool) -> Option<Fit<2>> {
    let with_idle = || {
        let rows: Vec<_> = windows
            .iter()
            .map(|window| Row {
                x: [window.switched, window.seconds],
                y: window.cpu,
                weight: 1.0 / window.seconds,
            })
            .collect();
        Fit::of(&rows).filter(|fit| fit.coefficients[1] >= 0.0)
    };
    let by_packets = || {
        let row = |window: &Window| Row {
            x: [window.switched],
            y: window.cpu,
            weight: 1.0 / window.switched,
        };
        Some(Fit::of(&windows.iter().map(row).collect::<Vec<_>>())?.with_zeros())
    };
    let fit = if spread { with_idle().or_else(by_packets) } else { by_packets() };
    fit.filter(|fit| fit.coefficients[0] > 0.0)
}

fn regress(all: &[Window], mirrored: &[Window]) -> Option<Estimate> {
    let usual = sum(mirrored)?.load();
    let (all, mirrored) = (of_load(all, usual, usual), of_load(mirrored, usual, usual));
    let (every, total) = (sum(&all)?, sum(&mirrored)?);
    let share = every.copied / every.switched;
    let below = all.iter().filter(|window| window.copied < share * window.switched).count();
    if below.min(all.len() - below) < FEWEST {
        return None;
    }
    let rows: Vec<_> = all
        .iter()
        .map(|window| Row {
            x: [window.switched, window.copied],
            y: window.cpu,
            weight: 1.0 / window.switched,
        })
        .collect();
    let fit = Fit::of(&rows)?;
    let without = [total.switched, 0.0];
    let expected = fit.at(without);
    if !is_certain(expected, fit.variance(without)) {
        return None;
    }
    let ratio = fit.at([0.0, total.copied]) / expected;
    let slope = [-ratio * total.switched / expected, total.copied / expected];
    Some(Estimate {
        ratio,
        standard_error: fit.variance(slope).sqrt(),
        baseline: expected / total.switched,
        mirroring: expected * (1.0 + ratio) / total.switched,
    })
}

fn is_certain(cost: f64, variance: f64) -> bool {
    cost > 0.0 && cost >= CERTAIN * variance.sqrt()
}

/// The windows whose load is not far from `least` to `most`.
fn of_load(windows: &[Window], least: f64, most: f64) -> Vec<Window> {
    let like = |window: &&Window| (least / LIKE..=most * LIKE).contains(&window.load());
    windows.iter().filter(like).copied().collect()
}

/// The lowest and the highest load.
fn loads(windows: &[Window]) -> Option<(f64, f64)> {
    let loads = || windows.iter().map(Window::load);
    Some((loads().min_by(f64::total_cmp)?, loads().max_by(f64::total_cmp)?))
}

fn sum(windows: &[Window]) -> Option<Window> {
    windows.iter().copied().reduce(Window::join)
}

#[cfg(test)]
mod tests;
