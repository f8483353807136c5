//! The node agent: everything that touches the world.

pub mod endpoint;
pub mod openflow;
pub mod switch;
pub mod ovsdb;
