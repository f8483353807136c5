//! Ports: `OFPMP_PORT_DESC`, `OFPT_PORT_STATUS` and `OFPMP_PORT_STATS` (OpenFlow 1.5.1, 7.2.1, 7.4.3 and 7.3.5.6).

use std::fmt;
use std::time::Duration;

use bitflags::bitflags;

use crate::model::OfPort;

/// A port's name: at most 15 bytes and a NUL; OVS cuts longer ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName(pub [u8; 16]);

impl PortName {
    /// The name without the NULs that fill it up.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        &self.0[..length]
    }
}

impl From<&str> for PortName {
    /// The first 15 bytes of `name`.
    fn from(name: &str) -> Self {
        let mut bytes = [0; 16];
        let length = name.len().min(15);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self(bytes)
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

bitflags! {
    /// `OFPPC_*`: how a port was set.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PortConfig: u32 {
        /// It is administratively down.
        const PORT_DOWN = 1 << 0;
        /// It drops what it receives.
        const NO_RECV = 1 << 2;
        /// It drops what is sent to it.
        const NO_FWD = 1 << 5;
        /// It sends no packet-in.
        const NO_PACKET_IN = 1 << 6;
        const _ = !0;
    }
}

bitflags! {
    /// `OFPPS_*`: how a port is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PortState: u32 {
        /// It has no carrier.
        const LINK_DOWN = 1 << 0;
        /// It is blocked by a protocol such as spanning tree.
        const BLOCKED = 1 << 1;
        /// It is live for fast failover groups.
        const LIVE = 1 << 2;
        const _ = !0;
    }
}

/// `struct ofp_port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// Its number.
    pub port: OfPort,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its name.
    pub name: PortName,
    /// How it was set.
    pub config: PortConfig,
    /// How it is.
    pub state: PortState,
    /// `OFPPDPT_*` properties (speeds and features) as they came.
    pub properties: Box<[u8]>,
}

/// `OFPPR_*`: what happened to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortReason {
    /// It came.
    Add,
    /// It went.
    Delete,
    /// Something of it changed.
    Modify,
    /// A number that this crate has no name for.
    Other(u8),
}

impl From<u8> for PortReason {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Add,
            1 => Self::Delete,
            2 => Self::Modify,
            other => Self::Other(other),
        }
    }
}

impl From<PortReason> for u8 {
    fn from(reason: PortReason) -> Self {
        match reason {
            PortReason::Add => 0,
            PortReason::Delete => 1,
            PortReason::Modify => 2,
            PortReason::Other(other) => other,
        }
    }
}

/// `struct ofp_port_stats`; a counter that the port doesn't have is `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStats {
    /// Which port.
    pub port: OfPort,
    /// How long it has been there.
    pub duration: Duration,
    /// Packets that came in by it.
    pub rx_packets: u64,
    /// Packets that went out by it.
    pub tx_packets: u64,
    /// Bytes that came in by it.
    pub rx_bytes: u64,
    /// Bytes that went out by it.
    pub tx_bytes: u64,
    /// Packets that were dropped when they came in.
    pub rx_dropped: u64,
    /// Packets that were dropped instead of going out.
    pub tx_dropped: u64,
    /// Errors when receiving.
    pub rx_errors: u64,
    /// Errors when sending.
    pub tx_errors: u64,
    /// `OFPPSPT_*` properties (kinds of errors) as they came.
    pub properties: Box<[u8]>,
}
