use super::*;
use crate::ovsdb::{Rejection, Uuid};

/// A session and a clock that is moved by hand.
struct Driven {
    session: Session,
    now: Instant,
}

impl Driven {
    fn start() -> Self {
        let now = Instant::now();
        Self { session: Session::new(None, now).unwrap(), now }
    }

    fn synced() -> Self {
        let mut driven = Self::start();
        assert_eq!(driven.sent()[0]["method"], "monitor_cond");
        driven.hear(json!({"id": 0, "result": {}, "error": null})).unwrap();
        assert!(driven.session.take_snapshot().is_some());
        driven
    }

    fn hear(&mut self, message: Value) -> Result<(), ConnectionError> {
        let mut received = BytesMut::from(message.to_string().as_bytes());
        self.session.receive(&mut received, self.now)
    }

    /// What was to be sent since the last call.
    fn sent(&mut self) -> Vec<Value> {
        let bytes = self.session.outgoing().split();
        serde_json::Deserializer::from_slice(&bytes).into_iter().map(Result::unwrap).collect()
    }

    /// Lets the time come that the session asked for.
    fn wait(&mut self) -> Result<(), ConnectionError> {
        let deadline = self.session.deadline();
        assert!(deadline > self.now, "the session must not spin");
        self.now = deadline;
        self.session.handle_timeout(self.now)
    }

    fn transact(&mut self) -> oneshot::Receiver<TransactResult> {
        let (reply, answer) = oneshot::channel();
        let operations = vec![Operation::Comment { comment: "hello".to_owned() }];
        self.session.transact(Transaction { operations, reply }, self.now).unwrap();
        answer
    }
}

#[test]
fn all_rows_are_asked_for_first_and_nothing_is_known_before_they_came() {
    let mut driven = Driven::start();
    let [monitor] = &driven.sent()[..] else { panic!("one request") };
    assert_eq!(monitor["params"][0], "Open_vSwitch");
    assert_eq!(monitor["params"][2]["Mirror"][0]["columns"][0], "name");
    assert!(driven.session.take_snapshot().is_none());
    let refused = driven.transact().try_recv().unwrap();
    assert!(matches!(refused, Err(OvsdbError::NotConnected)), "{refused:?}");

    let row = json!({"initial": {"name": "br-int"}});
    let rows = json!({"Bridge": {Uuid::max().to_string(): row}});
    driven.hear(json!({"id": 0, "result": rows, "error": null})).unwrap();
    assert!(driven.session.take_snapshot().unwrap().bridge("br-int").is_some());
    assert!(driven.session.take_snapshot().is_none(), "nothing changed since");

    let update = json!({"Bridge": {Uuid::max().to_string(): {"delete": null}}});
    driven.hear(json!({"id": null, "method": "update2", "params": [null, update]})).unwrap();
    assert_eq!(driven.session.take_snapshot().unwrap().bridges().count(), 0);
}

#[test]
fn an_echo_is_answered_word_for_word_even_before_the_first_read() {
    let mut driven = Driven::start();
    driven.sent();
    let mut received = BytesMut::from(
        &br#"{"method":"echo","params":[1.50, {"b":1,"a":2}],"id":["x", 9007199254740993]}"#[..],
    );
    driven.session.receive(&mut received, driven.now).unwrap();
    assert_eq!(
        driven.session.outgoing(),
        &br#"{"result":[1.50, {"b":1,"a":2}],"error":null,"id":["x", 9007199254740993]}"#[..]
    );
}

#[test]
fn an_unknown_request_is_answered_with_an_error() {
    let mut driven = Driven::synced();
    driven.hear(json!({"method": "steal", "params": [], "id": 7})).unwrap();
    assert_eq!(driven.sent(), [json!({"result": null, "error": "unknown method", "id": 7})]);
}

#[test]
fn a_silent_server_is_asked_and_given_up_when_it_stays_silent() {
    let mut driven = Driven::synced();
    let start = driven.now;
    driven.wait().unwrap();
    assert_eq!(driven.now - start, IDLE);
    let [probe] = &driven.sent()[..] else { panic!("one probe") };
    assert_eq!(probe["method"], "echo");
    driven.hear(json!({"id": probe["id"], "result": [], "error": null})).unwrap();

    driven.wait().unwrap();
    assert_eq!(driven.sent().len(), 1, "asked again after another while");
    let asked = driven.now;
    let error = driven.wait().unwrap_err();
    assert_eq!(driven.now - asked, ECHO_LIMIT);
    assert_eq!(error.to_string(), "the server did not answer echo within 5 s");
}

#[test]
fn a_server_that_tells_news_is_not_asked_whether_it_lives() {
    let mut driven = Driven::synced();
    for _ in 0..10 {
        driven.now += IDLE / 2;
        driven.hear(json!({"id": null, "method": "update2", "params": [null, {}]})).unwrap();
        driven.session.handle_timeout(driven.now).unwrap();
        assert!(driven.sent().is_empty());
    }
}

