use super::*;
use crate::annotation::Network;

/// A journal with a clock, and one Pod.
struct Story {
    journal: Journal,
    now: Instant,
}

impl Story {
    fn begin() -> Self {
        Self { journal: Journal::default(), now: Instant::now() }
    }

    /// How things stand for some seconds; gives what is told meanwhile.
    fn goes(&mut self, seconds: u64, verdict: &Verdict) -> Vec<What> {
        self.goes_with(seconds, "u1", verdict, &[])
    }

    fn goes_with(
        &mut self,
        seconds: u64,
        uid: &str,
        verdict: &Verdict,
        invalid: &[(&str, &str)],
    ) -> Vec<What> {
        let report = Report {
            pod: Pod { namespace: Some("shop".into()), name: "web".into() },
            verdict: verdict.clone(),
            invalid: invalid.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let reports = BTreeMap::from([(uid.into(), report)]);
        let mut told = Vec::new();
        for _ in 0..seconds {
            let due = self.journal.due(&reports, self.now, usize::MAX);
            told.extend(due.into_iter().map(|announcement| announcement.what));
            self.now += Duration::from_secs(1);
        }
        told
    }
}

fn mirrored(ofport: u32) -> Verdict {
    Verdict::Mirrored(vec![("web_h".into(), OfPort(ofport))])
}

fn started(ofport: u32) -> What {
    What::Started(vec![("web_h".into(), OfPort(ofport))])
}

fn no_port() -> Refusal {
    Refusal::NoPort { bridge: "br-int".into(), network: Network::Cluster }
}

#[test]
fn start_and_end_are_told_once() {
    let mut story = Story::begin();
    assert_eq!(story.goes(60, &mirrored(5)), [started(5)]);
    assert_eq!(story.goes(60, &Verdict::Left), [What::Stopped]);
    assert_eq!(story.goes(60, &Verdict::Left), []);
}

#[test]
fn another_port_is_told_as_a_new_start() {
    let mut story = Story::begin();
    assert_eq!(story.goes(20, &mirrored(5)), [started(5)]);
    assert_eq!(story.goes(20, &mirrored(7)), [started(7)]);
}

#[test]
fn what_passes_is_not_told() {
    let mut story = Story::begin();
    assert_eq!(story.goes(20, &mirrored(5)), [started(5)]);
    let lost = Refusal::Unserved { port: "web_h".into(), reason: "gone".to_owned() };
    assert_eq!(story.goes(1, &Verdict::Refused(lost)), []);
    assert_eq!(story.goes(20, &mirrored(5)), []);
}

#[test]
fn a_missing_port_is_told_only_when_a_cni_would_have_made_it() {
    let mut story = Story::begin();
    let refused = Verdict::Refused(no_port());
    assert_eq!(story.goes(10, &refused), []);
    assert_eq!(story.goes(20, &refused), [What::Refused(no_port())]);
    assert_eq!(story.goes(20, &Verdict::Left), [], "nothing was mirrored, so nothing has stopped");
}

#[test]
fn a_pod_that_changes_all_the_time_is_told_of_now_and_then() {
    let mut story = Story::begin();
    let mut told = Vec::new();
    for round in 0..20 {
        told.extend(story.goes(3, &mirrored(5 + round % 2)));
    }
    assert!((3..=6).contains(&told.len()), "in a minute: {told:?}");
}

#[test]
fn a_value_is_told_once_until_it_changes() {
    let mut story = Story::begin();
    let yes = [("ovn.kubernetes.io/mirror", "yes")];
    let invalid =
        |value: &str| What::Invalid { key: "ovn.kubernetes.io/mirror".into(), value: value.into() };
    assert_eq!(story.goes_with(9, "u1", &Verdict::Left, &yes), [invalid("yes")]);
    let on = [("ovn.kubernetes.io/mirror", "on")];
    assert_eq!(story.goes_with(9, "u1", &Verdict::Left, &on), [invalid("on")]);
    assert_eq!(story.goes_with(9, "u1", &Verdict::Left, &yes), [invalid("yes")]);
}

#[test]
fn a_pod_with_many_values_that_are_none_is_told_of_them_now_and_then() {
    let mut story = Story::begin();
    let keys: Vec<_> = (0..1000).map(|n| format!("n{n}.shop.ovn.kubernetes.io/mirror")).collect();
    let invalid: Vec<_> = keys.iter().map(|key| (key.as_str(), "yes")).collect();
    let told = story.goes_with(60, "u1", &Verdict::Left, &invalid);
    assert!((3..=6).contains(&told.len()), "in a minute: {told:?}");
}

#[test]
fn a_pod_made_again_is_another() {
    let mut story = Story::begin();
    assert_eq!(story.goes_with(9, "u1", &mirrored(5), &[]), [started(5)]);
    assert_eq!(story.goes_with(9, "u2", &mirrored(5), &[]), [started(5)]);
}

#[test]
fn what_there_is_no_room_for_is_told_later() {
    let mut journal = Journal::default();
    let reports: BTreeMap<Arc<str>, Report> = (0..5)
        .map(|number| {
            let pod = Pod { namespace: Some("shop".into()), name: format!("web{number}").into() };
            let report = Report { pod, verdict: mirrored(number), invalid: vec![] };
            (format!("u{number}").into(), report)
        })
        .collect();
    let now = Instant::now();
    assert_eq!(journal.due(&reports, now, 9), []);
    let mut told = HashSet::new();
    for _ in 0..3 {
        let due = journal.due(&reports, now + SETTLED, 2);
        assert!(due.len() <= 2);
        told.extend(due.into_iter().map(|announcement| announcement.uid));
    }
    assert_eq!(told.len(), 5);
}
