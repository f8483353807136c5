//! What is known of the switch, and how it stays known.
//!
//! [`Switch`] takes in what the OpenFlow session tells and asks for what it needs; it has no socket and no clock.
//!
//! 1. **Scan**: all flows are read once, to find two bits of `reg10` that nobody else uses, flows of
//!    ours that are there already, and the tables in which OVN delivers.
//! 2. **Watch**: flow monitors report every change of our flows and of OVN's delivery flows. What was there before they
//!    began is read once they have.
//! 3. **Re-read**: now and then our flows are read again, in case a report was missed.
//!
//! No request has the switch describe more than a few thousand flows, and none that comes back looks at all of many: see
//! `reading`.
//!
//! Open vSwitch before 3.0 has no flow monitors on OpenFlow 1.5: there, everything watched is read again at each
//! [`Switch::handle_tick`] instead, and our flows also when the switch says that it removed one.

mod ask;
mod delivery;
mod hooks;
mod piece;
mod pipeline;
mod reading;
mod rivals;
mod scan;
mod sink_port;

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::{Duration, Instant},
};

use flows::{
    delivery::Deliveries,
    diff::{Change, Changed},
    flood::Ports,
    marker::MarkerBits,
    model::{Cookie, Flow, FlowKey, FlowSet, OfPort, TableId},
    ofp::{
        Features, FlowDesc, FlowFilter, FlowMod, FlowUpdate, Message, MultipartReply,
        MultipartRequest, PortDesc, PortStats,
    },
    pipeline::Pipeline,
};
pub use hooks::Loss;
pub use scan::Conflict;
pub use sink_port::{SinkFault, SinkPort};
use {
    delivery::DeliveryWatch,
    hooks::Hooks,
    pipeline::PipelineWatch,
    reading::{Finished, Own, Readings},
    scan::{Found, Scan},
};

use crate::{
    openflow::session::{Event, RequestError},
    traffic::Census,
};

/// Complaints about nothing that is known of which a connection's are logged.
const COMPLAINTS: u32 = 20;
/// For how many times as long as a scan took, there is no other.
const SCAN_REST: u32 = 5;
/// The same for looking for what outputs to a port.
const PROBE_REST: u32 = 20;
/// How many flows may come before all are scanned again, besides an eighth of those that were there.
const GROWTH: u64 = 64;

/// What a request to the switch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Reading how many flows each table has, before flows are read.
    Sizes,
    /// Counting flows, to read them in pieces.
    Count,
    /// Reading all flows.
    Scan,
    /// Watching our copying flows.
    Hooks,
    /// Watching the flow that guards the mirror port.
    Guard,
    /// Watching OVN's delivery flows in one table, or what comes to output to a port.
    Watch,
    /// Reading the delivery flows of one table.
    Table(TableId),
    /// Watching for foreign flows in table 0 that come before ours, and for floods in several parts.
    Others,
    /// Looking for what outputs to a port, to find the table.
    Probe(OfPort),
    /// Reading our flows again, and what they have counted.
    Reread,
    /// Reading what the mirror port has counted.
    Sink,
    /// Reading how the mirror port is.
    SinkState,
    /// Reading what the ports counted.
    Ports,
    /// Making changes.
    Repair,
    /// Taking everything of ours away.
    Remove,
}

/// How changes of the switch's flows are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// At once, by flow monitors.
    Monitors,
    /// At each tick, as the switch has no flow monitors.
    Polling,
}

