//! Events on Pods: what people see in `kubectl describe pod`.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use metrics::IntCounter;
use tokio::{sync::mpsc, time::sleep};
use tracing::{debug, warn};

use super::client::in_a_line;
use crate::{
    foreign,
    journal::{Announcement, What},
    verdict::Ports,
};

/// How many may wait to be sent; more are made when there is room.
pub const WAITING: usize = 16;
/// Pause after each, so that a node with many Pods is no load to the API server: five a second.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is tried again when that is forbidden: for three to six seconds.
const FORBIDDEN: u32 = 2;
/// What Kubernetes takes of an Event's note, in bytes (`NoteLengthLimit` of its validation is 1024).
const NOTE: usize = 1024;
/// And of its action (`ActionLengthLimit`).
const ACTION: usize = 128;

/// Writes Events.
pub struct Publisher {
    recorder: Recorder,
    /// This node's name, and that of its mirror NIC, for the notes.
    node: String,
    nic: String,
    refused: IntCounter,
}

impl Publisher {
    /// A publisher that counts what the API server does not take.
    #[must_use]
    pub fn new(client: Client, node: &str, nic: &str, refused: IntCounter) -> Self {
        let instance = Some(node.to_owned());
        let reporter = Reporter { controller: "ofmirror".to_owned(), instance };
        let recorder = Recorder::new(client, reporter);
        Self { recorder, node: node.to_owned(), nic: nic.to_owned(), refused }
    }

    /// Publishes what comes from `announcements` until there is no sender any more.
    pub async fn run(self, mut announcements: mpsc::Receiver<Announcement>) {
        while let Some(announcement) = announcements.recv().await {
            self.publish(&announcement).await;
            sleep(PAUSE).await;
        }
    }

    async fn publish(&self, announcement: &Announcement) {
        let event = event(&announcement.what, &self.node, &self.nic);
        let pod = reference(announcement);
        let mut tries = 0..FORBIDDEN;
        let delays = ExponentialBuilder::default().with_jitter().without_max_times();
        let sent = (|| self.recorder.publish(&event, &pod))
            .retry(delays)
            .when(|error| is_passing(error) || (is_forbidden(error) && tries.next().is_some()))
            .notify(|error, _| debug!(error = %in_a_line(error), "an Event has to wait"));
        if let Err(error) = sent.await {
            self.refused.inc();
            let (pod, reason) = (&announcement.pod, &event.reason);
            warn!(error = %in_a_line(&error), %pod, reason, "the API server took no Event");
        }
    }
}

/// Whether it may go better another time; not so if the request itself is refused, as for a Pod whose namespace is gone.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        _ => true,
    }
}

/// Whether we may not. An API server that has just started says so until it has read the roles.
fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

fn reference(announcement: &Announcement) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: announcement.pod.namespace.as_deref().map(str::to_owned),
        name: Some(announcement.pod.name.to_string()),
        uid: Some(announcement.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// The action tells apart what the reason does not: the recorder counts events with the same of both as one, and keeps
/// the note of the first.
fn event(what: &What, node: &str, nic: &str) -> Event {
    let (type_, reason, action, note) = match what {
        What::Started(ports) => {
            let ports = Ports(ports);
            let note = format!("Its packets are copied to {nic} of {node}, from {ports}");
            (EventType::Normal, "MirrorStarted", format!("Mirror {ports}"), note)
        }
        What::Stopped => {
            let note = format!("Its packets are no longer copied to {nic} of {node}");
            (EventType::Normal, "MirrorStopped", "Stop".to_owned(), note)
        }
        What::Refused(refusal) => {
            let note = format!("Not mirrored, or not all of it: {refusal}");
            (EventType::Warning, "MirrorRefused", refusal.name().to_owned(), note)
        }
        What::Invalid { key, value } => {
            let note = format!(
                "{key}={value:?} on it or its Namespace is ignored: write \"true\" or \"false\""
            );
            (EventType::Warning, "MirrorAnnotationInvalid", format!("Ignore {value:?}"), note)
        }
    };
    Event {
        type_,
        reason: reason.to_owned(),
        action: cut(foreign::line(&action).into_owned(), ACTION),
        note: Some(cut(foreign::line(&note).into_owned(), NOTE)),
        secondary: None,
    }
}

/// At most `limit` bytes, with dots where something is left out.
fn cut(mut text: String, limit: usize) -> String {
    const DOTS: &str = "...";
    if text.len() > limit {
        let fits = (0..=limit - DOTS.len()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(fits.unwrap_or_default());
        text.push_str(DOTS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_actions_fit_into_an_event_whatever_the_annotation_holds() {
        let value = "ü".repeat(5000);
        let what = What::Invalid { key: "ovn.kubernetes.io/mirror".into(), value: value.into() };
        let event = event(&what, "n1", "mirror0");
        assert!(event.action.len() <= ACTION, "{}", event.action);
        let note = event.note.unwrap();
        assert!(note.len() <= NOTE && note.ends_with("..."), "{note}");
        assert!(note.starts_with("ovn.kubernetes.io/mirror=\"üü"), "{note}");
    }

    #[test]
    fn a_note_is_no_command_to_whoever_reads_it() {
        let ports = vec![("a\u{1b}[2J\n\u{202e}".into(), flows::model::OfPort(5))];
        let event = event(&What::Started(ports), "n1", "mirror0");
        let shown = r"a\u{1b}[2J\n\u{202e} (OpenFlow port 5)";
        assert_eq!(event.action, format!("Mirror {shown}"));
        assert!(event.note.unwrap().ends_with(shown));
    }

    #[test]
    fn what_differs_in_its_note_differs_in_its_action() {
        let on_port = |number| What::Started(vec![("a_h".into(), flows::model::OfPort(number))]);
        let [first, second] = [5, 6].map(|number| event(&on_port(number), "n1", "mirror0"));
        assert_eq!(first.reason, second.reason);
        assert_ne!(first.action, second.action);
        assert_eq!(
            first.note.as_deref(),
            Some("Its packets are copied to mirror0 of n1, from a_h (OpenFlow port 5)")
        );
    }
}
