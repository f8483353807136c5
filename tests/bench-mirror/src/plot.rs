//! Plots: how each variant compares with off in each scenario, with intervals of confidence.

use std::path::Path;

use anyhow::anyhow;
use lab::Result;
use plotters::prelude::*;

use crate::{
    metric::Metric,
    results::Results,
    statistics::{Interval, ratio},
    variant::{Copier, Variant, comparisons},
};

const SIZE: (u32, u32) = (900, 360);
const METRICS: [(Metric, &str); 6] = [
    (Metric::TcpLatency, "tcp-latency.svg"),
    (Metric::TcpBandwidth, "tcp-bandwidth.svg"),
    (Metric::UdpLatency, "udp-latency.svg"),
    (Metric::UdpBandwidth, "udp-bandwidth.svg"),
    (Metric::Qps, "qps.svg"),
    (Metric::TcpCpu, "tcp-cpu.svg"),
];

/// A mark: scenario by place on the axis, and the interval.
type Mark = (f64, Interval);

/// Draws what can be drawn into a folder, and gives the names of the files.
pub(crate) fn draw(results: &Results, folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for (metric, file) in METRICS {
        let series = series(results, metric);
        if series.iter().any(|(_, marks)| !marks.is_empty()) {
            // The error of plotters borrows what is drawn on.
            chart(results, metric, &series, &folder.join(file))
                .map_err(|error| anyhow!("cannot draw {file}: {error}"))?;
            files.push(file.to_owned());
        }
    }
    Ok(files)
}

/// The marks of each variant, a little beside each other.
fn series(results: &Results, metric: Metric) -> Vec<(Variant, Vec<Mark>)> {
    let pairs = comparisons(&results.settings.variants);
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, base)| base.copier == Copier::Off).collect();
    let step = 0.6 / pairs.len().max(1) as f64;
    let mut all = Vec::new();
    for (number, &pair) in pairs.iter().enumerate() {
        let aside = (number as f64 - (pairs.len() as f64 - 1.0) / 2.0) * step;
        let scenarios = results.settings.scenarios.iter().enumerate();
        let marks = scenarios.filter_map(|(place, &scenario)| {
            let interval = ratio(&results.pairs(scenario, pair, metric, None))?;
            Some((place as f64 + aside, interval))
        });
        all.push((pair.0, marks.collect()));
    }
    all
}

fn chart(
    results: &Results,
    metric: Metric,
    series: &[(Variant, Vec<Mark>)],
    file: &Path,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let bounds = |mark: &Mark| mark.1.bounds.unwrap_or((mark.1.estimate, mark.1.estimate));
    let marks = || series.iter().flat_map(|(_, marks)| marks);
    let low = marks().map(|mark| bounds(mark).0).fold(1.0, f64::min);
    let high = marks().map(|mark| bounds(mark).1).fold(1.0, f64::max);
    // What is known badly shall not flatten the rest.
    let (low, high) = ((low - 0.05).max(0.0), (high + 0.05).min(5.0));
    let scenarios = &results.settings.scenarios;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{}, ratio to off", metric.title()), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(-0.5..scenarios.len() as f64 - 0.5, low..high)?;
    let name = |x: &f64| {
        let scenario = scenarios.get(x.round().max(0.0) as usize);
        // The number before the title.
        let number = scenario.and_then(|scenario| scenario.title().split('.').next());
        number.filter(|_| (x - x.round()).abs() < 1e-6).unwrap_or_default().to_owned()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_labels(scenarios.len() * 2 + 1)
        .x_label_formatter(&name)
        .x_desc("scenario")
        .draw()?;
    chart.draw_series(LineSeries::new(
        [(-0.5, 1.0), (scenarios.len() as f64 - 0.5, 1.0)],
        BLACK.stroke_width(1),
    ))?;
    for (number, (variant, marks)) in series.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let bars = marks.iter().map(|mark| {
            let (least, most) = bounds(mark);
            ErrorBar::new_vertical(mark.0, least, mark.1.estimate, most, color.filled(), 8)
        });
        chart
            .draw_series(bars)?
            .label(variant.to_string())
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE.mix(0.8)).draw()?;
    root.present()?;
    Ok(())
}
