//! A switch that a test plays: a unix socket, and the link that connects to it.

use std::{future::Future, path::PathBuf};

use flows::ofp::{Features, Message, Versions};
use futures::{SinkExt as _, StreamExt as _};
use ofmirror::{
    endpoint::Endpoint,
    openflow::{
        codec::{Codec, Frame},
        connection::ConnectionError,
        link::Link,
        session::Event,
    },
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
};
use tokio_util::codec::Framed;

/// A link, and the listener that it connects to.
pub(crate) struct Peer {
    pub(crate) listener: UnixListener,
    pub(crate) link: Link<u32>,
    path: PathBuf,
    _folder: TempDir,
}

/// A connection, seen from the switch.
pub(crate) struct Switch(pub(crate) Framed<UnixStream, Codec>);

impl Peer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("br-int.mgmt");
        let listener = UnixListener::bind(&path).unwrap();
        let link = Link::new(Endpoint::Unix(path.clone()));
        Self { listener, link, path, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.path.clone())
    }

    /// A switch, and the link connected to it.
    pub(crate) async fn meet(&mut self) -> Switch {
        let Self { listener, link, .. } = self;
        let (switch, event) = tokio::join!(accept_and_greet(listener), until_up(link));
        event.unwrap();
        switch
    }

    /// Why the link gives up a switch that does `hostile`, on a connection of its own. The connection stays open as
    /// long as the switch does not close it.
    pub(crate) async fn complaint<T>(
        &mut self,
        hostile: impl AsyncFnOnce(UnixStream) -> T,
    ) -> String {
        let Self { listener, link, .. } = self;
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let held = hostile(stream).await;
            std::future::pending::<()>().await;
            drop(held);
        };
        tokio::select! {
            error = first_error(link) => error.to_string(),
            () = serve => unreachable!("it never ends"),
        }
    }

    /// Why the link gives up a switch that was all right until it does `hostile`.
    pub(crate) async fn late_complaint<T>(
        &mut self,
        hostile: impl AsyncFnOnce(UnixStream) -> T,
    ) -> String {
        let greet = async |stream| hostile(greet(stream).await.0.into_inner()).await;
        self.complaint(greet).await
    }
}

/// What ends the connection; events before that are passed over.
async fn first_error(link: &mut Link<u32>) -> ConnectionError {
    loop {
        if let Err(error) = link.next().await {
            return error;
        }
    }
}

async fn until_up(link: &mut Link<u32>) -> Result<(), ConnectionError> {
    match link.next().await? {
        Event::Up(_) => Ok(()),
        event => panic!("{event:?} before the connection is up"),
    }
}

pub(crate) async fn accept_and_greet(listener: &UnixListener) -> Switch {
    let (stream, _) = listener.accept().await.unwrap();
    greet(stream).await
}

/// The handshake, as a good switch does it.
async fn greet(stream: UnixStream) -> Switch {
    let mut switch = Switch(Framed::new(stream, Codec));
    switch.say(1, Message::Hello { versions: Some(Versions(0x7e)) }).await;
    assert_eq!(switch.hear().await, Message::Hello { versions: Some(Versions::OURS) });
    let asked = switch.next().await.unwrap();
    assert_eq!(Message::decode(asked.type_code, &asked.body), Ok(Message::FeaturesRequest));
    let features = Features {
        datapath_id: 1,
        buffers: 0,
        tables: 254,
        auxiliary_id: 0,
        capabilities: 0,
        reserved: 0,
    };
    switch.say(asked.xid, Message::FeaturesReply(features)).await;
    switch
}

impl Switch {
    pub(crate) async fn say(&mut self, xid: u32, message: Message) {
        self.0.send((xid, message)).await.unwrap();
    }

    /// The next message, with its header; none when the link is gone.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        self.0.next().await.transpose().unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Message {
        let frame = self.next().await.unwrap();
        Message::decode(frame.type_code, &frame.body).unwrap()
    }

    /// Sends the same bytes so many times, or until the link hangs up.
    pub(crate) async fn flood(&mut self, bytes: &[u8], times: usize) {
        for _ in 0..times {
            if self.0.get_mut().write_all(bytes).await.is_err() {
                return;
            }
        }
    }
}

/// A message on the wire.
pub(crate) fn wire(version: u8, type_code: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + body.len()).unwrap();
    let mut bytes = vec![version, type_code];
    bytes.extend(length.to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Runs both, until `story` ends.
pub(crate) async fn during<T>(background: impl Future, story: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        result = story => result,
        _ = async { background.await; std::future::pending::<()>().await } => unreachable!("it never ends"),
    }
}

/// Bytes of memory that this process holds.
pub(crate) fn resident() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}
