//! The agent: everything wired together, and the loop that keeps the switch's flows as they should be.
//!
//! ```text
//! OVSDB, mirror NIC, switch --events--> World --plan--> desired flows --diff--> Repair --bundle--> switch
//! ```
//!
//! One task owns the world. Any event only says "look again"; what is done follows from what is known then. As long as
//! a bundle is under way nothing else is changed, since what is observed then is about to be different. Nothing at all is
//! changed as long as another agent has the bridge; see `ownership`.

mod answer;
mod cluster;
mod evidence;
mod farewell;
pub mod overhead;
mod ownership;
mod report;
mod traffic;

use std::{
    collections::HashSet,
    future::pending,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use metrics::{Failure, Metrics};
use tokio::{
    sync::watch,
    task::{JoinHandle, unconstrained},
    time::{MissedTickBehavior, interval_at, sleep, sleep_until},
};
use tracing::{info, warn};

use self::{cluster::Kubernetes, evidence::Evidence, ownership::Ownership, traffic::Traffic};
use crate::{
    audience::{self, Audience},
    backoff,
    cluster::News,
    health::{Health, HealthLog},
    inquiry::Inquiries,
    kubernetes::client::ClientError,
    nic::NicError,
    openflow::{
        connection::ConnectionError,
        link::Link,
        session::{Event, RequestError},
    },
    overhead::{Overhead, probe::Probe},
    ovsdb,
    pod_log::PodLog,
    repair::{Fights, Refusals, Repair},
    restoration::Restoration,
    settings::Settings,
    sink::{
        SinkState,
        host_stack::HostStack,
        keeper::{Demand, Keeper},
        shield,
    },
    status::live::Live,
    switch::{Switch, Tag},
    world::World,
};

/// How often what has no event of its own is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Every how many ticks our flows are read again, for what they have counted, and in case a report was missed.
const REREAD: u32 = 5;
/// How many flows may be read for each tick between two readings: of ten thousand ports' they are read every 20 ticks.
const READ_PER_TICK: usize = 1000;
/// How long after a loss all flows are scanned again: whoever removed ours may be a new OVN, that uses other bits.
const RESCAN: Duration = Duration::from_secs(5);
/// Bundles that may be sent between two ticks. Somebody who keeps removing our flows must not keep the switch busy.
const BUNDLES: u32 = 100;
/// How long a burst of losses may pause without being over, the least that the runtime's clock can tell; and how many
/// pauses are waited for.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSES: usize = 10;
/// Events that are taken in before the next look at what they change.
const COALESCED: usize = 4096;

/// What else the agent may do, and what it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Whether Mirror records that copy to the mirror port too are emptied.
    pub replace_mirrors: bool,
    /// Whether copies get into the host's network stack.
    pub host_stack: HostStack,
    /// Whether flows and port stay when the agent ends.
    pub keep_on_exit: bool,
    /// Whether there are pauses in which hooks are lifted.
    pub overhead_probe: Option<Probe>,
}

/// A running agent.
pub struct Agent {
    settings: Settings,
    manners: Manners,
    world: World,
    ownership: Ownership,
    ovsdb: ovsdb::Client,
    openflow: Link<Tag>,
    kubernetes: Option<Kubernetes>,
    traffic: Traffic,
    evidence: Evidence,
    demands: watch::Sender<Demand>,
    sink: watch::Receiver<SinkState>,
    audience: watch::Receiver<Audience>,
    keeper: JoinHandle<Result<(), NicError>>,
    shield: JoinHandle<()>,
    /// Flows of the plan that the switch lacks.
    missing: usize,
    /// Taps that the plan could not serve when all was well last: how many.
    unserved: usize,
    /// How long it takes to have back what others took.
    restoration: Restoration,
    /// Changes that have been sent and not been answered yet.
    repair: Option<Repair>,
    refusals: Refusals,
    fights: Fights,
    /// Whether the switch was told of as stalled.
    stalled: bool,
    /// Bundles sent since the last tick.
    bundles: u32,
    /// The last pause for too many of them, if they have been too many ever since: the next one is longer.
    breather: Option<Duration>,
    /// No new bundle before then, as the last one failed, or there were too many.
    pause: Option<Instant>,
    rescan: Option<Instant>,
    overhead: Overhead,
    started: Option<Instant>,
    metrics: Metrics,
    health: watch::Sender<Health>,
    logged: HealthLog,
    pod_log: PodLog,
    /// What the Pods that are mirrored depended on when they were logged.
    logged_as_of: Option<(u64, Option<String>)>,
    inquiries: Inquiries<Live>,
    begun: Instant,
}

