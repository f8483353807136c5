//! The node agent: everything that touches the world.

pub mod endpoint;
