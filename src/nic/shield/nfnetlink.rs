//! The kernel's netlink socket for filters: requests go in, and what it answers comes out.
//!
//! The kernel does what a request says before it lets go of the sender, and has answered by then. So nothing is waited
//! for: what can't be read at once does not come.

use std::io;

use rtnetlink::{
    packet_core::{
        Emitable as _, NLM_F_ACK, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
        NetlinkBuffer, NetlinkHeader,
    },
    sys::{Socket as NetlinkSocket, SocketAddr, protocols::NETLINK_NETFILTER},
};

/// Length of a netlink message's header, in bytes.
const HEADER: usize = 16;
/// Most answers that are read: a filter of ours has a handful of rules.
const ANSWERS: usize = 1024;

/// Room for what the kernel sends in one piece, in bytes; it never sends more than it is given room for.
const DATAGRAM: usize = 64 * 1024;

/// A message of nfnetlink without the header that all netlink messages have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its type, with the number of the subsystem in the upper half.
    pub(super) kind: u16,
    /// Its flags, but for those that all requests have.
    pub(super) flags: u16,
    /// What follows the header.
    pub(super) payload: Vec<u8>,
}

/// An answer: its type and what follows the header.
pub(super) type Answer = (u16, Vec<u8>);

/// A socket in the network namespace of the caller.
pub(super) struct Socket(NetlinkSocket);

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let socket = NetlinkSocket::new(NETLINK_NETFILTER)?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Has the kernel carry out a batch, all of it or nothing.
    pub(super) fn commit(&self, batch: &[Request]) -> io::Result<()> {
        self.send(batch, NLM_F_ACK)?;
        self.answers().map(drop)
    }

    /// Asks for something.
    pub(super) fn dump(&self, request: &Request) -> io::Result<Vec<Answer>> {
        self.send(std::slice::from_ref(request), 0)?;
        self.answers()
    }

    /// Sends requests in one piece, as the kernel wants a batch.
    fn send(&self, requests: &[Request], flags: u16) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (number, request) in (1..).zip(requests) {
            let mut header = NetlinkHeader::default();
            let length = HEADER + request.payload.len();
            header.length = u32::try_from(length).map_err(io::Error::other)?;
            header.message_type = request.kind;
            header.flags = NLM_F_REQUEST | request.flags | flags;
            header.sequence_number = number;
            let start = bytes.len();
            bytes.resize(start + HEADER, 0);
            header.emit(&mut bytes[start..]);
            bytes.extend(&request.payload);
        }
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// All that the kernel has answered, or the first error among it.
    fn answers(&self) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        while answers.len() < ANSWERS {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.0.recv(&mut datagram, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let mut rest = datagram.as_slice();
            while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                let payload = message.payload();
                match message.message_type() {
                    NLMSG_NOOP | NLMSG_DONE => {}
                    NLMSG_ERROR => check(payload)?,
                    kind => answers.push((kind, payload.to_vec())),
                }
                let length = (message.length() as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
        Ok(answers)
    }
}

/// An error message begins with a negative error number, or with zero, which is an acknowledgement.
fn check(payload: &[u8]) -> io::Result<()> {
    let number = payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    match number {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}
