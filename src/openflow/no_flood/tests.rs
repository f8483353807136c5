//! Against peers that are no OVS: each must end in a typed error, whatever it sends.

use tokio::net::UnixListener;

use super::*;

const HW_ADDR: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// Asks for port 3 of a switch that says `bytes` and then closes, or stays silent.
async fn against(bytes: &[u8], then_close: bool) -> Result<(), NoFloodError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("br-int.mgmt");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if then_close {
            stream.shutdown().await.unwrap();
        }
        // Takes what we say until we hang up.
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        said
    };
    let endpoint = Endpoint::Unix(path);
    let (result, said) = tokio::join!(set_no_flood(&endpoint, 3, HW_ADDR), peer);
    assert_eq!(said[..8], message(1, 0, HELLO, &[]));
    let port_mod = [
        1, 15, 0, 32, 0, 0, 0, 2, // header
        0, 3, 2, 0, 0, 0, 0, 9, // port_no, hw_addr
        0, 0, 0, 16, 0, 0, 0, 48, // config, mask
        0, 0, 0, 0, 0, 0, 0, 0, // advertise, pad
    ];
    assert_eq!(said[8..40], port_mod);
    assert_eq!(said[40..48], message(1, 18, BARRIER, &[]));
    result
}

fn message(version: u8, message_type: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version, message_type];
    bytes.extend(u16::try_from(8 + body.len()).unwrap().to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn hello() -> Vec<u8> {
    message(6, 0, 0, &[0, 1, 0, 8, 0, 0, 0, 0x7e])
}

/// All is done.
fn done() -> Vec<u8> {
    message(1, 19, BARRIER, &[])
}

#[tokio::test]
async fn a_switch_that_obeys_is_told_port_address_and_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("br-int.mgmt");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // An unknown message and an echo request come in between, and an answer to something else.
        let talk =
            [hello(), message(1, 99, 7, b"?"), message(1, 2, 8, b"ping"), message(1, 19, 9, &[])];
        stream.write_all(&talk.concat()).await.unwrap();
        let mut said = vec![0; 8 + 32 + 8 + 12];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&done()).await.unwrap();
        said
    };
    let endpoint = Endpoint::Unix(path);
    let (result, said) = tokio::join!(set_no_flood(&endpoint, 3, HW_ADDR), peer);
    result.unwrap();
    assert_eq!(said[48..], message(1, 3, 8, b"ping"));
}

#[tokio::test]
async fn a_bridge_without_openflow_1_0_says_so() {
    let body = [&[0, 0, 0, 0][..], b"We support version 0x06, you support version 0x01."].concat();
    for version in [1, 6] {
        let error = against(&[hello(), message(version, 1, 0, &body)].concat(), true).await;
        let error = error.unwrap_err();
        assert!(matches!(error, NoFloodError::VersionRefused(_)), "{error}");
        assert!(error.to_string().contains("We support version 0x06"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_in_another_version_is_refused() {
    let mut reply = done();
    reply[0] = 4;
    let error = against(&[hello(), reply].concat(), false).await.unwrap_err();
    assert!(matches!(error, NoFloodError::WrongVersion(4)), "{error}");
}

#[tokio::test]
async fn an_error_names_the_request_that_it_answers() {
    for (xid, kind, says) in [
        (PORT_MOD, [0, 1, 0, 5], "to set no-flood: not permitted, error type 1 code 5"),
        (PORT_MOD, [0, 4, 0, 1], "to set no-flood: another hardware address, error type 4 code 1"),
        (BARRIER, [0xb0, 0xc2, 0xff, 0xff], "a barrier: error type 45250 code 65535"),
    ] {
        let error = against(&message(1, 1, xid, &kind), false).await.unwrap_err().to_string();
        assert_eq!(error, format!("the switch refused {says}"));
    }
    // What answers nobody is passed over.
    let strange = message(1, 1, 77, &[0, 1, 0, 1]);
    against(&[strange, done()].concat(), false).await.unwrap();
}

#[tokio::test]
async fn malformed_messages_are_errors_and_not_panics() {
    for bytes in [
        vec![1, 0, 0, 7, 0, 0, 0, 0],
        vec![1, 0, 0, 0, 0, 0, 0, 0],
        message(1, 1, 0, &[0, 0, 0]),
        b"\0\0\0\0\0\0\0\0".to_vec(),
    ] {
        let error = against(&bytes, false).await.unwrap_err();
        assert!(matches!(error, NoFloodError::Malformed(_)), "{bytes:?}: {error}");
    }
    let error = against(b"HTTP/1.1 400 Bad Request\r\n\r\n", true).await.unwrap_err();
    assert!(matches!(error, NoFloodError::Closed), "{error}");
}

#[tokio::test]
async fn a_connection_closed_at_any_byte_is_an_error() {
    let talk = [hello(), done()].concat();
    for end in 0..talk.len() {
        let error = against(&talk[..end], true).await.unwrap_err();
        assert!(matches!(error, NoFloodError::Closed), "after {end} bytes: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_stops_in_the_middle_does_not_hold_us_up() {
    for bytes in [&[][..], &hello(), &done()[..7], &[1, 0, 0xff, 0xff, 0, 0, 0, 0]] {
        let error = against(bytes, false).await.unwrap_err();
        assert!(matches!(error, NoFloodError::Timeout), "{error}");
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_an_error() {
    let endpoint = Endpoint::Unix("/nonexistent/br-int.mgmt".into());
    let error = set_no_flood(&endpoint, 3, HW_ADDR).await.unwrap_err();
    assert!(matches!(error, NoFloodError::Io(_)), "{error}");
}
