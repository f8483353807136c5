//! One measurement: a run of qperf or wrk, and what it cost.

mod qperf;
mod wrk;

use std::fmt;

use anyhow::{Context as _, ensure};
use lab::{Output, Result, SERVICE_PORTS, TwoNodes};
use serde::{Deserialize, Serialize};

use crate::{
    cpu::Busy,
    in_force,
    results::{Cost, Reading},
    scenario::Way,
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Probe {
    /// How long a message takes one way, over TCP.
    TcpLat,
    /// What goes through, over TCP.
    TcpBw,
    /// How long a message takes one way, over UDP.
    UdpLat,
    /// What goes through and what is lost, over UDP.
    UdpBw,
    /// Requests of HTTP, over connections that stay.
    Http,
}

impl Probe {
    /// Those of qperf.
    pub(crate) const STREAMS: [Self; 4] = [Self::TcpLat, Self::TcpBw, Self::UdpLat, Self::UdpBw];

    /// Runs it: with messages of `parameter` bytes, or as many connections.
    pub(crate) fn run(
        self,
        nodes: &TwoNodes,
        way: &Way,
        parameter: u32,
        seconds: u32,
    ) -> Result<(Reading, Cost)> {
        let address = way.address.to_string();
        // Either can wait for ever.
        let limit = (seconds + 20).to_string();
        let program = way.client.program("timeout").arg(limit);
        let invocation = match self {
            Self::Http => program.args(["wrk", "-t1"]).args([
                format!("-c{parameter}"),
                format!("-d{seconds}s"),
                format!("http://{address}:{}/", way.http_port),
            ]),
            _ => program.args(["qperf", &address, "-uu", "-vvs"]).args([
                "-t".to_owned(),
                seconds.to_string(),
                "-m".into(),
                parameter.to_string(),
                "-ip".into(),
                SERVICE_PORTS[2].to_string(),
                self.to_string(),
            ]),
        };
        let before = State::of(nodes, way)?;
        let Output { status, stdout, stderr } = invocation.output()?;
        let cost = State::of(nodes, way)?.since(&before);
        ensure!(status.success(), "{status}: {} {}", stdout.trim(), stderr.trim());
        let reading = match self {
            Self::Http => wrk::read(&stdout),
            Self::TcpLat | Self::UdpLat => qperf::latency(&stdout),
            Self::TcpBw | Self::UdpBw => qperf::bandwidth(&stdout),
        };
        let reading = reading.with_context(|| format!("{stdout}{stderr}"))?;
        Ok((reading, cost))
    }
}

/// As qperf calls it.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcpLat => "tcp_lat",
            Self::TcpBw => "tcp_bw",
            Self::UdpLat => "udp_lat",
            Self::UdpBw => "udp_bw",
            Self::Http => "http",
        })
    }
}

/// Counters at one moment.
struct State {
    busy: Busy,
    copies: [u64; 2],
    frames: u64,
}

impl State {
    fn of(nodes: &TwoNodes, way: &Way) -> Result<Self> {
        let (received, sent) = way.server.transmissions(way.server_interface)?;
        Ok(Self {
            busy: Busy::now(nodes)?,
            copies: in_force::copies(nodes)?,
            frames: received + sent,
        })
    }

    fn since(&self, before: &Self) -> Cost {
        Cost {
            machine_seconds: self.busy.machine.saturating_sub(before.busy.machine).as_secs_f64(),
            switch_seconds: self.busy.switches.saturating_sub(before.busy.switches).as_secs_f64(),
            frames: self.frames - before.frames,
            copies: [self.copies[0] - before.copies[0], self.copies[1] - before.copies[1]],
        }
    }
}
