//! Takes the steps that make the mirror port ready, and keeps it so.

use std::{collections::BTreeMap, time::Duration};

use flows::model::OfPort;
use tokio::{sync::watch, time::sleep};

use super::{Facts, OWNER, Step, mirrors, next_step, ofport};
use crate::{
    endpoint::Endpoint,
    nic::{self, Link, NicError},
    openflow::no_flood::{NoFloodError, set_no_flood},
    ovsdb::{self, OvsdbError, mirror_port},
};

/// How often the NIC is looked at without a reason: the kernel does not tell of every change.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after a step that failed, and before our port is removed: its device may be about to appear.
const PAUSE: Duration = Duration::from_secs(1);

/// What the mirror port is to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the bridge that Pods are on.
    pub bridge: String,
    /// Name of the mirror NIC.
    pub nic: String,
    /// Where the switch speaks OpenFlow.
    pub openflow: Endpoint,
    /// Whether Mirror records that use the port too are removed.
    pub replace_mirrors: bool,
}

/// What the mirror port must adapt to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// MTU in bytes of the Pod port that has the largest.
    pub mtu: u32,
    /// Counts the connections to the switch; a new one may be to a switch that has forgotten a port's settings.
    pub switch: u64,
}

/// What the mirror port is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Whether it has been looked at; as long as it hasn't, the rest means nothing.
    pub known: bool,
    /// Its OpenFlow number, once it has been ready under it.
    pub ofport: Option<OfPort>,
    /// Why it isn't ready, or why copies are not exact.
    pub problem: Option<String>,
    /// What is odd about it but does no harm.
    pub warning: Option<String>,
    /// The NIC as the kernel has it.
    pub link: Option<Link>,
}