#[test]
fn the_first_read_has_its_time_and_no_more() {
    let mut driven = Driven::start();
    let start = driven.now;
    let error = driven.wait().unwrap_err();
    assert_eq!(driven.now - start, MONITOR_LIMIT);
    assert_eq!(error.to_string(), "the server did not answer monitor_cond within 60 s");
}

#[test]
fn a_transaction_without_an_answer_ends_the_session_and_is_told() {
    let mut driven = Driven::synced();
    let mut answer = driven.transact();
    let start = driven.now;
    let error = loop {
        if let Err(error) = driven.wait() {
            break error;
        }
        let sent = driven.sent();
        for probe in sent.iter().filter(|message| message["method"] == "echo") {
            driven.hear(json!({"id": probe["id"], "result": [], "error": null})).unwrap();
        }
    };
    assert_eq!(driven.now - start, TRANSACT_LIMIT);
    driven.session.fail(&Arc::new(error));
    let told = answer.try_recv().unwrap().unwrap_err().to_string();
    let expected = "the transaction was not answered: \
                    the server did not answer transact within 10 s";
    assert_eq!(told, expected);
}

#[test]
fn answers_find_their_transactions_in_any_order() {
    let mut driven = Driven::synced();
    let (mut first, mut second) = (driven.transact(), driven.transact());
    let [one, two] = &driven.sent()[..] else { panic!("two requests") };
    assert_eq!(one["params"], json!(["Open_vSwitch", {"op": "comment", "comment": "hello"}]));
    let failed = json!([{"error": "timed out", "details": "too late"}]);
    driven.hear(json!({"id": two["id"], "result": failed, "error": null})).unwrap();
    driven.hear(json!({"id": one["id"], "result": [{}], "error": null})).unwrap();
    assert_eq!(first.try_recv().unwrap().unwrap().len(), 1);
    let error = second.try_recv().unwrap().unwrap_err();
    assert!(
        matches!(&error, OvsdbError::Rejected(Rejection { details, .. }) if details == "too late"),
        "{error}"
    );

    let mut third = driven.transact();
    let sent = driven.sent();
    driven.hear(json!({"id": sent[0]["id"], "result": null, "error": "canceled"})).unwrap();
    let refused = third.try_recv().unwrap().unwrap_err().to_string();
    assert_eq!(refused, "transaction refused: \"canceled\"");
}

#[test]
fn an_answer_for_a_caller_who_gave_up_is_no_surprise() {
    let mut driven = Driven::synced();
    drop(driven.transact());
    let sent = driven.sent();
    driven.hear(json!({"id": sent[0]["id"], "result": [{}], "error": null})).unwrap();
}

#[test]
fn what_a_server_must_not_say_ends_the_session() {
    for (message, complaint) in [
        (json!({"id": 99, "result": {}, "error": null}), "never sent, id 99"),
        (json!({"id": "x", "result": {}, "error": null}), "never sent, id \"x\""),
        (json!({"id": 1, "result": {}, "error": null}), "transact cannot be understood"),
        (json!({"id": 1, "result": null, "error": null}), "the result is missing"),
        (json!({"method": "update2", "params": 7}), "update2 cannot be understood"),
        (json!({"method": "update2"}), "update2 cannot be understood"),
        (json!({"method": "monitor_canceled", "params": [null]}), "stopped the monitoring"),
        (json!({"method": 7}), "not a JSON-RPC message"),
        (json!({}), "neither a method nor an id"),
    ] {
        let mut driven = Driven::synced();
        let mut answer = driven.transact();
        let error = driven.hear(message).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
        driven.session.fail(&Arc::new(error));
        let told = answer.try_recv().unwrap();
        assert!(matches!(told, Err(OvsdbError::Interrupted(_))), "{told:?}");
    }
}

/// An update of a row that was never there, so that the copy can't be what the server has.
fn out_of_step() -> Value {
    let update = json!({"Bridge": {Uuid::max().to_string(): {"modify": {"name": "br0"}}}});
    json!({"id": null, "method": "update2", "params": [null, update]})
}

fn bridges(names: &[&str]) -> Value {
    let rows = names.iter().enumerate().map(|(number, name)| {
        let uuid = Uuid::from_u128(number as u128);
        (uuid.to_string(), json!({"initial": {"name": name}}))
    });
    json!({"Bridge": rows.collect::<serde_json::Map<_, _>>()})
}

