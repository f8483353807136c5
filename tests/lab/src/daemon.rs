//! The daemons of a node: foreground children whose unasked death is noticed.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::Mutex,
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Invocation, Result};

/// One of a node's daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// ovsdb-server with the node's own `conf.db`.
    Ovsdb,
    /// ovs-vswitchd, the switch.
    Vswitchd,
    /// ovsdb-server with OVN's northbound database.
    Northbound,
    /// ovsdb-server with OVN's southbound database.
    Southbound,
    /// ovn-northd.
    Northd,
    /// ovn-controller.
    Controller,
}

impl Service {
    /// All, in the order in which a node starts them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Ovsdb,
        Self::Northbound,
        Self::Southbound,
        Self::Vswitchd,
        Self::Northd,
        Self::Controller,
    ];

    /// Whether one for all nodes will do: OVN's databases and northd.
    pub(crate) fn is_central(self) -> bool {
        matches!(self, Self::Northbound | Self::Southbound | Self::Northd)
    }

    /// The stem of its socket, pid and log files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ovsdb => "ovsdb-server",
            Self::Vswitchd => "ovs-vswitchd",
            Self::Northbound => "ovnnb_db",
            Self::Southbound => "ovnsb_db",
            Self::Northd => "ovn-northd",
            Self::Controller => "ovn-controller",
        }
    }
}

/// A child process that should run until told otherwise; it is killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    invocation: Invocation,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// A daemon that is not started yet; what it prints is added to `log`.
    pub fn new(name: &str, invocation: Invocation, log: PathBuf) -> Self {
        Self { name: name.to_owned(), invocation, log, child: Mutex::new(None) }
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&self) -> Result {
        let mut child = self.child.lock().expect("no holder of this lock panics");
        ensure!(child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let started = self.command(log)?.spawn();
        *child = Some(started.with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    fn command(&self, log: File) -> Result<std::process::Command> {
        let mut command = self.invocation.command();
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.lock().expect("no holder of this lock panics").as_ref().map(Child::id)
    }

    /// Sends a signal and does not wait.
    pub(crate) fn signal(&self, signal: Signal) -> Result {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        kill(Pid::from_raw(pid.cast_signed()), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// It ended before.
    pub fn end(&self, signal: Signal) -> Result<ExitStatus> {
        self.alive()?;
        self.signal(signal)?;
        self.wait()
    }

    /// Waits for an end that was asked for by other means.
    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        let mut slot = self.child.lock().expect("no holder of this lock panics");
        let mut child = slot.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(child.wait()?)
    }

    /// Whether it was started and has not ended by itself.
    pub(crate) fn runs(&self) -> Result<bool> {
        let mut slot = self.child.lock().expect("no holder of this lock panics");
        Ok(slot.as_mut().map(Child::try_wait).transpose()?.is_some_and(|ended| ended.is_none()))
    }

    /// Fails when the daemon ended without being told to.
    ///
    /// # Errors
    /// See above, with its last words.
    pub fn alive(&self) -> Result {
        let mut slot = self.child.lock().expect("no holder of this lock panics");
        if let Some(child) = slot.as_mut()
            && let Some(status) = child.try_wait()?
        {
            bail!("{} died by itself ({status}); its last words:\n{}", self.name, tail(&self.log));
        }
        Ok(())
    }

    /// Where its words go.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(mut child)) = self.child.lock().map(|mut slot| slot.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The end of a log file, for an error message.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 30;
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
