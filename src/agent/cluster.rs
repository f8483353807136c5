//! The agent's part that talks with the API server.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Instant};

use metrics::{Failure, Metrics};
use tokio::sync::mpsc;

use super::Agent;
use crate::{
    cluster::News,
    journal::{Announcement, Journal},
    kubernetes::{
        client::{ClientError, connect},
        events,
        feed::Feed,
    },
    settings::{PodSource, Settings},
    verdict::{Refusal, Report, Verdict},
};

/// What is heard from the API server, and what is told by it.
pub(super) struct Kubernetes {
    feed: Feed,
    journal: Journal,
    /// How things stand with each Pod, and as of which revision of the world.
    reports: BTreeMap<Arc<str>, Report>,
    revision: Option<u64>,
    announcements: mpsc::Sender<Announcement>,
}

impl Kubernetes {
    /// Starts to connect, if Pods are learnt from there.
    pub(super) fn start(
        settings: &Settings,
        metrics: &Metrics,
    ) -> Result<Option<Self>, ClientError> {
        let PodSource::Kubernetes { config, node } = &settings.pods else { return Ok(None) };
        let (announcements, announced) = mpsc::channel(events::WAITING);
        let client = connect(config, || {})?;
        let refused = metrics.failures(Failure::EventRefused);
        let publisher = events::Publisher::new(client, node, &settings.nic, refused);
        tokio::spawn(publisher.run(announced));
        let feed = Feed::start(config, node)?;
        let (journal, reports) = (Journal::default(), BTreeMap::new());
        Ok(Some(Self { feed, journal, reports, revision: None, announcements }))
    }

    /// The next news; none ever comes if the API server is not asked. Nothing is lost if the future is dropped.
    pub(super) async fn next(kubernetes: &mut Option<Self>) -> News {
        match kubernetes {
            Some(kubernetes) => kubernetes.feed.next().await,
            None => pending().await,
        }
    }
}

impl Agent {
    /// Tells people how things stand with their Pods, once they stand still.
    pub(super) fn announce(&mut self, now: Instant) {
        // While mirroring is paused or suspended there is nothing to tell of any Pod: it is neither mirrored nor refused.
        let world = &self.world;
        if !self.is_complete() || world.audience().is_paused() || world.suspended().is_some() {
            return;
        }
        let Some(kubernetes) = &mut self.kubernetes else { return };
        let room = kubernetes.announcements.capacity();
        let revision = Some(self.world.revision());
        if kubernetes.revision != revision {
            kubernetes.revision = revision;
            kubernetes.reports = self.world.reports();
            self.metrics.pods_refused.reset();
            self.evidence.ambiguous.clear();
            for Report { pod, verdict, .. } in kubernetes.reports.values() {
                if let Verdict::Refused(refusal) = verdict {
                    self.metrics.pods_refused.with_label_values(&[refusal.name()]).inc();
                    if matches!(refusal, Refusal::Ambiguous(_) | Refusal::Unclear { .. }) {
                        self.evidence.ambiguous.push(format!("{pod}: {refusal}"));
                    }
                }
            }
        } else if kubernetes.journal.is_idle() {
            return;
        }
        for announcement in kubernetes.journal.due(&kubernetes.reports, now, room) {
            // There is room, and the receiver lives as long as the runtime.
            let _ = kubernetes.announcements.try_send(announcement);
        }
    }
}
