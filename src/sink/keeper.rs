//! Takes the steps that make the mirror port ready, and keeps it so.

use std::{collections::BTreeMap, time::Duration};

use flows::model::OfPort;
use metrics::IntCounter;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Facts, OWNER, SinkState, Step,
    contest::Contest,
    host_stack::{HostStack, Sparing},
    leftovers, mac, mirrors, mtu, next_step, port, shield,
};
use crate::{
    nic::{self, Absence, Change, NicError},
    openflow::no_flood::{NoFloodError, set_no_flood},
    ovsdb::{
        self, Mirror, OvsdbError,
        mirror_port::{self, PortKind},
    },
    settings::Settings,
};

/// How often the NIC is looked at without a reason: the kernel does not tell of every change.
const LOOK: Duration = Duration::from_secs(60);
/// How often a NIC is looked at that is in another network namespace: nothing is announced from there.
const LOOK_ELSEWHERE: Duration = Duration::from_secs(10);
/// Pause after a step that failed, and before one that is only right if things stay as they are.
const PAUSE: Duration = Duration::from_secs(1);

/// What the mirror port must adapt to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// MTU in bytes of the Pod port that has the largest.
    pub mtu: u32,
    /// The smallest MTU of the ports whose MTUs count for the bridge's internal ports, the mirror port's apart.
    pub least_mtu: Option<u32>,
    /// How often the port's settings in the switch may have become others, if there is a connection to it: a new one may be
    /// to a switch that has forgotten them, and somebody may have changed them.
    pub switch: Option<u64>,
    /// Whether somebody listens on it who gets nothing that is kept from the host's network stack.
    pub by_protocol: bool,
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

/// Keeps the mirror port ready.
pub struct Keeper {
    settings: Settings,
    /// Whether Mirror records that copy to the port too are emptied.
    replace_mirrors: bool,
    ovsdb: ovsdb::Client,
    states: watch::Sender<SinkState>,
    /// Steps that failed.
    failures: IntCounter,
    /// The port that is kept free of floods, and the connection by which that was said.
    quieted: Option<(OfPort, u64)>,
    /// The number of the link that the kernel refused an MTU, and the smallest that it refused.
    refused_mtu: Option<(u32, u32)>,
    /// Whether it has been looked for what another agent has left.
    cleared: bool,
    host_stack: Sparing,
    contest: Contest,
}

/// Whether there is more to do now, or nothing until something changes.
enum Progress {
    Again,
    Settled,
}

impl Keeper {
    /// A keeper that tells how the port is to `states`, and counts the steps that failed.
    #[must_use]
    pub fn new(
        settings: Settings,
        replace_mirrors: bool,
        host_stack: HostStack,
        ovsdb: ovsdb::Client,
        states: watch::Sender<SinkState>,
        failures: IntCounter,
    ) -> Self {
        let host_stack = Sparing::new(host_stack);
        let contest = Contest::default();
        Self {
            settings,
            replace_mirrors,
            ovsdb,
            states,
            failures,
            quieted: None,
            refused_mtu: None,
            cleared: false,
            host_stack,
            contest,
        }
    }

