//! `--overhead-probe`: short pauses in which hooks are lifted, to see what switching costs without them.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use flows::model::OfPort;

/// The shortest pause in which something can be measured: the kernel tells a running thread's time every few
/// milliseconds, and a bridge may have thousands of flows to look at again after a change.
const SHORTEST: Duration = Duration::from_millis(500);

/// The longest: more packets without copies tell hardly more.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest interval: what is due after longer than the clock can count would end the agent.
const RAREST: Duration = Duration::from_secs(365 * 24 * 3600);

/// When hooks are lifted, for how long, and which share of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// From the end of a pause to the begin of the next.
    pub every: Duration,
    /// How long a pause is.
    pub pause: Duration,
    /// The share of the mirrored ports whose hooks are lifted, above 0 and at most 1.
    pub share: f64,
}

/// Why a probe can't be as asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// It isn't written so.
    #[error("write INTERVAL/PAUSE, as in 10m/2s, or INTERVAL/PAUSE/SHARE, as in 10m/2s/50%")]
    Form,
    /// One of the times is none.
    #[error("{0:?} is no time: {1}")]
    Time(String, humantime::DurationError),
    /// Nothing can be seen in so short a time.
    #[error("a pause must be {} ms at least", SHORTEST.as_millis())]
    Short,
    /// Copies would be missing for too long.
    #[error("a pause must be {} s at most", LONGEST.as_secs())]
    Long,
    /// Copies would be missing most of the time.
    #[error("the interval must be twice the pause at least")]
    Often,
    /// It would never come.
    #[error("the interval must be {} days at most", RAREST.as_secs() / (24 * 3600))]
    Seldom,
    /// No share.
    #[error("a share is more than 0% and at most 100%")]
    Share,
}

impl FromStr for Probe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let time = |text: &str| {
            let parsed = humantime::parse_duration(text);
            parsed.map_err(|error| ProbeError::Time(text.to_owned(), error))
        };
        let parts: Vec<_> = text.split('/').collect();
        let (every, pause, share) = match parts[..] {
            [every, pause] => (every, pause, "100%"),
            [every, pause, share] => (every, pause, share),
            _ => return Err(ProbeError::Form),
        };
        let (every, pause) = (time(every)?, time(pause)?);
        let percent = share.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let share = percent.ok_or(ProbeError::Form)? / 100.0;
        if pause < SHORTEST {
            return Err(ProbeError::Short);
        }
        if pause > LONGEST {
            return Err(ProbeError::Long);
        }
        if every / 2 < pause {
            return Err(ProbeError::Often);
        }
        if every > RAREST {
            return Err(ProbeError::Seldom);
        }
        if !(share > 0.0 && share <= 1.0) {
            return Err(ProbeError::Share);
        }
        Ok(Self { every, pause, share })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [every, pause] = [self.every, self.pause].map(humantime::format_duration);
        write!(f, "{every}/{pause}/{}%", self.share * 100.0)
    }
}

impl Probe {
    /// The ports whose hooks are lifted, others at each turn, so that each has its turn when only a share is.
    #[must_use]
    pub fn choose(&self, hooked: &BTreeSet<OfPort>, turn: usize) -> BTreeSet<OfPort> {
        let count = (self.share * hooked.len() as f64).ceil() as usize;
        let first = turn.wrapping_mul(count) % hooked.len().max(1);
        hooked.iter().cycle().skip(first).take(count).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_done() {
        let probe: Probe = "10m/2s".parse().unwrap();
        let (every, pause) = (Duration::from_secs(600), Duration::from_secs(2));
        assert_eq!(probe, Probe { every, pause, share: 1.0 });
        assert_eq!("1h/1500ms/25%".parse::<Probe>().unwrap().to_string(), "1h/1s 500ms/25%");
        for (text, wrong) in [
            ("10m", ProbeError::Form),
            ("10m/2s/half", ProbeError::Form),
            ("10m/100ms", ProbeError::Short),
            ("1h/61s", ProbeError::Long),
            ("3s/2s", ProbeError::Often),
            ("366d/2s", ProbeError::Seldom),
            ("500000000000y/2s", ProbeError::Seldom),
            ("10m/2s/0%", ProbeError::Share),
            ("10m/2s/101%", ProbeError::Share),
        ] {
            assert_eq!(text.parse::<Probe>(), Err(wrong), "{text}");
        }
        let error = "ten/2s".parse::<Probe>().unwrap_err();
        assert!(error.to_string().starts_with("\"ten\" is no time: "), "{error}");
    }

    /// The ports that are still hooked, of four.
    fn left(probe: &str, turn: usize) -> Vec<u32> {
        let hooked: BTreeSet<_> = (1..=4).map(OfPort).collect();
        let lifted = probe.parse::<Probe>().unwrap().choose(&hooked, turn);
        hooked.difference(&lifted).map(|port| port.0).collect()
    }

    #[test]
    fn each_port_has_its_turn() {
        assert_eq!(left("1m/1s", 3), [0; 0]);
        assert_eq!(left("1m/1s/25%", 0), [2, 3, 4]);
        assert_eq!(left("1m/1s/25%", 1), [1, 3, 4]);
        assert_eq!(left("1m/1s/25%", 4), [2, 3, 4]);
        assert_eq!(left("1m/1s/50%", 1), [1, 2]);
        assert_eq!(left("1m/1s/1%", 0), [2, 3, 4], "one at least");
    }

    #[test]
    fn nothing_is_lifted_where_nothing_is_hooked() {
        let probe: Probe = "1m/1s".parse().unwrap();
        assert_eq!(probe.choose(&BTreeSet::new(), 1), BTreeSet::new());
    }
}
