//! One look at the world from another process: what the agent would see, and nothing is changed.
//!
//! The facts come the way the agent gets them, through [`World`] and [`Switch`], so whoever looks sees what it sees.
//! Beyond them an [`Observation`] has what the flows have counted, and what the agent says of itself. A source that
//! does not answer in time is told as such, and the others are shown.

mod readiness;
mod request;
mod running;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use flows::{
    model::FlowKey,
    ofp::{Features, FlowDesc, MultipartReply},
    plan::Plan,
};
use kube::runtime::watcher::Event;
pub use readiness::Readiness;
pub use running::ask_settings;
use tokio::time::timeout;

use crate::{
    audience::Audience,
    cluster::{self, News},
    endpoint::Endpoint,
    introduction::{self, Introduction},
    kubernetes::feed::Feed,
    nic::{self, Absence, Link},
    openflow::{connection::Connection, session},
    ovsdb::{self, ConnectionError},
    settings::{PodSource, Settings},
    sink::{self, Facts, SinkState, Step},
    status::Difference,
    switch::{Switch, Tag},
    world::World,
};

/// How long each source may stay silent.
pub const LIMIT: Duration = Duration::from_secs(2);

/// What was seen.
pub struct Observation {
    settings: Settings,
    /// Database, mirror port and switch, and what follows from them.
    pub world: World,
    /// The mirror NIC as the kernel has it.
    pub link: Result<Option<Link>, String>,
    /// Where the mirror NIC is if the kernel has none here.
    absence: Absence,
    /// Our flows with what they have counted, in the order of table, priority and match.
    pub flows: Vec<FlowDesc>,
    /// Where the agent was asked how it is, and what it says; none if it was not asked.
    pub agent: Option<(SocketAddr, Readiness)>,
    /// The agent that mirrors the bridge; none if none says so in this network namespace.
    pub owner: Option<Introduction>,
}

/// Looks once; `agent` is where the agent tells how it is, if it is to be asked. No source may stay silent for longer than `limit`.
pub async fn observe(
    settings: Settings,
    agent: Option<SocketAddr>,
    limit: Duration,
) -> Observation {
    let mut world = World::of(&settings);
    let lock = ovsdb::lock_of_bridge(&settings.wish.bridge);
    let (database, cluster, link, connection, agent, owner) = tokio::join!(
        read_database(&settings.ovsdb, limit),
        read_cluster(&settings.pods, limit),
        read_link(&settings.nic, limit),
        connect(&settings.openflow, limit),
        ask_agent(agent, limit),
        introduction::ask(&lock),
    );
    world.set_ovsdb(database);
    for news in cluster {
        world.hear(news);
    }
    let absence = match &link {
        Ok(None) => find_link(&settings, &world, limit).await,
        _ => Absence::Unknown,
    };
    let mut observation =
        Observation { settings, world, link, absence, flows: vec![], agent, owner };
    observation.look_at_sink();
    match connection {
        Ok((features, connection)) => observation.read_switch(features, connection, limit).await,
        Err(error) => observation.world.lose_switch(error),
    }
    observation.world.follow();
    observation
}

impl Observation {
    /// Where it was looked, and what is wished for.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The flows that the switch should have; none as long as something is unknown that they depend on.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.world.plan()
    }

    /// What is known of the mirror port.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        let (settings, demand) = (&self.settings, self.world.demand());
        let snapshot = &self.world.ovsdb().snapshot;
        let facts = Facts {
            link: self.link.as_ref().ok().and_then(Option::as_ref),
            absence: self.absence,
            must_exist: settings.nic_must_exist,
            mtu: demand.mtu,
            least_mtu: demand.least_mtu,
            ..Facts::of(&settings.wish.bridge, &settings.nic, snapshot)
        };
        // What the agent has not given a port of the bridge, the kernel has refused.
        let refused_mtu = sink::port(&facts).and(facts.link).map(|link| link.mtu + 1);
        Facts { refused_mtu, ..facts }
    }

    /// What the agent would do next about the mirror port; none as long as the database is unknown.
    #[must_use]
    pub fn next_step(&self) -> Option<Step<'_>> {
        self.world.ovsdb().is_synced().then(|| sink::next_step(&self.facts()))
    }

    /// The flows that are missing or too many, in the order of [`Observation::flows`]; none if it is not known which
    /// there should be.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        let observed = self.world.switch().ok()?.observed();
        let mut difference = Difference::between(self.plan()?, observed);
        difference.missing.sort_by_cached_key(|flow| place(&flow.key));
        difference.superfluous.sort_by_cached_key(|flow| place(&flow.key));
        Some(difference)
    }

    fn look_at_sink(&mut self) {
        if !self.world.ovsdb().is_synced() {
            return;
        }
        let facts = self.facts();
        // Whether the agent has had it ready is not known, so what is missing is told, and otherwise it counts.
        let mut state = SinkState::of(&facts, &sink::next_step(&facts), sink::ofport(&facts));
        if let Err(error) = &self.link {
            state.problem = Some(error.clone());
        }
        let (nic, when) = (&self.settings.nic, self.settings.when);
        let mut audience = Audience::look(nic, &state, when);
        // The agent knows better how it was started, and who has been there until a moment ago.
        if let Some((_, Readiness::Ready { paused, .. })) = &self.agent {
            audience.wanted = Some(!paused);
        }
        self.world.set_audience(audience);
        self.world.set_sink(state);
    }

    /// Asks the switch until there is nothing left to ask.
    async fn read_switch(
        &mut self,
        features: Features,
        mut connection: Connection<Tag>,
        limit: Duration,
    ) {
        self.world.set_switch(Switch::new(features, self.settings.marker));
        loop {
            self.world.follow();
            let Some(switch) = self.world.switch_mut() else { return };
            while let Some((tag, request)) = switch.poll_request(Instant::now()) {
                connection.ask(tag, request);
            }
            if switch.is_settled() {
                break;
            }
            // The switch is given time for its packets between two questions.
            let due = switch
                .poll_timeout()
                .map_or(limit, |due| limit.min(due.saturating_duration_since(Instant::now())));
            let paused = switch.poll_timeout().is_some();
            match timeout(due, connection.next()).await {
                Ok(Ok(event)) => self.take_in(event),
                Ok(Err(error)) => return self.world.lose_switch(error.to_string()),
                Err(_) if paused => {}
                Err(_) => {
                    return self.world.lose_switch(format!(
                        "the switch has not answered a question for {} s",
                        limit.as_secs()
                    ));
                }
            }
        }
        self.flows.sort_by_cached_key(|description| place(&description.flow.key));
    }

    fn take_in(&mut self, event: session::Event<Tag>) {
        if let session::Event::Part {
            tag: Tag::Scan, body: MultipartReply::FlowDesc(read), ..
        } = &event
        {
            let ours = read.iter().filter(|description| description.flow.cookie.is_ours());
            self.flows.extend(ours.cloned());
        }
        if let Some(switch) = self.world.switch_mut() {
            switch.handle(event, Instant::now());
        }
    }
}

