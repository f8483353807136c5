//! An API server that does what a real one can't be made to do on demand. What real ones do is in tests/lab.

mod fake_api;

use std::{collections::BTreeSet, time::Duration};

use fake_api::{Answer, Fake, pod};
use futures::{StreamExt as _, stream::BoxStream};
use ofmirror::{
    annotation::Network,
    cluster::{Cluster, News},
    kubernetes::{client, feed},
    pods::Pod,
};
use tokio::time::{Instant, timeout};

/// The cluster as it is heard, and what was told of failures.
struct Listener {
    cluster: Cluster,
    news: BoxStream<'static, News>,
    failures: Vec<String>,
}

impl Listener {
    fn start(fake: &Fake) -> Self {
        let news = feed::watch_pods(fake.client(), "n1").boxed();
        Self { cluster: Cluster::new(), news, failures: vec![] }
    }

    /// Listens until the mirrored Pods of the namespace are these.
    async fn hear_of(&mut self, names: &[&str]) {
        let heard = async {
            while self.mirrored() != names {
                let news = self.news.next().await.expect("it goes on for ever");
                if let News::Failed(_, reason) = &news {
                    self.failures.push(reason.clone());
                }
                self.cluster.apply(news);
            }
        };
        // The clock runs ahead whenever nothing happens.
        if timeout(Duration::from_secs(3600), heard).await.is_err() {
            panic!("{names:?} were not heard of, but {:?}; {:?}", self.mirrored(), self.failures);
        }
    }

    async fn hear_failures(&mut self, count: usize) {
        while self.failures.len() < count {
            match self.news.next().await.expect("it goes on for ever") {
                News::Failed(_, reason) => self.failures.push(reason),
                news => drop(self.cluster.apply(news)),
            }
        }
    }

