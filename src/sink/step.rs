//! What is to be done next about the mirror port, or why nothing can be.

use std::fmt;

use flows::model::OfPort;

use super::{eligible::Ineligible, loops};
use crate::{
    nic::{self, Link, Unattachable},
    ovsdb::{Bridge, Interface, Port, mirror_port::PortKind},
};

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing; the port is ready, and this is its OpenFlow number.
    Done(OfPort),
    /// Nothing; somebody else must act first.
    Wait(Problem),
    /// Make a port.
    Create(&'a Bridge, PortKind),
    /// Take our port off the bridge.
    Remove(&'a Bridge, &'a Port, Removal),
    /// Have the switch give it this MTU in bytes, or with none the smallest of the bridge's other ports.
    RequestMtu(&'a Interface, Option<u32>),
    /// Make the device quiet.
    Quiet(&'a Link, Vec<nic::Change>),
}

/// Why a port of ours is taken off the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its device is gone; the next step makes it anew.
    Gone,
    /// Its MTU lowers that of other ports.
    TooShort,
    /// It is an internal port, and has the name of a NIC that is to be waited for.
    InTheWay,
}

/// Why the mirror port can't be had now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing to attach to.
    #[error(
        "there is no bridge {0} in OVSDB: is Open vSwitch set up by your CNI, or is it --bridge that is wrong?"
    )]
    NoBridge(String),
    /// A port has one bridge.
    #[error(
        "{nic} is a port of bridge {bridge}: choose another --mirror-iface, or remove it from there"
    )]
    OtherBridge {
        /// The NIC.
        nic: String,
        /// Its bridge.
        bridge: String,
    },
    /// The node needs it.
    #[error(transparent)]
    Unattachable(#[from] Unattachable),
    /// Copies would come back, or get to a Pod.
    #[error(transparent)]
    Loop(#[from] loops::Loop),
    /// It is somebody else's port.
    #[error(transparent)]
    Ineligible(#[from] Ineligible),
    /// The link was asked for by another name than its own.
    #[error("{nic} is another name of {link}: name it by --mirror-iface={link}")]
    OtherName {
        /// The name that was asked for.
        nic: String,
        /// The link's own.
        link: String,
    },
    /// A port can't have two owners, nor can an interface.
    #[error("{nic} is an interface of another port in OVSDB; choose another --mirror-iface")]
    Interface {
        /// The NIC.
        nic: String,
    },
    /// Open vSwitch would give internal ports the NIC's MTU.
    #[error(
        "{nic} has an MTU of {mtu} and gets no larger one, but the ports of the bridge have {least} and more: with it Open vSwitch would lower the MTU of the bridge's internal ports, such as the node's own; choose a --mirror-iface whose MTU can be {least}"
    )]
    TooShort {
        /// The NIC.
        nic: String,
        /// Its MTU in bytes.
        mtu: u32,
        /// The smallest MTU of the other ports that count.
        least: u32,
    },
    /// Open vSwitch would give internal ports the NIC's MTU, as there is no other.
    #[error(
        "{nic} is attached when the first Pod is there: before, Open vSwitch would give {other} the NIC's MTU of {mtu} instead of {its}"
    )]
    OnlyMtu {
        /// The NIC.
        nic: String,
        /// Its MTU in bytes.
        mtu: u32,
        /// An internal port.
        other: String,
        /// Its MTU in bytes.
        its: u32,
    },
    /// The agent must not make it.
    #[error("there is no NIC {0} yet; waiting for it, as --mirror-iface-must-exist says")]
    Missing(String),
    /// OVS has a port row, but no device.
    #[error("Open vSwitch can't open {nic}: {error}")]
    Broken {
        /// The NIC.
        nic: String,
        /// What OVS says in the interface's `error` column.
        error: String,
    },
    /// It will have.
    #[error("Open vSwitch has given {0} no OpenFlow number yet")]
    NoOfPort(String),
    /// The kernel doesn't show it yet.
    #[error("{0} is a port of the bridge, but no device of this network namespace")]
    NoLink(String),
}

impl Step<'_> {
    /// Whether the NIC, or the port of its name, is somebody else's or leads back into the bridge.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Wait(problem) = self else { return false };
        matches!(
            problem,
            Problem::Ineligible(_)
                | Problem::Loop(_)
                | Problem::Unattachable(_)
                | Problem::OtherBridge { .. }
                | Problem::Interface { .. }
                | Problem::OtherName { .. }
        )
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("nothing"),
            Self::Wait(problem) => problem.fmt(f),
            Self::Create(bridge, PortKind::Internal) => {
                write!(f, "make it as an internal port of {}", bridge.name)
            }
            Self::Create(bridge, PortKind::Device) => write!(f, "attach it to {}", bridge.name),
            Self::Remove(bridge, port, why) => {
                write!(f, "take {} off {}, as {why}", port.name, bridge.name)
            }
            Self::RequestMtu(_, Some(mtu)) => write!(f, "set the MTU to {mtu}"),
            Self::RequestMtu(_, None) => f.write_str("leave the MTU to Open vSwitch"),
            Self::Quiet(_, changes) => {
                for (place, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "its device is gone, and make it anew",
            Self::TooShort => "its MTU lowers that of other ports",
            Self::InTheWay => "it keeps a NIC of that name from coming",
        })
    }
}
