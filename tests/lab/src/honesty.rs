//! Whether the agent tells the truth about itself while the world changes.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{Agent, HttpAnswer, Node, Result, until};

/// How long the switch may answer nobody until the agent has noticed: it asks for a sign of life after 5 s, and waits 5 s for it.
const SILENCE: Duration = Duration::from_secs(15);

/// Looks at an agent again and again, from the outside.
#[derive(Debug)]
pub struct Witness<'a> {
    node: &'a Node,
    agent: &'a Agent<'a>,
    /// Whether something that the agent needs is known to be away, so that it must not be ready.
    away: AtomicBool,
    looks: AtomicUsize,
    over: AtomicBool,
}

/// What a [`Witness`] saw at one moment, give or take a few milliseconds.
struct Look {
    /// The agent said that it was ready, before and after the switch was asked.
    ready: bool,
    /// Whether something was away all the time.
    away: bool,
    /// What was not mirrored; `None` if the switch did not answer.
    unhooked: Option<Vec<String>>,
    /// How many changes the agent had made, before and after.
    changes: [f64; 2],
    /// What `/readyz` gave as reasons.
    reasons: Vec<String>,
}

impl Agent<'_> {
    /// Lets a story happen, and makes sure that all the while `/healthz` says yes, and `/readyz` never says yes while
    /// flows are missing from the switch or a service is away, nor no without a reason. Gives the reasons.
    ///
    /// # Errors
    /// What the story fails with, or the agent's first lie.
    pub fn honest_during(
        &self,
        node: &Node,
        story: impl FnOnce(&Witness<'_>) -> Result,
    ) -> Result<BTreeSet<String>> {
        let witness = Witness {
            node,
            agent: self,
            away: AtomicBool::new(false),
            looks: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let watched = witness.watch();
                witness.over.store(true, Ordering::SeqCst);
                watched
            });
            let told = {
                let _over = Over(&witness.over);
                story(&witness)
            };
            let watched = watching.join().expect("no look panics");
            watched.and_then(|reasons| told.map(|()| reasons))
        })
    }
}

/// Ends the watch when dropped. A story that panics must end it too: the thread that watches is waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Witness<'_> {
    /// Something that the agent needs is away while `story` happens: once the agent has noticed, it must not be ready
    /// and must name `reason`, for many looks.
    ///
    /// # Errors
    /// What the story fails with, or that the agent does not notice.
    pub fn without(&self, reason: &str, story: impl FnOnce() -> Result) -> Result {
        until(&format!("/readyz to say {reason:?}"), || {
            let answer = self.agent.readiness()?;
            Ok((answer.status == 503 && answer.body.contains(reason)).then_some(()))
        })?;
        self.away.store(true, Ordering::SeqCst);
        story()?;
        let looks = self.looks.load(Ordering::SeqCst);
        until("five looks", || {
            ensure!(!self.over.load(Ordering::SeqCst), "the witness has seen a lie");
            Ok((self.looks.load(Ordering::SeqCst) > looks + 5).then_some(()))
        })?;
        self.away.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn watch(&self) -> Result<BTreeSet<String>> {
        let mut reasons = BTreeSet::new();
        let mut last: Option<Look> = None;
        let mut answered = Instant::now();
        while !self.over.load(Ordering::SeqCst) {
            let look = self.look()?;
            self.looks.fetch_add(1, Ordering::SeqCst);
            ensure!(!(look.away && look.ready), "/readyz says yes while a service is away");
            if look.unhooked.is_some() || !look.ready {
                answered = Instant::now();
            }
            // While ovs-vswitchd looks for its database it answers nobody, and has our flows all the same. The agent asks it
            // for a sign of life.
            ensure!(answered.elapsed() < SILENCE, "/readyz says yes and the switch is away");
            // What has just changed may be on its way to the agent, so a lie takes two looks in a row, with nothing done
            // by the agent in between.
            if let Some(last) = &last
                && last.ready
                && look.ready
                && last.changes[0] == look.changes[1]
            {
                let nothing = Vec::new();
                let [before, after] =
                    [last, &look].map(|look| look.unhooked.as_ref().unwrap_or(&nothing));
                let missing: Vec<_> = before.iter().filter(|hook| after.contains(hook)).collect();
                ensure!(missing.is_empty(), "/readyz says yes, and not mirrored is: {missing:?}");
            }
            reasons.extend(look.reasons.iter().cloned());
            last = Some(look);
        }
        Ok(reasons)
    }

    fn look(&self) -> Result<Look> {
        let health = self.agent.get("/healthz")?.context("the agent does not listen")?;
        ensure!(health.status == 200, "/healthz says {health:?}");
        let away = self.away.load(Ordering::SeqCst);
        let (change, before) = (self.agent.changes()?, self.agent.readiness()?);
        let unhooked = self.node.unhooked_at_once().ok();
        let (after, changed) = (self.agent.readiness()?, self.agent.changes()?);
        let away = away && self.away.load(Ordering::SeqCst);
        let unready = [&before, &after].into_iter().filter(|answer| answer.status != 200);
        let reasons = unready.flat_map(|answer| answer.body.lines().map(str::to_owned));
        Ok(Look {
            ready: before.status == 200 && after.status == 200,
            away,
            unhooked,
            changes: [change, changed],
            reasons: reasons.collect(),
        })
    }
}

impl Agent<'_> {
    /// What `/readyz` says: yes, or no with a reason.
    ///
    /// # Errors
    /// Anything else.
    pub fn readiness(&self) -> Result<HttpAnswer> {
        let answer = self.get("/readyz")?.context("the agent does not listen")?;
        let reasoned = answer.status == 503 && !answer.body.trim().is_empty();
        ensure!(answer.status == 200 || reasoned, "/readyz says {answer:?}");
        Ok(answer)
    }

    /// How many changes the switch has made for the agent.
    ///
    /// # Errors
    /// The agent does not listen.
    pub fn changes(&self) -> Result<f64> {
        let answer = self.get("/metrics")?.context("the agent does not listen")?;
        let name = "ofmirror_flow_changes_total{result=\"committed\"} ";
        let value = answer.body.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }
}
