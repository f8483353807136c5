//! What qperf prints with `-uu -vvs`: a name, an equals sign, a number, a unit, in units that stay the same.

use anyhow::{Context as _, ensure};
use lab::Result;

use crate::results::Reading;

/// Reads `tcp_lat` and `udp_lat`.
pub(super) fn latency(text: &str) -> Result<Reading> {
    Ok(Reading::Latency { microseconds: number(text, "latency", "ns")? / 1e3 })
}

/// Reads `tcp_bw` and `udp_bw`.
pub(super) fn bandwidth(text: &str) -> Result<Reading> {
    // UDP has two rates, that of what was sent and that of what came.
    let rate = number(text, "recv_bw", "bytes/sec").or_else(|_| number(text, "bw", "bytes/sec"))?;
    let nothing_came = rate == 0.0;
    // Then it only tells of the sender.
    let name = if nothing_came { "loc_send_msgs" } else { "send_msgs" };
    let sent = number(text, name, "")?;
    ensure!(sent > 0.0, "nothing was sent");
    let came = |name, unit| if nothing_came { Ok(0.0) } else { number(text, name, unit) };
    let received = came("recv_msgs", "")?;
    Ok(Reading::Bandwidth {
        megabits_per_second: rate * 8.0 / 1e6,
        bytes: came("recv_bytes", "bytes")?,
        // Over TCP, what was under way at the beginning and the end makes a difference either way.
        lost_percent: (100.0 * (1.0 - received / sent)).max(0.0),
    })
}

fn number(text: &str, name: &str, unit: &str) -> Result<f64> {
    let values = text.lines().filter_map(|line| line.split_once('='));
    let value = values.into_iter().find(|(of, _)| of.trim() == name);
    let (_, value) = value.with_context(|| format!("qperf says no {name}"))?;
    let mut words = value.split_whitespace();
    let number = words.next().with_context(|| format!("{name} is nothing"))?;
    ensure!(words.next().unwrap_or_default() == unit, "{name} is not in {unit}: {value}");
    number.parse().with_context(|| format!("{name} is {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of qperf 0.4.11.
    const TCP_LAT: &str = "\
tcp_lat:
    latency         =     13272 ns
    msg_rate        =     75344 /sec
    loc_send_bytes  =  19288064 bytes
    loc_recv_bytes  =  19288064 bytes
    loc_send_msgs   =     37672 
    loc_recv_msgs   =     37672 
";
    const TCP_BW: &str = "\
tcp_bw:
    bw          =  130103762 bytes/sec
    msg_rate    =     254109 /sec
    send_bytes  =  131404288 bytes
    send_msgs   =     256649 
    recv_bytes  =  131404800 bytes
    recv_msgs   =     256650 
";
    const UDP_BW: &str = "\
udp_bw:
    send_bw     =  48562947 bytes/sec
    recv_bw     =  22062080 bytes/sec
    msg_rate    =     42663 /sec
    send_bytes  =  49048576 bytes
    send_msgs   =     95798 
    recv_bytes  =  22062080 bytes
    recv_msgs   =     43090 
";
    /// Of fragmented datagrams, all of which missed a fragment.
    const UDP_BW_NONE: &str = "\
udp_bw:
    send_bw         =  602615808 bytes/sec
    recv_bw         =          0 bytes/sec
    loc_send_bytes  =  602615808 bytes
    loc_send_msgs   =     147123 
";

    #[test]
    fn datagrams_of_which_none_arrives_are_all_lost() -> Result {
        let all_lost =
            Reading::Bandwidth { megabits_per_second: 0.0, bytes: 0.0, lost_percent: 100.0 };
        assert_eq!(bandwidth(UDP_BW_NONE)?, all_lost);
        Ok(())
    }

    #[test]
    fn latency_is_told_in_microseconds() -> Result {
        assert_eq!(latency(TCP_LAT)?, Reading::Latency { microseconds: 13.272 });
        Ok(())
    }

    #[test]
    fn bandwidth_is_of_what_arrived() -> Result {
        let Reading::Bandwidth { megabits_per_second, bytes, lost_percent } = bandwidth(UDP_BW)?
        else {
            panic!("not a bandwidth");
        };
        assert!((megabits_per_second - 176.49664).abs() < 1e-6);
        assert_eq!(bytes, 22_062_080.0);
        assert!((lost_percent - 55.02).abs() < 0.01, "{lost_percent}");
        let Reading::Bandwidth { megabits_per_second, lost_percent, .. } = bandwidth(TCP_BW)?
        else {
            panic!("not a bandwidth");
        };
        assert!((megabits_per_second - 1040.830096).abs() < 1e-6);
        assert_eq!(lost_percent, 0.0);
        Ok(())
    }

    #[test]
    fn another_unit_or_none_is_an_error() {
        assert!(latency(&TCP_LAT.replace(" ns", " us")).is_err());
        assert!(latency(TCP_BW).is_err());
        assert!(bandwidth("failed to connect\n").is_err());
    }
}
