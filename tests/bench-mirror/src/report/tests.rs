//! Reports of results that are made up.

use super::*;
use crate::{
    probe::Probe,
    results::{Cost, Reading, Sample, Settings},
};

/// Two rounds in which ofmirror takes 10 % off and Open vSwitch's Mirror anything.
fn results() -> Result<Results> {
    let variants = ["off", "ofmirror", "ovs-mirror"].map(str::parse::<Variant>);
    let variants = variants.into_iter().collect::<Result<Vec<_>>>()?;
    let rates = [[1000.0, 901.0, 700.0], [2000.0, 1799.0, 2600.0]];
    let mut samples = Vec::new();
    for (round, rates) in (0..).zip(rates) {
        for (&variant, rate) in variants.iter().zip(rates) {
            samples.push(Sample {
                round,
                scenario: Scenario::PodPod,
                variant,
                took_effect: true,
                probe: Probe::TcpBw,
                parameter: 1024,
                reading: Reading::Bandwidth {
                    megabits_per_second: rate,
                    bytes: rate * 125_000.0,
                    lost_percent: 0.0,
                },
                cost: Cost {
                    machine_seconds: 2.0,
                    switch_seconds: 1.0,
                    frames: 1000,
                    copies: [if variant == variants[0] { 0 } else { 1500 }, 0],
                },
            });
        }
    }
    Ok(Results {
        machine: "a machine".into(),
        programs: "qperf".into(),
        datapath: "netdev".into(),
        settings: Settings {
            repeats: 2,
            seconds: 1,
            scenarios: vec![Scenario::PodPod],
            sizes: vec![1024],
            connections: vec![10],
            variants,
        },
        complete: true,
        samples,
        failures: Vec::new(),
    })
}

/// The cell of a row that holds all words, by the head of its column in the table that the row is in.
fn cell(report: &str, words: &[&str], head: &str) -> String {
    let mut heads = Vec::new();
    for line in report.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        match cells.get(1) {
            Some(&"Size" | &"Scenario" | &"TCP-Conn-Number") => heads = cells,
            Some(_) if words.iter().all(|word| cells.contains(word)) => {
                if let Some(at) = heads.iter().position(|of| *of == head) {
                    return cells[at].to_owned();
                }
            }
            _ => {}
        }
    }
    panic!("no {head} of {words:?} in:\n{report}")
}

#[test]
fn a_clear_difference_has_its_interval_and_an_unclear_one_is_called_noise() -> Result {
    let report = render(&results()?, &[]);
    let head = "TCP Bandwidth";
    assert_eq!(cell(&report, &["1k", "ofmirror / off"], head), "0.90 [0.89, 0.91]");
    assert!(cell(&report, &["1k", "ovs-mirror / off"], head).ends_with("*noise*"));
    assert!(cell(&report, &["All", "ofmirror / ovs-mirror"], head).contains('['));
    assert!(cell(&report, &["1k", "off"], head).starts_with("1.50 Gbits/sec"));
    assert_eq!(cell(&report, &["1k", "off"], "UDP Latency"), "-");
    assert!(report.contains("off 0.00 + 0.00; ofmirror 1.50 + 0.00;"));
    Ok(())
}

#[test]
fn processor_time_is_told_for_each_gigabyte_that_arrived() -> Result {
    let report = render(&results()?, &[]);
    // 2 s for 0.125 GB and for 0.25 GB.
    assert!(cell(&report, &["1k", "off"], "TCP, CPU s/GB").starts_with("12.0 "));
    assert!(cell(&report, &["1k", "off"], "TCP, ovs-vswitchd s/GB").starts_with("6.00 "));
    // 2 / 0.112625 - 16 and 2 / 0.224875 - 8.
    let added = cell(&report, &["1k", "ofmirror / off"], "TCP, CPU s/GB");
    assert!(added.starts_with("1.11 [1.10, 1.12], added 1.33 ["), "{added}");
    Ok(())
}

#[test]
fn what_took_no_effect_is_told_and_does_not_count() -> Result {
    let mut results = results()?;
    results.complete = false;
    results.samples[1].took_effect = false;
    results.failures.push("ofmirror took no effect".into());
    let report = render(&results, &[]);
    assert!(report.contains("**Incomplete"));
    assert!(report.contains("- ofmirror took no effect"));
    // One pair is left, and no interval.
    let ratio = cell(&report, &["1k", "ofmirror / off"], "TCP Bandwidth");
    assert_eq!(ratio, "0.90 [?] *noise*");
    Ok(())
}

#[test]
fn a_report_says_where_it_was_measured_and_how_to_repeat_that() -> Result {
    let mut results = results()?;
    let report = render(&results, &[]);
    assert!(report.contains("On the userspace datapath, "));
    assert!(report.contains("`make bench-mirror-userspace OPTIONS='--repeats=2 "));
    assert!(!report.contains("user mode"));
    results.datapath = KERNELS_DATAPATH.into();
    results.machine = "1 cores (UML)".into();
    let report = render(&results, &[]);
    assert!(report.contains("On the kernel's datapath, "));
    assert!(report.contains("`make bench-mirror-kernel OPTIONS='--repeats=2 "));
    assert!(report.contains("The kernel runs in user mode"));
    Ok(())
}

#[test]
fn a_report_is_made_again_of_the_results_that_were_written() -> Result {
    let folder = tempfile::tempdir()?;
    let results = results()?;
    write(&results, folder.path())?;
    let report = fs::read_to_string(folder.path().join(FILE))?;
    let read = Results::read(&folder.path().join("results.json"))?;
    write(&read, folder.path())?;
    assert_eq!(fs::read_to_string(folder.path().join(FILE))?, report);
    let plot = fs::read_to_string(folder.path().join("tcp-bandwidth.svg"))?;
    assert!(plot.contains("ratio to off") && plot.contains("ofmirror"));
    Ok(())
}