    /// Keeps the port as `demands` say. Ends when the agent does, or by being dropped.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub async fn run(mut self, mut demands: watch::Receiver<Demand>) -> Result<(), NicError> {
        let mut announcements = nic::watch(&self.settings.nic)?;
        let mut database = self.ovsdb.states();
        loop {
            let contested = self.contest.is_on().then_some(PAUSE);
            let demand = *demands.borrow_and_update();
            let known = database.borrow_and_update().clone();
            // Without a demand the bridge is another agent's, and so may be what looks like leftovers.
            if known.is_synced() && demand.mtu > 0 {
                if !std::mem::replace(&mut self.cleared, true) {
                    self.clear(&known.snapshot).await;
                }
                match self.take_step(&known.snapshot, demand).await {
                    Ok(Progress::Again) => continue,
                    Ok(Progress::Settled) => {}
                    Err(error) => {
                        self.complain(&error);
                        sleep(PAUSE).await;
                        continue;
                    }
                }
            }
            let pause = self.host_stack.pause().into_iter().chain(contested).min();
            let look = if self.states.borrow().moved.is_some() { LOOK_ELSEWHERE } else { LOOK };
            tokio::select! {
                changed = database.changed() => if changed.is_err() { return Ok(()) },
                changed = demands.changed() => if changed.is_err() { return Ok(()) },
                () = announcements.changed() => {}
                () = sleep(pause.unwrap_or(look)) => if pause.is_none() {
                    self.quieted = None;
                    self.refused_mtu = None;
                },
            }
        }
    }

    /// Takes away what an agent has left that was killed and mirrored to another NIC. Once is enough, as none starts to mirror to
    /// another NIC beside this one.
    async fn clear(&self, snapshot: &ovsdb::Snapshot) {
        let facts = Facts::of(&self.settings.wish.bridge, &self.settings.nic, snapshot);
        for (bridge, port) in leftovers(&facts) {
            let nic = &port.name;
            tracing::warn!(nic, "removing a mirror port that an agent before this one has left");
            let removed = async {
                nic::leave_to_host(nic).await?;
                self.transact(mirror_port::remove_port(bridge, port, OWNER)).await
            };
            if let Err(error) = removed.await {
                tracing::warn!(nic, %error, "it is left");
            }
        }
    }

    async fn take_step(
        &mut self,
        snapshot: &ovsdb::Snapshot,
        demand: Demand,
    ) -> Result<Progress, StepError> {
        let settings = self.settings.clone();
        let link = nic::observe(&settings.nic).await?;
        let facts = Facts {
            link: link.as_ref(),
            absence: self.absence(snapshot, link.as_ref()).await,
            must_exist: settings.nic_must_exist,
            mtu: demand.mtu,
            least_mtu: demand.least_mtu,
            refused_mtu: self.refused_mtu(link.as_ref()),
            ..Facts::of(&settings.wish.bridge, &settings.nic, snapshot)
        };
        let step = next_step(&facts);
        tracing::debug!(?step, "mirror port");
        if !self.contest.admit(&step) {
            self.publish(&facts, &step);
            return Ok(Progress::Settled);
        }
        // What the demand has of listeners may be old, or not known yet; it is there to have them looked at.
        let accepted = matches!(step, Step::Done(_));
        let due = accepted.then(|| self.host_stack.due(&facts, listens_by_protocol)).flatten();
        match (&step, demand.switch, due) {
            // Each change of links has Open vSwitch look at all ports anew, as soon as it is done with what was before. So all
            // of them come first.
            (Step::Done(_), _, Some((link, due))) => self.host_stack.settle(link, due).await?,
            (Step::Done(port), Some(switch), _) if self.quieted != Some((*port, switch)) => {
                self.keep_floods_off(*port, &facts).await?;
                self.quieted = Some((*port, switch));
            }
            (Step::Done(_), ..) if self.replace_mirrors && selecting(&facts).next().is_some() => {
                self.replace_mirrors(&facts).await?;
            }
            // Without its switch a port has no device; that is no reason to make it anew.
            (Step::Done(_) | Step::Wait(_), ..) | (Step::Remove(..), None, _) => {
                if accepted && self.states.borrow().ofport.is_none() {
                    // Before any copy is made.
                    shield::raise(&settings.nic, link.as_ref(), self.host_stack.wish()).await;
                }
                self.publish(&facts, &step);
                return Ok(Progress::Settled);
            }
            (Step::Create(bridge, kind), switch, _) => {
                // The rest of a port that somebody has removed must not be taken for a NIC of the host.
                let is_rest = link.as_ref().is_some_and(nic::Link::is_made_by_switch);
                if is_rest && !(self.is_lasting(&facts, &step).await? && switch.is_some()) {
                    return Ok(Progress::Again);
                }
                let (nic, bridge_name) = (&self.settings.nic, &self.settings.wish.bridge);
                match kind {
                    PortKind::Internal => tracing::warn!(
                        nic,
                        bridge = bridge_name,
                        "the host has no NIC of this name: making an internal port of the bridge. If a NIC shall be waited for instead, say --mirror-iface-must-exist"
                    ),
                    PortKind::Device => {
                        tracing::info!(nic, bridge = bridge_name, "attaching the NIC to the bridge")
                    }
                }
                let internal = *kind == PortKind::Internal;
                let port = mirror_port::NewPort {
                    name: nic.clone(),
                    kind: *kind,
                    mtu_request: mtu::request(&facts).filter(|_| internal),
                    external_ids: BTreeMap::from([(OWNER.0.to_owned(), OWNER.1.to_owned())]),
                };
                self.transact(mirror_port::create_port(bridge, &port)).await?;
                self.contest.taken(&step);
            }
            (Step::Remove(bridge, port, why), Some(_), _) => {
                if self.is_lasting(&facts, &step).await? {
                    let nic = &self.settings.nic;
                    tracing::warn!(nic, "taking the mirror port off the bridge, as {why}");
                    self.transact(mirror_port::remove_port(bridge, port, OWNER)).await?;
                    self.contest.taken(&step);
                }
            }
            (Step::RequestMtu(interface, mtu), ..) => {
                self.transact(mirror_port::request_mtu(interface, *mtu)).await?;
                self.contest.taken(&step);
            }
            (Step::Quiet(link, changes), ..) => {
                self.change(link, changes).await?;
                self.contest.taken(&step);
            }
        }
        Ok(Progress::Again)
    }

    /// Whether a step is the next one after a pause still. The database is ahead of the kernel: the device of a port
    /// may be about to appear, or about to go with a port that somebody has removed.
    async fn is_lasting(&self, facts: &Facts<'_>, step: &Step<'_>) -> Result<bool, StepError> {
        self.publish(facts, step);
        sleep(PAUSE).await;
        let now = self.ovsdb.states().borrow().snapshot.clone();
        let link = nic::observe(&self.settings.nic).await?;
        let absence = self.absence(&now, link.as_ref()).await;
        Ok(next_step(&Facts { snapshot: &now, link: link.as_ref(), absence, ..*facts }) == *step)
    }

    /// Where the device of the mirror port is, if it has one and that is not here.
    async fn absence(&self, snapshot: &ovsdb::Snapshot, link: Option<&nic::Link>) -> Absence {
        let facts = Facts::of(&self.settings.wish.bridge, &self.settings.nic, snapshot);
        let internal = port(&facts).is_some_and(|(_, _, interface)| interface.kind == "internal");
        if link.is_some() || !internal {
            return Absence::Unknown;
        }
        nic::find_elsewhere(facts.nic, mac(&facts)).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot tell whether the mirror port's device was moved or deleted");
            Absence::Unknown
        })
    }

    fn refused_mtu(&self, link: Option<&nic::Link>) -> Option<u32> {
        self.refused_mtu
            .filter(|(index, _)| link.is_some_and(|link| link.index == *index))
            .map(|(_, mtu)| mtu)
    }

    /// Changes the link. A NIC that can't have an MTU carries what fits, so that is no failure.
    async fn change(&mut self, link: &nic::Link, changes: &[Change]) -> Result<(), NicError> {
        let (mtus, others): (Vec<_>, Vec<_>) =
            changes.iter().copied().partition(|change| matches!(change, Change::Mtu(_)));
        match (nic::apply(link, &mtus).await, mtus.as_slice()) {
            (Err(error), [Change::Mtu(mtu)]) if error.is_limit() => {
                tracing::warn!(%error, "going on with an MTU of {}", link.mtu);
                self.refused_mtu = Some((link.index, *mtu));
            }
            (result, _) => result?,
        }
        nic::apply(link, &others).await
    }

    async fn transact(&self, operations: Vec<ovsdb::Operation>) -> Result<(), StepError> {
        let mut states = self.ovsdb.states();
        states.mark_unchanged();
        self.ovsdb.transact(operations).await?;
        // The change comes back as an update; before that, the same step would be taken again.
        let _ = timeout(PAUSE, states.changed()).await;
        Ok(())
    }

    async fn replace_mirrors(&self, facts: &Facts<'_>) -> Result<(), StepError> {
        let selecting: Vec<_> = selecting(facts).collect();
        for mirror in &selecting {
            let mirror = &mirror.name;
            tracing::warn!(mirror, "letting the Mirror record select nothing, as asked");
        }
        self.transact(mirror_port::empty_mirrors(selecting)).await
    }

    async fn keep_floods_off(&self, port: OfPort, facts: &Facts<'_>) -> Result<(), StepError> {
        // Only OpenFlow 1.0 can say it, with its 16 bits for a port.
        let Ok(port) = u16::try_from(port.0) else { return Ok(()) };
        let Some(hw_addr) = facts.link.and_then(|link| link.mac).or_else(|| mac(facts)) else {
            return Ok(());
        };
        match set_no_flood(&self.settings.openflow, port, hw_addr).await {
            // OVN floods by listing the ports, so what can't be had here is not missed.
            Err(error @ NoFloodError::VersionRefused(_)) => {
                tracing::warn!(%error, "flooded packets are not kept off the mirror port");
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn publish(&self, facts: &Facts<'_>, step: &Step<'_>) {
        let fight = self.contest.problem(facts.nic);
        // Only a port that is accepted is to have a filter, and these look for it by installing it.
        let accepted = matches!(step, Step::Done(_));
        let host = accepted.then(|| self.host_stack.warning(facts, listens_by_protocol)).flatten();
        let exposure = accepted.then(|| self.host_stack.exposure(facts)).flatten();
        self.states.send_if_modified(|state| {
            let mut new = SinkState::of(facts, step, state.ofport);
            new.problem = fight.clone().or(new.problem);
            if let Some(exposure) = &exposure {
                (new.problem, new.ofport) = (Some(exposure.clone()), None);
            }
            if let Some(host) = &host {
                let others = new.warning.take().map(|others| format!("{others}; {host}"));
                new.warning = others.or_else(|| Some(host.clone()));
            }
            if let Some(warning) = new.warning.as_ref().filter(|_| new.warning != state.warning) {
                tracing::warn!("{warning}");
            }
            let changed = *state != new;
            *state = new;
            changed
        });
    }

    fn complain(&self, error: &StepError) {
        self.failures.inc();
        // Whoever undoes steps has others fail, which is no news.
        let fight = self.contest.problem(&self.settings.nic);
        let problem = fight.or_else(|| Some(error.to_string()));
        self.states.send_if_modified(|state| {
            let news = state.problem != problem;
            state.problem = problem;
            news
        });
    }
}

/// Whether a packet socket on the NIC may want copies behind where they are kept from the host.
fn listens_by_protocol(link: &nic::Link) -> bool {
    nic::listeners(link.index).map_or(true, |listeners| listeners.by_protocol)
}

/// Mirror records that copy something to the mirror port too.
fn selecting<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Mirror> {
    mirrors(facts).map(|(_, mirror)| mirror).filter(|mirror| mirror.selects())
}
