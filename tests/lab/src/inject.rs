//! Frames that a test has made up, put on a wire as they are.

use std::os::fd::AsRawFd as _;

use anyhow::ensure;
use nix::sys::socket::{MsgFlags, send};

use crate::{Namespace, Pod, Result, packet_socket};

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
            let socket = packet_socket(interface, None)?;
            let sent = send(socket.as_raw_fd(), frame, MsgFlags::empty())?;
            ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
            Ok(())
        })
    }
}
