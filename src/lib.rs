//! The node agent: everything that touches the world.

pub mod endpoint;
pub mod nic;
pub mod openflow;
pub mod ovsdb;
pub mod switch;
