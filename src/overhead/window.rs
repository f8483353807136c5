//! A stretch of time in which nothing changed but the traffic, and what was counted in it.

use std::time::Instant;

/// How much of what should be mirrored was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// There was no hook at all.
    None,
    /// A share of the hooks was lifted.
    Some,
    /// All were there.
    All,
}

/// What was counted in a stretch of time, or in several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// When it ended.
    pub ended: Instant,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Processor time that the datapath took, in seconds.
    pub cpu: f64,
    /// Packets that came into the bridge.
    pub switched: f64,
    /// Copies that were made.
    pub copied: f64,
}

impl Window {
    /// Packets that came into the bridge in a second.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.switched / self.seconds
    }

    /// Both together; `later` ended later.
    #[must_use]
    pub fn join(self, later: Self) -> Self {
        Self {
            ended: later.ended,
            seconds: self.seconds + later.seconds,
            cpu: self.cpu + later.cpu,
            switched: self.switched + later.switched,
            copied: self.copied + later.copied,
        }
    }
}
