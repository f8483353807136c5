//! What an agent that was killed, or told to keep its work, has left on a node, and how that is taken away.
//!
//! Of ours is what bears our marks, as for the agent that stops by itself: flows with our cookie, ports with our external ID,
//! bridges with our hardware address, filters with our comments. It belongs to nobody only while no agent has the bridge, so
//! the bridge's lock in OVSDB is held all the while, and an agent that starts meanwhile waits.

mod flows;

use std::{collections::BTreeSet, fmt, time::Duration};

use tokio::time::timeout;

use crate::{
    endpoint::Endpoint,
    introduction::{self, Introduction},
    nic::{self, Filter, FoundDrain, NicError, ShieldError},
    ovsdb::{self, Bridge, Lock, OvsdbError, Port, Snapshot, lock_of_bridge, mirror_port},
    sink::{self, Facts, OWNER},
};

pub use self::flows::FlowsError;

/// How long each source may stay silent.
const LIMIT: Duration = Duration::from_secs(5);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the bridge that the agent had.
    pub bridge: String,
    /// Where OVSDB listens.
    pub ovsdb: Endpoint,
    /// Where the bridge speaks OpenFlow.
    pub openflow: Endpoint,
}

/// Why nothing is looked at.
#[derive(Debug, thiserror::Error)]
pub enum RemainsError {
    /// Whether an agent runs is not known.
    #[error("OVSDB does not tell whether an agent has the bridge: {0}")]
    Ovsdb(String),
    /// An agent has the bridge.
    #[error(
        "an agent{} has bridge {bridge}, and what it made is in use: stop the agent first, which takes it away by itself unless --on-exit=keep",
        .who.as_ref().map(|who| format!(" ({who})")).unwrap_or_default()
    )]
    Owned {
        /// The bridge.
        bridge: String,
        /// The agent, if it says so in this network namespace.
        who: Option<Introduction>,
    },
    /// Flows that may be left would go on to make copies.
    #[error(transparent)]
    Flows(#[from] FlowsError),
    /// The kernel's links can't be listed.
    #[error(transparent)]
    Links(#[from] NicError),
    /// The kernel's filters can't be listed.
    #[error(transparent)]
    Filters(#[from] ShieldError),
}

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// The switch.
    #[error(transparent)]
    Flows(#[from] FlowsError),
    /// The database.
    #[error(transparent)]
    Port(#[from] OvsdbError),
    /// The kernel, of a bridge.
    #[error(transparent)]
    Drain(#[from] NicError),
    /// The kernel, of a filter.
    #[error(transparent)]
    Filter(#[from] ShieldError),
}

/// Something that was left.
#[derive(Clone, Debug)]
pub enum Remain {
    /// So many flows, on this bridge.
    Flows(u64, String),
    /// A bridge that keeps copies from the host.
    Drain(String),
    /// A mirror port that an agent put on the bridge, and whether the switch made its device.
    Port(Box<(Bridge, Port)>, bool),
    /// A filter.
    Filter(Filter),
}

/// The bridge without an agent, for as long as this lives.
pub struct Remains {
    place: Place,
    ovsdb: ovsdb::Client,
    snapshot: Snapshot,
}

impl Remains {
    /// Takes the lock of the bridge.
    ///
    /// # Errors
    /// An agent has it, or that is not known.
    pub async fn of(place: Place) -> Result<Self, RemainsError> {
        let lock = lock_of_bridge(&place.bridge);
        let (ovsdb, task) = ovsdb::Client::with_lock(place.ovsdb.clone(), lock.clone());
        tokio::spawn(task);
        let mut states = ovsdb.states();
        let settled = states.wait_for(|state| match &state.connection {
            ovsdb::Connection::Synced => state.lock != Lock::Unknown,
            ovsdb::Connection::Connecting { reason } => reason.is_some(),
        });
        let silent = || format!("{} is silent for {} s", place.ovsdb, LIMIT.as_secs());
        let state = match timeout(LIMIT, settled).await {
            Ok(Ok(state)) => state.clone(),
            _ => return Err(RemainsError::Ovsdb(silent())),
        };
        if let ovsdb::Connection::Connecting { reason } = &state.connection {
            let reason = reason.as_ref().map_or_else(silent, ToString::to_string);
            return Err(RemainsError::Ovsdb(reason));
        }
        // An agent that has just lost the database still has the bridge.
        let who = introduction::ask(&lock).await;
        if state.lock != Lock::Held || who.is_some() {
            return Err(RemainsError::Owned { bridge: place.bridge, who });
        }
        Ok(Self { place, ovsdb, snapshot: state.snapshot })
    }

    /// Whether OVSDB has the bridge at all.
    #[must_use]
    pub fn has_bridge(&self) -> bool {
        self.snapshot.bridge(&self.place.bridge).is_some()
    }

    /// What there is, in the order in which it is to be removed: a filter is to hold for as long as a copy may come. What may
    /// belong to an agent on another bridge is not among it.
    ///
    /// # Errors
    /// Something can't be looked at.
    pub async fn find(&self) -> Result<Vec<Remain>, RemainsError> {
        let mut found = Vec::new();
        if self.has_bridge() {
            let flows = flows::count(&self.place.openflow, LIMIT).await?;
            found.extend((flows > 0).then(|| Remain::Flows(flows, self.place.bridge.clone())));
        }
        let others = self.ports_of_other_bridges();
        let is_free = |drain: &FoundDrain| !others.iter().any(|nic| drain.is_of(nic));
        let drains = nic::drains().await?.into_iter().filter(is_free);
        found.extend(drains.map(|drain| Remain::Drain(drain.name)));
        // No NIC has an empty name, so these are all.
        let facts = Facts::of(&self.place.bridge, "", &self.snapshot);
        found.extend(sink::leftovers(&facts).map(|(bridge, port)| {
            let mut interfaces = self.snapshot.interfaces_of(port);
            let made = interfaces.any(|interface| interface.kind == "internal");
            Remain::Port(Box::new((bridge.clone(), port.clone())), made)
        }));
        let filters = nic::filters()?.into_iter();
        let filters = filters.filter(|filter| !others.iter().any(|nic| filter.is_of(nic)));
        found.extend(filters.map(Remain::Filter));
        Ok(found)
    }

    /// Removes it.
    ///
    /// # Errors
    /// It is left, or may be.
    pub async fn remove(&self, remain: &Remain) -> Result<(), RemovalError> {
        match remain {
            Remain::Flows(..) => flows::remove(&self.place.openflow, LIMIT).await?,
            Remain::Drain(name) => nic::remove_drain(name).await?,
            Remain::Port(place, _) => {
                let (bridge, port) = &**place;
                self.ovsdb.transact(mirror_port::remove_port(bridge, port, OWNER)).await?;
            }
            Remain::Filter(filter) => filter.remove()?,
        }
        Ok(())
    }

    /// The names of what may be the mirror NIC of an agent on another bridge.
    fn ports_of_other_bridges(&self) -> BTreeSet<&str> {
        let bridges = self.snapshot.bridges().filter(|bridge| bridge.name != self.place.bridge);
        let ports = bridges.flat_map(|bridge| self.snapshot.ports_of(bridge));
        ports.map(|port| port.name.as_str()).collect()
    }
}

impl Remain {
    /// Whether what comes after it must stay where this is left: as long as there are flows there may be copies.
    #[must_use]
    pub fn comes_first(&self) -> bool {
        matches!(self, Self::Flows(..))
    }
}

impl fmt::Display for Remain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flows(1, bridge) => write!(f, "1 flow of bridge {bridge}"),
            Self::Flows(number, bridge) => write!(f, "{number} flows of bridge {bridge}"),
            Self::Drain(name) => {
                write!(f, "link {name}, which keeps copies from the host's network stack")
            }
            Self::Port(place, made) => {
                let (bridge, port) = &**place;
                let what = if *made { "with its device" } else { "whose device stays" };
                write!(f, "port {} of bridge {}, {what}", port.name, bridge.name)
            }
            Self::Filter(filter) => filter.fmt(f),
        }
    }
}
