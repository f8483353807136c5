//! A steady stream of numbered datagrams, to see what is lost while something else happens.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    Pod, Result,
    services::{SILENCE, free},
};

/// Pause between two datagrams. A busy ovs-vswitchd may stand still for half a second: of these, sockets hold as many as that.
const PACE: Duration = Duration::from_millis(2);
/// The last datagram: a number that no other has.
const END: u32 = u32::MAX;

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// How many datagrams were sent.
    pub sent: u32,
    /// How many of them did not arrive.
    pub lost: u32,
    /// How many arrived more than once.
    pub doubled: u32,
}

impl Pod {
    /// Sends numbered datagrams to a port of another Pod for as long as `work` takes.
    ///
    /// # Errors
    /// `work` fails, or nothing arrives any more at its end.
    pub fn stream_while(
        &self,
        to: &Self,
        ip: IpAddr,
        port: u16,
        work: impl FnOnce() -> Result,
    ) -> Result<Arrivals> {
        let receiver = to.namespace().inside(|| free(|| UdpSocket::bind(("::", port))))?;
        receiver.set_read_timeout(Some(SILENCE))?;
        let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let sender = self.namespace().inside(|| Ok(UdpSocket::bind((any, 0))?))?;
        sender.connect((ip, port))?;
        // Work may be over before the thread that sends has begun.
        send(&sender, 0)?;
        let over = AtomicBool::new(false);
        let (worked, sent, received) = thread::scope(|scope| {
            let sending = scope.spawn(|| -> Result<u32> {
                let mut sent = 1_u32;
                while !over.load(Ordering::Relaxed) {
                    send(&sender, sent)?;
                    sent += 1;
                    thread::sleep(PACE);
                }
                Ok(sent)
            });
            let receiving = scope.spawn(|| receive(&receiver));
            let ending = Ending(&over);
            let worked = work();
            drop(ending);
            let sent = sending.join().expect("sending does not panic");
            // Whether the way is free again is part of the question, so this is asked until it is heard.
            while !receiving.is_finished() {
                let _ = send(&sender, END);
                thread::sleep(PACE);
            }
            (worked, sent, receiving.join().expect("receiving does not panic"))
        });
        worked?;
        let (sent, (received, doubled)) = (sent?, received?);
        Ok(Arrivals { sent, lost: sent - u32::try_from(received.len())?, doubled })
    }
}

/// Has the sending end when it goes, if the work panics, too: the threads are waited for then as well.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn send(socket: &UdpSocket, number: u32) -> Result {
    match socket.send(&number.to_be_bytes()) {
        // The answer to an earlier datagram; the receiver tells about losses.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// The numbers that arrived before the end, and how many arrived again.
fn receive(socket: &UdpSocket) -> Result<(BTreeSet<u32>, u32)> {
    let (mut received, mut doubled) = (BTreeSet::new(), 0);
    loop {
        let mut datagram = [0; 4];
        socket.recv(&mut datagram)?;
        let number = u32::from_be_bytes(datagram);
        if number == END {
            return Ok((received, doubled));
        }
        if !received.insert(number) {
            doubled += 1;
        }
    }
}
