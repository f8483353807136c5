//! A whole OVN node in network namespaces, and the tests that run ofmirror on it.
//!
//! ```text
//!   namespace n1 (the host)                                        namespaces n1-a ... n1-e (the Pods)
//!   ┌───────────────────────────────────────────────────┐
//!   │ ovsdb-server  NB  SB  northd  ovn-controller      │   sw1: a, b, e   10.16.0.0/16  fd00:10:16::/64
//!   │ ovs-vswitchd ── br-int ──┬── a_h ─────────────────┼── eth0
//!   │                          ├── b_h ... e_h          │   sw2: c, d      10.17.0.0/16  fd00:10:17::/64
//!   │ ofmirror agent           └── mirror0 ── tcpdump   │   router between them, service VIPs on both
//!   └───────────────────────────────────────────────────┘
//! ```
//!
//! A test reads like a story: [`Node::start`], [`Node::capture`], traffic between [`Pod`]s, and
//! [`Recording::assert_exact`]. Nothing of it works outside of `tests/lab/sandbox`, which is what removes everything
//! afterwards, whatever happens. Errors are `anyhow`: their only reader is the person before a failed test.

mod agent;
mod annotation;
mod bench;
mod browser;
mod capture;
mod checksum;
mod cluster;
mod command;
mod confined;
mod conversation;
mod counters;
mod daemon;
mod dashboard;
mod datagrams;
mod demo;
mod estate;
mod flag_table;
mod frames;
mod honesty;
mod hooks;
mod impostor;
mod inject;
mod intruder;
mod link_watch;
mod load;
mod mac;
mod namespace;
mod naming;
mod node;
mod node_state;
mod packet_socket;
mod pcap;
mod pod;
mod prometheus;
mod proxy;
mod pulse;
mod record;
mod sandbox;
mod script;
mod services;
mod standing;
mod switch;
mod topology;
mod traffic;
mod two_nodes;
mod wait;

pub use agent::{Agent, HttpAnswer};
pub use bench::{
    CostOptions, FaultOptions, Work, bench, cost, describe_machine, faults, overhead, scale,
};
pub use browser::Browser;
pub use capture::{Capture, MIRROR};
pub use cluster::{Cluster, Component, DaemonSet, Event, PodObject, Request, ServiceAccount};
pub use command::{Invocation, Output};
pub use conversation::{Conversation, line_of};
pub use counters::{Counters, OURS};
pub use daemon::{Daemon, Service};
pub use dashboard::{Question, questions};
pub use datagrams::Arrivals;
pub use demo::demo;
pub use estate::ensure_same;
pub use flag_table::{FlagStage, Tried, WrongFlag, wrong, wrong_variable};
pub use frames::{Difference, Frame, PodFrames, Recording};
pub use honesty::Witness;
pub use hooks::{HOOKS, Hook};
pub use impostor::Impostor;
pub use intruder::intrusion;
pub use link_watch::LinkWatch;
pub use load::Load;
pub use mac::Mac;
pub use namespace::Namespace;
pub use naming::PortName;
pub use nix::sys::signal::Signal;
pub use node::{KERNELS_DATAPATH, Node, datapath};
pub use node_state::NodeState;
pub use packet_socket::packet_socket;
pub use pod::{Pod, PodSpec};
pub use prometheus::{Haste, Prometheus, deployed};
pub use proxy::{Peer, Proxy};
pub use pulse::{Beat, Beats, Pulse};
pub use record::record;
pub use script::surplus;
pub use services::{Echo, Proto};
pub use standing::Standing;
pub use topology::{EVERYONE, SWITCHES, Switch, VIP_TCP_PORT, VIP_UDP_PORT, VIP4, VIP6};
pub use two_nodes::{NODE_IPS, NODE_PORT_OF_B, NODE_PORT_OF_C, SERVICE_PORTS, TwoNodes};
pub use wait::until;

/// The result of everything in the lab.
pub type Result<T = ()> = anyhow::Result<T>;
