//! The report in Markdown, made of the results alone, with plots and the results themselves beside it.

mod table;
#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use clap::ValueEnum as _;
use lab::{KERNELS_DATAPATH, Result};
use table::{Table, compared};

use crate::{
    metric::Metric,
    plot,
    results::{Results, Settings},
    scenario::Scenario,
    statistics::median,
    variant::{Variant, comparisons},
};

/// The report's name.
pub(crate) const FILE: &str = "report.md";

/// What the columns and cells mean.
const LEGEND: &str = "\
Values are medians, ± half of what lies between the smallest and the largest. Latency is half of a round trip. Lost is
what was sent and did not arrive; bandwidth is what arrived. CPU is the time of all processors of the machine (clients,
servers, kernel, interrupts, listeners, and whatever else runs on it included; from /proc/stat, to 10 ms); ovs-vswitchd
is that of both nodes' processes (to 1 ns); GB are 10^9 bytes that arrived, packets are frames that the server's NIC received and sent.

Ratios are geometric means over neighbours in time, with the 95 % interval of confidence by Student's distribution;
for lost rates, differences in percentage points instead. *noise*: by these samples, it may as well make no difference;
`[?]`: one pair tells no interval. For processor time, what was added follows in the unit of the column.
*All* is over all sizes or numbers of connections. A variant with `+listener` has a tcpdump on `mirror0` of each node.
";

/// What is to be known of a kernel in user mode.
const USER_MODE: &str = "\
The kernel runs in user mode on one processor: its own code runs as fast as elsewhere, but each system call and each change
of process takes microseconds more. So programs weigh more here than on a machine, and what copies add weighs less.

";

/// Writes report, plots and results.
pub(crate) fn write(results: &Results, folder: &Path) -> Result {
    results.write(&folder.join("results.json"))?;
    let plots = plot::draw(results, folder)?;
    let new = folder.join("report.new");
    fs::write(&new, render(results, &plots))?;
    fs::rename(new, folder.join(FILE))?;
    Ok(())
}

/// The report; `plots` are the names of their files.
pub(crate) fn render(results: &Results, plots: &[String]) -> String {
    let settings = &results.settings;
    let mut text = String::from("# What mirroring costs\n\n");
    if !results.complete {
        text += "**Incomplete: the run has not come to its end.**\n\n";
    }
    let (datapath, target) = match results.datapath.as_str() {
        KERNELS_DATAPATH => ("the kernel's datapath", "bench-mirror-kernel"),
        _ => ("the userspace datapath", "bench-mirror-userspace"),
    };
    text += &format!("{}\n\nOn {datapath}, ", results.machine.trim());
    text += &format!(
        "with {}; {} rounds, {} s for each probe. To repeat it: `make {target} OPTIONS='{}'`.\n\n",
        results.programs,
        settings.repeats,
        settings.seconds,
        options(settings)
    );
    if results.machine.contains("(UML)") {
        text += USER_MODE;
    }
    text += LEGEND;
    text += &failures(results);
    let compared = comparisons(&settings.variants);
    text += &format!("\n## All scenarios\n\n{}", summary(results, &compared));
    for plot in plots {
        text += &format!("\n![{}]({plot})\n", plot.trim_end_matches(".svg"));
    }
    for &scenario in &settings.scenarios {
        text += &format!("\n## {}\n", scenario.title());
        if scenario.has_streams() {
            text += &section(results, scenario, "Size", &Metric::STREAMS, &settings.sizes);
            text += &section(results, scenario, "Size", &Metric::STREAM_CPU, &settings.sizes);
        }
        if scenario.has_http() {
            let (head, numbers) = ("TCP-Conn-Number", &settings.connections);
            text += &section(results, scenario, head, &Metric::HTTP, numbers);
            text += &section(results, scenario, head, &Metric::HTTP_CPU, numbers);
        }
        text += &format!("\n{}", copies(results, scenario));
    }
    text
}

/// The options that measure the same.
fn options(settings: &Settings) -> String {
    fn list<T>(values: &[T], show: impl Fn(&T) -> String) -> String {
        values.iter().map(show).collect::<Vec<_>>().join(",")
    }
    let name = |scenario: &Scenario| {
        scenario.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    };
    let Settings { repeats, seconds, scenarios, sizes, variants, .. } = settings;
    format!(
        "--repeats={repeats} --seconds={seconds} --scenarios={} --sizes={} --variants={}",
        list(scenarios, name),
        list(sizes, u32::to_string),
        list(variants, Variant::to_string)
    )
}

