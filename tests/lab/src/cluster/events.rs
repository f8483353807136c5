//! The Events that were written of a Pod.

use anyhow::Context as _;
use serde::Deserialize;

use super::Cluster;
use crate::{Result, until};

/// An Event of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type: `Normal` or `Warning`.
    pub kind: String,
    /// The reason, in one word.
    pub reason: String,
    /// The message, for people.
    pub message: String,
    /// How often it was seen, at least 1.
    pub count: u32,
    /// The UID of the Pod that it is of, which tells apart those that had the same name.
    pub uid: String,
}

/// What `kubectl get events -o json` prints.
#[derive(Deserialize)]
struct EventList {
    items: Vec<Item>,
}

/// An Event of core/v1; one that was written by events.k8s.io/v1 counts in its series.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    count: Option<u32>,
    series: Option<Series>,
    involved_object: InvolvedObject,
}

#[derive(Deserialize)]
struct Series {
    count: u32,
}

#[derive(Deserialize)]
struct InvolvedObject {
    #[serde(default)]
    uid: String,
}

impl Cluster<'_> {
    /// The Events of the Pods that have or had this name, the oldest first.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub fn events(&self, namespace: &str, pod: &str) -> Result<Vec<Event>> {
        let of = format!("--field-selector=involvedObject.kind=Pod,involvedObject.name={pod}");
        let order = "--sort-by=.metadata.creationTimestamp";
        let text = self.kubectl(["get", "events", "-n", namespace, &of, order, "-o", "json"])?;
        let list: EventList = serde_json::from_str(&text)?;
        Ok(list.items.into_iter().map(Event::from).collect())
    }

    /// Waits for an Event of a Pod with this reason, and gives the first.
    ///
    /// # Errors
    /// A component dies, or there is none within a minute.
    pub fn await_event(&self, namespace: &str, pod: &str, reason: &str) -> Result<Event> {
        let mut seen = Vec::new();
        let found = until(&format!("an Event {reason} of {namespace}/{pod}"), || {
            seen = self.events(namespace, pod)?;
            Ok(seen.iter().find(|event| event.reason == reason).cloned())
        });
        found.with_context(|| format!("its Events are {seen:#?}"))
    }
}

impl From<Item> for Event {
    fn from(item: Item) -> Self {
        let count = item.series.map(|series| series.count).or(item.count).unwrap_or_default();
        Self {
            kind: item.kind,
            reason: item.reason,
            message: item.message,
            count: count.max(1),
            uid: item.involved_object.uid,
        }
    }
}
