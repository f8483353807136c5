//! Waiting for a condition that no tool can be asked to wait for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::Result;

/// How long anything may take before the lab calls it stuck; generous, because machines of CI are slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(2);

/// Looks again and again until `condition` gives a value.
///
/// # Errors
/// What `condition` fails with, or that `what` did not come true within a minute.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        thread::sleep(INTERVAL);
    }
}
