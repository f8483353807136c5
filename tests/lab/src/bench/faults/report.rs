//! The table of all faults, for people.

use std::fmt::Write as _;

use super::{
    Row,
    scene::{Copies, Trial},
};

/// Above the columns.
const HEAD: [[&str; 12]; 2] = [
    [
        "",
        "fault",
        "lost",
        "lost",
        "gap, ms",
        "gap, ms",
        "frames",
        "missing",
        "too many",
        "outside",
        "last missing",
        "all well",
    ],
    ["", "ms", "without", "with", "without", "with", "", "", "", "", "after ms", "after ms"],
];
/// How wide they are.
const WIDTHS: [usize; 12] = [46, 6, 13, 13, 9, 9, 7, 15, 9, 9, 13, 9];

/// The table, a line for each fault, and what somebody is to blame for.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let head = HEAD.map(|line| line.map(str::to_owned));
    for cells in head.into_iter().chain(rows.iter().map(cells)) {
        let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join(" ").trim_end());
        text.push('\n');
    }
    let worse: Vec<_> = rows.iter().filter_map(blame).collect();
    let _ = match worse.len() {
        0 => writeln!(text, "\n{} faults: nobody was worse off with an agent", rows.len()),
        _ => writeln!(text, "\n{} of {} faults: {}", worse.len(), rows.len(), worse.join("; ")),
    };
    text
}

fn cells(row: &Row) -> [String; 12] {
    let lost = |trials: &[Trial]| list(trials.iter().map(|trial| trial.lost.to_string()));
    let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.0}"));
    let gap = |trials: &[Trial]| ms(worst(trials.iter().map(|trial| trial.gap_ms)));
    let copies: Vec<_> = row.with.iter().filter_map(|trial| trial.copies.as_ref()).collect();
    let counts =
        |of: fn(&Copies) -> usize| list(copies.iter().map(|copies| of(copies).to_string()));
    [
        row.fault.to_owned(),
        ms(worst(row.with.iter().map(|trial| trial.took_ms))),
        lost(&row.without),
        lost(&row.with),
        gap(&row.without),
        gap(&row.with),
        copies.iter().map(|copies| copies.frames).max().unwrap_or_default().to_string(),
        counts(|copies| copies.missing),
        counts(|copies| copies.doubled),
        counts(|copies| copies.outside),
        ms(worst(copies.iter().filter_map(|copies| copies.last_missing_ms))),
        ms(worst(copies.iter().map(|copies| copies.well_ms))),
    ]
}

/// What an agent is to blame for: that something failed, or that its best round is worse than the worst without one, by more than
/// a quarter where that lost something too: how long OVN and the switch are away differs from time to time.
pub(super) fn blame(row: &Row) -> Option<String> {
    if let Some(failure) = row.failures.first() {
        return Some(format!("{} FAILED: {failure}", row.fault));
    }
    let lost = |trials: &[Trial]| trials.iter().map(|trial| trial.lost).collect::<Vec<_>>();
    let (with, without) = (lost(&row.with), lost(&row.without));
    let most = without.iter().max().copied().unwrap_or_default();
    let worse = with.iter().min().is_some_and(|least| *least > most + most / 4);
    worse.then(|| format!("{}: lost {with:?} with an agent, {without:?} without", row.fault))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    if items.is_empty() { "-".to_owned() } else { items.join(" ") }
}

fn worst(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(lost: &[u64]) -> Vec<Trial> {
        let trial = |lost: &u64| Trial {
            took_ms: 1.0,
            pings: 100,
            lost: *lost,
            gap_ms: 10.0,
            copies: None,
        };
        lost.iter().map(trial).collect()
    }

    fn row(without: &[u64], with: &[u64]) -> Row {
        let (without, with) = (trials(without), trials(with));
        Row { fault: "it rains", compared: true, without, with, failures: Vec::new() }
    }

    #[test]
    fn an_agent_is_blamed_where_its_best_is_worse_than_the_worst_without() {
        assert_eq!(blame(&row(&[0, 5], &[9, 6])), None);
        assert_eq!(blame(&row(&[], &[0, 7])), None);
        assert_eq!(blame(&row(&[40, 30], &[50, 60])), None, "luck");
        assert!(blame(&row(&[0, 5], &[9, 7])).is_some_and(|text| text.contains("it rains")));
        assert!(blame(&row(&[], &[1])).is_some());
    }

    #[test]
    fn what_did_not_work_is_no_success() {
        let failures = vec!["with an agent: it never got ready".to_owned()];
        assert!(blame(&Row { failures, ..row(&[0], &[0]) }).is_some());
    }
}
