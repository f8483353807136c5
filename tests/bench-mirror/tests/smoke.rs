//! The benchmark itself: a short run gives all rows, from samples that all make sense.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const VARIANTS: [&str; 4] = ["off", "ofmirror", "ovs-mirror", "ofmirror+listener"];

#[test]
fn a_short_run_has_every_row_and_every_sample_and_its_report_can_be_made_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bench = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench-mirror"));
        let output = command.arg("--out").arg(folder.path()).args(arguments).output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words}");
        Ok(())
    };
    let variants = VARIANTS.join(",");
    bench(&["--repeats=1", "--scenarios=6", "--sizes=1024", "--variants", &variants])?;
    let file = folder.path().join("results.json");
    let results: Value = serde_json::from_slice(&fs::read(&file)?)?;
    assert_eq!(results["complete"], true);
    let samples = results["samples"].as_array().context("no samples")?;
    for variant in VARIANTS {
        let of_variant = samples.iter().filter(|sample| sample["variant"] == variant);
        let mut probes: Vec<_> = of_variant.clone().map(|sample| &sample["probe"]).collect();
        probes.sort_by_key(|probe| probe.to_string());
        assert_eq!(probes, ["http", "http", "tcp_bw", "tcp_lat", "udp_bw", "udp_lat"], "{variant}");
        for sample in of_variant {
            check(sample).with_context(|| sample.to_string())?;
        }
    }
    let report = fs::read_to_string(folder.path().join("report.md"))?;
    let rows = ["| 1k | ", "| 10 | ", "| 100 | "];
    let columns = [
        "| Size | Mirror | TCP Latency | TCP Bandwidth | UDP Latency | UDP Lost Rate | UDP Bandwidth |",
        "| TCP-Conn-Number | Mirror | QPS | Avg-Resp-Time | Stdev-Resp-Time | Max-Resp-Time |",
    ];
    for columns in columns {
        assert!(report.contains(columns), "no {columns} in:\n{report}");
    }
    for variant in VARIANTS {
        for row in rows {
            let row = format!("{row}{variant} | ");
            assert_eq!(report.matches(&row).count(), 2, "{row} in:\n{report}");
        }
    }
    assert!(report.contains("| 1k | ofmirror / ovs-mirror | "), "{report}");
    bench(&["--from", &file.display().to_string()])?;
    assert_eq!(fs::read_to_string(folder.path().join("report.md"))?, report);
    Ok(())
}

/// Copies there are if somebody copies, and everything that was measured is more than nothing.
fn check(sample: &Value) -> Result<()> {
    let number = |value: &Value| value.as_f64().context("no number");
    let cost = &sample["cost"];
    ensure!(sample["took_effect"] == true, "it took no effect");
    for of in ["machine_seconds", "switch_seconds", "frames"] {
        ensure!(number(&cost[of])? > 0.0, "no {of}");
    }
    let mirrored = sample["variant"] != "off";
    for node in 0..2 {
        ensure!((number(&cost["copies"][node])? > 0.0) == mirrored, "copies on node {node}");
    }
    let readings = sample["reading"].as_object().context("no reading")?;
    for (name, value) in readings.values().filter_map(Value::as_object).flatten() {
        let value = number(value)?;
        // Nothing lost is good, and a single request's time has no deviation.
        ensure!(value > 0.0 || (name == "lost_percent" && value == 0.0), "{name} is {value}");
    }
    Ok(())
}
