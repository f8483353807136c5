//! Reading flows so that the switch has time for its packets: in pieces, one request at a time, with pauses.
//!
//! A reading begins with the sizes of all tables, for which the switch looks at no flow. What is small is read at once;
//! what is large by table, and large tables in [`Piece`]s. After requests that took the switch some time it gets as much
//! for other things. Of several readings the most urgent goes on.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use flows::{
    marker::MarkerBits,
    model::{Cookie, Field, FlowSet, Match, MatchField, OfPort, TableId},
    ofp::{FlowFilter, MultipartRequest, TableStats},
};

use super::{
    Tag,
    piece::{Cutting, Fate, LIMIT, Piece},
};

/// How many flows may be looked at for a few that are described, in one request: 2 ms.
const LOOKED_AT: u64 = 20_000;
/// How long requests may take together before there is a pause.
const BUSY: Duration = Duration::from_millis(3);
/// The longest pause: a switch that is stalled must not keep us for longer.
const PAUSE: Duration = Duration::from_millis(100);

/// Readings that are wanted and not at their end.
#[derive(Default)]
pub(super) struct Readings {
    jobs: Vec<Job>,
    asked: Option<Asked>,
    /// How long requests have taken since the last pause.
    busy: Duration,
    due: Option<Instant>,
    /// What the tables had, as far as the switch has told in its answer.
    sizes: Vec<TableStats>,
    count: u64,
    /// What they had when the last reading began.
    last: Sizes,
}

/// A request under way.
struct Asked {
    tag: Tag,
    what: Question,
    since: Instant,
}

enum Question {
    Sizes,
    Count(Cutting),
    Flows,
}

struct Job {
    tag: Tag,
    since: Option<Instant>,
    /// What is left; none as long as the sizes are not known.
    left: Option<Vec<Fate>>,
}

/// A reading is at its end.
pub(super) struct Finished {
    pub(super) tag: Tag,
    pub(super) took: Duration,
    /// Whether all has been read.
    pub(super) whole: bool,
}

/// What is known of our flows.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) flows: &'a FlowSet,
    pub(super) marker: Option<MarkerBits>,
}

impl Readings {
    /// Starts a reading, unless it is under way: of all flows, of ours, of those of a table, or of those that deliver to a port.
    pub(super) fn start(&mut self, tag: Tag) {
        if !self.is_reading(tag) {
            self.jobs.push(Job { tag, since: None, left: None });
            self.jobs.sort_by_key(|job| Reverse(urgency(job.tag)));
        }
    }

    pub(super) fn is_reading(&self, tag: Tag) -> bool {
        self.jobs.iter().any(|job| job.tag == tag)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether nobody waits for what is read.
    pub(super) fn is_in_background(&self) -> bool {
        self.jobs.iter().all(|job| job.tag == Tag::Scan)
    }

    /// Whether a request is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// When [`Self::poll`] has something, if that is not before an answer.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.asked.is_none() && !self.jobs.is_empty())
    }

    /// The next request.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(Tag, MultipartRequest)> {
        if self.asked.is_some() || self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.due = None;
        let job = self.jobs.first_mut()?;
        let tag = job.tag;
        job.since.get_or_insert(now);
        let (what, tag, request) = match &mut job.left {
            None => (Question::Sizes, Tag::Sizes, MultipartRequest::TableStats),
            Some(left) => match left.pop()? {
                Fate::Read(piece) => {
                    (Question::Flows, tag, MultipartRequest::FlowDesc(piece.filter))
                }
                Fate::Count(filter, cutting) => {
                    (Question::Count(cutting), Tag::Count, MultipartRequest::Aggregate(filter))
                }
            },
        };
        self.asked = Some(Asked { tag: job.tag, what, since: now });
        (self.sizes, self.count) = (Vec::new(), 0);
        Some((tag, request))
    }

    /// The switch tells the sizes of some tables. It has 255 at most.
    pub(super) fn hear_sizes(&mut self, sizes: Vec<TableStats>) {
        if self.sizes.len() <= usize::from(u8::MAX) {
            self.sizes.extend(sizes);
        }
    }

    /// How many flows there are, as the switch told for the present reading.
    pub(super) fn total(&self) -> u64 {
        self.sizes.iter().map(|table| u64::from(table.active)).sum()
    }

    /// The switch has counted.
    pub(super) fn hear_count(&mut self, flows: Option<u32>) {
        self.count = flows.unwrap_or_default().into();
    }

    /// Which flows are ours, for whoever deletes them: without a look at all others where these are many.
    pub(super) fn ours(&self, own: Own<'_>) -> impl Iterator<Item = FlowFilter> {
        ours(&self.last, own).into_iter().map(|piece| piece.filter)
    }

    /// The request under way has been answered, or `refused`.
    pub(super) fn answered(
        &mut self,
        refused: bool,
        now: Instant,
        own: Own<'_>,
    ) -> Option<Finished> {
        let Asked { tag, what, since } = self.asked.take()?;
        self.busy += now.saturating_duration_since(since);
        if self.busy >= BUSY {
            self.due = Some(now + self.busy.min(PAUSE));
            self.busy = Duration::ZERO;
        }
        let place = self.jobs.iter().position(|job| job.tag == tag)?;
        let job = &mut self.jobs[place];
        let left = job.left.get_or_insert_default();
        let mut whole = true;
        match what {
            Question::Sizes => {
                self.last = Sizes::of(Some(&*self.sizes).filter(|_| !refused));
                // The last is read first.
                let pieces = pieces(tag, &self.last, own).into_iter().rev();
                left.extend(pieces.map(Piece::fate));
            }
            Question::Count(cutting) if refused => left.push(cutting.uncounted()),
            Question::Count(cutting) => left.extend(cutting.counted(self.count)),
            Question::Flows if refused => {
                left.clear();
                whole = false;
            }
            Question::Flows => {}
        }
        if !left.is_empty() {
            return None;
        }
        let begun = self.jobs.remove(place).since;
        let took = begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
        Some(Finished { tag, took, whole })
    }
}

