//! What the API server tells: this node's Pods and all namespaces, trimmed to what mirroring needs before it is kept.

use std::sync::Arc;

use futures::{
    Stream, StreamExt as _,
    future::ready,
    stream::{BoxStream, SelectAll, unfold},
};
use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client, Config, Resource,
    runtime::{WatchStreamExt as _, watcher::Event},
};
use tokio::sync::Notify;
use tracing::debug;

use super::{
    client::{ClientError, connect, in_a_line},
    follow::follow,
};
use crate::{
    annotation::Marks,
    cluster::{News, PodMeta, Source},
};

/// News without an end.
pub struct Feed {
    streams: SelectAll<BoxStream<'static, News>>,
}

impl Feed {
    /// Watches the Pods of `node` and all namespaces, from now on and through every outage.
    ///
    /// # Errors
    /// Certificates or credentials of `config` are not valid.
    pub fn start(config: &Config, node: &str) -> Result<Self, ClientError> {
        let (pods, pods_answered) = client(config, Source::Pods)?;
        let (namespaces, namespaces_answered) = client(config, Source::Namespaces)?;
        Ok(Self {
            streams: [
                pods_answered,
                namespaces_answered,
                watch_pods(pods, node).boxed(),
                watch_namespaces(namespaces).boxed(),
            ]
            .into_iter()
            .collect(),
        })
    }

    /// The next news. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> News {
        self.streams.next().await.expect("watches go on for ever, whatever happens to a connection")
    }
}

/// A client for one source, and the news of its answers.
fn client(
    config: &Config,
    source: Source,
) -> Result<(Client, BoxStream<'static, News>), ClientError> {
    let answers = Arc::new(Notify::new());
    let answered = Arc::clone(&answers);
    let client = connect(config, move || answered.notify_one())?;
    let news = unfold(answers, move |answers| async move {
        answers.notified().await;
        Some((News::Answered(source), answers))
    });
    Ok((client, news.boxed()))
}

/// Which Pods are of interest: those that run or are about to on `node`. One that has ended has no port, though its
/// object may stay for long.
fn selector(node: &str) -> String {
    format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed")
}

/// News of the Pods of `node`.
pub fn watch_pods(client: Client, node: &str) -> impl Stream<Item = News> + Send + use<> {
    watch::<Pod, _>(client, Some(selector(node)), Source::Pods, PodMeta::of, News::Pods)
}

/// News of all namespaces.
pub fn watch_namespaces(client: Client) -> impl Stream<Item = News> + Send + use<> {
    watch::<Namespace, _>(client, None, Source::Namespaces, marks_of, News::Namespaces)
}

fn marks_of(namespace: &ObjectMeta) -> (Arc<str>, Marks) {
    (namespace.name.as_deref().unwrap_or_default().into(), Marks::of(namespace))
}

fn watch<K, T>(
    client: Client,
    fields: Option<String>,
    source: Source,
    trim: fn(&ObjectMeta) -> T,
    heard: fn(Event<T>) -> News,
) -> impl Stream<Item = News> + Send + use<K, T>
where
    K: Resource<DynamicType = ()> + Send + 'static,
    T: 'static,
{
    follow::<K>(client, fields).default_backoff().filter_map(move |event| {
        ready(match event {
            Ok(event) => Some(heard(map(event, |object| trim(&object)))),
            Err(error) if error.is_expiry() => {
                debug!(?source, %error, "listing anew");
                None
            }
            Err(error) => Some(News::Failed(source, in_a_line(&error))),
        })
    })
}

fn map<K, T>(event: Event<K>, f: impl FnOnce(K) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(f(object)),
        Event::Delete(object) => Event::Delete(f(object)),
        Event::InitApply(object) => Event::InitApply(f(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}
