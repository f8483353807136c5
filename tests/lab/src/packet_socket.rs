//! Packet sockets: whole frames, past all of the network stack.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, socket},
};

use crate::Result;

/// A packet socket on an interface of this thread's network namespace; without a protocol it receives nothing, and with one at first
/// what other interfaces get.
///
/// # Errors
/// There is no such interface.
pub fn packet_socket(interface: &str, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(socket.as_raw_fd(), &link(interface)?)?;
    Ok(socket)
}

fn link(interface: &str) -> Result<LinkAddr> {
    getifaddrs()?
        .filter(|address| address.interface_name == interface)
        .find_map(|address| address.address?.as_link_addr().copied())
        .with_context(|| format!("there is no interface {interface}"))
}
