//! A named network namespace, and doing things inside of one.

use std::{
    fs::{self, File},
    path::Path,
    thread,
};

use anyhow::{Context as _, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::{Invocation, Result};

/// A network namespace under `/run/netns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    pub(crate) fn create(name: &str) -> Result<Self> {
        Invocation::new("ip").args(["netns", "add", name]).run()?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip(["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is (still) there.
    pub fn exists(&self) -> bool {
        Path::new("/run/netns").join(&self.name).exists()
    }

    /// A program that will run inside.
    pub fn program(&self, program: &str) -> Invocation {
        Invocation::new("ip").args(["netns", "exec", &self.name, program])
    }

    /// Runs `ip` on this namespace.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn ip<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        Invocation::new("ip").args(["-n", &self.name]).args(args).run()
    }

    /// Runs many `ip` commands, one a line, in one process.
    pub(crate) fn ip_batch(&self, lines: &str) -> Result {
        Invocation::new("ip").args(["-n", &self.name, "-batch", "-"]).run_with_input(lines)?;
        Ok(())
    }

    /// Sets kernel parameters of this namespace, each `name=value`.
    pub(crate) fn sysctl<'a>(&self, settings: impl IntoIterator<Item = &'a str>) -> Result {
        self.program("sysctl").args(["-q", "-w"]).args(settings).run()?;
        Ok(())
    }

    /// Has a NIC in here check, cut and merge segments, or leave that to others.
    ///
    /// # Errors
    /// There is no such NIC, or it can't.
    pub fn offload(&self, nic: &str, on: bool) -> Result {
        let state = if on { "on" } else { "off" };
        let features = ["tx", "rx", "tso", "gso", "gro"].iter().flat_map(|of| [*of, state]);
        self.program("ethtool").args(["-K", nic]).args(features).run()?;
        Ok(())
    }

    /// Runs `work` on a thread that lives in this namespace; sockets that it makes stay there and may be taken out.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` fails or panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
                // A thread has a network namespace of its own, so this one alone moves.
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {path}"))?;
                work()
            });
            worker.join().map_err(|_| anyhow!("work inside of {path} panicked"))?
        })
    }

    /// Frames that an interface has received and sent, by the word of its kernel.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn transmissions(&self, interface: &str) -> Result<(u64, u64)> {
        self.inside(|| {
            let table = fs::read_to_string("/proc/thread-self/net/dev")?;
            let mut lines = table.lines();
            let line =
                lines.find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
            let line = line.with_context(|| format!("there is no interface {interface}"))?;
            let columns = line
                .split_whitespace()
                .map(str::parse)
                .collect::<std::result::Result<Vec<u64>, _>>()?;
            // Eight columns of what was received, then as many of what was sent; bytes come first, frames second.
            Ok((columns[1], columns[9]))
        })
    }

    pub(crate) fn delete(&self) -> Result {
        Invocation::new("ip").args(["netns", "del", &self.name]).run()?;
        Ok(())
    }
}
