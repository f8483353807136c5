//! Every frame on Pods' ports and on the mirror NIC, by one packet socket for all NICs of the node: it outlives each of them, and
//! has one clock for all.

use std::{
    collections::{BTreeMap, HashMap},
    io::IoSliceMut,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use nix::{
    errno::Errno,
    net::if_::if_indextoname,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol,
            SockType, recvmsg, setsockopt, socket,
            sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns},
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::{Frame, MIRROR, Namespace, PodFrames, Recording, Result, SWITCHES, pcap::SNAPLEN};

/// PACKET_OUTGOING of linux/if_packet.h: a frame that is sent by the NIC, thus to the Pod.
const OUTGOING: u8 = 4;
/// Room for what comes while the thread that reads has to wait, in bytes.
const BUFFER: usize = 64 << 20;
/// How often the thread looks whether it is to end, in milliseconds.
const LOOK_MS: i64 = 50;

/// A capture that runs until it is finished.
pub(super) struct Tap {
    over: Arc<AtomicBool>,
    reader: JoinHandle<Result<Seen>>,
}

/// Frames by NIC: those that came from it, and those that left by it.
type Seen = BTreeMap<String, (Vec<Frame>, Vec<Frame>)>;

impl Tap {
    /// Captures what passes the NICs of a namespace that are Pods' or the mirror NIC, present and future ones.
    pub(super) fn start(namespace: &Namespace) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let socket = namespace.inside(open)?;
        let (name, stop) = (namespace.clone(), Arc::clone(&over));
        let reader = thread::spawn(move || name.inside(|| read(&socket, &stop)));
        Ok(Self { over, reader })
    }

    /// Ends it. `elsewhere` is where the mirror NIC may have been meanwhile. What is said of a Pod is said of its port: a Pod may
    /// have had several.
    pub(super) fn finish(self, elsewhere: Self) -> Result<Recording> {
        let (mut away, mut seen) = (elsewhere.end()?, self.end()?);
        let mut copies = Vec::new();
        for place in [&mut away, &mut seen] {
            copies.extend(place.remove(MIRROR).into_iter().flat_map(|(copies, _)| copies));
        }
        copies.sort_by_key(|frame| frame.at);
        let pods = seen.into_iter().map(|(port, (sent, received))| {
            let switch = switch_of(&port).to_owned();
            (port, PodFrames { switch, sent, received })
        });
        let window = Duration::ZERO..=Duration::MAX;
        Ok(Recording { pods: pods.collect(), mirror: copies, window })
    }

    fn end(self) -> Result<Seen> {
        self.over.store(true, Ordering::SeqCst);
        self.reader.join().map_err(|_| anyhow!("the capture panicked"))?
    }
}

/// The switch of a Pod's port, past or present, by the lab's topology.
fn switch_of(port: &str) -> &'static str {
    let [first, second] = &SWITCHES;
    if port.starts_with(['c', 'd']) { second.name } else { first.name }
}

fn open() -> Result<OwnedFd> {
    let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Packet, kind, flags, SockProtocol::EthAll)?;
    setsockopt(&socket, RcvBufForce, &BUFFER)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(LOOK_MS))?;
    Ok(socket)
}

fn read(socket: &OwnedFd, over: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen::new();
    let mut names = HashMap::new();
    let mut buffer = vec![0; SNAPLEN as usize];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    loop {
        let parts = &mut [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::empty();
        let received =
            match recvmsg::<LinkAddr>(socket.as_raw_fd(), parts, Some(&mut control), flags) {
                Err(Errno::EAGAIN) if over.load(Ordering::SeqCst) => return Ok(seen),
                // A NIC that goes down or away is told so.
                Err(Errno::EAGAIN | Errno::ENETDOWN | Errno::EINTR) => continue,
                other => other.context("the capture's socket")?,
            };
        let address = received.address.context("a frame without a NIC")?;
        let at = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let (at, length) = (at.context("a frame without a time")?, received.bytes);
        let index = u32::try_from(address.ifindex())?;
        // One that has gone meanwhile has told its name before, unless it was there for a moment only.
        let name = names.entry(index).or_insert_with(|| {
            let name = if_indextoname(index).ok()?.into_string().ok()?;
            (name.ends_with("_h") || name == MIRROR).then_some(name)
        });
        let Some(name) = name else { continue };
        let (from, to) = seen.entry(name.clone()).or_default();
        let list = if address.pkttype() == OUTGOING { to } else { from };
        list.push(Frame { at, bytes: buffer[..length].to_vec() });
        if over.load(Ordering::SeqCst) {
            return Ok(seen);
        }
    }
}
