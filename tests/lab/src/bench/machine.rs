//! What was measured on.

use std::{fs, thread};

use crate::{Invocation, Result};

/// Processor, kernel, versions and day, and how busy the machine is, in two lines.
///
/// # Errors
/// Open vSwitch or OVN is not there.
pub fn describe_machine() -> Result<String> {
    let cores = thread::available_parallelism()?;
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = |program| -> Result<String> {
        let text = Invocation::new(program).arg("--version").run()?;
        let first = text.lines().next().unwrap_or_default();
        Ok(first.split(' ').next_back().unwrap_or_default().to_owned())
    };
    let day = Invocation::new("date").arg("+%F").run()?;
    Ok(format!(
        "{cores} cores ({}), Linux {}, Open vSwitch {}, OVN {}, {}\n{}",
        model.unwrap_or("unknown"),
        kernel.trim(),
        version("ovs-vsctl")?,
        version("ovn-controller")?,
        day.trim(),
        load()?
    ))
}

/// How busy the machine is: others' work makes everything slower.
pub(super) fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let averages: Vec<_> = load.split(' ').take(3).collect();
    Ok(format!("load average over 1, 5, 15 minutes: {}", averages.join(", ")))
}
