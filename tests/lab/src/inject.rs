//! Frames that a test has made up, put on a wire as they are.

use anyhow::{Context as _, ensure};
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket},
};
use std::os::fd::AsRawFd as _;

use crate::{Namespace, Pod, Result};

impl Pod {
    /// Sends a frame, from its destination MAC address on.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn inject(&self, frame: &[u8]) -> Result {
        self.namespace().inject("eth0", frame)
    }
}

impl Namespace {
    /// Sends a frame by one of the namespace's interfaces.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses the frame.
    pub fn inject(&self, interface: &str, frame: &[u8]) -> Result {
        self.inside(|| {
            let link = getifaddrs()?
                .filter(|address| address.interface_name == interface)
                .find_map(|address| address.address?.as_link_addr().copied());
            let link = link.with_context(|| format!("there is no interface {interface}"))?;
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            let sent = sendto(socket.as_raw_fd(), frame, &link, MsgFlags::empty())?;
            ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
            Ok(())
        })
    }
}
