//! What was found about one precondition.

use std::fmt;

/// One precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) subject: &'static str,
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) finding: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// Mirroring works, but something is worse than it could be.
    Warning,
    /// Mirroring does not work.
    Failed,
    /// It depends on something that failed.
    Skipped,
}

impl Check {
    pub(super) fn ok(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Ok, finding: finding.into(), remedy: None }
    }

    pub(super) fn warning(
        subject: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { subject, verdict: Verdict::Warning, finding: finding.into(), remedy }
    }

    pub(super) fn failed(
        subject: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { subject, verdict: Verdict::Failed, finding: finding.into(), remedy }
    }

    pub(super) fn skipped(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Skipped, finding: finding.into(), remedy: None }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}
