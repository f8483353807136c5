//! Samples of one measure, and the table of all.

use std::time::Duration;

/// What was measured, in one unit.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    /// In ascending order.
    samples: Vec<f64>,
    /// What the median should not exceed.
    goal: Option<f64>,
}

impl Measure {
    /// Durations, in milliseconds.
    pub(super) fn times(what: &'static str, times: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(what, "ms", times.into_iter().map(|time| time.as_secs_f64() * 1e3))
    }

    pub(super) fn new(
        what: &'static str,
        unit: &'static str,
        samples: impl IntoIterator<Item = f64>,
    ) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self { what, unit, samples, goal: None }
    }

    /// The same with a goal for the median.
    pub(super) fn with_goal(self, most: f64) -> Self {
        Self { goal: Some(most), ..self }
    }

    /// The sample that a part of all samples does not exceed, by the nearest rank.
    fn quantile(&self, part: f64) -> Option<f64> {
        let rank = (part * self.samples.len() as f64).ceil() as usize;
        self.samples.get(rank.max(1) - 1).copied()
    }

    fn row(&self) -> String {
        let show = |value: Option<f64>| {
            value.map_or("-".to_owned(), |value| match value {
                0.0..0.1 => format!("{value:.4}"),
                _ => format!("{value:.2}"),
            })
        };
        let median = self.quantile(0.5);
        let [most, nearly_all, all] = match self.samples.len() {
            0 | 1 => [(); 3].map(|()| String::new()),
            _ => [0.95, 0.99, 1.0].map(|part| show(self.quantile(part))),
        };
        let goal = match (self.goal, median) {
            (Some(goal), Some(median)) if median <= goal => format!("<= {goal}: met"),
            (Some(goal), _) => format!("<= {goal}: MISSED"),
            (None, _) => String::new(),
        };
        let Self { what, unit, samples, .. } = self;
        let count = samples.len();
        let line = format!(
            "{what:<46} {unit:<4} {:>9} {most:>9} {nearly_all:>9} {all:>9} {count:>4}  {goal}",
            show(median)
        );
        line.trim_end().to_owned()
    }
}

/// The table, for people.
pub(super) fn table(measures: &[Measure]) -> String {
    let mut text = format!(
        "{:<46} {:<4} {:>9} {:>9} {:>9} {:>9} {:>4}  {}\n",
        "", "", "median", "95 %", "99 %", "max", "n", "goal"
    );
    for measure in measures {
        text.push_str(&measure.row());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_held_against_the_goal() {
        let measure = |samples: &[f64]| Measure::new("x", "ms", samples.iter().copied());
        assert!(measure(&[9.0, 1.0, 2.0]).with_goal(2.0).row().ends_with("<= 2: met"));
        assert!(measure(&[1.0, 3.0, 2.5]).with_goal(2.0).row().ends_with("<= 2: MISSED"));
        assert!(measure(&[]).with_goal(2.0).row().ends_with("<= 2: MISSED"));
    }

    #[test]
    fn quantiles_are_samples() {
        let measure = Measure::new("x", "ms", (1..=100).rev().map(f64::from));
        assert_eq!(measure.quantile(0.5), Some(50.0));
        assert_eq!(measure.quantile(0.95), Some(95.0));
        assert_eq!(Measure::new("x", "ms", []).quantile(0.5), None);
    }
}
