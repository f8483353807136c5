//! OpenFlow with the switch: [`codec`] cuts messages, [`session`] gives them meaning, [`connection`] owns the socket.

pub mod codec;
pub mod connection;
pub mod link;
pub mod session;