    fn mirrored(&self) -> Vec<&str> {
        let pods = self.cluster.pods().iter();
        let mirrored = pods.filter(|(_, meta)| meta.marks.wanted(&Network::Cluster) == Some(true));
        mirrored.map(|(Pod { name, .. }, _)| &**name).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_in_mid_stream_is_begun_anew_and_is_no_failure() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::watch([
            Answer::modified(&pod("b", "true", "11")),
            Answer::error(410, "Expired", "too old resource version: 11 (90)"),
        ]),
        Answer::list("95", &[pod("b", "true", "11"), pod("c", "true", "95")]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a", "b"]).await;
    listener.hear_of(&["b", "c"]).await;
    assert_eq!(listener.failures, [""; 0]);
    let anew = "list no older than 11";
    assert_eq!(fake.questions()[..3], ["list no older than 0", "watch from 10", anew]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_as_expired_is_begun_anew() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::status(410, "Expired", "too old resource version: 10 (90)"),
        Answer::list("95", &[pod("b", "true", "95")]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["b"]).await;
    assert_eq!(listener.failures, [""; 0]);
    let anew = "list no older than 10";
    assert_eq!(fake.questions()[..3], ["list no older than 0", "watch from 10", anew]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_lags_brings_no_annotation_back_that_was_removed() {
    let gone = || Answer::watch([Answer::error(410, "Expired", "too old resource version")]);
    let lags = || Answer::too_large(11, 9);
    let fake = Fake::new([
        Answer::list("9", &[pod("a", "true", "9")]),
        Answer::watch([
            Answer::modified(&pod("a", "false", "11")),
            Answer::error(410, "Expired", "too old resource version"),
        ]),
        // What an API server would say that lags, if it was asked for anything.
        lags(),
        Answer::list("12", &[pod("a", "false", "11"), pod("b", "true", "12")]),
        gone(),
        // It goes on: a database that was restored knows no such version any more.
        lags(),
        lags(),
        lags(),
        Answer::list("5", &[pod("c", "true", "5")]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a"]).await;
    listener.hear_of(&[]).await;
    listener.hear_of(&["b"]).await;
    assert_eq!(listener.failures.len(), 1, "{:?}", listener.failures);
    assert!(listener.failures[0].contains("Too large resource version"), "{:?}", listener.failures);
    listener.hear_of(&["c"]).await;
    let asked = fake.questions();
    assert_eq!(asked[..2], ["list no older than 0", "watch from 9"]);
    assert_eq!(asked[2..4], ["list no older than 11"; 2]);
    assert_eq!(asked[4], "watch from 12");
    assert_eq!(asked[5..8], ["list no older than 12"; 3]);
    assert_eq!(asked[8], "list the latest, not ?");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_ends_each_watch_at_once_is_not_asked_all_the_time() {
    const ENDS: usize = 30;
    let mut answers = vec![Answer::list("10", &[pod("a", "true", "10")])];
    answers.extend((0..ENDS).map(|_| Answer::watch([])));
    answers.extend([Answer::watch([Answer::modified(&pod("b", "true", "11"))]), Answer::silence()]);
    let fake = Fake::new(answers);
    let mut listener = Listener::start(&fake);
    let begin = Instant::now();
    listener.hear_of(&["a", "b"]).await;
    let each = begin.elapsed() / u32::try_from(ENDS).unwrap();
    assert!(each > Duration::from_secs(10), "a watch every {each:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_costs_a_failure_and_no_pod() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::watch([Answer::error(410, "Expired", "too old resource version")]),
        Answer::list("20", &[pod("b", "true", "20"), pod("c", "true", "20")]).cut_short(),
        Answer::list("20", &[pod("b", "true", "20"), pod("c", "true", "20")]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a"]).await;
    listener.hear_failures(1).await;
    assert_eq!(listener.mirrored(), ["a"]);
    assert!(listener.failures[0].contains("ends in the middle"), "{:?}", listener.failures);
    listener.hear_of(&["b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_begin_together_do_not_end_together() {
    let mut lengths = BTreeSet::new();
    for _ in 0..8 {
        let fake = Fake::new([Answer::list("10", &[pod("a", "true", "10")]), Answer::silence()]);
        let mut listener = Listener::start(&fake);
        listener.hear_of(&["a"]).await;
        while fake.questions().len() < 2 {
            assert!(timeout(Duration::from_secs(1), listener.news.next()).await.is_err());
        }
        let (path, _) = fake.request(1);
        let length = path.split('&').find_map(|part| part.strip_prefix("timeoutSeconds="));
        lengths.insert(length.unwrap().to_owned());
    }
    assert!(lengths.len() > 1, "{lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_the_last_bookmark() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::watch([Answer::bookmark("50")]),
        Answer::watch([Answer::modified(&pod("b", "true", "51"))]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a", "b"]).await;
    assert_eq!(fake.questions()[..3], ["list no older than 0", "watch from 10", "watch from 50"]);
    assert_eq!(listener.failures, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn half_a_line_is_nothing_and_the_watch_goes_on_where_it_was() {
    let whole = Answer::modified(&pod("b", "true", "11"));
    let half = whole[..whole.len() / 2].to_vec();
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::broken_watch([half]),
        Answer::watch([whole]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a", "b"]).await;
    assert_eq!(fake.questions()[..3], ["list no older than 0", "watch from 10", "watch from 10"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_costs_a_failure_and_no_pod() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::watch([b"<html>502 Bad Gateway</html>\n".to_vec()]),
        Answer::watch([Answer::modified(&pod("b", "true", "11"))]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a", "b"]).await;
    assert_eq!(listener.failures.len(), 1, "{:?}", listener.failures);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_errors_is_told_costs_few_requests_and_no_pod() {
    const STORM: usize = 40;
    let error = || Answer::status(500, "InternalError", "etcdserver: leader changed");
    let mut answers = vec![
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::watch([Answer::error(410, "Expired", "too old resource version")]),
    ];
    answers.extend((0..STORM).map(|_| error()));
    answers.extend([Answer::list("95", &[pod("b", "true", "95")]), Answer::silence()]);
    let fake = Fake::new(answers);
    let mut listener = Listener::start(&fake);
    listener.hear_of(&["a"]).await;
    let begin = Instant::now();
    listener.hear_failures(STORM).await;
    assert_eq!(listener.mirrored(), ["a"], "what was known still counts");
    assert!(listener.failures[0].contains("etcdserver: leader changed"), "{:?}", listener.failures);
    let each = begin.elapsed() / u32::try_from(STORM).unwrap();
    assert!(each > Duration::from_secs(10), "a request every {each:?}");
    listener.hear_of(&["b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_is_given_up_and_begun_again() {
    let fake = Fake::new([
        Answer::list("10", &[pod("a", "true", "10")]),
        Answer::silence(),
        Answer::watch([Answer::modified(&pod("b", "true", "11"))]),
        Answer::silence(),
    ]);
    let mut listener = Listener::start(&fake);
    let begin = Instant::now();
    listener.hear_of(&["a", "b"]).await;
    assert!(begin.elapsed() < Duration::from_secs(330), "after {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_connections_and_never_answers_is_told() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let config = kube::Config::new(url.parse().unwrap());
    let client = client::connect(&config, || panic!("it has answered")).unwrap();
    let mut news = feed::watch_pods(client, "n1").boxed();
    let begin = Instant::now();
    loop {
        match news.next().await {
            Some(News::Failed(_, reason)) => break assert!(reason.contains("time"), "{reason}"),
            Some(_) => {}
            None => panic!("it goes on for ever"),
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(61), "after {:?}", begin.elapsed());
}

#[tokio::test]
async fn only_this_nodes_pods_that_have_not_ended_are_asked_for_and_only_their_metadata() {
    let fake = Fake::new([Answer::list("10", &[pod("a", "true", "10")]), Answer::silence()]);
    Listener::start(&fake).hear_of(&["a"]).await;
    let (path, accept) = fake.request(0);
    let query =
        "fieldSelector=spec.nodeName%3Dn1%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    assert!(path.starts_with("/api/v1/pods?") && path.contains(query), "{path}");
    assert!(accept.contains("as=PartialObjectMetadataList"), "{accept}");
    // From the API server's cache, which has no pages before Kubernetes 1.34.
    assert!(path.ends_with("&resourceVersion=0&resourceVersionMatch=NotOlderThan"), "{path}");
    assert!(!path.contains("limit="), "{path}");
}
