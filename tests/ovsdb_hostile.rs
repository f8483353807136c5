//! The OVSDB client against peers that break the protocol: each time it says why, keeps what it
//! knew, and comes back.
#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use ofmirror::{
    endpoint::Endpoint,
    ovsdb::{Client, Connection, ConnectionError, Operation, OvsdbError, State, frame},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// A listener in the place of a server, and a client that connects to it.
struct Peer {
    listener: UnixListener,
    client: Client,
    states: watch::Receiver<State>,
    _folder: TempDir,
}

impl Peer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (client, task) = Client::new(Endpoint::Unix(path));
        tokio::spawn(task);
        let states = client.states();
        Self { listener, client, states, _folder: folder }
    }

    /// The next connection, after its request for all rows was read.
    async fn accept(&self) -> UnixStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        assert_eq!(request(&mut stream).await["method"], "monitor_cond");
        stream
    }

    /// The next connection, with one bridge told.
    async fn accept_and_sync(&mut self) -> UnixStream {
        let mut stream = self.accept().await;
        let row = json!({"initial": {"name": "br-int"}});
        let rows = json!({"Bridge": {"00000000-0000-0000-0000-000000000001": row}});
        tell(&mut stream, &json!({"id": 0, "result": rows, "error": null})).await;
        self.states.wait_for(State::is_synced).await.unwrap();
        assert!(self.states.borrow().snapshot.bridge("br-int").is_some());
        stream
    }

    /// Why the connection that was just served ended.
    async fn reason(&mut self) -> Arc<ConnectionError> {
        let disconnected =
            |state: &State| matches!(state.connection, Connection::Connecting { reason: Some(_) });
        let state = self.states.wait_for(disconnected).await.unwrap();
        match &state.connection {
            Connection::Connecting { reason: Some(reason) } => reason.clone(),
            other => panic!("{other:?}"),
        }
    }
}

async fn tell(stream: &mut UnixStream, message: &Value) {
    stream.write_all(message.to_string().as_bytes()).await.unwrap();
}

/// Reads one request; the client sends no line breaks, so it is read up to its last member.
async fn request(stream: &mut UnixStream) -> Value {
    let mut text = Vec::new();
    let mut reader = BufReader::with_capacity(1, stream);
    loop {
        reader.read_until(b'}', &mut text).await.unwrap();
        if let Ok(request) = serde_json::from_slice(&text) {
            return request;
        }
    }
}

fn comment() -> Vec<Operation> {
    vec![Operation::Comment { comment: "hello".to_owned() }]
}

#[tokio::test]
async fn whatever_a_peer_says_the_client_names_it_and_comes_back() {
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    let too_deep_within = format!("{{\"id\":0,\"result\":{}{}}}", "[".repeat(99), "]".repeat(99));
    for (said, reason, complaint) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "malformed", "found byte 0x48"),
        ("\0\0\0\0", "malformed", "found byte 0x00"),
        ("[]", "malformed", "found byte 0x5b"),
        ("{]", "malformed", "not a JSON-RPC message"),
        ("{\"id\":\u{1}}", "malformed", "not a JSON-RPC message"),
        (&nested, "malformed", "nested deeper"),
        (&too_deep_within, "inconsistent", "make no sense"),
        ("{\"id\":0,\"result\":", "malformed", "bytes into a message"),
        ("{\"id\":0,\"result\":7,\"error\":null}", "inconsistent", "make no sense"),
        (
            "{\"id\":0,\"result\":{\"Port\":{\"x\":{}}},\"error\":null}",
            "inconsistent",
            "names no row",
        ),
        ("{\"id\":0,\"result\":null,\"error\":\"no\"}", "refused", "refused to monitor"),
        ("{\"id\":5,\"result\":{},\"error\":null}", "inconsistent", "never sent, id 5"),
        ("{\"method\":[],\"params\":{},\"id\":{}}", "malformed", "not a JSON-RPC message"),
        ("", "closed", "closed the connection"),
    ] {
        let mut peer = Peer::start();
        let mut stream = peer.accept().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let error = peer.reason().await;
        assert_eq!(error.reason(), reason, "{said:.50}: {error}");
        assert!(error.to_string().contains(complaint), "{said:.50}: {error}");
        assert!(peer.states.borrow().snapshot.bridge("br-int").is_none());
        peer.accept_and_sync().await;
    }
}