impl Agent {
    /// Starts to connect to everything. Health is told to `health` whenever it changes, and all else to whoever asks by
    /// `inquiries`.
    ///
    /// # Errors
    /// Certificates or credentials for the API server are not valid.
    pub fn start(
        settings: Settings,
        manners: Manners,
        metrics: Metrics,
        health: watch::Sender<Health>,
        inquiries: Inquiries<Live>,
    ) -> Result<Self, ClientError> {
        let kubernetes = Kubernetes::start(&settings, &metrics)?;
        let ownership = Ownership::new(&settings.wish.bridge, &settings.nic);
        let lock = ownership.lock_id().to_owned();
        let (ovsdb, task) = ovsdb::Client::with_lock(settings.ovsdb.clone(), lock);
        tokio::spawn(task);
        let (demands, demanded) = watch::channel(Demand::default());
        let (states, sink) = watch::channel(SinkState::default());
        let failures = metrics.failures(Failure::Nic);
        let Manners { replace_mirrors, host_stack, .. } = manners;
        let keeper = Keeper::new(
            settings.clone(),
            replace_mirrors,
            host_stack,
            ovsdb.clone(),
            states,
            failures,
        );
        // It waits for a NIC that is accepted.
        let shield = tokio::spawn(shield::keep(
            settings.nic.clone(),
            host_stack,
            sink.clone(),
            demanded.clone(),
        ));
        let keeper = tokio::spawn(keeper.run(demanded));
        let (audiences, audience) = watch::channel(Audience::default());
        let (nic, when) = (settings.nic.clone(), settings.when);
        tokio::spawn(audience::watch::run(nic, when, sink.clone(), audiences));
        Ok(Self {
            world: World::of(&settings),
            ownership,
            openflow: Link::new(settings.openflow.clone()),
            kubernetes,
            traffic: Traffic::new(metrics.clone()),
            evidence: Evidence::default(),
            ovsdb,
            demands,
            sink,
            audience,
            keeper,
            shield,
            missing: 0,
            unserved: 0,
            restoration: Restoration::default(),
            repair: None,
            refusals: Refusals::default(),
            fights: Fights::default(),
            stalled: false,
            bundles: 0,
            breather: None,
            pause: None,
            rescan: None,
            overhead: Overhead::new(manners.overhead_probe, metrics.clone(), Instant::now()),
            started: Some(Instant::now()),
            metrics,
            health,
            logged: HealthLog::default(),
            pod_log: PodLog::default(),
            logged_as_of: None,
            inquiries,
            begun: Instant::now(),
            settings,
            manners,
        })
    }

