//! Processor time of Open vSwitch's threads, and of the kernel's softirqs, by the word of /proc (proc_pid_schedstat(5),
//! proc_stat(5)).

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use procfs::{
    CurrentSI as _, KernelStats, ProcError, ProcResult,
    process::{Process, Task},
};

/// The daemon that switches packets, as its threads' leader is called.
const DAEMON: &str = "ovs-vswitchd";

/// Who takes processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The main thread: OpenFlow, configuration, and packets on a userspace datapath without poll mode.
    Main,
    /// What decides on packets that the datapath knows nothing of.
    Handler,
    /// What keeps the datapath's flows right, and counts them.
    Revalidator,
    /// Poll mode drivers: packets on a userspace datapath with DPDK or AF_XDP.
    Pmd,
    /// All other threads.
    Other,
    /// The kernel's time for deferred work, the whole node's; most of it is for network traffic.
    Softirq,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Main, Self::Handler, Self::Revalidator, Self::Pmd, Self::Other, Self::Softirq];

    /// The role of a thread, by what OVS calls it: `handler7`, `revalidator12`, `pmd-c03/id:9` (lib/ovs-thread.c).
    fn of_thread(name: &str) -> Self {
        let begins = |prefix: &str| name.starts_with(prefix);
        match name {
            DAEMON => Self::Main,
            _ if begins("handler") => Self::Handler,
            _ if begins("revalidator") => Self::Revalidator,
            _ if begins("pmd") => Self::Pmd,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Handler => "handler",
            Self::Revalidator => "revalidator",
            Self::Pmd => "pmd",
            Self::Other => "other",
            Self::Softirq => "softirq",
        })
    }
}

/// What /proc says at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Process number and start time, in ticks since the kernel's start: no two processes share both.
    pub process: (i32, u64),
    /// Each thread's number, role and time since its start.
    pub threads: Vec<(i32, Component, Duration)>,
    /// Time in softirqs since the kernel's start, of all processors.
    pub softirq: Duration,
}

/// Why processor time can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is no file that tells which process to look at.
    #[error("{}: {error}", .path.display())]
    PidFile {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// The file tells of a process that can't be seen or is another one.
    #[error("process {pid} is not {DAEMON} here: {reason}")]
    Process {
        /// Its number.
        pid: i32,
        /// What was found.
        reason: String,
    },
    /// The kernel's own figures can't be read.
    #[error("/proc/stat: {0}")]
    Kernel(ProcError),
}

impl Unreadable {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::PidFile { .. } => "Point --ovs-rundir at the folder with ovs-vswitchd.pid",
            Self::Process { .. } => {
                "The agent has to see the host's processes: a Pod needs hostPID: true, as deploy/components/cpu-metrics sets it"
            }
            Self::Kernel(_) => "Mount the host's /proc",
        }
    }
}

/// Reads the times of the process that wrote `pidfile`.
///
/// # Errors
/// They can't be read.
pub fn read(pidfile: &Path) -> Result<Reading, Unreadable> {
    let unreadable = |error| Unreadable::PidFile { path: pidfile.into(), error };
    let text = fs::read_to_string(pidfile).map_err(unreadable)?;
    let pid = text.trim().parse().map_err(io::Error::other).map_err(unreadable)?;
    let hidden = |error: ProcError| Unreadable::Process { pid, reason: error.to_string() };
    let process = Process::new(pid).map_err(hidden)?;
    let leader = process.stat().map_err(hidden)?;
    if leader.comm != DAEMON {
        // In a namespace of its own for processes, or when the file is left over from a daemon that died.
        return Err(Unreadable::Process { pid, reason: format!("it is {}", leader.comm) });
    }
    // A thread may end while it is read.
    let threads = process.tasks().map_err(hidden)?.flatten().filter_map(|task| thread(&task).ok());
    let threads = threads.collect();
    let stat = KernelStats::current().map_err(Unreadable::Kernel)?;
    Ok(Reading {
        process: (pid, leader.starttime),
        threads,
        softirq: stat.total.softirq_duration().unwrap_or_default(),
    })
}

fn thread(task: &Task) -> ProcResult<(i32, Component, Duration)> {
    let stat = task.stat()?;
    let busy = match task.schedstat() {
        Ok(schedule) => Duration::from_nanos(schedule.sum_exec_runtime),
        // A kernel without CONFIG_SCHED_INFO only knows ticks.
        Err(_) => {
            let ticks = (stat.utime + stat.stime) as f64;
            Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64)
        }
    };
    Ok((task.tid, Component::of_thread(&stat.comm), busy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_by_their_names() {
        let roles = ["ovs-vswitchd", "handler3", "revalidator12", "pmd-c01/id:8", "urcu1"];
        let roles = roles.map(|name| Component::of_thread(name).to_string());
        assert_eq!(roles, ["main", "handler", "revalidator", "pmd", "other"]);
    }

    #[test]
    fn a_process_that_is_not_the_switch_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ovs-vswitchd.pid");
        assert!(matches!(read(&file), Err(Unreadable::PidFile { .. })));
        fs::write(&file, "no number").unwrap();
        assert!(matches!(read(&file), Err(Unreadable::PidFile { .. })));
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("is not ovs-vswitchd here: it is "), "{error}");
    }
}
