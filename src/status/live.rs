//! What the running agent tells of itself at `/status`.

use serde::Serialize;

use super::Status;
use crate::{health::Health, overhead::estimate::Estimate};

/// How the agent is, and what it mirrors.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Its version.
    pub version: &'static str,
    /// Name of the node in Kubernetes, or of the host where Pods are learnt from OVSDB.
    pub node: Option<String>,
    /// How long the agent runs. Lower than before means that it began anew.
    pub uptime_seconds: f64,
    /// How long it had run when it last read what the flows count: the clock for rates. The copies that `taps` have are
    /// those since the agent began.
    pub counted_seconds: Option<f64>,
    /// What mirroring costs the datapath; none as long as it can't be told.
    pub overhead: Option<Estimate>,
    /// What `/readyz` tells, and why.
    #[serde(flatten)]
    pub health: Health,
    /// What is mirrored, and by what.
    #[serde(flatten)]
    pub status: Status,
}