#[test]
fn a_copy_that_is_out_of_step_is_read_anew_on_the_same_connection() {
    let mut driven = Driven::with_lock(Duration::ZERO);
    let sent = driven.sent();
    driven.answer(&sent[0], json!({"locked": true}));
    driven.answer(&sent[1], bridges(&["a"]));
    assert!(driven.session.take_snapshot().is_some());
    driven.hear(out_of_step()).unwrap();
    let [cancel, monitor] = &driven.sent()[..] else { panic!("two requests") };
    assert_eq!((&cancel["method"], &cancel["params"]), (&json!("monitor_cancel"), &json!([null])));
    assert_eq!(monitor["method"], "monitor_cond");
    // Until it has been carried out, the old monitor goes on.
    driven.hear(out_of_step()).unwrap();
    driven.answer(cancel, json!({}));
    assert!(driven.session.take_snapshot().is_none(), "what is known is half of it");
    driven.answer(monitor, bridges(&["a", "b"]));
    assert_eq!(driven.session.take_snapshot().unwrap().bridges().count(), 2);
    assert_eq!(driven.session.lock(), Lock::Held);

    // Who is out of step again is no server that it helps to ask.
    let error = driven.hear(out_of_step()).unwrap_err();
    assert!(error.to_string().contains("modified, never there"), "{error}");
    let mut driven = Driven::synced();
    driven.hear(out_of_step()).unwrap();
    let sent = driven.sent();
    driven.answer(&sent[0], json!({}));
    driven.answer(&sent[1], json!({}));
    driven.now += REREAD;
    driven.hear(out_of_step()).unwrap();
    assert_eq!(driven.sent().len(), 2);
}

#[test]
fn a_difference_that_can_not_be_understood_has_all_rows_read_anew_now_and_then() {
    let mut driven = Driven::synced();
    let mut start = driven.now;
    for since in [Duration::ZERO, REREAD, REREAD] {
        let rows = bridges(&["a"]);
        let uuid = Uuid::from_u128(0).to_string();
        let update = |update| json!({"id": null, "method": "update2", "params": [null, update]});
        driven.hear(update(rows.clone())).unwrap();
        for _ in 0..3 {
            let odd = json!({"Bridge": {&uuid: {"modify": {"ports": 7}}}});
            driven.hear(update(odd)).unwrap();
        }
        assert_eq!(driven.session.take_snapshot().unwrap().faults().count(), 1, "and is named");
        while driven.session.deadline() < start + since {
            driven.wait().unwrap();
            for probe in driven.sent() {
                assert_eq!(probe["method"], "echo");
                driven.answer(&probe, json!([]));
            }
        }
        driven.now = driven.now.max(driven.session.deadline());
        driven.session.handle_timeout(driven.now).unwrap();
        let sent = driven.sent();
        let methods: Vec<_> = sent.iter().map(|request| request["method"].clone()).collect();
        assert_eq!(methods, ["monitor_cancel", "monitor_cond"]);
        start = driven.now;
        driven.answer(&sent[0], json!({}));
        driven.answer(&sent[1], rows);
        assert_eq!(driven.session.take_snapshot().unwrap().faults().count(), 0);
    }
}

#[test]
fn a_refused_first_read_says_why() {
    let mut driven = Driven::start();
    let refusal = json!({"error": "unknown database", "details": "no database named Open_vSwitch"});
    let error = driven.hear(json!({"id": 0, "result": null, "error": refusal})).unwrap_err();
    assert!(error.to_string().contains("no database named Open_vSwitch"), "{error}");
}

#[test]
fn a_server_that_asks_without_reading_the_answers_is_given_up() {
    let mut driven = Driven::synced();
    let question = "?".repeat(100 << 10);
    let error = (0..100)
        .find_map(|id| driven.hear(json!({"method": "echo", "params": [question], "id": id})).err())
        .unwrap();
    assert!(matches!(error, ConnectionError::Backlog(_)), "{error}");
    assert!(driven.session.outgoing().len() < 2 * MAX_BACKLOG_BYTES);
}

#[test]
fn transactions_wait_when_too_many_are_on_their_way() {
    let mut driven = Driven::synced();
    let answers: Vec<_> = (0..MAX_PENDING).map(|_| driven.transact()).collect();
    assert!(!driven.session.accepts_transactions());
    let sent = driven.sent();
    driven.hear(json!({"id": sent[0]["id"], "result": [{}], "error": null})).unwrap();
    assert!(driven.session.accepts_transactions());
    assert_eq!(answers.len(), MAX_PENDING);
}

impl Driven {
    /// With a lock that is to be asked for after `pause`; all rows have come.
    fn with_lock(pause: Duration) -> Self {
        let now = Instant::now();
        let wish = LockWish { id: "ofmirror_br0".to_owned(), at: now + pause };
        Self { session: Session::new(Some(wish), now).unwrap(), now }
    }

    fn answer(&mut self, request: &Value, result: Value) {
        self.hear(json!({"id": request["id"], "result": result, "error": null})).unwrap();
    }

