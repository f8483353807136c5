//! Flags that say where the node's Open vSwitch is.

use std::path::PathBuf;

use clap::Args;

use super::nic_name;
use crate::endpoint::Endpoint;

/// The bridge, and where it and OVSDB are to be found.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// Bridge that OVN runs
    #[arg(long, env = "OFMIRROR_BRIDGE", default_value = "br-int", value_name = "NAME", value_parser = nic_name)]
    pub(super) bridge: String,

    /// Folder with the sockets of Open vSwitch
    #[arg(
        long,
        env = "OFMIRROR_OVS_RUNDIR",
        default_value = "/var/run/openvswitch",
        value_name = "FOLDER"
    )]
    pub(super) ovs_rundir: PathBuf,

    /// OVSDB's socket, unix:PATH or tcp:HOST:PORT [default: db.sock in --ovs-rundir]
    #[arg(long, env = "OFMIRROR_OVSDB", value_name = "SOCKET")]
    pub(super) ovsdb: Option<Endpoint>,

    /// The bridge's OpenFlow socket, unix:PATH or tcp:HOST:PORT [default: BRIDGE.mgmt in --ovs-rundir]
    #[arg(long, env = "OFMIRROR_OPENFLOW", value_name = "SOCKET")]
    pub(super) openflow: Option<Endpoint>,
}

impl Place {
    pub(super) fn ovsdb(&self) -> Endpoint {
        self.ovsdb.clone().unwrap_or_else(|| Endpoint::Unix(self.ovs_rundir.join("db.sock")))
    }

    pub(super) fn openflow(&self) -> Endpoint {
        let socket = || self.ovs_rundir.join(format!("{}.mgmt", self.bridge));
        self.openflow.clone().unwrap_or_else(|| Endpoint::Unix(socket()))
    }
}