    /// Mirrors until `stop` is ready, then takes everything away, unless it is to be kept.
    ///
    /// # Errors
    /// The kernel gives no netlink socket, without which the mirror NIC can't be had.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), NicError> {
        let mut stop = Box::pin(stop);
        let mut database = self.ovsdb.states();
        let mut ticks = interval_at(tokio::time::Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            tokio::select! {
                () = &mut stop => break,
                event = self.openflow.next(), if self.may_connect() => self.handle_burst(event).await,
                Ok(()) = database.changed() => {
                    let state = database.borrow_and_update().clone();
                    if matches!(&state.connection, ovsdb::Connection::Connecting { reason: Some(_) }) {
                        self.count(Failure::Ovsdb);
                    }
                    let lock = state.lock;
                    self.world.set_ovsdb(state);
                    self.follow_lock(lock);
                }
                () = self.ownership.changed() => {}
                news = Kubernetes::next(&mut self.kubernetes) => {
                    if !self.hear(news) {
                        self.tell();
                        continue;
                    }
                }
                Ok(()) = self.sink.changed() => {
                    let state = self.sink.borrow_and_update().clone();
                    self.world.set_sink(state);
                }
                Ok(()) = self.audience.changed() => {
                    let audience = self.audience.borrow_and_update().clone();
                    self.listen(audience);
                }
                ended = &mut self.keeper => match ended {
                    Ok(result) => return result,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                () = sleep_until(self.overhead.due().into()) => {
                    if !self.measure_overhead() {
                        continue;
                    }
                }
                question = self.inquiries.next() => {
                    self.answer(question);
                    continue;
                }
                () = due(self.world.switch().ok().and_then(Switch::poll_timeout)) => {
                    self.send_requests();
                    continue;
                }
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    if !self.handle_tick(tick) {
                        continue;
                    }
                }
            }
            self.reconcile();
        }
        self.say_farewell().await;
        Ok(())
    }

    /// Takes in an event and what the switch has sent already, so that a burst is answered once. Whoever takes flows of ours takes
    /// many, which the switch tells in many messages: a pause shows whether that was all.
    async fn handle_burst(&mut self, first: Result<Event<Tag>, ConnectionError>) {
        let lost =
            |world: &World| world.switch().ok().and_then(Switch::loss).map_or(0, |loss| loss.flows);
        let mut before = lost(&self.world);
        self.handle_openflow(first);
        for _ in 0..PAUSES {
            self.handle_waiting();
            let now = lost(&self.world);
            if now <= before {
                return;
            }
            before = now;
            sleep(PAUSE).await;
        }
    }

    fn handle_waiting(&mut self) {
        for _ in 0..COALESCED {
            // Not to be told that nothing is there only because the runtime wants others to have a turn.
            let Some(event) = unconstrained(self.openflow.next()).now_or_never() else { return };
            self.handle_openflow(event);
        }
    }

    fn handle_openflow(&mut self, event: Result<Event<Tag>, ConnectionError>) {
        let Some(event) = event.map(|event| self.hear_of_ports(event)).transpose() else { return };
        match event {
            Ok(Event::Up(features)) => {
                info!(endpoint = %self.settings.openflow, datapath = format!("{:#018x}", features.datapath_id), "connected to the bridge");
                self.world.set_switch(Switch::new(features, self.settings.marker));
            }
            Ok(Event::Bundle { tag: Tag::Repair, outcome, refused }) => {
                self.finish_repair(outcome, refused);
            }
            Ok(event) => {
                if let Event::FlowRemoved(removed) = &event {
                    self.book_removal(removed);
                }
                if let Some(switch) = self.world.switch_mut() {
                    switch.handle(event, Instant::now());
                }
                self.book_readings();
            }
            Err(error) => {
                self.count(Failure::Openflow);
                if self.world.switch().is_ok() {
                    warn!(%error, "lost the bridge");
                }
                self.forget_switch(error.to_string());
            }
        }
    }

    /// There is no connection to the switch any more, for this reason.
    fn forget_switch(&mut self, reason: String) {
        self.world.lose_switch(reason);
        self.evidence.coverage.restart();
        self.evidence.shortfall.restart();
        self.overhead.disconnect(Instant::now());
        self.repair = None;
        self.missing = 0;
        self.refusals.clear();
        self.fights.clear();
    }

    /// Takes in news and what the API server has sent already; returns whether that may change what is mirrored.
    fn hear(&mut self, first: News) -> bool {
        let mut changed = false;
        let mut next = Some(first);
        for _ in 0..COALESCED {
            let Some(news) = next else { break };
            if matches!(news, News::Failed(..)) {
                self.count(Failure::Kubernetes);
            }
            changed |= self.world.hear(news);
            next = Kubernetes::next(&mut self.kubernetes).now_or_never();
        }
        changed
    }

    /// Takes in who listens.
    fn listen(&mut self, audience: Audience) {
        let before = self.world.audience().is_paused();
        match (before, audience.is_paused()) {
            (false, true) => info!("nobody listens on the mirror NIC: mirroring is paused"),
            (true, false) => info!(listeners = audience.listeners, "mirroring goes on"),
            _ => {}
        }
        self.world.set_audience(audience);
    }

    fn count(&self, failure: Failure) {
        self.metrics.failures(failure).inc();
    }

    /// Does what is due; returns whether that may have changed what is to be done.
    fn handle_tick(&mut self, tick: u32) -> bool {
        let now = Instant::now();
        if self.bundles < BUNDLES && self.pause.is_none() {
            self.breather = None;
        }
        self.bundles = 0;
        self.inquiries.beat();
        self.world.tick();
        if let Some(switch) = self.world.switch_mut() {
            let enough = u32::try_from(switch.observed().len() / READ_PER_TICK).unwrap_or(u32::MAX);
            if tick.is_multiple_of(enough.max(REREAD)) {
                switch.reread();
                switch.read_sink();
            }
            if self.rescan.is_some_and(|due| due <= now) {
                self.rescan = None;
                switch.rescan();
            }
            // Whoever is in our way may leave it, which nothing else would tell.
            if self.rescan.is_none() && !switch.conflicts().is_empty() {
                self.rescan = Some(now + RESCAN);
            }
        }
        self.send_requests();
        self.announce(now);
        self.log_pods();
        self.logged.look(&self.health.borrow());
        let rested = self.pause.take_if(|until| *until <= now).is_some();
        let lacking = self.world.switch().is_ok_and(|switch| switch.loss().is_some());
        let stall_changed = self.is_stalled() != self.stalled;
        let fought = self.fights.are_on();
        let fights = self.fights.look(now) || fought;
        self.refusals.expire(now) || rested || lacking || stall_changed || fights
    }

    /// Whether the switch is connected and does not answer.
    fn is_stalled(&mut self) -> bool {
        self.openflow.connection().is_some_and(|connection| connection.is_stalled())
    }

    /// Brings the switch a step nearer to what it should be.
    fn reconcile(&mut self) {
        // Without a demand nothing is done about the mirror port.
        let demand = match self.ownership.is_held() {
            true => self.world.demand(),
            false => Demand::default(),
        };
        self.demands.send_if_modified(|before| std::mem::replace(before, demand) != demand);
        let timer = self.metrics.reconcile.start_timer();
        self.lift();
        self.world.follow();
        self.send_requests();
        if self.ownership.is_held() && self.repair.is_none() && self.pause.is_none() {
            self.send_repair();
        }
        timer.observe_duration();
        self.look_at_hooks();
        self.tell();
    }

    fn send_requests(&mut self) {
        let Some(connection) = self.openflow.connection() else { return };
        let Some(switch) = self.world.switch_mut() else { return };
        while let Some((tag, request)) = switch.poll_request(Instant::now()) {
            connection.ask(tag, request);
        }
        while let Some(message) = switch.poll_message() {
            connection.tell(message);
        }
    }

    fn send_repair(&mut self) {
        let Some(changes) = self.world.changes() else { return };
        let repair = Repair::new(changes, &self.refusals, &mut self.fights, Instant::now());
        self.missing = repair.missing();
        if !repair.is_empty()
            && let Some(connection) = self.openflow.connection()
            && connection.commit(Tag::Repair, repair.flow_mods())
        {
            self.repair = Some(repair);
            self.bundles += 1;
            if self.bundles == BUNDLES {
                let longer = self.breather.map_or(TICK, |before| 2 * before);
                let breather = longer.min(backoff::LONGEST);
                self.breather = Some(breather);
                self.pause = Some(Instant::now() + breather);
            }
        }
    }

    fn finish_repair(
        &mut self,
        outcome: Result<(), RequestError>,
        refused: Vec<(usize, RequestError)>,
    ) {
        let Some(repair) = self.repair.take() else { return };
        let now = Instant::now();
        for (place, error) in &refused {
            self.count(Failure::FlowRefused);
            if let Some(flow) = repair.install_at(*place)
                && self.refusals.note(flow, error, now)
            {
                warn!(%error, %flow, "the switch refused a flow; going on without it for 30 s");
            }
        }
        let places: HashSet<usize> = refused.iter().map(|(place, _)| *place).collect();
        match outcome {
            Ok(()) => {
                let done = repair.len() - places.len();
                self.metrics.flow_changes.with_label_values(&["committed"]).inc_by(done as u64);
                self.book_changes(repair.effective(&places));
                self.fights.made(repair.effective(&places), now);
                if let Some(switch) = self.world.switch_mut() {
                    switch.applied(repair.effective(&places));
                }
                let since_sent = repair.since.elapsed();
                self.metrics.install.observe(since_sent.as_secs_f64());
                info!(changes = done, bundle_ms = milliseconds(since_sent), "flows changed");
            }
            Err(error) => {
                self.metrics
                    .flow_changes
                    .with_label_values(&["refused"])
                    .inc_by(repair.len() as u64);
                self.count(Failure::BundleRefused);
                // If it is for one flow, the next attempt is without that.
                if places.is_empty() {
                    warn!(%error, changes = repair.len(), "the switch refused a bundle; trying again");
                    self.pause = Some(now + TICK);
                }
            }
        }
    }
}

/// Ends then, or never.
async fn due(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
