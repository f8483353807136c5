//! The objects of one kind: listed, then watched, and listed anew when the API server has forgotten where the watch was.
//!
//! It does what `watcher` of kube does, and two things that can't be had from that one.
//!
//! - **A list never leads back in time.** The first one takes whatever the API server has in its cache. Each further one asks for
//!   what is no older than what was heard last: another API server may lag behind, and would bring an annotation back that was
//!   removed. One that lags waits for three seconds and then refuses. If that goes on, the latest is asked for: etcd may have been
//!   restored from a backup, and is right then.
//! - **A list is read object by object**, so it may be of any length. It is asked for without a limit: pages come from
//!   the cache since Kubernetes 1.34 only, and from etcd before.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use futures::{
    AsyncBufRead, AsyncBufReadExt as _, Stream, StreamExt as _,
    stream::{BoxStream, unfold},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::{
    Client, Resource,
    api::{ListParams, WatchParams},
    core::{PartialObjectMeta, Request, Status, WatchEvent},
    runtime::watcher::Event,
};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::items::{Items, ItemsError};

/// The status of an answer to a watch whose past the API server has forgotten.
const GONE: u16 = 410;
/// How an API server calls it that its cache is older than what was asked for (`ResourceVersionTooLarge` of apimachinery).
const LAGS: &str = "ResourceVersionTooLarge";
/// How often it may say so in a row until the latest is asked for.
const LAGGING: u32 = 3;
/// How long a watch lasts, in seconds. Agents that start together, as those of a DaemonSet, must not begin their watches together
/// for ever, so each watch has another length. kube takes no more than 295.
const WATCH: std::ops::Range<u64> = 200..290;
/// How much longer the API server may take to end it.
const MARGIN: Duration = Duration::from_secs(5);
/// A watch that brings nothing and ends as early as this would only be begun and ended all the time.
const EARLY: Duration = Duration::from_secs(1);

