use bytes::{BufMut as _, Bytes, BytesMut};
use flows::ofp::{MAX_BODY, Message};
use proptest::{collection::vec, prelude::*};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{Codec, CodecError, Frame};

/// A message on the wire, of any version and type.
fn wire(version: u8, type_code: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version, type_code];
    bytes.put_u16(u16::try_from(8 + body.len()).unwrap());
    bytes.put_u32(xid);
    bytes.put_slice(body);
    bytes
}

/// The frames of a stream that comes in `reads`, and what ended it, if anything did.
fn frames<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<CodecError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for read in reads {
        buffer.extend_from_slice(read);
        loop {
            match Codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

proptest! {
    #[test]
    fn a_stream_gives_the_same_messages_however_it_is_cut(
        messages in vec((any::<u8>(), any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..300)), 1..20),
        cuts in vec(1_usize..400, 1..20),
    ) {
        let stream: Vec<u8> = messages
            .iter()
            .flat_map(|(version, type_code, xid, body)| wire(*version, *type_code, *xid, body))
            .collect();
        let mut rest = stream.as_slice();
        let reads = cuts.iter().cycle().map_while(|cut| {
            let (read, later) = rest.split_at((*cut).min(rest.len()));
            rest = later;
            (!read.is_empty()).then_some(read)
        });
        let expected: Vec<_> = messages
            .into_iter()
            .map(|(version, type_code, xid, body)| Frame { version, type_code, xid, body: body.into() })
            .collect();
        let (found, error) = frames(reads);
        prop_assert_eq!(found, expected);
        prop_assert!(error.is_none());
    }

    #[test]
    fn what_was_sent_is_what_is_received(xid: u32, data in vec(any::<u8>(), 0..=2000), before in vec(any::<u8>(), 0..20)) {
        let message = Message::EchoRequest(Bytes::from(data));
        let mut out = BytesMut::from(before.as_slice());
        Codec.encode((xid, message.clone()), &mut out).unwrap();
        prop_assert_eq!(&out[..before.len()], before.as_slice());
        let (found, error) = frames([&out[before.len()..]]);
        prop_assert!(error.is_none());
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!((found[0].version, found[0].xid), (6, xid));
        prop_assert_eq!(Message::decode(found[0].type_code, &found[0].body).unwrap(), message);
    }
}

#[test]
fn a_length_below_that_of_the_header_is_refused() {
    for length in 0..8 {
        let header = [6, 0, 0, length, 0, 0, 0, 1];
        let (found, error) = frames([&header[..]]);
        assert!(found.is_empty());
        let said = error.expect("it can't be cut").to_string();
        assert!(said.contains(&format!("{length} bytes long")), "{said}");
    }
}

#[test]
fn a_message_that_is_not_whole_is_waited_for_without_holding_more_than_its_length() {
    let mut buffer = BytesMut::from(&[6, 0, 0xff, 0xff, 0, 0, 0, 1][..]);
    assert!(Codec.decode(&mut buffer).unwrap().is_none());
    assert!(buffer.capacity() <= 2 * 0xffff, "{} bytes", buffer.capacity());
    buffer.resize(0xffff, 0);
    assert_eq!(Codec.decode(&mut buffer).unwrap().unwrap().body.len(), MAX_BODY);
}

#[test]
fn the_longest_message_is_sent_and_a_longer_one_is_refused_with_the_buffer_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let echo = |length| Message::EchoRequest(Bytes::from(vec![0; length]));
    let error = Codec.encode((1, echo(MAX_BODY + 1)), &mut out).unwrap_err().to_string();
    assert!(error.contains(&format!("{} bytes", MAX_BODY + 1)), "{error}");
    assert_eq!(out, b"before"[..]);
    Codec.encode((1, echo(MAX_BODY)), &mut out).unwrap();
    assert_eq!(out.len(), b"before".len() + 0xffff);
}
