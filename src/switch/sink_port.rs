//! How the mirror port is: whether what is sent to it gets out.
//!
//! The switch tells more than the kernel does. `no-forward` is a setting of the switch's own, and a NIC that was moved to
//! another network namespace still has its carrier reported here.

use std::time::{Duration, Instant};

use flows::ofp::{PortConfig, PortDesc, PortState};

/// How long an interruption is reported after its end: copies are missing from the captures of that time.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Why the mirror port drops what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkFault {
    /// `OFPPC_NO_FWD`. The agent takes it back.
    #[error(
        "Open vSwitch drops what is sent to it: somebody has set it no-forward (ovs-ofctl mod-port)"
    )]
    NoForward,
    /// `OFPPC_PORT_DOWN`. The agent sets it up.
    #[error("it is down")]
    Down,
    /// `OFPPS_LINK_DOWN`. Only whoever owns the other end can mend that.
    #[error("it has no carrier: is the cable out, or the other end of a veth pair down?")]
    NoCarrier,
}

/// The mirror port's configuration and state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkPort {
    /// None as long as the switch has not reported it.
    fault: Option<Option<SinkFault>>,
    /// When the last fault ended, and how many have ended within [`REMEMBERED`] of each other.
    interrupted: Option<(Instant, u32)>,
    /// How often the port was found to be set no-forward.
    blocked: u64,
}

impl SinkPort {
    /// Takes in the port as the switch describes it.
    pub(super) fn take_in(&mut self, port: &PortDesc, now: Instant) {
        let fault = if port.config.contains(PortConfig::NO_FWD) {
            Some(SinkFault::NoForward)
        } else if port.config.contains(PortConfig::PORT_DOWN) {
            Some(SinkFault::Down)
        } else if port.state.contains(PortState::LINK_DOWN) {
            Some(SinkFault::NoCarrier)
        } else {
            None
        };
        let before = self.fault.replace(fault).flatten();
        if fault == Some(SinkFault::NoForward) && before != fault {
            self.blocked += 1;
        }
        if before.is_some() && fault.is_none() {
            let times = self.interruptions(now);
            self.interrupted = Some((now, times.saturating_add(1)));
        }
    }

    /// Why no copy gets out by it, if the switch says so.
    #[must_use]
    pub fn fault(&self) -> Option<SinkFault> {
        self.fault.flatten()
    }

    /// How often copies did not get out within the last minute, or since the minute in which that happened first.
    #[must_use]
    pub fn interruptions(&self, now: Instant) -> u32 {
        let recent =
            |(ended, _): &(Instant, u32)| now.saturating_duration_since(*ended) < REMEMBERED;
        self.interrupted.filter(recent).map_or(0, |(_, times)| times)
    }

    /// How often somebody has set it no-forward. Each time the setting is to be taken back.
    #[must_use]
    pub fn blocked(&self) -> u64 {
        self.blocked
    }
}

#[cfg(test)]
mod tests {
    use flows::{model::OfPort, ofp::PortName};

    use super::*;

    fn port(config: PortConfig, state: PortState) -> PortDesc {
        let (name, properties) = (PortName::from("mirror0"), Box::default());
        PortDesc { port: OfPort(5), mac: [2, 0, 0, 0, 0, 5], name, config, state, properties }
    }

    #[test]
    fn each_way_in_which_copies_do_not_get_out_has_its_reason() {
        let (well, live) = (PortConfig::empty(), PortState::LIVE);
        for (config, state, fault) in [
            (well, live, None),
            (well, PortState::LINK_DOWN, Some(SinkFault::NoCarrier)),
            (PortConfig::PORT_DOWN, PortState::LINK_DOWN, Some(SinkFault::Down)),
            (PortConfig::NO_FWD, live, Some(SinkFault::NoForward)),
            (PortConfig::NO_PACKET_IN | PortConfig::NO_RECV, live, None),
        ] {
            let mut sink = SinkPort::default();
            assert_eq!(sink.fault(), None, "nothing is known yet");
            sink.take_in(&port(config, state), Instant::now());
            assert_eq!(sink.fault(), fault, "{config:?} {state:?}");
        }
    }

    #[test]
    fn an_interruption_is_reported_for_a_minute_after_its_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut sink = SinkPort::default();
        let flap = |sink: &mut SinkPort, seconds| {
            sink.take_in(&port(PortConfig::PORT_DOWN, PortState::LINK_DOWN), at(seconds));
            sink.take_in(&port(PortConfig::empty(), PortState::LIVE), at(seconds));
        };
        sink.take_in(&port(PortConfig::empty(), PortState::LIVE), at(0));
        assert_eq!(sink.interruptions(at(0)), 0);
        flap(&mut sink, 10);
        flap(&mut sink, 20);
        assert_eq!(sink.interruptions(at(79)), 2);
        assert_eq!(sink.interruptions(at(80)), 0);
        flap(&mut sink, 90);
        assert_eq!(sink.interruptions(at(91)), 1, "the earlier ones are long over");
    }

    #[test]
    fn each_time_that_somebody_blocks_the_port_counts() {
        let mut sink = SinkPort::default();
        for blocked in [true, true, false, true] {
            let config = if blocked { PortConfig::NO_FWD } else { PortConfig::empty() };
            sink.take_in(&port(config, PortState::LIVE), Instant::now());
        }
        assert_eq!(sink.blocked(), 2);
    }
}
