//! The Pods that are mirrored, as the log tells them: who came, and who went and why. However many change at once, and however
//! often, there is a bounded number of lines for each look.

use std::collections::BTreeSet;

use tracing::info;

use crate::pods::Pod;

/// Pods that are named at one look, of those who came and of those who went.
const NAMED: usize = 10;

/// What has been logged.
#[derive(Debug, Default)]
pub struct PodLog {
    told: BTreeSet<Pod>,
    /// Those of them that were not mirrored at the last look.
    going: BTreeSet<Pod>,
}

/// Who came and who went since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    come: Vec<Pod>,
    gone: Vec<Pod>,
}

impl PodLog {
    /// Logs who is new among `now`, the Pods that are mirrored to `nic`, and who has gone, with `why`. Whoever is back at the next
    /// look has not gone: whenever OVN starts anew its flows are missing for a moment.
    pub fn look(&mut self, nic: &str, now: BTreeSet<Pod>, why: impl Fn(&Pod) -> String) {
        let News { come, gone } = self.news(now);
        come.iter().take(NAMED).for_each(|pod| info!("mirroring {pod} to {nic}"));
        if come.len() > NAMED {
            info!("mirroring {} more Pods to {nic}", come.len() - NAMED);
        }
        log_gone(nic, &gone, why);
    }

    /// Logs that nobody is mirrored any more.
    pub fn end(&mut self, nic: &str, why: &str) {
        let gone: Vec<_> = std::mem::take(&mut self.told).into_iter().collect();
        log_gone(nic, &gone, |_| why.to_owned());
    }

    /// Whether the next look may tell something even if all stays as it is.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.going.is_empty()
    }

    fn news(&mut self, now: BTreeSet<Pod>) -> News {
        let missing: BTreeSet<_> = self.told.difference(&now).cloned().collect();
        let gone: BTreeSet<_> = missing.intersection(&self.going).cloned().collect();
        let come: Vec<_> = now.difference(&self.told).cloned().collect();
        self.told.retain(|pod| !gone.contains(pod));
        self.told.extend(come.iter().cloned());
        self.going = missing.into_iter().filter(|pod| self.told.contains(pod)).collect();
        News { come, gone: gone.into_iter().collect() }
    }
}

fn log_gone(nic: &str, gone: &[Pod], why: impl Fn(&Pod) -> String) {
    for pod in gone.iter().take(NAMED) {
        info!("no longer mirroring {pod} to {nic}: {}", why(pod));
    }
    if gone.len() > NAMED {
        info!("no longer mirroring {} more Pods to {nic}", gone.len() - NAMED);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    fn pods(names: &[&str]) -> BTreeSet<Pod> {
        names.iter().map(|name| Pod::new("shop", name)).collect()
    }

    fn news(come: &[&str], gone: &[&str]) -> News {
        let list = |names| pods(names).into_iter().collect();
        News { come: list(come), gone: list(gone) }
    }

    #[test]
    fn who_comes_is_told_at_once_and_who_goes_when_that_lasts() {
        let mut log = PodLog::default();
        assert_eq!(log.news(pods(&["a", "b"])), news(&["a", "b"], &[]));
        assert_eq!(log.news(pods(&["a", "b"])), news(&[], &[]));
        assert_eq!(log.news(pods(&["a"])), news(&[], &[]), "it may pass");
        assert!(log.is_waiting());
        assert_eq!(log.news(pods(&["a", "b"])), news(&[], &[]), "it did");
        assert_eq!(log.news(pods(&["c"])), news(&["c"], &[]));
        assert_eq!(log.news(pods(&["b", "c"])), news(&[], &["a"]));
        assert!(!log.is_waiting());
        assert_eq!(log.news(pods(&["a", "b", "c"])), news(&["a"], &[]), "it comes back");
    }

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn however_many_come_or_go_the_log_has_few_lines() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let names: Vec<_> = (0..490).map(|number| format!("web-{number:03}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        tracing::subscriber::with_default(subscriber, || {
            let mut log = PodLog::default();
            log.look("mirror0", pods(&names), |_| String::new());
            for _ in 0..3 {
                log.look("mirror0", pods(&names[..1]), |pod| format!("{pod} left"));
            }
            log.end("mirror0", "the agent stops");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        for line in [
            "mirroring shop/web-009 to mirror0\n",
            "mirroring 480 more Pods to mirror0\n",
            "no longer mirroring shop/web-001 to mirror0: shop/web-001 left\n",
            "no longer mirroring 479 more Pods to mirror0\n",
            "no longer mirroring shop/web-000 to mirror0: the agent stops\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.lines().count(), 2 * (NAMED + 1) + 1, "{text}");
    }
}
