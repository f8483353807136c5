use flows::model::{Field, Match, MatchField, OfPort, TableId};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The books of one flow, with a clock.
struct Story {
    ledger: Ledger,
    now: Instant,
}

fn key() -> FlowKey {
    let matching = Match::new([MatchField::exact(Field::IN_PORT, 5)]);
    FlowKey { table: TableId(0), priority: 65534, matching }
}

fn cookie() -> Cookie {
    Cookie::new(Purpose::FromPod, OfPort(5))
}

fn series(name: &str) -> Arc<Series> {
    let pod = Pod::new("shop", name);
    let interface = format!("{name}_h").into();
    Arc::new(Series { pod, interface, direction: Direction::FromPod })
}

/// As many packets, each of 100 bytes.
fn counted(packets: u64) -> FlowCounters {
    FlowCounters { packets, bytes: 100 * packets }
}

impl Story {
    fn begin() -> Self {
        Self { ledger: Ledger::default(), now: Instant::now() }
    }

    fn installs(&mut self, existed: bool) -> &mut Self {
        self.ledger.install(&key(), cookie(), existed, Some(series("web")), self.now);
        self
    }

    fn reads(&mut self, packets: u64, age: u64) -> &mut Self {
        self.reads_of("web", packets, age)
    }

    fn reads_of(&mut self, pod: &str, packets: u64, age: u64) -> &mut Self {
        self.now += SECOND;
        let age = Some(SECOND * u32::try_from(age).unwrap());
        let reading = Reading { key: key(), cookie: cookie(), counters: counted(packets), age };
        self.ledger.read(vec![reading].into(), |_| Some(series(pod)), self.now);
        self
    }

    fn reads_while_it_changes(&mut self) -> &mut Self {
        let census = Census { unsure: HashSet::from([key()]), ..Census::default() };
        self.ledger.read(census, |_| None, self.now);
        self
    }

    fn reads_nothing(&mut self, later: Duration) -> &mut Self {
        self.now += later;
        self.ledger.read(Census::default(), |_| None, self.now);
        self
    }

    /// The last word about a flow, and how old it was in seconds.
    fn hears_the_last_word(&mut self, packets: u64, age: u64) -> &mut Self {
        let age = Some(Duration::from_secs(age));
        self.ledger.remove(&key(), counted(packets), age, self.now);
        self
    }

    fn waits(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    /// Packets by Pod, each line with bytes to match.
    fn totals(&self) -> Vec<(String, u64)> {
        let lines = self.ledger.lines().map(|(series, line)| {
            assert_eq!(line.total, counted(line.total.packets));
            (series.pod.name.to_string(), line.total.packets)
        });
        lines.collect()
    }

    fn total(&self) -> u64 {
        match self.totals().as_slice() {
            [(_, total)] => *total,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_flow_that_we_installed_counts_from_the_first_packet() {
    let mut story = Story::begin();
    story.installs(false);
    assert_eq!(story.total(), 0, "a port that is mirrored has a total from the start");
    assert_eq!(story.reads(7, 1).total(), 7);
    assert_eq!(story.reads(7, 2).total(), 7);
    assert_eq!(story.reads(19, 3).total(), 19);
}

#[test]
fn what_a_flow_counted_for_an_agent_before_is_not_counted_again() {
    let mut story = Story::begin();
    assert_eq!(story.reads(1000, 3600).total(), 0);
    assert_eq!(story.reads(1010, 3601).total(), 10);
}

#[test]
fn a_wipe_loses_nothing_as_the_switch_tells_the_last_counters() {
    let mut story = Story::begin();
    story.installs(false).waits(8).reads(100, 9);
    story.hears_the_last_word(120, 9);
    assert_eq!(story.total(), 120);
    assert_eq!(story.installs(false).reads(5, 1).total(), 125);
}

#[test]
fn the_last_word_counts_for_the_flow_that_went_though_it_comes_after_its_replacement() {
    let mut story = Story::begin();
    story.installs(false).waits(8).reads(100, 9);
    story.installs(false).reads(130, 1);
    assert_eq!(story.total(), 230, "the new flow has counted as much");
    assert_eq!(story.hears_the_last_word(120, 9).total(), 250);
    assert_eq!(story.reads(131, 2).total(), 251);
}

#[test]
fn the_last_word_counts_though_a_reading_without_the_flow_came_before() {
    let mut story = Story::begin();
    story.installs(false).waits(8).reads(100, 9);
    story.reads_nothing(SECOND);
    assert_eq!(story.hears_the_last_word(120, 9).total(), 120);
}

#[test]
fn a_wipe_without_a_last_word_loses_only_what_came_since_the_last_reading() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    assert_eq!(story.reads_nothing(SECOND).total(), 100);
    assert_eq!(story.installs(false).reads(40, 1).total(), 140);
}

#[test]
fn a_flow_that_somebody_replaced_unseen_counts_whole() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    assert_eq!(story.reads(40, 1).total(), 140, "it has counted less");
    assert_eq!(story.reads(200, 0).total(), 340, "it is younger");
}

#[test]
fn a_flow_that_we_changed_goes_on_counting() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    assert_eq!(story.installs(true).reads(110, 10).total(), 110);
}

#[test]
fn a_port_that_passes_to_another_pod_counts_for_each_what_was_its() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    story.reads_of("db", 110, 10);
    assert_eq!(story.totals(), [("db".to_owned(), 0), ("web".to_owned(), 110)]);
    story.reads_of("db", 115, 11);
    assert_eq!(story.totals(), [("db".to_owned(), 5), ("web".to_owned(), 110)]);
}