/// Table, then highest priority, then the match in words.
pub(crate) fn place(key: &FlowKey) -> (u8, u16, String) {
    (key.table.0, u16::MAX - key.priority, key.matching.to_string())
}

async fn read_database(endpoint: &Endpoint, limit: Duration) -> ovsdb::State {
    let (client, task) = ovsdb::Client::new(endpoint.clone());
    tokio::spawn(task);
    let mut states = client.states();
    let answered = states.wait_for(|state| match &state.connection {
        ovsdb::Connection::Synced => true,
        ovsdb::Connection::Connecting { reason } => reason.is_some(),
    });
    if let Ok(Ok(state)) = timeout(limit, answered).await {
        return state.clone();
    }
    let silent = ConnectionError::Unanswered { request: "the request for its contents", limit };
    ovsdb::State {
        connection: ovsdb::Connection::Connecting { reason: Some(Arc::new(silent)) },
        ..ovsdb::State::default()
    }
}

/// What the API server says, if it is to be asked, until all is known or something is not to be had.
async fn read_cluster(source: &PodSource, limit: Duration) -> Vec<News> {
    let failed = |reason| News::Failed(cluster::Source::Pods, reason);
    let (config, node) = match source {
        PodSource::Ovsdb => return vec![],
        PodSource::Unreadable { reason, .. } => return vec![failed(reason.clone())],
        PodSource::Kubernetes { config, node } => (config, node),
    };
    let mut feed = match Feed::start(config, node) {
        Ok(feed) => feed,
        Err(error) => return vec![failed(error.to_string())],
    };
    let (mut heard, mut whole) = (Vec::new(), 0);
    while whole < 2 {
        let Ok(news) = timeout(limit, feed.next()).await else {
            let silence = format!("{} is silent for {} s", config.cluster_url, limit.as_secs());
            heard.push(failed(silence));
            break;
        };
        let ended = matches!(news, News::Failed(..));
        whole += u8::from(matches!(
            news,
            News::Pods(Event::InitDone) | News::Namespaces(Event::InitDone)
        ));
        heard.push(news);
        if ended {
            break;
        }
    }
    heard
}

async fn read_link(nic: &str, limit: Duration) -> Result<Option<Link>, String> {
    match timeout(limit, nic::observe(nic)).await {
        Ok(link) => link.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the kernel has not described {nic} within {} s", limit.as_secs())),
    }
}

/// Where the mirror port's device is, which is not here.
async fn find_link(settings: &Settings, world: &World, limit: Duration) -> Absence {
    let facts = Facts::of(&settings.wish.bridge, &settings.nic, &world.ovsdb().snapshot);
    let found = timeout(limit, nic::find_elsewhere(facts.nic, sink::mac(&facts))).await;
    found.ok().and_then(Result::ok).unwrap_or_default()
}

async fn connect(
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<(Features, Connection<Tag>), String> {
    let up = async {
        let mut connection = Connection::connect(endpoint).await?;
        loop {
            if let session::Event::Up(features) = connection.next().await? {
                return Ok((features, connection));
            }
        }
    };
    match timeout(limit, up).await {
        Ok(result) => {
            result.map_err(|error: crate::openflow::connection::ConnectionError| error.to_string())
        }
        Err(_) => Err(format!(
            "{endpoint} has not finished the OpenFlow handshake within {} s: is it a switch?",
            limit.as_secs()
        )),
    }
}

async fn ask_agent(
    address: Option<SocketAddr>,
    limit: Duration,
) -> Option<(SocketAddr, Readiness)> {
    let address = address?;
    Some((address, readiness::ask(address, limit).await))
}