/// Why a step failed; it is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Nic(#[from] NicError),
    #[error("can't set up the mirror port in OVSDB: {0}")]
    Ovsdb(#[from] OvsdbError),
    #[error("can't keep flooded packets off the mirror port: {0}")]
    NoFlood(#[from] NoFloodError),
}

/// Keeps the mirror port ready until it is dropped; never ends by itself unless the database client does.
///
/// # Errors
/// The kernel gives no netlink socket.
pub async fn keep(
    settings: Settings,
    ovsdb: ovsdb::Client,
    mut demands: watch::Receiver<Demand>,
    states: watch::Sender<SinkState>,
) -> Result<(), NicError> {
    let mut announcements = nic::watch(&settings.nic)?;
    let mut database = ovsdb.states();
    let mut quieted = None;
    loop {
        let demand = *demands.borrow_and_update();
        let known = database.borrow_and_update().clone();
        let settled = if known.is_synced() && demand.mtu > 0 {
            take_step(&settings, &ovsdb, &known.snapshot, demand, &mut quieted, &states).await
        } else {
            true
        };
        if !settled {
            continue;
        }
        tokio::select! {
            changed = database.changed() => if changed.is_err() { return Ok(()) },
            changed = demands.changed() => if changed.is_err() { return Ok(()) },
            () = announcements.changed() => {}
            () = sleep(LOOK) => quieted = None,
        }
    }
}

/// Takes the next step; returns whether there is nothing more to do until something changes.
async fn take_step(
    settings: &Settings,
    ovsdb: &ovsdb::Client,
    snapshot: &ovsdb::Snapshot,
    demand: Demand,
    quieted: &mut Option<(OfPort, u64)>,
    states: &watch::Sender<SinkState>,
) -> bool {
    let link = match nic::observe(&settings.nic).await {
        Ok(link) => link,
        Err(error) => return complain(states, error.into()).await,
    };
    let facts = Facts {
        bridge: &settings.bridge,
        nic: &settings.nic,
        snapshot,
        link: link.as_ref(),
        mtu: demand.mtu,
    };
    let step = next_step(&facts);
    tracing::debug!(?step, "mirror port");
    let taken = match &step {
        Step::Done(port) if *quieted != Some((*port, demand.switch)) => {
            keep_floods_off(settings, *port).await.map(|()| *quieted = Some((*port, demand.switch)))
        }
        Step::Done(_) if settings.replace_mirrors && mirrors(&facts).next().is_some() => {
            replace_mirrors(ovsdb, &facts).await
        }
        Step::Done(_) | Step::Wait(_) => {
            publish(states, &facts, &step);
            return true;
        }
        Step::Create(bridge, kind) => {
            tracing::info!(
                nic = settings.nic,
                bridge = settings.bridge,
                ?kind,
                "making the mirror port"
            );
            let port = mirror_port::NewPort {
                name: settings.nic.clone(),
                kind: *kind,
                mtu_request: (*kind == mirror_port::PortKind::Internal).then_some(demand.mtu),
                external_ids: BTreeMap::from([(OWNER.0.to_owned(), OWNER.1.to_owned())]),
            };
            transact(ovsdb, mirror_port::create_port(bridge, &port)).await
        }
        Step::Remove(bridge, port) => {
            publish(states, &facts, &step);
            sleep(PAUSE).await;
            let now = ovsdb.states().borrow().snapshot.clone();
            let link = nic::observe(&settings.nic).await.ok().flatten();
            if next_step(&Facts { snapshot: &now, link: link.as_ref(), ..facts }) != step {
                return false;
            }
            tracing::warn!(
                nic = settings.nic,
                "the mirror port has lost its device; making it anew"
            );
            transact(ovsdb, mirror_port::remove_port(bridge, port, OWNER)).await
        }
        Step::RequestMtu(interface, mtu) => {
            transact(ovsdb, mirror_port::request_mtu(interface, Some(*mtu))).await
        }
        Step::Quiet(link, changes) => nic::apply(link, changes).await.map_err(StepError::from),
    };
    match taken {
        Ok(()) => false,
        Err(error) => complain(states, error).await,
    }
}

async fn transact(
    ovsdb: &ovsdb::Client,
    operations: Vec<ovsdb::Operation>,
) -> Result<(), StepError> {
    let mut states = ovsdb.states();
    states.mark_unchanged();
    ovsdb.transact(operations).await?;
    // The change comes back as an update; before that, the same step would be taken again.
    let _ = tokio::time::timeout(PAUSE, states.changed()).await;
    Ok(())
}

async fn replace_mirrors(ovsdb: &ovsdb::Client, facts: &Facts<'_>) -> Result<(), StepError> {
    let mut found = mirrors(facts).peekable();
    let Some((bridge, mirror)) = found.peek() else { return Ok(()) };
    tracing::warn!(
        mirror = mirror.name,
        "removing the Mirror records on the mirror port, as asked"
    );
    let bridge = *bridge;
    transact(ovsdb, mirror_port::remove_mirrors(bridge, found.map(|(_, mirror)| mirror))).await
}

async fn keep_floods_off(settings: &Settings, port: OfPort) -> Result<(), StepError> {
    // Only OpenFlow 1.0 can say it, with its 16 bits for a port.
    let Ok(port) = u16::try_from(port.0) else { return Ok(()) };
    match set_no_flood(&settings.openflow, port).await {
        // OVN floods by listing the ports, so a bridge that doesn't speak 1.0 loses nothing.
        Err(error @ (NoFloodError::VersionRefused(_) | NoFloodError::NoSuchPort { .. })) => {
            tracing::warn!(%error, "flooded packets are not kept off the mirror port");
            Ok(())
        }
        result => result.map(|_| ()).map_err(StepError::from),
    }
}

fn publish(states: &watch::Sender<SinkState>, facts: &Facts<'_>, step: &Step<'_>) {
    states.send_if_modified(|state| {
        let new = SinkState::of(facts, step, state.ofport);
        let changed = *state != new;
        *state = new;
        changed
    });
}

impl SinkState {
    /// The mirror port as the facts and the step that follows from them show it; `ready_as` is the OpenFlow number under
    /// which it has been ready before: it goes on being used while something about it is mended.
    #[must_use]
    pub fn of(facts: &Facts<'_>, step: &Step<'_>, ready_as: Option<OfPort>) -> Self {
        let selecting = mirrors(facts).find(|(_, mirror)| mirror.selects());
        let idle = mirrors(facts).find(|(_, mirror)| !mirror.selects());
        let nic = facts.nic;
        let problem = match step {
            Step::Wait(problem) => Some(problem.to_string()),
            Step::Done(_) => selecting.map(|(_, mirror)| {
                format!("Mirror record {:?} in OVSDB copies to {nic} too, so every copy would come twice: remove it, or let --replace-mirrors do that", mirror.name)
            }),
            _ => Some(format!("{nic} is not ready yet; still to do: {step}")),
        };
        let warning = idle.map(|(_, mirror)| {
            format!(
                "Mirror record {:?} in OVSDB is there for {nic}, but selects nothing",
                mirror.name
            )
        });
        let number = ofport(facts);
        let ready = selecting.is_none()
            && (matches!(step, Step::Done(_)) || (ready_as.is_some() && ready_as == number));
        Self {
            known: true,
            ofport: number.filter(|_| ready),
            problem,
            warning,
            link: facts.link.cloned(),
        }
    }
}

async fn complain(states: &watch::Sender<SinkState>, error: StepError) -> bool {
    let problem = Some(error.to_string());
    states.send_if_modified(|state| {
        let news = state.problem != problem;
        if news {
            state.problem = problem;
        }
        news
    });
    sleep(PAUSE).await;
    false
}