/// What goes wrong; all of it is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// No list is to be had.
    #[error("can't list: {0}")]
    List(#[source] kube::Error),
    /// The answer broke off.
    #[error("the list broke off: {0}")]
    Broken(#[source] io::Error),
    /// The answer is no list.
    #[error("the answer is no list: {0}")]
    NoList(#[from] ItemsError),
    /// An object of it, or the rest, is not what it should be.
    #[error("the list can't be understood: {0}")]
    Contents(#[from] serde_json::Error),
    /// No watch is to be had, or it can't be understood.
    #[error("can't watch: {0}")]
    Watch(#[source] kube::Error),
    /// The API server ends the watch.
    #[error("the watch ends: {0}")]
    Ended(#[source] Box<Status>),
    /// It ends at once, without a word.
    #[error("the watch ends as soon as it begins")]
    Early,
    /// An object or a list does not say which version it is.
    #[error("the answer has no resourceVersion")]
    NoVersion,
}

impl FollowError {
    /// Whether it is no failure: everything is listed anew, as the API server has forgotten what the watch was to begin with.
    pub(super) fn is_expiry(&self) -> bool {
        match self {
            Self::Watch(kube::Error::Api(status)) | Self::Ended(status) => status.code == GONE,
            _ => false,
        }
    }

    /// Whether the API server's cache is older than what was asked for.
    fn lags(&self) -> bool {
        let Self::List(kube::Error::Api(status)) = self else { return false };
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == LAGS) || status.message.contains("Too large resource")
    }
}

/// What is known of the objects after each event, without an end. After an error it is tried again at once.
pub(super) fn follow<K>(
    client: Client,
    fields: Option<String>,
) -> impl Stream<Item = Result<Event<ObjectMeta>, FollowError>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    let follower = Follower::<K> {
        client,
        fields,
        heard: None,
        lagging: 0,
        state: State::Unlisted,
        kind: PhantomData,
    };
    unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((event, follower))
    })
}

type Object = PartialObjectMeta;
type Watch = BoxStream<'static, kube::Result<WatchEvent<Object>>>;

struct Follower<K> {
    client: Client,
    fields: Option<String>,
    /// The version that was heard last.
    heard: Option<String>,
    /// How often in a row the API server knew no such version yet.
    lagging: u32,
    state: State,
    kind: PhantomData<fn() -> K>,
}

enum State {
    /// A list is to be asked for.
    Unlisted,
    Listing {
        body: Pin<Box<dyn AsyncBufRead + Send>>,
        items: Items,
    },
    /// A watch is to be begun.
    Listed,
    Watching(Watching),
}

struct Watching {
    events: Watch,
    /// How long the next event may take.
    limit: Duration,
    /// When it began; none once it has brought something.
    begun: Option<Instant>,
}

/// A list without its objects.
#[derive(Deserialize)]
struct Envelope {
    metadata: ListMeta,
}

impl<K: Resource<DynamicType = ()>> Follower<K> {
    async fn next(&mut self) -> Result<Event<ObjectMeta>, FollowError> {
        loop {
            let event = match &mut self.state {
                State::Unlisted => self.list().await,
                State::Listing { body, items } => match read(body, items).await {
                    Ok(Some(object)) => Ok(Some(Event::InitApply(object))),
                    Ok(None) => self.end_list(),
                    Err(error) => Err(error),
                },
                State::Listed => self.watch().await.map(|()| None),
                State::Watching(watching) => {
                    let event = watching.next().await;
                    self.hear(event)
                }
            };
            match event {
                Ok(None) => {}
                Ok(Some(event)) => return Ok(event),
                Err(error) => {
                    let listed = matches!(self.state, State::Listed | State::Watching(_));
                    let is_lost = error.is_expiry() || matches!(error, FollowError::NoVersion);
                    self.state = if listed && !is_lost { State::Listed } else { State::Unlisted };
                    return Err(error);
                }
            }
        }
    }

    async fn list(&mut self) -> Result<Option<Event<ObjectMeta>>, FollowError> {
        let mut params = ListParams { field_selector: self.fields.clone(), ..Default::default() };
        match &self.heard {
            _ if self.lagging >= LAGGING => {}
            Some(version) => {
                params = params.at(version).matching(kube::api::VersionMatch::NotOlderThan);
            }
            None => params = params.match_any(),
        }
        let request = Request::new(K::url_path(&(), None)).list_metadata(&params);
        let request = request.map_err(kube::Error::BuildRequest).map_err(FollowError::List)?;
        let body = self.client.request_stream(request).await.map_err(FollowError::List);
        let lags = body.as_ref().is_err_and(FollowError::lags);
        self.lagging = if lags { self.lagging + 1 } else { 0 };
        self.state = State::Listing { body: Box::pin(body?), items: Items::default() };
        Ok(Some(Event::Init))
    }

    fn end_list(&mut self) -> Result<Option<Event<ObjectMeta>>, FollowError> {
        let State::Listing { items, .. } = std::mem::replace(&mut self.state, State::Unlisted)
        else {
            return Ok(None);
        };
        let envelope: Envelope = serde_json::from_slice(&items.finish()?)?;
        self.heard = Some(version(envelope.metadata.resource_version)?);
        self.state = State::Listed;
        Ok(Some(Event::InitDone))
    }

    async fn watch(&mut self) -> Result<(), FollowError> {
        let seconds = WATCH.start + RandomState::new().hash_one(0) % (WATCH.end - WATCH.start);
        let params = WatchParams {
            field_selector: self.fields.clone(),
            timeout: u32::try_from(seconds).ok(),
            ..Default::default()
        };
        let from = self.heard.as_deref().unwrap_or_default();
        let request = Request::new(K::url_path(&(), None)).watch_metadata(&params, from);
        let request = request.map_err(kube::Error::BuildRequest).map_err(FollowError::Watch)?;
        let events = self.client.request_events(request).await.map_err(FollowError::Watch)?;
        self.state = State::Watching(Watching {
            events: events.boxed(),
            limit: Duration::from_secs(seconds) + MARGIN,
            begun: Some(Instant::now()),
        });
        Ok(())
    }

    /// Takes in what a watch has brought; none is its end.
    fn hear(
        &mut self,
        event: Result<Option<WatchEvent<Object>>, FollowError>,
    ) -> Result<Option<Event<ObjectMeta>>, FollowError> {
        let (event, heard) = match event? {
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let version = object.metadata.resource_version.clone();
                (Some(Event::Apply(object.metadata)), version)
            }
            Some(WatchEvent::Deleted(object)) => {
                let version = object.metadata.resource_version.clone();
                (Some(Event::Delete(object.metadata)), version)
            }
            Some(WatchEvent::Bookmark(mark)) => (None, Some(mark.metadata.resource_version)),
            Some(WatchEvent::Error(status)) => return Err(FollowError::Ended(status.boxed())),
            None => {
                self.state = State::Listed;
                return Ok(None);
            }
        };
        self.heard = Some(version(heard)?);
        Ok(event)
    }
}

impl Watching {
    async fn next(&mut self) -> Result<Option<WatchEvent<Object>>, FollowError> {
        // A peer that is silent for longer is gone.
        let event = timeout(self.limit, self.events.next()).await.unwrap_or_default();
        let begun = self.begun.take();
        match event {
            None if begun.is_some_and(|begun| begun.elapsed() < EARLY) => Err(FollowError::Early),
            event => event.transpose().map_err(FollowError::Watch),
        }
    }
}

/// The next object of a list; none at its end.
async fn read(
    body: &mut Pin<Box<dyn AsyncBufRead + Send>>,
    items: &mut Items,
) -> Result<Option<ObjectMeta>, FollowError> {
    loop {
        if let Some(item) = items.next() {
            return Ok(Some(serde_json::from_slice::<Object>(&item)?.metadata));
        }
        let bytes = body.fill_buf().await.map_err(FollowError::Broken)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        items.feed(bytes)?;
        let taken = bytes.len();
        body.consume_unpin(taken);
    }
}

fn version(version: Option<String>) -> Result<String, FollowError> {
    version.filter(|version| !version.is_empty()).ok_or(FollowError::NoVersion)
}
