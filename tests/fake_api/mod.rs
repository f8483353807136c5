//! A service that answers requests for Pods with what it was told to, in turn.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

/// One answer.
pub(crate) struct Answer {
    status: u16,
    parts: Vec<Vec<u8>>,
    end: End,
}

/// How an answer ends.
#[derive(Clone, Copy)]
enum End {
    Well,
    Broken,
    Never,
}

/// A service with answers, and what it was asked.
#[derive(Clone)]
pub(crate) struct Fake {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Path with query, and what kind of answer is accepted.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

/// A Pod's metadata.
pub(crate) fn pod(name: &str, mirror: &str, version: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": format!("uid-{name}"),
            "resourceVersion": version,
            "annotations": { "ovn.kubernetes.io/mirror": mirror },
        },
    })
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    format!("{}\n", json!({ "type": kind, "object": object })).into_bytes()
}

impl Answer {
    pub(crate) fn list(version: &str, pods: &[Value]) -> Self {
        let list = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadataList",
            "metadata": { "resourceVersion": version },
            "items": pods,
        });
        Self { status: 200, parts: vec![list.to_string().into_bytes()], end: End::Well }
    }

    pub(crate) fn status(code: u16, reason: &str, message: &str) -> Self {
        let body = status(code, reason, message).to_string().into_bytes();
        Self { status: code, parts: vec![body], end: End::Well }
    }

    /// What is said by an API server whose cache has `version` when a later one is asked for.
    pub(crate) fn too_large(asked: u64, version: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {version}");
        let mut body = status(504, "Timeout", &message);
        body["details"] = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        Self { status: 504, parts: vec![body.to_string().into_bytes()], end: End::Well }
    }

    /// The same without the last bytes, and with a good end.
    pub(crate) fn cut_short(mut self) -> Self {
        for part in &mut self.parts {
            part.truncate(part.len() - 10);
        }
        self
    }

    /// Events, and a good end.
    pub(crate) fn watch(events: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { status: 200, parts: events.into_iter().collect(), end: End::Well }
    }

    /// Events, and then the connection breaks.
    pub(crate) fn broken_watch(events: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { end: End::Broken, ..Self::watch(events) }
    }

    /// A watch in which nothing ever comes.
    pub(crate) fn silence() -> Self {
        Self { end: End::Never, ..Self::watch([]) }
    }

    pub(crate) fn modified(pod: &Value) -> Vec<u8> {
        event("MODIFIED", pod)
    }

    pub(crate) fn bookmark(version: &str) -> Vec<u8> {
        let object = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": { "resourceVersion": version },
        });
        event("BOOKMARK", &object)
    }

    pub(crate) fn error(code: u16, reason: &str, message: &str) -> Vec<u8> {
        event("ERROR", &status(code, reason, message))
    }

    fn into_response(self) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
        let parts = stream::iter(self.parts).map(|part| Ok(Frame::data(Bytes::from(part))));
        let rest = match self.end {
            End::Well => stream::empty().boxed(),
            End::Broken => stream::iter([Err(std::io::ErrorKind::ConnectionReset.into())]).boxed(),
            End::Never => stream::pending().boxed(),
        };
        let body = StreamBody::new(parts.chain(rest));
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("it is in a test");
        response
    }
}

impl Fake {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    /// A client that asks this service; what has no answer any more waits for ever.
    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let accept = request.headers().get("accept").and_then(|value| value.to_str().ok());
                let asked = (request.uri().to_string(), accept.unwrap_or_default().to_owned());
                fake.asked().push(asked);
                match fake.next_answer() {
                    Some(answer) => Ok::<_, Infallible>(answer.into_response()),
                    None => std::future::pending().await,
                }
            }
        });
        Client::new(service, "default")
    }

    fn next_answer(&self) -> Option<Answer> {
        self.answers.lock().expect("no holder panics").pop_front()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.asked.lock().expect("no holder panics")
    }

    /// What was asked, in words.
    pub(crate) fn questions(&self) -> Vec<String> {
        let words = |(path, _): &(String, String)| {
            let value = |key: &str| path.split(['?', '&']).find_map(|part| part.strip_prefix(key));
            let version = value("resourceVersion=").unwrap_or("?");
            match (value("watch="), value("resourceVersionMatch=")) {
                (Some(_), _) => format!("watch from {version}"),
                (None, Some("NotOlderThan")) => format!("list no older than {version}"),
                (None, _) => format!("list the latest, not {version}"),
            }
        };
        self.asked().iter().map(words).collect()
    }

    /// Path and query, and the kinds of answers accepted.
    pub(crate) fn request(&self, number: usize) -> (String, String) {
        self.asked()[number].clone()
    }
}
