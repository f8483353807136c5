//! TCP over a lane, between hosts of its own, as Pods speak it: large segments go over the datapath whole.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::ensure;

use super::lane::Lane;
use crate::{Namespace, Node, Result};

/// A message that goes there and back, in bytes.
const MESSAGE: usize = 64;
/// Messages of a chunk.
const MESSAGES: usize = 500;
/// A part of a stream, in bytes; figures are for each.
const PART: usize = 64 << 10;
/// Parts of a chunk: what a listener has room for.
const PARTS: usize = 100;

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 2);
const PORT: u16 = 9;

/// Two connections between the ends of a lane: over one a peer sends everything back, over the other it takes it. The
/// peer ends with them.
pub(super) struct Streams {
    echo: TcpStream,
    sink: TcpStream,
    hosts: [Namespace; 2],
}

impl Streams {
    /// Moves the ends of a lane into namespaces, and connects them.
    ///
    /// # Errors
    /// Whatever a tool or the kernel says.
    pub(super) fn open(node: &Node, lane: &Lane) -> Result<Self> {
        let host = |nic: &str, address: Ipv4Addr| -> Result<Namespace> {
            let host = Namespace::create(&format!("{}-{nic}", node.name()))?;
            node.namespace().ip(["link", "set", nic, "netns", host.name()])?;
            host.ip_batch(&format!("addr add {address}/16 dev {nic}\nlink set {nic} up\n"))?;
            Ok(host)
        };
        let hosts = [host(&lane.source, NEAR)?, host(&lane.destination, FAR)?];
        let listener = hosts[1].inside(|| Ok(TcpListener::bind((FAR, PORT))?))?;
        let peer = thread::spawn(move || -> Result<()> {
            let (mut echo, _) = listener.accept()?;
            echo.set_nodelay(true)?;
            let (mut sink, _) = listener.accept()?;
            thread::spawn(move || take(&mut sink));
            let mut message = [0; MESSAGE];
            // Until the connection ends, which is no error here.
            while echo.read_exact(&mut message).is_ok() {
                echo.write_all(&message)?;
            }
            Ok(())
        });
        let connect = || hosts[0].inside(|| Ok(TcpStream::connect((IpAddr::from(FAR), PORT))?));
        let (echo, sink) = (connect()?, connect()?);
        echo.set_nodelay(true)?;
        ensure!(!peer.is_finished(), "the peer has ended");
        Ok(Self { echo, sink, hosts })
    }

    /// Sends messages there and back; returns how many.
    pub(super) fn go_there_and_back(&mut self) -> Result<usize> {
        let mut message = [0x5a; MESSAGE];
        for _ in 0..MESSAGES {
            self.echo.write_all(&message)?;
            self.echo.read_exact(&mut message)?;
        }
        Ok(MESSAGES)
    }

    /// Sends parts of a stream, until all are there; returns how many.
    pub(super) fn flow(&mut self) -> Result<usize> {
        let part = vec![0x5a; PART];
        for _ in 0..PARTS {
            self.sink.write_all(&part)?;
        }
        self.sink.read_exact(&mut [0])?;
        Ok(PARTS)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Nothing is left of it at the latest when the sandbox ends.
            let _ = host.delete();
        }
    }
}

/// Takes a stream, and tells of each chunk that it is there.
fn take(stream: &mut TcpStream) -> Result {
    let mut room = vec![0; PART];
    let mut taken = 0;
    loop {
        let length = stream.read(&mut room)?;
        if length == 0 {
            return Ok(());
        }
        taken += length;
        if taken >= PART * PARTS {
            taken -= PART * PARTS;
            stream.write_all(&[1])?;
        }
    }
}
