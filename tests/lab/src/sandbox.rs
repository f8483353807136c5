//! The check that a lab runs inside of `tests/lab/sandbox`, where whatever it makes goes with it.

use std::path::Path;

use anyhow::ensure;

use crate::Result;

/// The folder that the sandbox mounts for labs.
pub(crate) const FOLDER: &str = "/run/lab";

/// Fails with a clear message outside of the sandbox.
pub(crate) fn ensure_inside() -> Result {
    ensure!(
        Path::new(FOLDER).join(".sandbox").exists(),
        "a lab only runs in its sandbox, so that it leaves nothing behind: \
         use `make test` or `make lab`, or start the command by `tests/lab/sandbox COMMAND`"
    );
    Ok(())
}
