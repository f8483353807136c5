//! A switch with very many flows is never asked to tell of many at once, nor without pauses.

use std::{collections::BTreeMap, time::Duration};

use flows::ofp::{FlowFilter, MonitorFlags, TableStats};

use super::*;
use crate::switch::piece::LIMIT;

/// What Open vSwitch takes for a flow that it describes, and for one that it looks at.
const DESCRIBE: Duration = Duration::from_micros(3);
const LOOK: Duration = Duration::from_nanos(100);

/// A switch with flows; it takes as long for each request as Open vSwitch does.
struct Crowd {
    flows: Vec<Flow>,
    now: Instant,
    /// What each request for flows had it describe and look at.
    requests: Vec<Effort>,
    /// How long it has answered since it last had time for anything else, and the longest such time.
    busy: Duration,
    longest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Effort {
    tag: Tag,
    described: usize,
    looked_at: usize,
}

impl Crowd {
    fn new(flows: Vec<Flow>) -> Self {
        let nothing = Duration::ZERO;
        Self { flows, now: now(), requests: vec![], busy: nothing, longest: nothing }
    }

    /// Answers until nothing more is asked.
    fn settle(&mut self, switch: &mut Switch, wanted: &[OfPort]) {
        loop {
            follow(switch, None, wanted);
            if let Some((tag, request)) = switch.poll_request(self.now) {
                let reply = self.answer(tag, &request);
                self.longest = self.longest.max(self.busy);
                switch.handle(Event::Part { tag, body: reply, more: false }, self.now);
            } else if let Some(due) = switch.poll_timeout() {
                self.now = due;
                self.busy = Duration::ZERO;
            } else {
                assert!(switch.is_settled());
                return;
            }
        }
    }

    fn answer(&mut self, tag: Tag, request: &MultipartRequest) -> MultipartReply {
        match request {
            MultipartRequest::TableStats => {
                let mut tables = BTreeMap::<_, u32>::new();
                for flow in &self.flows {
                    *tables.entry(flow.key.table).or_default() += 1;
                }
                let stats = |(table, active)| TableStats { table, active, lookups: 0, matched: 0 };
                MultipartReply::TableStats(tables.into_iter().map(stats).collect())
            }
            MultipartRequest::Aggregate(filter) => {
                let count = self.selected(tag, filter, false).len();
                let flows = Some(u32::try_from(count).unwrap());
                MultipartReply::Aggregate(FlowStats { flows, ..FlowStats::default() })
            }
            MultipartRequest::FlowDesc(filter) => {
                let flows = self.selected(tag, filter, true);
                MultipartReply::FlowDesc(flows.iter().map(describe).collect())
            }
            MultipartRequest::FlowMonitor(monitors) => {
                for monitor in monitors {
                    assert!(!monitor.flags.contains(MonitorFlags::INITIAL), "{monitor:?}");
                }
                MultipartReply::FlowMonitor(vec![])
            }
            _ => MultipartReply::PortStats(vec![]),
        }
    }

    fn selected(&mut self, tag: Tag, filter: &FlowFilter, described: bool) -> Vec<Flow> {
        let all = self.flows.iter();
        let table = all.filter(|flow| [flow.key.table, TableId::ALL].contains(&filter.table));
        // Open vSwitch keeps flows with the same masks together, and has an index of whole cookies.
        let looked_at: Vec<_> = table
            .filter(|flow| filter.matching.fields().iter().all(|field| has(flow, field)))
            .filter(|flow| filter.cookie_mask != u64::MAX || flow.cookie == filter.cookie)
            .collect();
        let selected: Vec<_> = looked_at
            .iter()
            .filter(|flow| (flow.cookie.0 ^ filter.cookie.0) & filter.cookie_mask == 0)
            .filter(|flow| filter.matching.fields().iter().all(|field| agrees(flow, field)))
            .filter(|flow| {
                let to = |action: &Action| matches!(action, Action::Output { port, .. } if *port == filter.out_port);
                filter.out_port == OfPort::ANY || flow.actions().any(to)
            })
            .map(|flow| (*flow).clone())
            .collect();
        let described = if described { selected.len() } else { 0 };
        let effort = Effort { tag, described, looked_at: looked_at.len() };
        self.requests.push(effort);
        let time = DESCRIBE * u32::try_from(described).unwrap()
            + LOOK * u32::try_from(effort.looked_at).unwrap();
        self.now += time;
        self.busy += time;
        selected
    }

