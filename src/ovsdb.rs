//! The OVSDB client: a live copy of the bridge configuration, and transactions on it (RFC 7047).
//!
//! ```text
//! socket -> frame -> message -> session -> replica -> Snapshot --watch--> the agent
//!                               ^ | transact                                 |
//!                               +-+------------- Vec<Operation> <------------+
//! ```
//!
//! [`frame`], [`message`], [`replica`] and `session` are synchronous and know no socket and no clock;
//! `connection` owns the socket, [`client`] the reconnecting. Rows are typed as they arrive and
//! shared between snapshots, so a change costs what it touches.

pub mod client;
mod column;
mod connection;
mod datapath;
mod error;
pub mod frame;
mod lock;
pub mod message;
pub mod mirror_port;
pub mod operation;
pub mod replica;
mod session;
pub mod snapshot;
pub mod tables;

pub use client::{Client, Connection, State};
pub use datapath::Datapath;
pub use error::{ConnectionError, OvsdbError};
pub use lock::{Lock, lock_of_bridge};
pub use operation::{Cause, Operation, OperationResult, Rejection};
pub use snapshot::{Fault, Snapshot};
pub use tables::{Bridge, Interface, Mirror, Ofport, Port};
pub use uuid::Uuid;

/// The database that `ovs-vswitchd` works from.
pub const DATABASE: &str = "Open_vSwitch";
