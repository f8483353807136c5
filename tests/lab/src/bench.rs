//! `lab bench`: how soon hooks are there and back, and what the agent costs, with many ports on one node, and in a large
//! cluster.
//!
//! It measures and says whether the goals are met; missing one is no failure, as machines differ.

mod annotations;
mod cost;
mod crowd;
mod faults;
mod listeners;
mod machine;
mod observer;
mod overhead;
mod process;
mod samples;
mod scale;
mod scenes;
mod scrape;

use std::{env, fs, path::Path};

use anyhow::{Context as _, bail};
pub use cost::{CostOptions, cost};
pub use faults::{FaultOptions, faults};
use flows::model::TableId;
pub use machine::describe_machine;
pub use process::Work;
use samples::Measure;

use crate::{Node, Result, cluster::ASSETS};

/// Measures everything and prints a table. `plan_and_diff` is what the benchmark of the flows crate printed.
///
/// # Errors
/// Something does not work; how fast it is does not matter.
pub fn bench(plan_and_diff: Option<&Path>) -> Result {
    println!("{}\n", describe_machine()?);
    let mut measures = scenes::play()?;
    let with_kubernetes = env::var_os(ASSETS).is_some();
    if with_kubernetes {
        measures.extend(annotations::play()?);
    }
    if let Some(path) = plan_and_diff {
        let text = fs::read_to_string(path)?;
        for (name, what) in [
            ("one_port_less_and_one_more", "of 10,000 ports one less, and one more: plan, diff"),
            ("everything", "10,000 ports: plan and diff from scratch"),
        ] {
            measures.push(Measure::new(what, "ms", [median(&text, name)?]));
        }
    }
    print!("{}", samples::table(&measures));
    println!("\n{}", overhead::play()?);
    println!("{}", machine::load()?);
    if !with_kubernetes {
        println!("\nNOT MEASURED: Kubernetes, as {ASSETS} does not say where kube-apiserver is");
    }
    Ok(())
}

/// Measures what changes cost with so many ports each, and how long Pods wait with so many flows of others.
///
/// # Errors
/// Something does not work; how fast it is does not matter.
pub fn scale(ports: &[u16], flows: &[u32]) -> Result {
    println!("{}\n", describe_machine()?);
    // No ports at all are for whoever wants the rest alone.
    if ports != [0] {
        println!("{}", scale::play(ports)?);
    }
    let mut crowds: Vec<_> = flows.iter().map(|flows| (*flows, crowd::Kind::Logical)).collect();
    crowds.extend(flows.iter().max().map(|flows| (*flows, crowd::Kind::Alike)));
    print!("{}", crowd::play(&crowds)?);
    println!("\n{}", machine::load()?);
    Ok(())
}

/// Measures what mirroring costs under steady load, and compares that with what the agent exports.
///
/// # Errors
/// Something does not work; whether the figures agree does not matter.
pub fn overhead() -> Result {
    println!("{}\n", describe_machine()?);
    print!("{}", overhead::play()?);
    println!("\n{}", machine::load()?);
    Ok(())
}

/// The table in which OVN delivers to the bare ports.
fn delivery_table(node: &Node) -> Result<TableId> {
    let port = node.ofport("bare0")?;
    let flows = node.dump_flows(&format!("out_port={port}"))?;
    let table = flows.first().and_then(|flow| flow.split("table=").nth(1));
    let table = table.and_then(|rest| rest.split(',').next()).context("no delivery to bare0")?;
    Ok(TableId(table.parse()?))
}

fn say(what: &str) {
    eprintln!("{what} ...");
}

/// The median for 10,000 ports, in milliseconds, as divan prints it: fastest, slowest, median, mean, samples,
/// iterations.
fn median(text: &str, name: &str) -> Result<f64> {
    let rows = text.lines().skip_while(|line| !line.contains(name)).skip(1);
    let row = rows.into_iter().next().filter(|row| row.contains("10000"));
    let row = row.with_context(|| format!("no row of {name} in:\n{text}"))?;
    let cell = row.split(" │ ").nth(2).with_context(|| format!("no median in {row}"))?;
    let (number, unit) = cell.trim().split_once(' ').context("a time without a unit")?;
    let factor = match unit.trim() {
        "s" => 1e3,
        "ms" => 1.0,
        "µs" => 1e-3,
        "ns" => 1e-6,
        other => bail!("{other} is no unit of time"),
    };
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_taken_from_the_right_row() {
        let text = "\
plan                                   fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ everything                                        │               │               │               │         │
│  ╰─ 10000                            3.211 ms      │ 6.5 ms        │ 3.412 ms      │ 3.5 ms        │ 100     │ 100
╰─ one_port_less_and_one_more                        │               │               │               │         │
   ╰─ 10000                            2.1 ms        │ 4 ms          │ 912.5 µs      │ 2.4 ms        │ 100     │ 100
";
        assert_eq!(median(text, "everything").unwrap(), 3.412);
        assert_eq!(median(text, "one_port_less_and_one_more").unwrap(), 0.9125);
        assert!(median(text, "something_else").is_err());
    }
}
