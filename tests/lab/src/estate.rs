//! Everything that others have in the switch and in its database, to tell whether we left it alone.

use anyhow::bail;

use crate::{Node, Result};

/// The start of the cookie of each flow of ours, as `ovs-ofctl` prints it.
const OUR_COOKIE: &str = "cookie=0x6f666d72";
/// Columns that change by themselves: counters, and what reports them.
const RESTLESS: [&str; 4] = ["statistics ", "cur_cfg ", "next_cfg ", "status "];

impl Node {
    /// Our flows, one a line, without counters.
    ///
    /// # Errors
    /// As [`crate::Invocation::run`].
    pub fn our_flows(&self) -> Result<Vec<String>> {
        self.dump_flows(crate::OURS)
    }

    /// All flows of others, one a line, without counters, each with its age in seconds.
    ///
    /// # Errors
    /// As [`crate::Invocation::run`].
    pub fn foreign_flows_with_age(&self) -> Result<Vec<(String, f64)>> {
        let text = self.ofctl(&["--no-names", "dump-flows"], [])?;
        let foreign = text.lines().map(str::trim).filter(|line| line.contains("actions="));
        let foreign = foreign.filter(|line| !line.contains(OUR_COOKIE)).map(|line| {
            let mut age = 0.0;
            let mut kept = Vec::new();
            for part in line.split(", ") {
                match part.split_once('=') {
                    Some(("duration", text)) => age = text.trim_end_matches('s').parse()?,
                    Some(("n_packets" | "n_bytes" | "idle_age" | "hard_age", _)) => {}
                    _ => kept.push(part),
                }
            }
            Ok((kept.join(", "), age))
        });
        let mut flows = foreign.collect::<Result<Vec<_>>>()?;
        flows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(flows)
    }

    /// Flows, groups and meters of the switch, and the rows of its database, one a line, without counters. It is the
    /// same after somebody's whole life if all is as it was.
    ///
    /// # Errors
    /// As [`crate::Invocation::run`].
    pub fn estate(&self) -> Result<Vec<String>> {
        let mut estate = self.dump_flows("")?;
        for what in ["dump-groups", "dump-meters"] {
            let dump = self.ofctl(&[what], [])?;
            let lines = dump.lines().skip(1).map(|line| format!("{what}: {}", line.trim()));
            estate.extend(lines);
        }
        for table in ["Open_vSwitch", "Bridge", "Port", "Interface", "Mirror", "Controller"] {
            let rows = self.vsctl(["--format=list", "list", table])?;
            for row in rows.split("\n\n") {
                let columns = row
                    .lines()
                    .filter(|line| !RESTLESS.iter().any(|column| line.starts_with(column)));
                estate.push(format!("{table}: {}", columns.collect::<Vec<_>>().join("; ")));
            }
        }
        estate.sort_unstable();
        Ok(estate)
    }
}

/// Fails, telling the difference, unless both lists hold the same lines.
///
/// # Errors
/// See above.
pub fn ensure_same(what: &str, before: &[String], after: &[String]) -> Result {
    let lacks = |list: &[String], other: &[String]| -> Vec<String> {
        list.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (gone, new) = (lacks(before, after), lacks(after, before));
    if gone.is_empty() && new.is_empty() && before.len() == after.len() {
        return Ok(());
    }
    bail!("{what}: gone:\n  {}\nnew:\n  {}", gone.join("\n  "), new.join("\n  "))
}
