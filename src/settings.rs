//! What is to be mirrored, and where the node's Open vSwitch is: the same for the agent and for those who look.

mod stated;

use std::{fs, io, path::PathBuf};

use clap::ValueEnum;
use flows::marker::MarkerBits;
use serde::{Deserialize, Serialize};
pub use stated::{StatedSettings, StatedSource};

use crate::{endpoint::Endpoint, selection::Wish};

/// Where the kernel tells the host's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// One node's mirror.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose packets are wanted.
    pub wish: Wish,
    /// Name of the mirror NIC.
    pub nic: String,
    /// Whether a NIC that does not exist is waited for, instead of made.
    pub nic_must_exist: bool,
    /// Where the daemons of Open vSwitch leave their process numbers.
    pub run_folder: PathBuf,
    /// Where OVSDB listens.
    pub ovsdb: Endpoint,
    /// Where the bridge speaks OpenFlow.
    pub openflow: Endpoint,
    /// Bits of `reg10` to mark frames with, if not those that are found free.
    pub marker: Option<MarkerBits>,
    /// Where Pods are learnt from.
    pub pods: PodSource,
    /// When copies are wanted.
    pub when: MirrorWhen,
}

/// When copies are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MirrorWhen {
    /// Copies go to the mirror NIC whether anybody listens or not
    #[default]
    Always,
    /// Hooks are installed only while somebody has a packet socket on the mirror NIC, as tcpdump has
    Listened,
}

/// Where Pods are learnt from.
#[derive(Clone, Debug)]
pub enum PodSource {
    /// The interfaces on the bridge.
    Ovsdb,
    /// The API server.
    Kubernetes {
        /// Where it is, and who we are.
        config: Box<kube::Config>,
        /// This node's name there.
        node: String,
    },
    /// The API server, which the agent asks and a command that looks at the agent's work can't.
    Unreadable {
        /// This node's name there.
        node: String,
        /// Why it can't be asked.
        reason: String,
    },
}

/// The host's name, as the kernel tells it.
///
/// # Errors
/// There is no `/proc`.
pub fn host_name() -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{HOSTNAME}: {error}"));
    Ok(fs::read_to_string(HOSTNAME).map_err(named)?.trim().to_owned())
}