    fn most(&self, of: impl Fn(&Effort) -> usize) -> usize {
        self.requests.iter().map(of).max().unwrap_or_default()
    }
}

fn parts(field: &MatchField) -> (Field, u128, u128) {
    match field {
        MatchField::Typed { field, value, mask } => {
            (*field, *value, mask.unwrap_or(field.all_ones()))
        }
        MatchField::Raw(_) => panic!("{field:?}"),
    }
}

/// Whether the flow matches on these bits at all.
fn has(flow: &Flow, asked: &MatchField) -> bool {
    let (field, _, mask) = parts(asked);
    let fields = flow.key.matching.fields().iter().map(parts);
    fields.into_iter().any(|(other, _, others)| other == field && others & mask == mask)
}

fn agrees(flow: &Flow, asked: &MatchField) -> bool {
    let (field, value, mask) = parts(asked);
    let fields = flow.key.matching.fields().iter().map(parts);
    fields.into_iter().any(|(other, is, _)| other == field && is & mask == value)
}

/// A flow of OVN's, whose cookies are as good as random.
fn logical(number: u32) -> Flow {
    let fields = vec![MatchField::exact(Field::METADATA, (number % 50).into())];
    let cookie = Cookie(u64::from(number.wrapping_mul(0x9e37_79b1)));
    flow(44, (number % 1000) as u16, cookie, fields, 1)
}

/// One of many for the addresses of one rule.
fn address(number: u32) -> Flow {
    let [ethertype, destination] = [(5, 2), (12, 4)].map(|(number, width)| Field {
        class: 0x8000,
        number,
        width,
        experimenter: 0,
    });
    let fields = vec![
        MatchField::exact(ethertype, 0x0800),
        MatchField::exact(destination, u128::from(0x0a00_0000 + number)),
    ];
    flow(44, 1000, Cookie(0), fields, 1)
}

/// One that is told from the others by nothing that can be asked for.
fn alike(number: u32) -> Flow {
    flow(44, (number % 60_000) as u16, Cookie(0), vec![], 1)
}

fn crowd(flows: u32, flow: fn(u32) -> Flow) -> Vec<Flow> {
    (0..flows).map(flow).collect()
}

#[test]
fn no_request_tells_of_many_flows_whatever_tells_them_apart() {
    for kind in [logical, address] {
        for flows in [0, 1, 1999, 2001, 40_000] {
            let mut all = crowd(flows, kind);
            all.extend([delivery(65, 2), ours(2), looks_at(1 << 27)]);
            let mut crowd = Crowd::new(all);
            let mut switch = new(None);
            crowd.settle(&mut switch, &[OfPort(2)]);

            let most = crowd.most(|request| request.described) as u64;
            assert!(most <= LIMIT, "{most} of {flows} flows at once");
            assert_eq!(switch.marker(), Some(MarkerBits { copied: 31, delivered: 30 }));
            assert_eq!(observed(&switch), [2]);
            assert_eq!(switch.deliveries().to(OfPort(2)).count(), 1);
            let read: usize = crowd.requests.iter().map(|request| request.described).sum();
            assert!(read as u64 >= u64::from(flows), "{read} of {flows} flows have been read");
        }
    }
}

#[test]
fn flows_that_nothing_tells_apart_are_read_at_once_all_the_same() {
    let mut all = crowd(5000, alike);
    all.push(Flow { cookie: Cookie(0), ..looks_at(1 << 27) });
    let mut crowd = Crowd::new(all);
    let mut switch = new(None);
    crowd.settle(&mut switch, &[]);
    assert_eq!(crowd.most(|request| request.described), 5000);
    assert_eq!(switch.marker(), Some(MarkerBits { copied: 31, delivered: 30 }));
}

#[test]
fn after_some_milliseconds_of_answers_the_switch_has_as_long_for_its_packets() {
    let mut crowd = Crowd::new(crowd(60_000, logical));
    let begun = crowd.now;
    let mut switch = new(None);
    crowd.settle(&mut switch, &[]);
    // 60,000 flows are looked at, 2000 described, on top of what went before.
    let one = 60_000 * LOOK + 2000 * DESCRIBE;
    assert!(crowd.longest <= one + Duration::from_millis(3), "{:?} at a stretch", crowd.longest);
    let looked_at: usize = crowd.requests.iter().map(|request| request.looked_at).sum();
    let described: usize = crowd.requests.iter().map(|request| request.described).sum();
    let effort =
        DESCRIBE * u32::try_from(described).unwrap() + LOOK * u32::try_from(looked_at).unwrap();
    assert!(crowd.now - begun >= effort * 2 - one, "half of the time is for packets");
}

#[test]
fn what_is_read_again_and_again_does_not_look_at_all_flows() {
    let mut all = crowd(25_000, logical);
    let foreign = crowd(25_000, address);
    all.extend(foreign.into_iter().map(|mut flow| {
        flow.key.table = TableId(0);
        flow
    }));
    let guard = |port: u32| {
        let fields = vec![MatchField::exact(Field::IN_PORT, port.into())];
        flow(0, 65535, Cookie::new(Purpose::Guard, OfPort(port)), fields, 0)
    };
    all.extend((10..2510).map(ours).chain([guard(9)]));
    let mut crowd = Crowd::new(all);
    let mut switch = new(None);
    crowd.settle(&mut switch, &[]);
    assert_eq!(switch.observed().len(), 2501);

    crowd.requests.clear();
    switch.reread();
    crowd.settle(&mut switch, &[]);
    assert_eq!(switch.observed().len(), 2501);
    assert_eq!(switch.loss(), None, "all are still there");
    assert!(crowd.most(|request| request.described) <= LIMIT as usize, "{:?}", crowd.requests);
    assert!(crowd.most(|request| request.looked_at) <= 2501, "{:?}", crowd.requests);

    crowd.requests.clear();
    crowd.flows.retain(|flow| flow.cookie != guard(9).cookie && flow.cookie != ours(10).cookie);
    crowd.flows.push(delivery(65, 10));
    switch.reread();
    crowd.settle(&mut switch, &[OfPort(10)]);
    assert_eq!(switch.loss().map(|loss| loss.flows), Some(2));
    assert_eq!(switch.deliveries().to(OfPort(10)).count(), 1, "looked for in all tables");
    assert!(crowd.most(|request| request.looked_at) <= 2501, "{:?}", crowd.requests);

    crowd.requests.clear();
    for FlowMod { flow, cookie_mask, .. } in switch.removal() {
        let FlowKey { table, matching, .. } = flow.key;
        let filter = FlowFilter {
            table,
            matching,
            cookie: flow.cookie,
            cookie_mask,
            ..FlowFilter::default()
        };
        let removed = crowd.selected(Tag::Remove, &filter, false);
        crowd.flows.retain(|flow| !removed.contains(flow));
    }
    assert!(!crowd.flows.iter().any(|flow| flow.cookie.is_ours()), "nothing is left behind");
    assert!(crowd.most(|request| request.looked_at) <= 2501, "{:?}", crowd.requests);
}

#[test]
fn flows_that_come_in_great_number_are_scanned_and_a_few_are_not() {
    let mut crowd = Crowd::new(crowd(1000, logical));
    let mut switch = new(None);
    crowd.settle(&mut switch, &[]);
    for (more, scanned) in [(50, false), (500, true)] {
        let bits = crowd.flows.len() as u32;
        crowd.flows.extend((bits..bits + more).map(logical));
        crowd.flows.push(looks_at(1 << 27));
        crowd.requests.clear();
        switch.reread();
        crowd.settle(&mut switch, &[]);
        tick(&mut switch, &[]);
        crowd.settle(&mut switch, &[]);
        let scans = crowd.requests.iter().filter(|request| request.tag == Tag::Scan).count();
        assert_eq!(scans > 0, scanned, "{more} flows more");
    }
    assert_eq!(switch.marker(), Some(MarkerBits { copied: 31, delivered: 30 }));
}

#[test]
fn a_scan_that_takes_long_is_not_made_again_at_once_and_keeps_nothing_else_waiting() {
    let mut all = crowd(100_000, logical);
    all.push(ours(2));
    let mut crowd = Crowd::new(all);
    let mut switch = new(None);
    crowd.settle(&mut switch, &[]);
    switch.rescan();
    assert!(switch.is_settled(), "the last one is not long enough ago");
    let mut ticks = 0;
    while switch.is_settled() {
        tick(&mut switch, &[]);
        ticks += 1;
    }
    assert!(ticks > 5, "{ticks} ticks");
    while !matches!(switch.poll_request(crowd.now), Some((Tag::Sizes, _))) {}
    let sizes = crowd.answer(Tag::Sizes, &MultipartRequest::TableStats);
    switch.handle(Event::Part { tag: Tag::Sizes, body: sizes, more: false }, crowd.now);
    switch.reread();
    crowd.requests.clear();
    crowd.settle(&mut switch, &[]);
    assert_eq!(crowd.requests[0].tag, Tag::Reread, "{:?}", crowd.requests);
}
