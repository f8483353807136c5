//! Somebody who listens on a mirror port, as tcpdump does.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockProtocol, recv, setsockopt, sockopt::RcvBufForce},
};

use crate::{Result, packet_socket};

/// Room for a chunk of long frames, with the kernel's own data for each, in bytes.
const ROOM: usize = 16 << 20;

/// A packet socket whose frames are only read after a chunk: measured is what the kernel does for a listener, not what the
/// listener does.
pub(super) struct Listener(OwnedFd);

impl Listener {
    /// On an interface of this thread's network namespace.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn open(interface: &str) -> Result<Self> {
        let socket = packet_socket(interface, Some(SockProtocol::EthAll))?;
        setsockopt(&socket, RcvBufForce, &ROOM)?;
        let listener = Self(socket);
        // Until it was bound, it heard every interface.
        listener.drain()?;
        Ok(listener)
    }

    /// Reads what was heard, and says how many frames it was.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn drain(&self) -> Result<usize> {
        let mut heard = 0;
        loop {
            match recv(self.0.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
                Ok(_) => heard += 1,
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