/// One connection's knowledge of the switch; a new connection starts from nothing.
pub struct Switch {
    features: Features,
    watching: Watching,
    wanted_marker: Option<MarkerBits>,
    marker: Option<MarkerBits>,
    scan: Scan,
    found: Found,
    hooks: Hooks,
    delivery: DeliveryWatch,
    pipeline: PipelineWatch,
    guarded: Option<OfPort>,
    requests: VecDeque<(Tag, MultipartRequest)>,
    /// Flows that are to be read.
    readings: Readings,
    /// What is to be said without expecting an answer.
    messages: VecDeque<Message>,
    complaints: u32,
    /// Questions that have been put and not been answered yet.
    outstanding: usize,
    /// Whether all that had to be asked at first has been answered.
    known: bool,
    /// Whether deliveries have been looked for since there was a port to which they are to be copied.
    looked: bool,
    /// Whether they are being looked for the first time.
    awaits_deliveries: bool,
    full: Arc<BTreeSet<u64>>,
    /// How many flows there were at the last scan, and whether there are many more by now.
    scanned: u64,
    outgrown: bool,
    /// Another scan is wanted as soon as the last has been long enough ago: in so many ticks.
    rescan: bool,
    scan_rest: u32,
    /// In so many ticks a port may be looked for again.
    probe_rest: u32,
    /// Whether the mirror port's counters have been asked for and not been told yet.
    reading_sink: bool,
    /// What our flows had counted at the last reading, until it is taken.
    counted: Option<Census>,
    /// What the mirror port had.
    sink: Option<PortStats>,
    /// How the mirror port is, as the switch reported last.
    sink_port: SinkPort,
}

impl Switch {
    /// The switch as it introduced itself; `wanted_marker` are the only marker bits to use, if they are free.
    #[must_use]
    pub fn new(features: Features, wanted_marker: Option<MarkerBits>) -> Self {
        let mut switch = Self {
            features,
            watching: Watching::Monitors,
            wanted_marker,
            marker: None,
            scan: Scan::default(),
            found: Found::default(),
            hooks: Hooks::default(),
            delivery: DeliveryWatch::default(),
            pipeline: PipelineWatch::default(),
            guarded: None,
            requests: VecDeque::new(),
            readings: Readings::default(),
            messages: VecDeque::new(),
            complaints: 0,
            outstanding: 0,
            known: false,
            looked: false,
            awaits_deliveries: false,
            full: Arc::default(),
            scanned: 0,
            outgrown: false,
            rescan: false,
            scan_rest: 0,
            probe_rest: 0,
            reading_sink: false,
            counted: None,
            sink: None,
            sink_port: SinkPort::default(),
        };
        switch.messages.extend(ask::to_be_notified());
        // Before the scan, so that no change gets between.
        switch.requests.push_back((Tag::Others, ask::watch_others()));
        switch.rescan();
        switch
    }

    /// What the switch told of itself.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// How changes are noticed.
    #[must_use]
    pub fn watching(&self) -> Watching {
        self.watching
    }

    /// The marker bits to use, once the scan has found two that are free.
    #[must_use]
    pub fn marker(&self) -> Option<MarkerBits> {
        self.marker
    }

