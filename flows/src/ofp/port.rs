//! Ports: `OFPMP_PORT_DESC`, `OFPT_PORT_STATUS` and `OFPMP_PORT_STATS` (OpenFlow 1.5.1, 7.2.1, 7.4.3 and 7.3.5.6).

use std::fmt;
use std::time::Duration;

use bitflags::bitflags;
use bytes::{BufMut, BytesMut};

use super::coding::{DecodeError, EncodeError, Problem, Reader, set_length};
use super::flow_stats::{duration, entry, put_duration};

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

/// `struct ofp_port_stats`. A counter is none if the port doesn't have it, which is told as the highest number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStats {
    /// Which port.
    pub port: OfPort,
    /// How long it has been there, if the switch knows.
    pub duration: Option<Duration>,
    /// Packets that came in by it.
    pub rx_packets: Option<u64>,
    /// Packets that went out by it.
    pub tx_packets: Option<u64>,
    /// Bytes that came in by it.
    pub rx_bytes: Option<u64>,
    /// Bytes that went out by it.
    pub tx_bytes: Option<u64>,
    /// Packets that were dropped when they came in.
    pub rx_dropped: Option<u64>,
    /// Packets that were dropped instead of going out.
    pub tx_dropped: Option<u64>,
    /// Errors when receiving.
    pub rx_errors: Option<u64>,
    /// Errors when sending.
    pub tx_errors: Option<u64>,
    /// `OFPPSPT_*` properties (kinds of errors) as they came.
    pub properties: Box<[u8]>,
}

impl PortDesc {
    /// One port, whose length field says where it ends.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = OfPort(reader.within("port description").u32()?);
        let length = usize::from(reader.u16()?);
        let Some(rest) = length.checked_sub(6) else {
            return Err(reader.error(Problem::Length(length)));
        };
        let mut rest = reader.part(rest, "port description")?;
        rest.skip(2)?;
        let mac = rest.bytes()?;
        rest.skip(2)?;
        let name = PortName(rest.bytes()?);
        let config = PortConfig::from_bits_retain(rest.u32()?);
        let state = PortState::from_bits_retain(rest.u32()?);
        Ok(Self { port, mac, name, config, state, properties: rest.rest().into() })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.port.0);
        out.put_u32(0);
        out.put_slice(&self.mac);
        out.put_u16(0);
        out.put_slice(&self.name.0);
        out.put_u32(self.config.bits());
        out.put_u32(self.state.bits());
        out.put_slice(&self.properties);
        set_length(out, start + 4, out.len() - start, "port description")
    }
}

/// What OVS tells instead of a figure that it doesn't know.
const UNKNOWN: u64 = u64::MAX;

impl PortStats {
    /// One port, whose length field says where it ends.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entry = entry(reader, "port statistics")?;
        entry.skip(2)?;
        Ok(Self {
            port: OfPort(entry.u32()?),
            duration: if entry.peek().u64()? == UNKNOWN {
                entry.skip(8)?;
                None
            } else {
                Some(duration(&mut entry)?)
            },
            rx_packets: counter(&mut entry)?,
            tx_packets: counter(&mut entry)?,
            rx_bytes: counter(&mut entry)?,
            tx_bytes: counter(&mut entry)?,
            rx_dropped: counter(&mut entry)?,
            tx_dropped: counter(&mut entry)?,
            rx_errors: counter(&mut entry)?,
            tx_errors: counter(&mut entry)?,
            properties: entry.rest().into(),
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(0);
        out.put_u32(self.port.0);
        match self.duration {
            Some(time) => put_duration(out, time)?,
            None => out.put_u64(UNKNOWN),
        }
        for counter in [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
        ] {
            out.put_u64(counter.unwrap_or(UNKNOWN));
        }
        out.put_slice(&self.properties);
        set_length(out, start, out.len() - start, "port statistics")
    }
}

fn counter(reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    Ok(Some(reader.u64()?).filter(|figure| *figure != UNKNOWN))
}
