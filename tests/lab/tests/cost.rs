//! `lab cost`, of which `make bench-cost` is made of many rounds, in one: it counts every frame and copy, and ends if one is
//! missing.

use std::{collections::BTreeSet, process::Command};

use lab::Result;

#[test]
fn what_each_way_to_copy_costs_is_told_for_each_kind_of_frame_and_no_ratio_without_its_error()
-> Result {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    let output = lab.args(["cost", "--builds=1", "--rounds=1"]).output()?;
    let table = String::from_utf8(output.stdout)?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{complaints}");
    let rows = table.lines().filter(|line| line.contains(" bytes, "));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    // Off, and four ways to copy, each with a listener and without.
    assert_eq!(rows.len(), 4 * (1 + 4 * 2), "{table}");
    let ways: BTreeSet<_> = rows.iter().map(|row| &row[1..4]).collect();
    assert_eq!(ways.len(), rows.len(), "each is told once: {table}");
    for row in rows {
        let [cost, ratio] = [row[4], row[7]];
        assert!(cost.parse::<f64>()? > 0.0, "{row:?}");
        assert_eq!(ratio, if row[2] == "off" { "" } else { "too few builds" }, "{row:?}");
    }
    Ok(())
}
