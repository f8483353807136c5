use proptest::prelude::*;

use super::*;

/// Every message within `stream`, which comes in pieces of these lengths, over and over.
fn messages(stream: &[u8], pieces: &[usize]) -> Result<Vec<String>, FrameError> {
    let mut framer = Framer::default();
    let (mut received, mut messages) = (BytesMut::new(), Vec::new());
    let mut rest = stream;
    for length in pieces.iter().cycle() {
        let (piece, later) = rest.split_at((*length).min(rest.len()));
        received.extend_from_slice(piece);
        rest = later;
        while let Some(message) = framer.decode(&mut received)? {
            messages.push(String::from_utf8_lossy(&message).into_owned());
        }
        if rest.is_empty() {
            break;
        }
    }
    match framer.decode_eof(&mut received)? {
        Some(_) => unreachable!("all messages were taken"),
        None => Ok(messages),
    }
}

#[test]
fn messages_are_cut_apart_where_objects_end() {
    let stream = br#"{"a":"}\"]{\\"}{"b":[{},[]]} {}"#;
    let expected = [r#"{"a":"}\"]{\\"}"#, r#"{"b":[{},[]]}"#, "{}"];
    assert_eq!(messages(stream, &[1000]).unwrap(), expected);
    assert_eq!(messages(stream, &[1]).unwrap(), expected);
}

#[test]
fn a_message_that_comes_byte_by_byte_is_looked_at_once() {
    // Half a megabyte from the start at each byte would take hours.
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(512 << 10));
    assert_eq!(messages(text.as_bytes(), &[1]).unwrap(), [text]);
}

#[test]
fn a_message_without_end_is_refused_at_the_limit() {
    let mut framer = Framer::with_max_bytes(1000);
    let mut received = BytesMut::from(&br#"{"a":""#[..]);
    let error = loop {
        match framer.decode(&mut received) {
            Ok(None) => received.put_u8(b'x'),
            Ok(Some(message)) => panic!("{message:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, FrameError::TooLong(1000)), "{error}");
    assert_eq!(received.len(), 1000);
}

#[test]
fn a_message_of_just_the_longest_length_passes() {
    let mut framer = Framer::with_max_bytes(10);
    let mut received = BytesMut::from(&b"{\"a\":1234}{}"[..]);
    assert_eq!(framer.decode(&mut received).unwrap().unwrap(), "{\"a\":1234}");
    assert_eq!(framer.decode(&mut received).unwrap().unwrap(), "{}");
}

#[test]
fn nesting_is_refused_at_the_limit() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(messages(nested(MAX_DEPTH - 1).as_bytes(), &[7]).unwrap().len(), 1);
    let error = messages(nested(MAX_DEPTH).as_bytes(), &[7]).unwrap_err();
    assert!(matches!(error, FrameError::TooDeep), "{error}");
    // What passes is not too deep for the parser either.
    assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH - 1)).is_ok());
}

#[test]
fn anything_but_an_object_is_garbage() {
    for stream in [&b"HTTP/1.1 400"[..], b"[]", b"{},{}", b"\0", b"}", b"\"\""] {
        let error = messages(stream, &[3]).unwrap_err();
        assert!(matches!(error, FrameError::Garbage(_)), "{error}");
    }
}

#[test]
fn an_end_within_a_message_is_an_error_and_between_messages_is_none() {
    assert_eq!(messages(b"{} \n", &[1]).unwrap(), ["{}"]);
    let error = messages(b"{}{\"a\":", &[1]).unwrap_err();
    assert!(matches!(error, FrameError::Truncated(5)), "{error}");
}

#[test]
fn the_memory_of_a_long_message_is_given_back() {
    let mut received = BytesMut::new();
    received.extend_from_slice(format!(r#"{{"a":"{}"}}{{"b"#, "x".repeat(8 << 20)).as_bytes());
    let message = Framer::default().decode(&mut received).unwrap().unwrap();
    assert!(message.len() > 8 << 20);
    drop(message);
    assert_eq!(received, "{\"b");
    // Room for the next read: a kept buffer would be taken up again.
    received.reserve(1024);
    assert!(received.capacity() < 1 << 20, "{}", received.capacity());
}

fn any_object() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(any::<String>(), value, 0..4)
        .prop_map(|map| serde_json::to_string(&map).unwrap())
}

proptest! {
    #[test]
    fn the_messages_are_the_same_however_the_bytes_are_cut(
        objects in prop::collection::vec(any_object(), 0..6),
        space in "[ \t\r\n]{0,3}",
        pieces in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let stream: String = objects.iter().flat_map(|object| [&space, object]).cloned().collect();
        prop_assert_eq!(messages(stream.as_bytes(), &pieces).unwrap(), objects);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm_and_end_alike_however_they_are_cut(
        stream in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[{}\\[\\]\"\\\\ a]{0,200}".prop_map(String::into_bytes),
        ],
        pieces in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let whole = messages(&stream, &[1000]).map_err(|error| error.to_string());
        let cut = messages(&stream, &pieces).map_err(|error| error.to_string());
        prop_assert_eq!(whole, cut);
    }
}
