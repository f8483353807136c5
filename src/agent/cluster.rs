//! The agent's part that talks with the API server.

use std::{future::pending, time::Instant};

use metrics::Metrics;
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
    verdict::Verdict,
};

/// What is heard from the API server, and what is told by it.
pub(super) struct Kubernetes {
    feed: Feed,
    journal: Journal,
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
        let refused = metrics.errors.with_label_values(&["event_refused"]);
        let publisher = events::Publisher::new(client, node, &settings.nic, refused);
        tokio::spawn(publisher.run(announced));
        let feed = Feed::start(config, node)?;
        Ok(Some(Self { feed, journal: Journal::default(), announcements }))
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
        // While mirroring is paused there is nothing to tell of any Pod: it is neither mirrored nor refused.
        if !self.is_complete() || self.world.audience().is_paused() {
            return;
        }
        let (Some(kubernetes), Some(plan)) = (&mut self.kubernetes, &self.plan) else { return };
        let (reports, room) = (self.world.reports(plan), kubernetes.announcements.capacity());
        self.metrics.pods_refused.reset();
        for report in reports.values() {
            if let Verdict::Refused(refusal) = &report.verdict {
                self.metrics.pods_refused.with_label_values(&[refusal.name()]).inc();
            }
        }
        for announcement in kubernetes.journal.due(&reports, now, room) {
            // There is room, and the receiver lives as long as the runtime.
            let _ = kubernetes.announcements.try_send(announcement);
        }
    }
}
