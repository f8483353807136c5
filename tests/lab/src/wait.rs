//! Waiting for a condition that no tool can be asked to wait for.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::Result;

/// How many times slower than machines are everything may be, as it is on an emulated one.
fn slowness() -> u32 {
    env::var("LAB_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// How long anything may take before the lab calls it stuck; generous, because machines of CI are slow.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(60) * slowness()
}

/// Pause between two looks, which a slow machine needs for what is looked at.
fn interval() -> Duration {
    Duration::from_millis(2) * slowness()
}

/// Looks again and again until `condition` gives a value.
///
/// # Errors
/// What `condition` fails with, or that `what` did not come true within a minute (or as many as `LAB_PATIENCE` says).
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let (patience, interval) = (patience(), interval());
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition().with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        thread::sleep(interval);
    }
}
