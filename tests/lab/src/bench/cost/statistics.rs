//! Medians, and how sure they are.

/// Samples in ascending order.
pub(super) struct Sorted(Vec<f64>);

impl Sorted {
    pub(super) fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The value that a part of the samples does not exceed, between two samples if need be; NaN of no samples.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        let at = part * last as f64;
        let (below, above) = (self.0[at.floor() as usize], self.0[at.ceil() as usize]);
        below + (above - below) * at.fract()
    }

    /// Between which values the true median lies with at least 95 % confidence. Nothing is assumed of how samples are
    /// distributed: with an even chance each of them is below the true median, so the number of those that are below
    /// is binomial (Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, section 3.6). None of fewer than 6 samples.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        let count = self.0.len();
        // The chance that at most `rank` of the samples are below the median, by and by.
        let mut chance = 0.5_f64.powf(count as f64);
        let mut sum = chance;
        let mut rank = 0;
        while sum <= 0.025 && rank < count {
            rank += 1;
            chance *= (count - rank + 1) as f64 / rank as f64;
            sum += chance;
        }
        let low = rank.checked_sub(1)?;
        Some((self.0[low], self.0[count - 1 - low]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(count: u32) -> Option<(f64, f64)> {
        Sorted::new((1..=count).rev().map(f64::from)).interval()
    }

    #[test]
    fn intervals_are_those_of_the_table_of_the_sign_test() {
        assert_eq!(interval(0), None);
        assert_eq!(interval(5), None);
        assert_eq!(interval(6), Some((1.0, 6.0)));
        assert_eq!(interval(10), Some((2.0, 9.0)));
        assert_eq!(interval(25), Some((8.0, 18.0)));
        assert_eq!(interval(100), Some((40.0, 61.0)));
        assert_eq!(interval(1000), Some((469.0, 532.0)));
    }

    #[test]
    fn quantiles_lie_between_samples() {
        let samples = Sorted::new([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(samples.quantile(0.0), 1.0);
        assert_eq!(samples.quantile(0.5), 2.5);
        assert_eq!(samples.quantile(1.0), 4.0);
        assert!(Sorted::new([]).quantile(0.5).is_nan());
    }
}
