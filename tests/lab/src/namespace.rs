//! A named network namespace, and doing things inside of one.

use std::{fs::File, path::Path, thread};

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

    pub(crate) fn delete(&self) -> Result {
        Invocation::new("ip").args(["netns", "del", &self.name]).run()?;
        Ok(())
    }
}
