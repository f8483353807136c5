//! The table of what packets cost.

use std::collections::{BTreeMap, BTreeSet};

use super::{Datapath, Load, Run, Variant, statistics::Sorted};

/// A row of the table: a variant, with or without a listener.
type Way = (Variant, bool);

/// Nanoseconds by build and round.
type Rounds = BTreeMap<(usize, usize), f64>;

/// The table, in Markdown, with what it was measured on.
pub(super) fn markdown(run: &Run) -> String {
    let what = match run.datapath {
        Datapath::Netdev => "userspace datapath, processor time of ovs-vswitchd",
        Datapath::System => "kernel datapath, time that passes on one processor",
    };
    let mut text = format!(
        "{}\n\nns for each frame, or for what the row says; {what}; chunks of {}",
        run.machine, run.chunk
    );
    text += &format!(" frames, {} sent again because frames were lost.\n", run.repeated);
    text += "Differences and ratios are between neighbours in time: the median of all builds, and its 95 % confidence \
             interval.\n\n";
    text += "| what | variant | listener | ns | half lie within | more than off, ns | to off | to OVS Mirror |\n";
    text += "|---|---|---|---:|---:|---:|---:|---:|\n";
    let loads: BTreeSet<_> = run.samples.iter().map(|sample| sample.load).collect();
    for load in loads {
        let mut figures: BTreeMap<Way, Rounds> = BTreeMap::new();
        for sample in run.samples.iter().filter(|sample| sample.load == load) {
            let rounds = figures.entry((sample.variant, sample.listener)).or_default();
            rounds.insert((sample.build, sample.round), sample.nanoseconds);
        }
        for way in figures.keys() {
            text += &row(load, *way, &figures);
        }
    }
    text
}

fn row(load: Load, way: Way, figures: &BTreeMap<Way, Rounds>) -> String {
    let (variant, listener) = way;
    let rounds = &figures[&way];
    let samples = Sorted::new(rounds.values().copied());
    let [low, median, high] = [0.25, 0.5, 0.75].map(|part| samples.quantile(part));
    let off = figures.get(&(Variant::Off, false)).filter(|_| variant.is_copied());
    let other = figures.get(&(Variant::OvsMirror, listener));
    let other = other.filter(|_| variant.is_copied() && variant != Variant::OvsMirror);
    let or_nothing = |cell: Option<String>| cell.unwrap_or_default();
    format!(
        "| {} | {} | {} | {median:.0} | {low:.0} to {high:.0} | {} | {} | {} |\n",
        load.name(),
        variant.name(),
        if listener { "yes" } else { "" },
        or_nothing(off.map(|off| comparison(rounds, off, 0, |own, off| own - off))),
        or_nothing(off.map(|off| comparison(rounds, off, 3, |own, off| own / off))),
        or_nothing(other.map(|other| comparison(rounds, other, 3, |own, other| own / other))),
    )
}

/// Compares what was measured in the same rounds: the median over all builds of each build's median, and its confidence
/// interval; no figure without that.
fn comparison(
    own: &Rounds,
    other: &Rounds,
    digits: usize,
    compare: impl Fn(f64, f64) -> f64,
) -> String {
    let mut builds: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((build, round), own) in own {
        if let Some(other) = other.get(&(*build, *round)) {
            builds.entry(*build).or_default().push(compare(*own, *other));
        }
    }
    let medians = builds.into_values().map(|rounds| Sorted::new(rounds).quantile(0.5));
    let medians = Sorted::new(medians);
    match medians.interval() {
        Some((low, high)) => {
            format!("{:.digits$} ({low:.digits$} to {high:.digits$})", medians.quantile(0.5))
        }
        None => "too few builds".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six builds of three rounds; each build is slower than the last, and one round is disturbed.
    fn rounds(factor: f64) -> Rounds {
        let all = (0..6).flat_map(|build| (0..3).map(move |round| (build, round)));
        all.map(|(build, round)| {
            let disturbed = if factor > 1.0 && round == 1 { 7.0 } else { 1.0 };
            ((build, round), 100.0 * (build + 1) as f64 * factor * disturbed)
        })
        .collect()
    }

    #[test]
    fn neighbours_in_time_are_compared() {
        let (off, on) = (rounds(1.0), rounds(1.5));
        assert_eq!(comparison(&on, &off, 3, |on, off| on / off), "1.500 (1.500 to 1.500)");
        assert_eq!(comparison(&on, &off, 0, |on, off| on - off), "175 (50 to 300)");
    }

    #[test]
    fn no_figure_is_told_without_its_interval() {
        let few: Rounds = rounds(1.5).into_iter().filter(|((build, _), _)| *build < 5).collect();
        assert_eq!(comparison(&few, &rounds(1.0), 3, |on, off| on / off), "too few builds");
    }
}
