//! The signals by which the agent is told to stop.

use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for a signal to stop.
pub(super) struct Stop {
    signals: Vec<Signal>,
}

impl Stop {
    /// Heeds signals from now on: that of a service manager (SIGTERM), those of a terminal (SIGINT, SIGQUIT), and that of one
    /// that goes (SIGHUP). All of them mean the same, as each would end a process that does not heed it, with all that it
    /// made left behind. The last two stay ignored where whoever started the agent ignores them, as `nohup` does SIGHUP.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
        ];
        let optional = [SignalKind::hangup(), SignalKind::quit()];
        let is_left = |kind: &SignalKind| optional.contains(kind) && is_in(ignored, *kind);
        let heeded = kinds.into_iter().filter(|kind| !is_left(kind));
        Ok(Self { signals: heeded.map(signal).collect::<io::Result<_>>()? })
    }

    /// Ends when one comes.
    pub(super) async fn told(mut self) {
        let any = self.signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures::future::select_all(any).await;
    }
}

/// The signals that `/proc/PID/status` calls ignored (`SigIgn`), a bit each from SIGHUP on.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, kind: SignalKind) -> bool {
    let bit = u32::try_from(kind.as_raw_value() - 1).ok();
    bit.and_then(|bit| mask.checked_shr(bit)).is_some_and(|rest| rest & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_those_of_the_mask() {
        let mask =
            ignored("Name:\tofmirror\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n");
        assert!(is_in(mask, SignalKind::hangup()));
        assert!(!is_in(mask, SignalKind::quit()) && !is_in(mask, SignalKind::terminate()));
        assert_eq!((ignored(""), ignored("SigIgn:\tnone")), (0, 0));
    }
}
