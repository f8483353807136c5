//! What is to be mirrored: taps, the input of [`crate::plan`].

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::model::OfPort;

/// A wish to copy some packets of one port to a sink.
///
/// Filters, snap lengths, rates and further sinks are to become variants of [`Select`] and [`Portion`] and values of
/// `sink`; today every tap copies everything, whole, to the one mirror port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The port's name in OVS, by which people know it.
    pub port: Arc<str>,
    /// Its OpenFlow number, once OVS has given it one.
    pub ofport: Option<OfPort>,
    /// Which of its packets.
    pub direction: Direction,
    /// Which of these.
    pub select: Select,
    /// How much of each.
    pub portion: Portion,
    /// The port that gets the copies.
    pub sink: OfPort,
}

/// A packet's way as the Pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What the Pod sends.
    FromPod,
    /// What is delivered to the Pod.
    ToPod,
}

/// Which packets of a port are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// All of them.
    Everything,
}

/// How much of a packet is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// All of it.
    Whole,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::FromPod, Self::ToPod];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
        })
    }
}