    /// What of others is in our way, as of the last scan.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let tables = self.delivery.tables().chain([TableId(0)]);
        let marker = self.found.marker(self.wanted_marker).err();
        marker.into_iter().chain(self.found.high(tables)).collect()
    }

    /// Whether our flows are known as they are, and each port to follow has been asked for once, so that our flows may
    /// be changed. Before, a right flow of an earlier agent's looks needless, as the delivery that it belongs to has not
    /// been told yet.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known && !self.awaits_deliveries
    }

    /// Our flows as they are in the switch.
    #[must_use]
    pub fn observed(&self) -> &FlowSet {
        self.hooks.observed.flows()
    }

    /// Those that came, went or changed since the last call.
    pub fn take_changed(&mut self) -> Changed {
        self.hooks.observed.take_changed()
    }

    /// OVN's delivery flows.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        self.delivery.deliveries()
    }

    /// The flows of OVN's that copies depend on besides.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        self.pipeline.known()
    }

    /// The ports that something else may deliver to than at the last call.
    pub fn take_delivered(&mut self) -> HashSet<OfPort> {
        let changed = self.delivery.take_changed();
        if !changed.is_empty() {
            self.look_at_floods();
        }
        changed
    }

    /// The logical datapaths whose floods may have no room for our flows.
    #[must_use]
    pub fn full(&self) -> &Arc<BTreeSet<u64>> {
        &self.full
    }

    fn look_at_floods(&mut self) {
        let datapaths = self.deliveries().per_datapath();
        let ports = datapaths.into_iter().map(|(datapath, (now, table))| {
            let then = self.found.deliveries.get(&(datapath, table)).copied().unwrap_or_default();
            (datapath, Ports { then, now, table })
        });
        let full = self.found.floods.near_limit(&ports.collect());
        if *self.full != full {
            self.full = Arc::new(full);
        }
    }

    /// What others took from us since the last call of [`Self::take_loss`].
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.hooks.loss
    }

    /// All that was lost is back.
    pub fn take_loss(&mut self) -> Option<Loss> {
        self.hooks.loss.take()
    }

    /// What our flows had counted at the last reading, once.
    pub fn take_counted(&mut self) -> Option<Census> {
        self.counted.take()
    }

    /// What the mirror port had counted at the last reading, once.
    pub fn take_sink(&mut self) -> Option<PortStats> {
        self.sink.take()
    }

    /// How the mirror port is, as the switch reported last.
    #[must_use]
    pub fn sink_port(&self) -> &SinkPort {
        &self.sink_port
    }

    /// The next question for the switch.
    pub fn poll_request(&mut self, now: Instant) -> Option<(Tag, MultipartRequest)> {
        let request = self.requests.pop_front().or_else(|| self.readings.poll(now));
        self.outstanding += usize::from(request.is_some());
        request
    }

    /// When [`Self::poll_request`] has something, if no answer comes before: the switch is given time for its packets.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.readings.due()
    }

    /// Whether every question has been put and answered, so that all is known that can be known now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.requests.is_empty() && self.outstanding == 0 && self.readings.is_empty()
    }

    /// Whether nothing is asked but what a scan does in the background.
    fn is_free(&self) -> bool {
        let background = usize::from(self.readings.is_asking());
        self.requests.is_empty()
            && self.outstanding <= background
            && self.readings.is_in_background()
            && (self.known || self.readings.is_empty())
    }

    /// What else is to be said to the switch. Whoever only looks leaves it unsaid.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// Reads all flows again, as others may have installed new ones: at once, or when the last time is long enough ago for
    /// what it took.
    pub fn rescan(&mut self) {
        self.rescan = self.scan_rest > 0;
        if !self.rescan && self.scan.start() {
            self.readings.start(Tag::Scan);
        }
    }

    /// Reads our flows again, and what they have counted.
    pub fn reread(&mut self) {
        if self.hooks.is_known() {
            self.read_hooks();
        }
    }

    fn read_hooks(&mut self) {
        if self.hooks.start_reread() {
            self.readings.start(Tag::Reread);
        }
    }

    fn read_table(&mut self, table: TableId) {
        self.delivery.start_table(table);
        self.pipeline.start_table(table);
        self.readings.start(Tag::Table(table));
    }

    /// What takes all our flows away.
    #[must_use]
    pub fn removal(&self) -> Vec<FlowMod> {
        if !self.known {
            return vec![FlowMod::delete_by_cookie(Cookie::OURS, Cookie::TAG_MASK)];
        }
        let own = Own { flows: self.observed(), marker: self.marker };
        let delete = |filter: FlowFilter| {
            let key = FlowKey { table: filter.table, priority: 0, matching: filter.matching };
            FlowMod {
                flow: Flow::new(key, filter.cookie, vec![]),
                ..FlowMod::delete_by_cookie(filter.cookie, filter.cookie_mask)
            }
        };
        self.readings.ours(own).map(delete).collect()
    }

    /// Reads what the mirror port has counted, if that is not under way.
    pub fn read_sink(&mut self) {
        if let Some(port) = self.guarded.filter(|_| !self.reading_sink) {
            self.requests.push_back((Tag::Sink, MultipartRequest::PortStats(port)));
            self.requests.push_back((Tag::SinkState, MultipartRequest::PortDesc(port)));
            self.reading_sink = true;
        }
    }

    /// Sees to it that the guard of `sink` is known, and where OVN delivers to the ports `missing`, if it does: at once if it
    /// is not known where it delivers to any, else by and by. To be called after each event, once it is known to which ports
    /// deliveries are to be copied.
    pub fn follow(&mut self, sink: Option<OfPort>, missing: &BTreeSet<OfPort>) {
        if self.guarded != sink {
            if self.watching == Watching::Monitors {
                let request = ask::watch_guard(self.guarded, sink);
                self.requests.push_back((Tag::Guard, request));
            }
            self.guarded = sink;
            self.sink_port = SinkPort::default();
            self.reading_sink = false;
            // What it has counted before there are any copies.
            self.read_sink();
        }
        let scanned: BTreeSet<_> =
            missing.iter().flat_map(|port| self.found.outputs(*port)).collect();
        for table in scanned {
            if self.delivery.watch(table) {
                self.watch_table(table);
            }
        }
        self.known |= self.hooks.is_known() && self.is_settled();
        let probed = self.delivery.probed().filter(|port| missing.contains(port));
        // A new port is most likely to be delivered to where the others are, which is watched. To look for it at once in all
        // tables would cost the switch a look at many flows.
        let first = missing.first().filter(|_| self.known && self.deliveries().is_empty());
        self.probe(probed.or(first.copied()));
        if self.known && !self.looked && !missing.is_empty() {
            self.looked = !self.deliveries().is_empty() || self.readings.is_in_background();
        }
        self.awaits_deliveries = !self.looked && !missing.is_empty();
    }

    /// Does what is due once a second: asks for the next of the ports `missing`, that nothing delivers to, and reads what no
    /// monitor reports. A switch that has not answered yet, as it has too much to do, is asked nothing more.
    pub fn handle_tick(&mut self, missing: &BTreeSet<OfPort>) {
        self.scan_rest = self.scan_rest.saturating_sub(1);
        self.probe_rest = self.probe_rest.saturating_sub(1);
        if (self.rescan || self.outgrown) && self.known {
            self.rescan();
        }
        if !self.is_free() {
            return;
        }
        if !self.hooks.is_known() && self.marker.is_some() {
            // The switch refused the first reading.
            self.read_hooks();
        }
        // A port that OVN never delivers to must not hide another that it delivers to in a table of its own.
        let probed = self.delivery.probed().unwrap_or(OfPort(0));
        let next = missing.range((Excluded(probed), Unbounded)).next().or(missing.first());
        if next.is_none() || self.probe_rest == 0 {
            self.probe(next.copied());
            let again = next.filter(|_| self.watching == Watching::Polling);
            again.iter().for_each(|port| self.readings.start(Tag::Probe(**port)));
        }
        if self.watching == Watching::Polling {
            self.reread();
            let tables: Vec<_> = self.delivery.tables().collect();
            tables.into_iter().for_each(|table| self.read_table(table));
        }
    }

    /// Takes note of changes that the switch says it made for us.
    pub fn applied<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        let (scan, found) = (&mut self.scan, &mut self.found);
        self.hooks.applied(changes.into_iter().inspect(|change| {
            // A foreign flow in the place of ours has gone.
            if let Change::Install(flow) = change {
                scan.forget_rival(found, &flow.key);
            }
        }));
    }

    /// Takes in what the session told, except of changes.
    pub fn handle(&mut self, event: Event<Tag>, now: Instant) {
        match event {
            Event::Part { tag, body, more } => self.handle_part(tag, body, more, now),
            Event::Updates(updates) => self.handle_updates(updates, now),
            Event::Refused { tag, error } => self.handle_refusal(tag, &error, now),
            // The switch may tell of a removal after it has the flow again, so for us it is a hint and no more.
            Event::FlowRemoved(_) if self.watching == Watching::Polling => self.reread(),
            Event::FlowRemoved(_) | Event::Up(_) | Event::Bundle { .. } => {}
            Event::PortChanged(port) => self.take_in_sink(&port, now),
            Event::Stray(error) => self.handle_complaint(&error),
        }
    }

    fn handle_complaint(&mut self, error: &RequestError) {
        self.complaints = self.complaints.saturating_add(1);
        match self.complaints {
            1..COMPLAINTS => tracing::warn!(%error, "the switch complains"),
            COMPLAINTS => {
                tracing::warn!(%error, "the switch complains, and will not be heard again")
            }
            _ => {}
        }
    }

    fn handle_part(&mut self, tag: Tag, body: MultipartReply, more: bool, now: Instant) {
        tracing::trace!(?tag, ?body, more, "the switch answers");
        match body {
            MultipartReply::FlowMonitor(updates) => self.handle_updates(updates, now),
            MultipartReply::FlowDesc(read) => {
                read.into_iter().for_each(|description| self.handle_read(tag, description));
            }
            MultipartReply::PortStats(ports) if tag == Tag::Sink => {
                self.sink = ports.into_iter().find(|port| Some(port.port) == self.guarded);
            }
            MultipartReply::PortDesc(ports) if tag == Tag::SinkState => {
                ports.iter().for_each(|port| self.take_in_sink(port, now));
            }
            MultipartReply::TableStats(sizes) if tag == Tag::Sizes => {
                self.readings.hear_sizes(sizes);
            }
            MultipartReply::Aggregate(stats) if tag == Tag::Count => {
                self.readings.hear_count(stats.flows);
            }
            _ => {}
        }
        if more {
            return;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        match tag {
            Tag::Sink => self.reading_sink = false,
            Tag::Hooks => self.read_hooks(),
            Tag::Sizes => {
                self.compare_sizes();
                self.step(false, now);
            }
            Tag::Count | Tag::Reread | Tag::Scan | Tag::Table(_) | Tag::Probe(_) => {
                self.step(false, now);
            }
            _ => {}
        }
    }

    /// The request for flows under way has been answered, or `refused`.
    fn step(&mut self, refused: bool, now: Instant) {
        let own = Own { flows: self.hooks.observed.flows(), marker: self.marker };
        let finished = self.readings.answered(refused, now, own);
        let Some(Finished { tag, took, whole }) = finished else { return };
        match tag {
            // Nothing follows from a part.
            Tag::Reread if !whole => self.hooks.abandon_reread(),
            Tag::Scan if !whole => self.scan.abandon(),
            Tag::Table(table) if !whole => {
                self.delivery.abandon_table(table);
                self.pipeline.abandon_table(table);
            }
            Tag::Scan => {
                tracing::debug!(flows = self.scanned, ?took, "all flows have been read");
                self.scan_rest = ticks(took * SCAN_REST);
                self.finish_scan();
            }
            Tag::Reread => match self.hooks.finish_reread(now) {
                Some(counted) => self.counted = Some(counted),
                None => self.read_hooks(),
            },
            Tag::Table(table) => {
                self.delivery.finish_table(table);
                self.pipeline.finish_table(table);
            }
            Tag::Probe(_) => self.probe_rest = ticks(took * PROBE_REST),
            _ => {}
        }
    }

    /// Whoever adds many flows may use bits that nobody used before.
    fn compare_sizes(&mut self) {
        let (now, ours) = (self.readings.total(), self.observed().len() as u64);
        if self.readings.is_reading(Tag::Scan) {
            self.scanned = now;
            self.outgrown = false;
        } else {
            self.outgrown |= now > self.scanned + self.scanned / 8 + ours + GROWTH;
        }
    }

    fn handle_read(&mut self, tag: Tag, description: FlowDesc) {
        let FlowDesc { flow, stats, .. } = description;
        match tag {
            Tag::Reread => self.hooks.reread(flow, &stats),
            Tag::Scan if flow.cookie.is_ours() => self.hooks.seen_by_scan(flow, &stats),
            Tag::Scan => {
                self.scan.look_at(&flow);
                self.learn_pipeline(&flow);
            }
            Tag::Table(_) => {
                self.delivery.read(&flow);
                self.pipeline.learn(&flow);
            }
            _ => self.learn_delivery(&flow),
        }
    }

    fn handle_updates(&mut self, updates: Vec<FlowUpdate>, now: Instant) {
        for update in updates {
            match update {
                FlowUpdate::Initial { flow, .. } if flow.cookie.is_ours() => self.hooks.seen(flow),
                FlowUpdate::Initial { flow, .. } => {
                    self.learn_delivery(&flow);
                    self.learn_pipeline(&flow);
                }
                FlowUpdate::Added { flow, .. } | FlowUpdate::Modified { flow, .. } => {
                    if !flow.cookie.is_ours() {
                        self.scan.note_rival(&mut self.found, &flow);
                    }
                    self.learn_delivery(&flow);
                    self.learn_pipeline(&flow);
                    self.hooks.changed(flow, now);
                }
                FlowUpdate::Removed { flow, .. } if flow.cookie.is_ours() => {
                    self.hooks.removed(&flow.key, now);
                }
                FlowUpdate::Removed { flow, .. } => {
                    self.scan.forget_rival(&mut self.found, &flow.key);
                    self.delivery.removed(&flow.key);
                    self.pipeline.removed(&flow.key);
                }
                // The switch could not keep up. It tells what changed meanwhile, but better look.
                FlowUpdate::Resumed => self.reread(),
                FlowUpdate::Abbrev { .. } | FlowUpdate::Paused => {}
            }
        }
    }

    fn handle_refusal(&mut self, tag: Tag, error: &RequestError, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match tag {
            Tag::Hooks if self.watching == Watching::Monitors => {
                tracing::warn!(
                    %error,
                    "the switch has no flow monitors (Open vSwitch before 3.0): its flows are read once a second instead"
                );
                self.watching = Watching::Polling;
                self.read_hooks();
                return;
            }
            // It has no flow monitors: the refusal of the next one says so.
            Tag::Others => return,
            Tag::Sink => self.reading_sink = false,
            Tag::Sizes | Tag::Count | Tag::Reread | Tag::Scan | Tag::Table(_) | Tag::Probe(_) => {
                self.step(true, now);
            }
            _ => {}
        }
        if self.watching == Watching::Monitors {
            tracing::warn!(?tag, %error, "the switch refused a question");
        }
    }

    fn take_in_sink(&mut self, port: &PortDesc, now: Instant) {
        if self.guarded == Some(port.port) {
            self.sink_port.take_in(port, now);
        }
    }

    fn finish_scan(&mut self) {
        self.counted = self.hooks.finish_scan().or(self.counted.take());
        self.found = self.scan.finish();
        self.look_at_floods();
        let marker = self.found.marker(self.wanted_marker).ok();
        if self.marker != marker {
            if self.watching == Watching::Monitors {
                let request = ask::watch_hooks(self.marker, marker);
                self.requests.push_back((Tag::Hooks, request));
            }
            self.marker = marker;
        }
        if marker.is_none() {
            // Nothing is to be watched. What is left of an earlier agent was found by this scan, and may go.
            self.hooks.all_seen();
        }
    }

    fn learn_delivery(&mut self, flow: &Flow) {
        if let Some(table) = self.delivery.learn(flow) {
            self.watch_table(table);
        }
    }

    fn learn_pipeline(&mut self, flow: &Flow) {
        if let Some(table) = self.pipeline.learn(flow)
            && self.delivery.watch(table)
        {
            self.watch_table(table);
        }
    }

    fn watch_table(&mut self, table: TableId) {
        if self.watching == Watching::Monitors {
            self.requests.push_back((Tag::Watch, ask::watch_table(table)));
        }
        self.read_table(table);
    }

    fn probe(&mut self, port: Option<OfPort>) {
        let before = self.delivery.probed();
        if before == port {
            return;
        }
        self.delivery.probe(port);
        if self.watching == Watching::Monitors {
            self.requests.push_back((Tag::Watch, ask::watch_outputs(before, port)));
        }
        if let Some(port) = port {
            self.readings.start(Tag::Probe(port));
        }
    }
}

/// So many whole ticks, which come once a second.
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
