//! How the agent is, for probes and people.

use serde::Serialize;
use tracing::{info, warn};

/// How the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether everything that should be mirrored is: nothing is wrong, and all flows are installed.
    pub ready: bool,
    /// Whether all flows are installed that are known to be needed.
    pub complete: bool,
    /// What keeps the mirror from being complete and exact.
    pub problems: Vec<String>,
    /// Ports that can't be mirrored, by no fault of the agent's.
    pub rejected: Vec<String>,
}

impl Health {
    /// Logs what is new since `before`.
    pub fn log_news(&self, before: &Self) {
        for problem in self.problems.iter().filter(|problem| !before.problems.contains(problem)) {
            warn!("{problem}");
        }
        for solved in before.problems.iter().filter(|problem| !self.problems.contains(problem)) {
            info!("no longer: {solved}");
        }
        for rejected in self.rejected.iter().filter(|port| !before.rejected.contains(port)) {
            warn!("not mirrored: {rejected}");
        }
    }
}
