//! Medians, and intervals of confidence for ratios and differences of pairs.

use std::fmt;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// An estimate, and between what the truth is with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) estimate: f64,
    /// None with fewer than two pairs: then nobody can tell.
    pub(crate) bounds: Option<(f64, f64)>,
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = if sorted.len().is_multiple_of(2) { sorted[sorted.len() / 2 - 1] } else { upper };
    Some((lower + upper) / 2.0)
}

/// The geometric mean of the ratios of pairs, by Student's distribution of their logarithms. What is not positive has
/// no ratio and does not count.
pub(crate) fn ratio(pairs: &[(f64, f64)]) -> Option<Interval> {
    let positive = pairs.iter().filter(|(value, base)| *value > 0.0 && *base > 0.0);
    let logarithms: Vec<_> = positive.map(|(value, base)| (value / base).ln()).collect();
    let Interval { estimate, bounds } = mean(&logarithms)?;
    let bounds = bounds.map(|(low, high)| (low.exp(), high.exp()));
    Some(Interval { estimate: estimate.exp(), bounds })
}

/// The mean of the differences of pairs, by Student's distribution.
pub(crate) fn difference(pairs: &[(f64, f64)]) -> Option<Interval> {
    let differences: Vec<_> = pairs.iter().map(|(value, base)| value - base).collect();
    mean(&differences)
}

fn mean(values: &[f64]) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let estimate = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - estimate).powi(2)).sum();
    let freedom = count - 1.0;
    let bounds = StudentsT::new(0.0, 1.0, freedom).ok().map(|student| {
        let margin = student.inverse_cdf(0.975) * (squares / freedom / count).sqrt();
        (estimate - margin, estimate + margin)
    });
    Some(Interval { estimate, bounds })
}

impl Interval {
    /// Whether `nothing` (1 for a ratio, 0 for a difference) may be the truth, by all that is known.
    pub(crate) fn is_noise(&self, nothing: f64) -> bool {
        self.bounds.is_none_or(|(low, high)| low <= nothing && nothing <= high)
    }
}

/// As `1.05 [1.01, 1.09]`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bounds {
            Some((low, high)) => write!(f, "{:.2} [{low:.2}, {high:.2}]", self.estimate),
            None => write!(f, "{:.2} [?]", self.estimate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_students() {
        // R: t.test(c(1, 2, 3, 4)) has 0.4457397 and 4.5542603.
        let pairs = [(2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (8.0, 4.0)];
        let found = difference(&pairs).and_then(|interval| Some((interval, interval.bounds?)));
        let Some((interval, (low, high))) = found else { panic!("no interval") };
        assert_eq!(interval.estimate, 2.5);
        assert!((low - 0.445_739_7).abs() < 1e-6, "{low}");
        assert!((high - 4.554_260_3).abs() < 1e-6, "{high}");
        assert!(!interval.is_noise(0.0) && interval.is_noise(1.0));
    }

    #[test]
    fn ratios_that_are_the_other_way_round_cancel_out() {
        let found = ratio(&[(2.0, 1.0), (1.0, 2.0), (0.0, 1.0)]);
        let Some(interval) = found else { panic!("no interval") };
        assert!((interval.estimate - 1.0).abs() < 1e-9);
        assert!(interval.is_noise(1.0));
    }

    #[test]
    fn one_pair_tells_no_interval_and_none_nothing() {
        assert_eq!(ratio(&[(3.0, 2.0)]).map(|i| i.to_string()).as_deref(), Some("1.50 [?]"));
        assert_eq!(ratio(&[]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
