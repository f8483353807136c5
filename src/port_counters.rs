//! What a port has counted, from the switch's side: what the switch sent to it, and what it received from it.
//!
//! OpenFlow's port statistics are meant to say just that. But on the kernel's datapath Open vSwitch passes on what the network
//! device counted, and an internal port's device counts from the host's side: the host *receives* what the switch
//! *sends*. On the userspace datapath an internal port is a tap device, whose counters Open vSwitch swaps itself.
//!
//! | port | datapath | counts from | by, in Open vSwitch's `lib/netdev-linux.c` |
//! |---|---|---|---|
//! | internal, the bridge's own port too | kernel | the host's side | `netdev_internal_get_stats` |
//! | internal, the bridge's own port too | userspace | the switch's side | `netdev_tap_get_stats` |
//! | any other | both | the switch's side | `netdev_linux_get_stats`, and `lib/netdev-vport.c` for tunnels and patch ports |
//!
//! That is so from Open vSwitch 2.17 to 4.0, on Linux from 4.3 on: its `net/openvswitch/vport.c` has no counters of its own any
//! more. No sockets, no clock.

use std::collections::HashSet;

use flows::{model::OfPort, ofp::PortStats};

use crate::ovsdb::{Datapath, Snapshot};

/// Bytes of an Ethernet header: two addresses and a type (IEEE 802.3).
const ETHERNET_HEADER: u64 = 14;

/// From whose side a port counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// `tx` is what the switch sent.
    #[default]
    Switch,
    /// `rx` is what the switch sent, since the host received it.
    Host,
}

/// From whose side each port of a bridge counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    host: HashSet<OfPort>,
}

/// What a port has counted; none is what it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Packets that the switch sent to the port.
    pub sent_packets: Option<u64>,
    /// Their bytes.
    pub sent_bytes: Option<u64>,
    /// Packets that the port dropped when the switch sent them.
    pub sent_dropped: Option<u64>,
    /// Packets that the switch failed to send to the port.
    pub sent_errors: Option<u64>,
    /// Packets that the switch received from the port.
    pub received_packets: Option<u64>,
    /// Their bytes.
    pub received_bytes: Option<u64>,
}

impl Side {
    /// The side from which a port counts that is internal or not.
    #[must_use]
    pub fn of(datapath: Datapath, internal: bool) -> Self {
        match (datapath, internal) {
            (Datapath::Kernel, true) => Self::Host,
            _ => Self::Switch,
        }
    }

    /// What the statistics of a port that counts from this side say.
    #[must_use]
    pub fn read(self, stats: &PortStats) -> PortCounters {
        match self {
            Self::Switch => PortCounters {
                sent_packets: stats.tx_packets,
                sent_bytes: stats.tx_bytes,
                sent_dropped: stats.tx_dropped,
                sent_errors: stats.tx_errors,
                received_packets: stats.rx_packets,
                received_bytes: stats.rx_bytes,
            },
            Self::Host => PortCounters {
                sent_packets: stats.rx_packets,
                // The kernel counts a packet for the host after it has taken the Ethernet header off (`internal_dev_recv`).
                sent_bytes: stats.rx_packets.zip(stats.rx_bytes).map(|(packets, bytes)| {
                    bytes.saturating_add(packets.saturating_mul(ETHERNET_HEADER))
                }),
                sent_dropped: stats.rx_dropped,
                // The kernel books a packet that is longer than the MTU as the device's transmit error before it knows what
                // kind of port it is for (`ovs_vport_send`); what the host fails to transmit is booked there too, which is rare.
                sent_errors: sum(stats.rx_errors, stats.tx_errors),
                received_packets: stats.tx_packets,
                received_bytes: stats.tx_bytes,
            },
        }
    }
}

impl Sides {
    /// The sides of the ports of the bridge of that name. Takes as long as the bridge has ports, if it is on the kernel's
    /// datapath.
    #[must_use]
    pub fn of(snapshot: &Snapshot, bridge: &str) -> Self {
        let bridge = snapshot.bridge(bridge).filter(|bridge| bridge.datapath() == Datapath::Kernel);
        let interfaces = bridge.into_iter().flat_map(|bridge| {
            let interfaces =
                snapshot.ports_of(bridge).flat_map(|port| snapshot.interfaces_of(port));
            interfaces.filter(|interface| interface.kind == "internal")
        });
        let numbers = interfaces.filter_map(|interface| interface.ofport.number());
        // The bridge's own port is internal whatever its row says, and has a number of its own on OpenFlow 1.1 and later.
        let host = numbers.map(|number| OfPort(number.into())).chain(bridge.map(|_| OfPort::LOCAL));
        host.collect()
    }

    /// The side from which this port counts.
    #[must_use]
    pub fn side(&self, port: OfPort) -> Side {
        if self.host.contains(&port) { Side::Host } else { Side::Switch }
    }
}

impl FromIterator<OfPort> for Sides {
    /// These ports count from the host's side.
    fn from_iter<I: IntoIterator<Item = OfPort>>(host: I) -> Self {
        Self { host: host.into_iter().collect() }
    }
}

/// The sum of what is counted.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    let known = one.or(other)?;
    Some(one.zip(other).map_or(known, |(one, other)| one.saturating_add(other)))
}

#[cfg(test)]
mod tests;
