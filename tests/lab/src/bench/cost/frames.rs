//! The frames of a chunk, and sending them.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::ensure;
use etherparse::PacketBuilder;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use serde::Serialize;

use crate::{Result, packet_socket};

/// The source of all frames.
const SOURCE: [u8; 6] = [2, 0, 0, 0x20, 0, 1];
/// Where unicast frames go: nobody's address, so that no host's stack takes them.
const DESTINATION: [u8; 6] = [2, 0, 0, 0x20, 0, 2];

/// A kind of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Frame {
    /// To everybody, as a Pod that asks for an address by DHCP sends it.
    pub(super) broadcast: bool,
    /// From the destination MAC address on, without the check sequence.
    pub(super) length: usize,
}

impl Frame {
    /// All that are sent.
    pub(super) const ALL: [Self; 4] = [
        Self { broadcast: false, length: 64 },
        Self { broadcast: false, length: 1400 },
        Self { broadcast: true, length: 64 },
        Self { broadcast: true, length: 1400 },
    ];

    /// In words.
    pub(super) fn name(self) -> String {
        format!("{} bytes, {}", self.length, if self.broadcast { "broadcast" } else { "unicast" })
    }

    fn bytes(self) -> Vec<u8> {
        let (mac, ip) =
            if self.broadcast { ([0xff; 6], [255; 4]) } else { (DESTINATION, [10, 16, 0, 2]) };
        let packet = PacketBuilder::ethernet2(SOURCE, mac).ipv4([10, 16, 0, 1], ip, 64);
        let packet = packet.udp(40_000, 9);
        let payload = vec![0x5a; self.length - 14 - 20 - 8];
        let mut frame = Vec::with_capacity(self.length);
        packet.write_to_vec(&mut frame, &payload).expect("it is short enough");
        frame
    }
}

/// A packet socket that sends one frame many times.
pub(super) struct Sender {
    socket: OwnedFd,
    frame: Vec<u8>,
}

impl Sender {
    /// For an interface of this thread's network namespace.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn open(interface: &str, kind: Frame) -> Result<Self> {
        Ok(Self { socket: packet_socket(interface, None)?, frame: kind.bytes() })
    }

    /// Sends so many frames.
    ///
    /// # Errors
    /// The kernel refuses them.
    pub(super) fn send(&mut self, mut count: usize) -> Result {
        /// What the kernel takes in one call (UIO_MAXIOV).
        const MOST: usize = 1024;
        while count > 0 {
            let now = count.min(MOST);
            let slices = vec![[IoSlice::new(&self.frame)]; now];
            let mut headers = MultiHeaders::<()>::preallocate(now, None);
            let addresses = vec![None; now];
            let fd = self.socket.as_raw_fd();
            let sent =
                sendmmsg(fd, &mut headers, &slices, addresses, [], MsgFlags::empty())?.count();
            ensure!(sent > 0, "nothing was sent");
            count -= sent;
        }
        Ok(())
    }
}