/// What went wrong, if something did.
fn failures(results: &Results) -> String {
    if results.failures.is_empty() {
        return "\nNo probe failed, and every variant was seen to take effect each time, by copies of pings.\n".into();
    }
    let mut text = String::from(
        "\nWhat went wrong; what failed twice or took no effect is not counted below:\n\n",
    );
    for failure in &results.failures {
        let first = failure.lines().next().unwrap_or_default();
        text += &format!("- {first}\n");
    }
    text
}

/// One row for each scenario and comparison, over all sizes.
fn summary(results: &Results, pairs: &[(Variant, Variant)]) -> String {
    let metrics: Vec<_> = Metric::STREAMS
        .into_iter()
        .chain([Metric::Qps, Metric::TcpCpu, Metric::TcpSwitchCpu, Metric::UdpSwitchCpu])
        .collect();
    let titles = metrics.iter().map(|metric| metric.title().to_owned());
    let heads = ["Scenario", "Compared"].map(str::to_owned).into_iter().chain(titles);
    let mut table = Table::new(heads);
    for &scenario in &results.settings.scenarios {
        for &pair in pairs {
            let cells =
                metrics.iter().map(|&metric| compared(results, scenario, pair, metric, None));
            let cells: Vec<_> = cells.collect();
            let names = [scenario.title().to_owned(), format!("{} / {}", pair.0, pair.1)];
            table.row(names.into_iter().chain(cells));
        }
    }
    table.to_string()
}

/// Values of all variants, and how they compare, by parameter.
fn section(
    results: &Results,
    scenario: Scenario,
    head: &str,
    metrics: &[Metric],
    parameters: &[u32],
) -> String {
    let titles = metrics.iter().map(|metric| metric.title().to_owned());
    let heads = |what: &str| [head, what].map(str::to_owned).into_iter().chain(titles.clone());
    let mut values = Table::new(heads("Mirror"));
    let mut ratios = Table::new(heads("Compared"));
    let pairs = comparisons(&results.settings.variants);
    for &parameter in parameters {
        for &variant in &results.settings.variants {
            let cell = |metric: &Metric| {
                let samples = results.values(scenario, variant, *metric);
                let samples: Vec<_> =
                    samples.filter(|(_, of, _)| *of == parameter).map(|(_, _, v)| v).collect();
                spread(*metric, &samples)
            };
            let names = [show(head, parameter), variant.to_string()];
            values.row(names.into_iter().chain(metrics.iter().map(cell)));
        }
    }
    for parameter in parameters.iter().map(|p| Some(*p)).chain([None]) {
        for &pair in &pairs {
            let name = parameter.map_or("All".to_owned(), |parameter| show(head, parameter));
            let cells =
                metrics.iter().map(|metric| compared(results, scenario, pair, *metric, parameter));
            let names = [name, format!("{} / {}", pair.0, pair.1)];
            ratios.row(names.into_iter().chain(cells));
        }
    }
    if pairs.is_empty() { format!("\n{values}") } else { format!("\n{values}\n{ratios}") }
}

/// A median, with half of the range: of percentages in points, of others in percent.
fn spread(metric: Metric, values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (shown, half) = (metric.show(middle), (most - least) / 2.0);
    match values.len() {
        1 => shown,
        _ if middle == 0.0 => shown,
        _ if metric.is_share() => format!("{shown} ±{half:.1}"),
        _ => format!("{shown} ±{:.0}%", 100.0 * half / middle),
    }
}

/// A size as the page writes it.
fn show(head: &str, parameter: u32) -> String {
    match parameter {
        kilo if head == "Size" && kilo >= 1024 && kilo % 1024 == 0 => format!("{}k", kilo / 1024),
        other => other.to_string(),
    }
}

/// How many copies there were for each frame at the server, which says what a variant takes for a Pod's.
fn copies(results: &Results, scenario: Scenario) -> String {
    let mut parts = Vec::new();
    for &variant in &results.settings.variants {
        let samples = results.samples.iter();
        let samples =
            samples.filter(|s| s.scenario == scenario && s.variant == variant && s.took_effect);
        let (copies, frames) = samples.fold(([0, 0], 0), |(copies, frames), sample| {
            let [first, second] = sample.cost.copies;
            ([copies[0] + first, copies[1] + second], frames + sample.cost.frames)
        });
        if frames > 0 {
            let [first, second] = copies.map(|copies| copies as f64 / frames as f64);
            parts.push(format!("{variant} {first:.2} + {second:.2}"));
        }
    }
    format!(
        "Copies for each frame at the server's NIC, on the first node and on the second: {}.\n",
        parts.join("; ")
    )
}
