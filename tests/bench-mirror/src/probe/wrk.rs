//! What wrk prints.

use anyhow::{Context as _, ensure};
use lab::Result;

use crate::results::Reading;

pub(super) fn read(text: &str) -> Result<Reading> {
    let complaint = |line: &&str| line.contains("Socket errors") || line.contains("Non-2xx");
    let complaint = text.lines().find(complaint);
    ensure!(complaint.is_none(), "{}", complaint.unwrap_or_default().trim());
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let times = text.lines().find_map(|line| line.trim().strip_prefix("Latency "));
    let times = times.context("wrk says no latency")?;
    let mut times = times.split_whitespace().map(milliseconds);
    let mut next = || times.next().context("a time is missing")?;
    Ok(Reading::Http {
        requests_per_second: rate.context("wrk says no rate")?.trim().parse()?,
        average_ms: next()?,
        stdev_ms: next()?,
        max_ms: next()?,
    })
}

fn milliseconds(text: &str) -> Result<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(at.with_context(|| format!("{text} has no unit"))?);
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => anyhow::bail!("{text} has an unknown unit"),
    };
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of wrk 4.1.0.
    const TEXT: &str = "\
Running 1s test @ http://127.0.0.1:8099/
  1 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   802.50us    5.67ms  1.20s    91.86%
    Req/Sec     3.14k   465.35     3.84k    60.00%
  3134 requests in 1.01s, 642.71KB read
Requests/sec:   3106.11
Transfer/sec:    637.00KB
";

    #[test]
    fn times_are_told_in_milliseconds() -> Result {
        let expected = Reading::Http {
            requests_per_second: 3106.11,
            average_ms: 0.8025,
            stdev_ms: 5.67,
            max_ms: 1200.0,
        };
        assert_eq!(read(TEXT)?, expected);
        Ok(())
    }

    #[test]
    fn failed_requests_are_an_error() {
        let errors = "  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        assert!(read(&format!("{TEXT}{errors}")).is_err());
        assert!(read(&format!("{TEXT}  Non-2xx or 3xx responses: 5\n")).is_err());
        assert!(read("unable to connect to 127.0.0.1:8097 Connection refused\n").is_err());
    }
}
