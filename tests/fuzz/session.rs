//! Arbitrary bytes from a switch: cut into frames, and given to a session.
//!
//! The first [`CUTS`] bytes of the input say how the rest is cut into reads. However it is cut, the frames must be
//! the same. What the session answers can always be written.
#![no_main]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use flows::{
    model::{Cookie, Flow, FlowKey, Instruction, Match, TableId},
    ofp::{FlowFilter, FlowMod, Message, MultipartRequest, VERSION, Versions},
};
use libfuzzer_sys::fuzz_target;
use ofmirror::openflow::{
    codec::{Codec, Frame},
    session::Session,
};
use tokio_util::codec::{Decoder as _, Encoder as _};

const CUTS: usize = 4;

/// The frames up to the first error, and whether there was one.
fn frames(stream: &[u8], cuts: &[u8]) -> (Vec<Frame>, bool) {
    let (mut received, mut frames, mut rest) = (BytesMut::new(), Vec::new(), stream);
    for cut in cuts.iter().cycle() {
        let (read, later) = rest.split_at(usize::from(*cut).max(1).min(rest.len()));
        received.extend_from_slice(read);
        rest = later;
        loop {
            match Codec.decode(&mut received) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (frames, false)
}

/// A session that hears `frames`, right away or after a handshake, a question and a bundle; all that it sends is
/// written.
fn converse(frames: &[Frame], handshake: bool) {
    let mut now = Instant::now();
    let mut session = Session::new(now);
    let mut wire = BytesMut::new();
    if handshake {
        let versions = Some(Versions::OURS);
        hear(&mut session, &Message::Hello { versions }, now);
        hear(&mut session, &Message::Raw { type_code: 6, body: vec![0; 24].into() }, now);
        session.ask(1, MultipartRequest::FlowDesc(FlowFilter::default()), now);
        let key = FlowKey { table: TableId(0), priority: 1, matching: Match::default() };
        let flow = Flow { key, cookie: Cookie(1), instructions: Instruction::apply(vec![]) };
        assert!(session.commit(2, [FlowMod::add(flow)], now));
    }
    for frame in frames {
        now += Duration::from_millis(100);
        let heard = session.handle_frame(frame, now);
        if heard.is_err() || session.handle_timeout(now).is_err() {
            return;
        }
        while let Some(message) = session.poll_transmit() {
            wire.clear();
            Codec.encode(message, &mut wire).expect("what a session sends fits");
        }
    }
}

fn hear(session: &mut Session<u8>, message: &Message, now: Instant) {
    let mut body = BytesMut::new();
    message.encode(0, &mut body).expect("it fits");
    let (version, type_code) = (VERSION, message.type_code());
    let frame = Frame { version, type_code, xid: 0, body: body.freeze() };
    session.handle_frame(&frame, now).expect("it is what a switch says");
}

fuzz_target!(|input: &[u8]| {
    let Some((cuts, stream)) = input.split_at_checked(CUTS) else { return };
    let cut = frames(stream, cuts);
    assert_eq!(cut, frames(stream, &[255]));
    let (frames, _) = cut;
    converse(&frames, false);
    converse(&frames, true);
});
