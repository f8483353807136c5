//! The OpenFlow 1.5 wire codec with the Nicira extensions that OVS and OVN use.
//!
//! In goes the type code and the body of a message (what follows its 8-byte header), out comes a [`Message`], and the
//! other way round. Framing, transaction numbers and the header itself are the session's. What has no name here is kept
//! as it came ([`Message::Raw`], [`crate::model::Action::Raw`] and so on) and written back byte for byte.
//!
//! Nothing that a peer sends makes [`Message::decode`] panic, nest deeper than [`MAX_DEPTH`], or allocate more than a
//! small multiple of the bytes it was given.

mod action;
mod bundle;
mod coding;
mod config;
mod error;
mod error_names;
mod features;
mod flow_mod;
mod flow_monitor;
mod flow_removed;
mod flow_stats;
mod hello;
mod instruction;
mod message;
mod multipart;
pub mod numbers;
mod oxm;
mod port;
mod table_stats;

pub use action::MAX_DEPTH;
pub(crate) use action::decode_list as decode_actions;
pub use bundle::{BundleCommand, BundleFlags};
pub(crate) use coding::Reader;
pub use coding::{DecodeError, EncodeError, MAX_BODY, Problem};
pub use config::{AsyncEvent, AsyncMask, AsyncRole};
pub use error::OfpError;
pub use features::Features;
pub use flow_mod::{FlowFlags, FlowMod, FlowModCommand, GROUP_ANY, Timeouts};
pub use flow_monitor::{FlowMonitorCommand, FlowMonitorRequest, FlowUpdate, MonitorFlags};
pub use flow_removed::{FlowRemoved, RemovedReason};
pub use flow_stats::{FlowDesc, FlowFilter, FlowStats, FlowStatsEntry};
pub use hello::Versions;
pub use message::Message;
pub use multipart::{MultipartReply, MultipartRequest};
pub(crate) use oxm::{decode_field, decode_field_name};
pub use port::{PortConfig, PortDesc, PortName, PortReason, PortState, PortStats};
pub use table_stats::TableStats;

/// The version byte of OpenFlow 1.5, which every header of this codec's messages bears.
pub const VERSION: u8 = 6;