#[tokio::test]
async fn a_text_without_end_is_read_up_to_the_limit_only() {
    let mut peer = Peer::start();
    let stream = peer.accept().await;
    let writer = std::thread::spawn(move || {
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(b"{\"id\":\"").unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let mut taken = 0;
        while let Ok(written) = stream.write(&chunk) {
            taken += written;
        }
        taken
    });
    let error = peer.reason().await;
    assert!(matches!(*error, ConnectionError::Frame(frame::FrameError::TooLong(_))), "{error}");
    let taken = writer.join().unwrap();
    assert!(taken < frame::MAX_MESSAGE_BYTES + (4 << 20), "{taken}");
    peer.accept_and_sync().await;
}

#[tokio::test]
async fn what_was_known_stays_known_while_the_connection_is_lost() {
    let mut peer = Peer::start();
    let mut stream = peer.accept_and_sync().await;
    let nonsense = json!({"method": "update2", "params": [null, {"Port": 7}], "id": null});
    tell(&mut stream, &nonsense).await;
    assert_eq!(request(&mut stream).await["method"], "monitor_cancel");
    assert_eq!(request(&mut stream).await["method"], "monitor_cond");
    tell(&mut stream, &json!({"id": 1, "result": {}, "error": null})).await;
    tell(&mut stream, &json!({"id": 2, "result": 7, "error": null})).await;
    assert_eq!(peer.reason().await.reason(), "inconsistent");
    assert!(peer.states.borrow().snapshot.bridge("br-int").is_some());
    peer.accept_and_sync().await;
}

#[tokio::test]
async fn a_transaction_is_told_when_the_connection_breaks_before_its_answer() {
    let mut peer = Peer::start();
    let mut stream = peer.accept_and_sync().await;
    let client = peer.client.clone();
    let transaction = tokio::spawn(async move { client.transact(comment()).await });
    assert_eq!(request(&mut stream).await["method"], "transact");
    drop(stream);
    let error = transaction.await.unwrap().unwrap_err();
    assert!(matches!(error, OvsdbError::Interrupted(_)), "{error}");

    // Not sent at all while there is no first read.
    let mut stream = peer.accept().await;
    let error = peer.client.transact(comment()).await.unwrap_err();
    assert!(matches!(error, OvsdbError::NotConnected), "{error}");

    tell(&mut stream, &json!({"id": 0, "result": {}, "error": null})).await;
    peer.states.wait_for(State::is_synced).await.unwrap();
    let answer = async {
        let transact = request(&mut stream).await;
        tell(&mut stream, &json!({"id": transact["id"], "result": [{}], "error": null})).await;
    };
    let (results, ()) = tokio::join!(peer.client.transact(comment()), answer);
    assert_eq!(results.unwrap().len(), 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_disturbs_nobody() {
    let mut peer = Peer::start();
    let mut stream = peer.accept_and_sync().await;
    let given_up = tokio::select! {
        result = peer.client.transact(comment()) => panic!("{result:?}"),
        transact = request(&mut stream) => transact,
    };
    let answer = async {
        let transact = request(&mut stream).await;
        for id in [&given_up["id"], &transact["id"]] {
            tell(&mut stream, &json!({"id": id, "result": [{}], "error": null})).await;
        }
    };
    let (results, ()) = tokio::join!(peer.client.transact(comment()), answer);
    assert_eq!(results.unwrap().len(), 1);
    assert!(peer.states.borrow().is_synced());
}

#[tokio::test]
async fn a_peer_that_asks_without_reading_the_answers_is_given_up() {
    let mut peer = Peer::start();
    let stream = peer.accept_and_sync().await;
    let writer = std::thread::spawn(move || {
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let text = "?".repeat(64 << 10);
        let question = json!({"method": "echo", "params": [text], "id": "q"}).to_string();
        while stream.write_all(question.as_bytes()).is_ok() {}
        // The answers that made it through are whole.
        let mut answers = String::new();
        let _ = stream.take(question.len() as u64).read_to_string(&mut answers);
        assert!(answers.starts_with("{\"result\":[\"???"), "{answers:.50}");
    });
    assert_eq!(peer.reason().await.reason(), "backlog");
    writer.join().unwrap();
    peer.accept_and_sync().await;
}

#[tokio::test]
async fn a_peer_that_always_fails_is_asked_less_and_less_often() {
    let mut peer = Peer::start();
    let start = Instant::now();
    for _ in 0..5 {
        peer.accept_and_sync().await.write_all(b"garbage").await.unwrap();
        assert_eq!(peer.reason().await.reason(), "malformed");
    }
    peer.accept_and_sync().await;
    let least: u64 = [50, 100, 200, 400, 800].iter().sum();
    assert!(start.elapsed() >= Duration::from_millis(least), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_socket_is_closed_when_the_client_ends() {
    let mut peer = Peer::start();
    let mut stream = peer.accept_and_sync().await;
    peer.client.shutdown();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert!(matches!(peer.client.transact(comment()).await, Err(OvsdbError::Stopped)));
}