    fn notify(&mut self, method: &str, lock: &str) {
        self.hear(json!({"id": null, "method": method, "params": [lock]})).unwrap();
    }
}

#[test]
fn a_lock_is_asked_for_before_the_rows_and_had_by_the_first_answer_or_by_a_later_word() {
    let mut driven = Driven::with_lock(Duration::ZERO);
    let [lock, monitor] = &driven.sent()[..] else { panic!("two requests") };
    assert_eq!((&lock["method"], &lock["params"]), (&json!("lock"), &json!(["ofmirror_br0"])));
    assert_eq!(monitor["method"], "monitor_cond");
    assert_eq!(driven.session.lock(), Lock::Unknown);
    driven.answer(lock, json!({"locked": false}));
    assert_eq!(driven.session.lock(), Lock::Waiting);
    driven.notify("locked", "of_another");
    assert_eq!(driven.session.lock(), Lock::Waiting, "that is another lock");
    driven.notify("locked", "ofmirror_br0");
    assert_eq!(driven.session.lock(), Lock::Held);

    let mut driven = Driven::with_lock(Duration::ZERO);
    let lock = driven.sent().remove(0);
    driven.answer(&lock, json!({"locked": true}));
    assert_eq!(driven.session.lock(), Lock::Held);
}

#[test]
fn a_lock_that_is_to_be_left_to_others_first_is_asked_for_later() {
    let mut driven = Driven::with_lock(Duration::from_secs(2));
    let [monitor] = &driven.sent()[..] else { panic!("one request") };
    assert_eq!(monitor["method"], "monitor_cond");
    assert_eq!(driven.session.lock(), Lock::Waiting);
    driven.wait().unwrap();
    let [lock] = &driven.sent()[..] else { panic!("one request") };
    assert_eq!(lock["method"], "lock");
    driven.answer(lock, json!({"locked": true}));
    assert_eq!(driven.session.lock(), Lock::Held);
}

#[test]
fn a_lock_that_somebody_took_by_force_is_waited_for_again() {
    let mut driven = Driven::with_lock(Duration::ZERO);
    let lock = driven.sent().remove(0);
    driven.answer(&lock, json!({"locked": true}));
    driven.notify("stolen", "ofmirror_br0");
    assert_eq!(driven.session.lock(), Lock::Waiting);
    let [unlock, lock] = &driven.sent()[..] else { panic!("two requests") };
    assert_eq!([&unlock["method"], &lock["method"]], ["unlock", "lock"]);
    driven.answer(unlock, json!({}));
    driven.answer(lock, json!({"locked": false}));
    driven.notify("locked", "ofmirror_br0");
    assert_eq!(driven.session.lock(), Lock::Held);
}

#[test]
fn a_transaction_takes_effect_only_with_the_lock_and_its_results_are_those_of_the_caller() {
    let mut driven = Driven::with_lock(Duration::ZERO);
    let [lock, monitor] = &driven.sent()[..] else { panic!("two requests") };
    driven.answer(monitor, json!({}));
    driven.answer(lock, json!({"locked": true}));
    let mut answer = driven.transact();
    let [transact] = &driven.sent()[..] else { panic!("one request") };
    assert_eq!(transact["params"][2], json!({"op": "assert", "lock": "ofmirror_br0"}));
    driven.answer(transact, json!([{}, {}]));
    assert_eq!(answer.try_recv().unwrap().unwrap().len(), 1);

    let mut answer = driven.transact();
    let transact = driven.sent().remove(0);
    driven.answer(&transact, json!([{}, {"error": "not owner", "details": "no"}]));
    let refused = answer.try_recv().unwrap().unwrap_err().to_string();
    assert!(refused.contains("assertion of lock ofmirror_br0: somebody else holds"), "{refused}");
}

#[test]
fn a_server_that_knows_no_locks_is_no_obstacle() {
    let mut driven = Driven::with_lock(Duration::ZERO);
    let [lock, monitor] = &driven.sent()[..] else { panic!("two requests") };
    driven.answer(monitor, json!({}));
    driven.hear(json!({"id": lock["id"], "result": null, "error": "unknown method"})).unwrap();
    assert_eq!(driven.session.lock(), Lock::Held);
    driven.transact();
    assert_eq!(driven.sent()[0]["params"].as_array().unwrap().len(), 2, "no assertion");
}

#[test]
fn an_answer_that_does_not_tell_whether_the_lock_is_ours_ends_the_connection() {
    for result in [json!(null), json!({}), json!({"locked": "yes"}), json!(7)] {
        let mut driven = Driven::with_lock(Duration::ZERO);
        let lock = driven.sent().remove(0);
        let answer = json!({"id": lock["id"], "result": result, "error": null});
        let error = driven.hear(answer).unwrap_err();
        assert!(matches!(error, ConnectionError::Contents { what: "lock", .. }), "{error}");
    }
}
