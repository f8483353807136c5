//! Watches who listens, for as long as the agent runs.

use std::time::{Duration, Instant};

use tokio::{
    sync::watch::{Receiver, Sender},
    time::sleep,
};

use super::{Audience, Place};
use crate::{nic::Listeners, settings::MirrorWhen, sink::SinkState};

/// How often it is looked for listeners while nothing is mirrored, as none was there: the most that passes between a
/// listener's coming and our noticing it.
pub const PAUSED: Duration = Duration::from_millis(100);
/// How often otherwise: nobody waits for it.
const MIRRORING: Duration = Duration::from_secs(1);
/// How long hooks stay after the last listener left, who may be back at once: whoever runs tcpdump again with another
/// filter, or a sensor that is restarted, misses nothing then.
const GRACE: Duration = Duration::from_secs(3);

/// Whether copies are wanted, from who has been there.
#[derive(Debug, Default)]
struct Interest {
    /// When somebody listened last, or may have.
    last: Option<Instant>,
}

impl Interest {
    fn is_there(&mut self, listeners: &Result<Listeners, String>, now: Instant) -> bool {
        if *listeners != Ok(Listeners::NOBODY) {
            self.last = Some(now);
        }
        self.last.is_some_and(|last| now.saturating_duration_since(last) < GRACE)
    }
}

/// Tells to `audiences` who listens on `nic`, whose state `sinks` tells. Ends when the latter does.
pub async fn run(
    nic: String,
    when: MirrorWhen,
    mut sinks: Receiver<SinkState>,
    audiences: Sender<Audience>,
) {
    let mut interest = Interest::default();
    let mut place = Place::of(&nic, &sinks.borrow_and_update());
    loop {
        let listeners = place.listeners();
        let wanted =
            listeners.as_ref().map(|listeners| interest.is_there(listeners, Instant::now()));
        let audience = Audience::new(listeners, wanted, when);
        let pause = if audience.is_paused() { PAUSED } else { MIRRORING };
        audiences.send_if_modified(|before| {
            let changed = *before != audience;
            *before = audience;
            changed
        });
        tokio::select! {
            changed = sinks.changed() => {
                if changed.is_err() {
                    return;
                }
                place = Place::of(&nic, &sinks.borrow_and_update());
            }
            () = sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn hooks_outlast_the_last_listener_for_a_while() {
        let start = Instant::now();
        let mut interest = Interest::default();
        let mut is_there =
            |number, now| interest.is_there(&Ok(Listeners { number, by_protocol: false }), now);
        assert!(!is_there(0, start), "nobody has been there yet");
        assert!(is_there(1, start));
        assert!(is_there(0, start + GRACE / 2), "he may be back");
        assert!(is_there(2, start + GRACE), "and is");
        assert!(is_there(0, start + GRACE * 3 / 2));
        assert!(!is_there(0, start + GRACE * 2), "he is gone");
    }

    #[test]
    fn who_can_not_be_seen_counts_as_there() {
        let mut interest = Interest::default();
        assert!(interest.is_there(&Err("it is elsewhere".to_owned()), Instant::now()));
    }

    #[tokio::test]
    async fn nothing_is_told_before_the_mirror_port_is_known_and_then_at_once() {
        let (sinks, sink) = watch::channel(SinkState::default());
        let (audiences, mut audience) = watch::channel(Audience::default());
        let task = tokio::spawn(run("none0".to_owned(), MirrorWhen::Listened, sink, audiences));
        tokio::task::yield_now().await;
        assert_eq!(*audience.borrow(), Audience::default());
        sinks.send_replace(SinkState { known: true, ..SinkState::default() });
        let told = audience.wait_for(|audience| audience.wanted.is_some()).await.unwrap().clone();
        assert_eq!((told.wanted, told.listeners), (Some(true), None));
        let remark = told.remark.unwrap();
        assert!(remark.contains("none0 is no device of this network namespace"), "{remark}");
        drop(sinks);
        task.await.unwrap();
    }
}
