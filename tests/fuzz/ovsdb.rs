//! Arbitrary bytes from an OVSDB server: framed, read as messages, applied to the replica.
//!
//! The first [`CUTS`] bytes of the input say how the rest is cut into reads. However it is cut, the
//! messages must be the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ofmirror::ovsdb::{frame::Framer, message::Message, replica::Replica};
use tokio_util::codec::Decoder as _;

const CUTS: usize = 4;

/// The messages up to the first error, and whether there was one.
fn messages(stream: &[u8], cuts: &[u8]) -> (Vec<BytesMut>, bool) {
    let mut framer = Framer::default();
    let (mut received, mut messages, mut rest) = (BytesMut::new(), Vec::new(), stream);
    for cut in cuts.iter().cycle() {
        let (read, later) = rest.split_at(usize::from(*cut).max(1).min(rest.len()));
        received.extend_from_slice(read);
        rest = later;
        loop {
            match framer.decode(&mut received) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (messages, framer.decode_eof(&mut received).is_err())
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, stream)) = input.split_at_checked(CUTS) else { return };
    let cut = messages(stream, cuts);
    assert_eq!(cut, messages(stream, &[255]));

    let mut replica = Replica::default();
    for text in cut.0 {
        let updates = match Message::parse(&text) {
            Ok(Message::Notification { params, .. } | Message::Request { params, .. }) => params,
            Ok(Message::Response { outcome: Ok(result), .. }) => result,
            Ok(Message::Response { outcome: Err(_), .. }) | Err(_) => None,
        };
        if updates.is_some_and(|updates| replica.apply(updates).is_err()) {
            return;
        }
    }
    let snapshot = replica.snapshot();
    for bridge in snapshot.bridges() {
        for port in snapshot.ports_of(bridge) {
            assert_eq!(snapshot.port(&port.uuid), Some(port));
            snapshot.interfaces_of(port).for_each(drop);
        }
    }
});