#[test]
fn the_totals_of_a_pod_stay_for_a_while_and_all_copies_count_for_ever() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9).hears_the_last_word(120, 9);
    assert_eq!(story.reads_nothing(GRACE - SECOND).total(), 120);
    assert_eq!(story.reads_nothing(SECOND).totals(), []);
    assert_eq!(story.ledger.offered(), counted(120));
}

#[test]
fn the_totals_outlast_a_pause_in_which_no_port_has_a_flow_but_not_their_pod() {
    let mut story = Story::begin();
    story.installs(false).reads(4, 1);
    for _ in 0..3 {
        let later = story.now + GRACE;
        story.ledger.keep([(*series("web")).clone(), (*series("db")).clone()], later);
        assert_eq!(story.reads_nothing(GRACE).totals(), [("web".to_owned(), 4)]);
    }
    story.ledger.keep([(*series("db")).clone()], story.now + GRACE);
    assert_eq!(story.reads_nothing(GRACE).totals(), [], "the Pod was deleted in the pause");
}

#[test]
fn a_flow_that_changed_while_all_were_read_goes_on_counting() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    assert_eq!(story.reads_while_it_changes().reads(110, 10).total(), 110);
}

#[test]
fn a_flow_whose_age_is_not_told_any_more_is_the_same() {
    let mut story = Story::begin();
    story.installs(false).reads(100, 9);
    let reading = Reading { key: key(), cookie: cookie(), counters: counted(110), age: None };
    story.ledger.read(vec![reading].into(), |_| Some(series("web")), story.now);
    assert_eq!(story.total(), 110);
}

#[test]
fn a_last_word_that_never_comes_is_not_taken_for_that_of_a_later_flow() {
    let mut story = Story::begin();
    story.installs(false).waits(8).reads(100, 9);
    story.installs(false).waits(1).reads(20, 2);
    assert_eq!(story.hears_the_last_word(25, 2).total(), 125);
    assert_eq!(story.installs(false).reads(1, 1).total(), 126);
}

#[test]
fn of_many_flows_that_went_each_gets_its_own_last_word() {
    let mut story = Story::begin();
    for age in [30, 20, 10] {
        story.installs(false).waits(age - 1).reads(age, age);
    }
    story.installs(false);
    assert_eq!(story.total(), 60);
    // They are 60, 30 and 10 s old by now, and had counted 30, 20 and 10.
    for (packets, age, total) in [(22, 30, 62), (31, 60, 63), (14, 10, 67)] {
        assert_eq!(story.hears_the_last_word(packets, age).total(), total, "{age} s old");
    }
}
