//! Measuring: every variant in every scenario, one soon after the other, again and again.

use std::path::Path;

use lab::{Node, Result, TwoNodes, describe_machine};

use crate::{
    in_force::InForce,
    probe::Probe,
    progress::Progress,
    report,
    results::{Results, Sample, Settings},
    scenario::Scenario,
    stage::{self, Stage},
    variant::Variant,
};

/// What all variants do before the next one comes: a scenario with one size of messages, or its HTTP.
#[derive(Clone, Copy)]
struct Cell {
    round: u32,
    scenario: Scenario,
    /// None for HTTP.
    size: Option<u32>,
}

/// Measures all, and writes what there is after each step: whatever ends it, the files are there.
pub(crate) fn measure(settings: Settings, folder: &Path) -> Result {
    let mut results = Results {
        machine: describe_machine()?,
        programs: stage::versions()?,
        datapath: lab::datapath(),
        settings,
        complete: false,
        samples: Vec::new(),
        failures: Vec::new(),
    };
    eprintln!("bringing up two nodes; what there is will be in {}", folder.display());
    let mut stage = Stage::set()?;
    let cells = cells(&results.settings);
    let variants = results.settings.variants.clone();
    let mut progress = Progress::new(cells.len() * variants.len());
    for (number, cell) in cells.into_iter().enumerate() {
        for variant in order(&variants, number) {
            stage = play_through(stage, cell, variant, &mut results)?;
            progress.step(&format!("{}, {variant}", cell.scenario.title()));
        }
        report::write(&results, folder)?;
    }
    results.complete = true;
    report::write(&results, folder)
}

/// Measures a cell, again on a new stage when a daemon dies: connection tracking of Open vSwitch 3.1.0's userspace
/// datapath aborts now and then, whoever mirrors.
fn play_through(
    mut stage: Stage,
    cell: Cell,
    variant: Variant,
    results: &mut Results,
) -> Result<Stage> {
    /// Then it's no accident.
    const MOST: u32 = 3;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut samples = Vec::new();
        let played = play(&stage, cell, variant, &mut samples, results);
        let Err(error) = played else {
            results.samples.append(&mut samples);
            return Ok(stage);
        };
        let dead: Vec<_> =
            stage.nodes().nodes().into_iter().flat_map(Node::bury_the_dead).collect();
        if dead.is_empty() || attempts == MOST {
            return Err(error);
        }
        let words = dead.join("; ").replace('\n', " ");
        let (title, round) = (cell.scenario.title(), cell.round);
        results.failures.push(format!("{title}, {variant}, round {round}: {words}; done again"));
        drop(stage);
        stage = Stage::set()?;
    }
}

fn cells(settings: &Settings) -> Vec<Cell> {
    let mut cells = Vec::new();
    for round in 0..settings.repeats {
        for &scenario in &settings.scenarios {
            let sizes = settings.sizes.iter().filter(|_| scenario.has_streams());
            let http = scenario.has_http().then_some(None);
            let sizes = sizes.map(|size| Some(*size)).chain(http);
            cells.extend(sizes.map(|size| Cell { round, scenario, size }));
        }
    }
    cells
}

/// Another one begins each time, and every other time it goes backwards: what changes slowly, such as the machine's
/// other work, weighs on all alike.
fn order(variants: &[Variant], number: usize) -> Vec<Variant> {
    let mut variants = variants.to_vec();
    let count = variants.len().max(1);
    variants.rotate_left((number / 2) % count);
    if number % 2 == 1 {
        variants.reverse();
    }
    variants
}

fn play(
    stage: &Stage,
    cell: Cell,
    variant: Variant,
    samples: &mut Vec<Sample>,
    results: &mut Results,
) -> Result {
    let nodes = stage.nodes();
    let in_force = InForce::start(nodes, variant)?;
    let took_effect = in_force.took_effect()?;
    let Cell { round, scenario, .. } = cell;
    if !took_effect {
        let failure = format!("{}, {variant}, round {round}: took no effect", scenario.title());
        results.failures.push(failure);
    }
    let probes: Vec<_> = match cell.size {
        Some(size) => Probe::STREAMS.map(|probe| (probe, size)).to_vec(),
        None => results.settings.connections.iter().map(|n| (Probe::Http, *n)).collect(),
    };
    for (probe, parameter) in probes {
        let seconds = results.settings.seconds;
        match attempt(nodes, &in_force, scenario, probe, (parameter, seconds))? {
            Ok((reading, cost)) => samples.push(Sample {
                round,
                scenario,
                variant,
                took_effect,
                probe,
                parameter,
                reading,
                cost,
            }),
            Err(error) => results.failures.push(format!(
                "{}, {variant}, round {round}, {probe} {parameter}: {error:#}",
                scenario.title()
            )),
        }
    }
    in_force.alive()?;
    in_force.stop()
}

/// Runs a probe, and once more if it fails: qperf's control connection has no chance against a flood of datagrams now
/// and then. What fails twice is told; what died is an error.
fn attempt(
    nodes: &TwoNodes,
    in_force: &InForce<'_>,
    scenario: Scenario,
    probe: Probe,
    (parameter, seconds): (u32, u32),
) -> Result<Result<(crate::results::Reading, crate::results::Cost)>> {
    let way = scenario.way(nodes);
    let mut attempts = 0;
    loop {
        let outcome = probe.run(nodes, &way, parameter, seconds);
        attempts += 1;
        if outcome.is_ok() || attempts == 2 {
            return Ok(outcome);
        }
        in_force.alive()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_first_and_last_as_often_as_any() -> Result {
        let variants = ["off", "ofmirror", "ovs-mirror"].map(str::parse::<Variant>);
        let variants = variants.into_iter().collect::<Result<Vec<_>>>()?;
        let orders: Vec<_> = (0..6).map(|number| order(&variants, number)).collect();
        for variant in &variants {
            for place in 0..3 {
                let times = orders.iter().filter(|order| order[place] == *variant).count();
                assert_eq!(times, 2, "{variant} at {place}");
            }
        }
        Ok(())
    }
}
