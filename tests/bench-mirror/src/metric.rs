//! What is told of samples.

use crate::{
    probe::Probe,
    results::{Reading, Sample},
};

/// A figure that a sample gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// In microseconds.
    TcpLatency,
    /// In Mbit/s.
    TcpBandwidth,
    /// In microseconds.
    UdpLatency,
    /// In percent.
    UdpLost,
    /// In Mbit/s.
    UdpBandwidth,
    /// Requests a second.
    Qps,
    /// In milliseconds.
    Average,
    /// In milliseconds.
    Stdev,
    /// In milliseconds.
    Max,
    /// Processor seconds of the machine for each GB (10^9 bytes) that arrived by TCP.
    TcpCpu,
    /// The same of ovs-vswitchd alone.
    TcpSwitchCpu,
    /// Processor seconds of the machine for each million frames that the server's interface passed, by UDP.
    UdpCpu,
    /// The same of ovs-vswitchd alone.
    UdpSwitchCpu,
    /// Processor seconds of the machine for each million frames that the server's interface passed, by HTTP.
    HttpCpu,
    /// The same of ovs-vswitchd alone.
    HttpSwitchCpu,
}

impl Metric {
    /// The page's columns for a message size.
    pub(crate) const STREAMS: [Self; 5] =
        [Self::TcpLatency, Self::TcpBandwidth, Self::UdpLatency, Self::UdpLost, Self::UdpBandwidth];
    /// The page's columns for a number of connections.
    pub(crate) const HTTP: [Self; 4] = [Self::Qps, Self::Average, Self::Stdev, Self::Max];
    /// What the page doesn't tell, for a message size.
    pub(crate) const STREAM_CPU: [Self; 4] =
        [Self::TcpCpu, Self::TcpSwitchCpu, Self::UdpCpu, Self::UdpSwitchCpu];
    /// What the page doesn't tell, for a number of connections.
    pub(crate) const HTTP_CPU: [Self; 2] = [Self::HttpCpu, Self::HttpSwitchCpu];

    /// The head of its column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::TcpLatency => "TCP Latency",
            Self::TcpBandwidth => "TCP Bandwidth",
            Self::UdpLatency => "UDP Latency",
            Self::UdpLost => "UDP Lost Rate",
            Self::UdpBandwidth => "UDP Bandwidth",
            Self::Qps => "QPS",
            Self::Average => "Avg-Resp-Time",
            Self::Stdev => "Stdev-Resp-Time",
            Self::Max => "Max-Resp-Time",
            Self::TcpCpu => "TCP, CPU s/GB",
            Self::TcpSwitchCpu => "TCP, ovs-vswitchd s/GB",
            Self::UdpCpu => "UDP, CPU s/10⁶ packets",
            Self::UdpSwitchCpu => "UDP, ovs-vswitchd s/10⁶ packets",
            Self::HttpCpu => "CPU s/10⁶ packets",
            Self::HttpSwitchCpu => "ovs-vswitchd s/10⁶ packets",
        }
    }

    /// Whether two values are compared by their difference, because one can be nothing.
    pub(crate) fn is_share(self) -> bool {
        self == Self::UdpLost
    }

    /// Whether it is processor time, of which is told how much was added.
    pub(crate) fn is_cost(self) -> bool {
        Self::STREAM_CPU.contains(&self) || Self::HTTP_CPU.contains(&self)
    }

    /// A value for people; the units of network figures are those that the page uses.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::TcpLatency | Self::UdpLatency => format!("{} us", digits(value)),
            Self::TcpBandwidth | Self::UdpBandwidth if value < 1000.0 => {
                format!("{} Mbits/sec", digits(value))
            }
            Self::TcpBandwidth | Self::UdpBandwidth => {
                format!("{} Gbits/sec", digits(value / 1000.0))
            }
            Self::UdpLost => format!("({}%)", digits(value)),
            Self::Qps => format!("{value:.0}"),
            Self::Average | Self::Stdev | Self::Max => format!("{}ms", digits(value)),
            _ => digits(value),
        }
    }

    /// What a sample gives of it.
    pub(crate) fn of(self, sample: &Sample) -> Option<f64> {
        let cost = &sample.cost;
        let gigabytes = |seconds: f64| match sample.reading {
            Reading::Bandwidth { bytes, .. } if bytes > 0.0 => Some(seconds / bytes * 1e9),
            _ => None,
        };
        let millions = |seconds: f64| (cost.frames > 0).then(|| seconds / cost.frames as f64 * 1e6);
        let reading = &sample.reading;
        match (self, sample.probe, reading) {
            (Self::TcpLatency, Probe::TcpLat, Reading::Latency { microseconds })
            | (Self::UdpLatency, Probe::UdpLat, Reading::Latency { microseconds }) => {
                Some(*microseconds)
            }
            (Self::TcpBandwidth, Probe::TcpBw, Reading::Bandwidth { megabits_per_second, .. })
            | (Self::UdpBandwidth, Probe::UdpBw, Reading::Bandwidth { megabits_per_second, .. }) => {
                Some(*megabits_per_second)
            }
            (Self::UdpLost, Probe::UdpBw, Reading::Bandwidth { lost_percent, .. }) => {
                Some(*lost_percent)
            }
            (Self::Qps, _, Reading::Http { requests_per_second, .. }) => Some(*requests_per_second),
            (Self::Average, _, Reading::Http { average_ms, .. }) => Some(*average_ms),
            (Self::Stdev, _, Reading::Http { stdev_ms, .. }) => Some(*stdev_ms),
            (Self::Max, _, Reading::Http { max_ms, .. }) => Some(*max_ms),
            (Self::TcpCpu, Probe::TcpBw, _) => gigabytes(cost.machine_seconds),
            (Self::TcpSwitchCpu, Probe::TcpBw, _) => gigabytes(cost.switch_seconds),
            (Self::UdpCpu, Probe::UdpBw, _) | (Self::HttpCpu, Probe::Http, _) => {
                millions(cost.machine_seconds)
            }
            (Self::UdpSwitchCpu, Probe::UdpBw, _) | (Self::HttpSwitchCpu, Probe::Http, _) => {
                millions(cost.switch_seconds)
            }
            _ => None,
        }
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_look_as_those_of_the_page() {
        assert_eq!(Metric::TcpLatency.show(12.72), "12.7 us");
        assert_eq!(Metric::TcpBandwidth.show(289.3), "289 Mbits/sec");
        assert_eq!(Metric::UdpBandwidth.show(7672.0), "7.67 Gbits/sec");
        assert_eq!(Metric::UdpLost.show(0.091), "(0.091%)");
        assert_eq!(Metric::Average.show(0.9), "0.900ms");
    }
}