/// What waits for nothing comes last.
fn urgency(tag: Tag) -> u8 {
    match tag {
        Tag::Reread => 3,
        Tag::Table(_) => 2,
        Tag::Scan => 0,
        _ => 1,
    }
}

/// How many flows the tables have.
#[derive(Default)]
struct Sizes {
    tables: BTreeMap<TableId, u64>,
    total: u64,
}

impl Sizes {
    /// Without an answer nothing is known, and all is read at once.
    fn of(sizes: Option<&[TableStats]>) -> Self {
        let sizes = sizes.into_iter().flatten().filter(|table| table.active > 0);
        let tables: BTreeMap<_, _> =
            sizes.map(|table| (table.table, u64::from(table.active))).collect();
        Self { total: tables.values().sum(), tables }
    }

    fn of_table(&self, table: TableId) -> u64 {
        self.tables.get(&table).copied().unwrap_or_default()
    }
}

fn pieces(tag: Tag, sizes: &Sizes, own: Own<'_>) -> Vec<Piece> {
    match tag {
        Tag::Reread => ours(sizes, own),
        Tag::Table(table) => vec![Piece::table(table, sizes.of_table(table))],
        Tag::Probe(port) => outputs(port, sizes),
        _ if sizes.total <= LIMIT => vec![Piece::table(TableId::ALL, sizes.total)],
        _ => sizes.tables.iter().map(|(table, flows)| Piece::table(*table, *flows)).collect(),
    }
}

/// Our flows, without a look at all others where these are many.
fn ours(sizes: &Sizes, own: Own<'_>) -> Vec<Piece> {
    let tagged = |table, matching| FlowFilter {
        table,
        matching,
        cookie: Cookie::OURS,
        cookie_mask: Cookie::TAG_MASK,
        ..FlowFilter::default()
    };
    let all = own.flows.len() as u64;
    if sizes.total <= LOOKED_AT {
        return vec![Piece::new(tagged(TableId::ALL, Match::default()), all)];
    }
    let mut tables: BTreeMap<TableId, Vec<(Cookie, bool)>> = BTreeMap::new();
    for flow in own.flows.iter() {
        let marked = own.marker.is_some_and(|marker| looks_at(marker, &flow.key.matching));
        tables.entry(flow.key.table).or_default().push((flow.cookie, marked));
    }
    let mut pieces = Vec::new();
    for (table, flows) in tables {
        let count = flows.len() as u64;
        if sizes.of_table(table) <= LOOKED_AT {
            pieces.push(Piece::new(tagged(table, Match::default()), count));
            continue;
        }
        // Open vSwitch skips flows that do not look at the marker without a look at each, and finds whole cookies in an index.
        if let Some(marker) = own.marker {
            let both = [0, marker.delivered_mask()];
            pieces.extend(both.map(|value| {
                Piece::new(tagged(table, Match::new([delivered(marker, value)])), count)
            }));
        }
        let others: BTreeSet<_> =
            flows.into_iter().filter(|(_, marked)| !marked).map(|(cookie, _)| cookie).collect();
        pieces.extend(others.into_iter().map(|cookie| {
            let filter =
                FlowFilter { cookie_mask: u64::MAX, cookie, ..tagged(table, Match::default()) };
            Piece::new(filter, 1)
        }));
    }
    pieces
}

/// R is this, by which flows are asked for that look at it.
pub(super) fn delivered(marker: MarkerBits, value: u32) -> MatchField {
    let mask = marker.delivered_mask();
    MatchField::masked(Field::reg(MarkerBits::REGISTER), value.into(), mask.into())
}

fn looks_at(marker: MarkerBits, matching: &Match) -> bool {
    let bit = u128::from(marker.delivered_mask());
    matching.fields().iter().any(|field| match field {
        MatchField::Typed { field, mask, .. } => {
            *field == Field::reg(MarkerBits::REGISTER) && mask.is_none_or(|mask| mask & bit != 0)
        }
        MatchField::Raw(_) => false,
    })
}

/// The flows that deliver to a port: all match on the logical output port, of which the last bit is the one or the other.
fn outputs(port: OfPort, sizes: &Sizes) -> Vec<Piece> {
    let half = |table, bit| {
        let matching = Match::new([MatchField::masked(Field::reg(15), bit, 1)]);
        Piece::new(FlowFilter { table, matching, out_port: port, ..FlowFilter::default() }, 0)
    };
    let tables = if sizes.total <= LOOKED_AT {
        vec![TableId::ALL]
    } else {
        sizes.tables.keys().copied().collect()
    };
    tables.into_iter().flat_map(|table| [half(table, 0), half(table, 1)]).collect()
}
