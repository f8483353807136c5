//! Pings that go on while something else happens, one each 10 ms, and what was lost of them.
//!
//! Each answer bears its number and the time of its arrival. What is missing between two answers is lost; an answer that came
//! late is not.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::IpAddr,
    process::{Child, ChildStdout, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{Invocation, Result, wait::patience};

/// Seconds between two echo requests.
const PACE: &str = "0.01";
/// How many echo requests are sent in a second.
const RATE: f64 = 100.0;
/// How many more answers are waited for before one counts as lost: they take another way for a moment when flows change.
const LATE: u64 = 50;
/// `icmp_seq` has 16 bits.
const WRAP: u64 = 1 << 16;

/// One way that is pinged all the time, until dropped.
#[derive(Debug)]
pub struct Pulse {
    name: String,
    child: Child,
    answers: Answers,
}

/// When each answer came, by the number of its request.
type Answers = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// A place in a pulse.
#[derive(Clone, Copy, Debug)]
pub struct Beat(u64);

/// What became of a part of a pulse.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beats {
    /// Requests that were sent.
    pub sent: u64,
    /// Those that got no answer.
    pub lost: u64,
    /// The longest time without an answer.
    pub gap: Duration,
}

impl Beats {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            gap: self.gap.max(other.gap),
        }
    }
}

impl Pulse {
    /// Pings an address from where `ping` runs, with packets of so many bytes that must not be cut, and waits for the first
    /// answer. `name` is for messages.
    ///
    /// # Errors
    /// There is no answer.
    pub fn start(name: &str, ping: Invocation, ip: IpAddr, bytes: u16) -> Result<Self> {
        let bytes = bytes.to_string();
        let ping = ping.args(["-n", "-M", "do", "-i", PACE, "-s", &bytes]).arg(ip.to_string());
        let mut child = ping.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("ping has no output")?;
        let answers = Answers::default();
        let heard = Arc::clone(&answers);
        thread::spawn(move || hear(output, &heard));
        let pulse = Self { name: name.to_owned(), child, answers };
        pulse.await_answer(0)?;
        Ok(pulse)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place that it is at now, as far as answers have come.
    pub fn now(&self) -> Beat {
        Beat(self.last())
    }

    /// Waits for so many more answers to requests that were sent meanwhile.
    ///
    /// # Errors
    /// They do not come.
    pub fn beat(&self, times: u64) -> Result {
        self.await_answer(self.last() + times)
    }

    /// What became of all since `begin`, up to now. Waits until an answer comes again; if it does not, all are lost that were
    /// sent meanwhile.
    pub fn since(&self, begin: Beat) -> Beats {
        let waited = Instant::now();
        let end = self.last() + 1;
        if self.await_answer(end).is_err() {
            return self.silent(begin, waited);
        }
        let mut beats = self.between(begin.0, self.last());
        if beats.lost > 0 && self.beat(LATE).is_ok() {
            beats = self.between(begin.0, self.last() - LATE);
        }
        beats
    }

    /// What became of all since `begin` where answers do not come any more.
    fn silent(&self, begin: Beat, waited: Instant) -> Beats {
        let last = self.last();
        let heard = self.between(begin.0, last);
        let silence = self.answers().get(&last).map_or(waited.elapsed(), |at| at.elapsed());
        let unheard = (silence.as_secs_f64() * RATE) as u64;
        heard.and(Beats { sent: unheard, lost: unheard, gap: silence })
    }

    fn between(&self, begin: u64, end: u64) -> Beats {
        let answers = self.answers();
        let heard: Vec<_> = answers.range(begin..=end).map(|(_, at)| *at).collect();
        let sent = end.saturating_sub(begin);
        let gaps = heard.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
        Beats {
            sent,
            // The first is the place itself.
            lost: (sent + 1).saturating_sub(heard.len() as u64),
            gap: gaps.max().unwrap_or_default(),
        }
    }

    fn last(&self) -> u64 {
        self.answers().last_key_value().map_or(0, |(number, _)| *number)
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer to a request after the one with this number.
    fn await_answer(&self, number: u64) -> Result {
        // Nothing that a node survives silences Pods for so long; a minute for each way that is cut would be hours in all.
        let deadline = Instant::now() + patience() / 6;
        while self.last() <= number {
            if Instant::now() >= deadline {
                bail!("{} is silent", self.name);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes down each answer that ping prints.
fn hear(output: ChildStdout, answers: &Answers) {
    let mut last = 0;
    for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
        let Some(number) = number(&line) else { continue };
        let number = unwrapped(number, last);
        last = last.max(number);
        let now = Instant::now();
        answers.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(now);
    }
}

/// The number of the request that a line tells the answer to.
fn number(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("icmp_seq=").filter(|_| line.contains(" bytes from "))?;
    rest.split(' ').next()?.parse().ok()
}

/// The number that has these lowest bits and is nearest to the last one.
fn unwrapped(low: u64, last: u64) -> u64 {
    let number = last / WRAP * WRAP + low;
    if number + WRAP / 2 < last {
        number + WRAP
    } else if number > last + WRAP / 2 {
        number.saturating_sub(WRAP)
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_their_bits_begin_anew() {
        assert_eq!(unwrapped(1, 0), 1);
        assert_eq!(unwrapped(65_535, 65_530), 65_535);
        assert_eq!(unwrapped(2, 65_535), 65_538);
        assert_eq!(unwrapped(65_535, 65_538), 65_535);
    }

    #[test]
    fn only_answers_have_numbers() {
        let answer = "64 bytes from 10.16.0.12: icmp_seq=17 ttl=64 time=0.1 ms";
        assert_eq!(number(answer), Some(17));
        assert_eq!(number("From 10.16.0.11 icmp_seq=17 Destination Host Unreachable"), None);
    }
}
