//! OpenFlow with the switch: [`codec`] cuts messages, [`session`] gives them meaning, [`connection`] owns the socket.
//! [`no_flood`] has a short conversation of its own, in the one version that knows that bit.

pub mod codec;
pub mod connection;
pub mod link;
pub mod no_flood;
pub mod session;
