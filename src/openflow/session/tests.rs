use bytes::{Bytes, BytesMut};
use flows::{
    model::{Flow, FlowKey, Instruction, Match, TableId},
    ofp::{FlowFilter, numbers::message_type},
};

use super::*;

/// The other side's features, of which only the first is looked at.
const FEATURES: Features = Features {
    datapath_id: 0x2a,
    buffers: 0,
    tables: 254,
    auxiliary_id: 0,
    capabilities: 0,
    reserved: 0,
};
/// What a switch says to a bad port in a flow.
const BAD_OUT_PORT: (u16, u16) = (2, 4);

/// A session, the time, and what the switch has got of it.
struct Talk {
    session: Session<char>,
    now: Instant,
}

impl Talk {
    fn new() -> Self {
        let now = Instant::now();
        let mut talk = Self { session: Session::new(now), now };
        let hello = talk.sent();
        assert_eq!(hello, [(1, Message::Hello { versions: Some(Versions::OURS) })]);
        talk
    }

    /// A session after the handshake.
    fn up() -> Self {
        let mut talk = Self::new();
        let versions = Some(Versions(1 << 1 | 1 << 6));
        assert!(talk.hear(9, Message::Hello { versions }).is_none());
        assert_eq!(talk.sent(), [(2, Message::FeaturesRequest)]);
        let up = talk.hear(2, Message::FeaturesReply(FEATURES));
        assert!(matches!(up, Some(Event::Up(features)) if features == FEATURES));
        talk
    }

    /// All that was put on the wire since.
    fn sent(&mut self) -> Vec<(u32, Message)> {
        std::iter::from_fn(|| self.session.poll_transmit()).collect()
    }

    fn try_hear(
        &mut self,
        version: u8,
        xid: u32,
        message: &Message,
    ) -> Result<Option<Event<char>>, SessionError> {
        let mut body = BytesMut::new();
        message.encode(xid, &mut body).unwrap();
        let frame = Frame { version, type_code: message.type_code(), xid, body: body.freeze() };
        self.session.handle_frame(&frame, self.now)
    }

    fn hear(&mut self, xid: u32, message: Message) -> Option<Event<char>> {
        self.try_hear(VERSION, xid, &message).unwrap()
    }

    fn hear_error(&mut self, xid: u32) -> Option<Event<char>> {
        let (kind, code) = BAD_OUT_PORT;
        let data = Bytes::from_static(b"the request");
        self.hear(xid, Message::Error(OfpError { kind, code, experimenter: 0, data }))
    }

    /// Asks for all flows; gives the request's xid.
    fn ask(&mut self, tag: char) -> u32 {
        self.session.ask(tag, MultipartRequest::FlowDesc(FlowFilter::default()), self.now);
        self.sent()[0].0
    }

    /// Sends a bundle of so many changes; gives the xids of open, changes and commit.
    fn commit(&mut self, tag: char, changes: u16) -> Vec<u32> {
        assert!(self.session.commit(tag, (0..changes).map(change), self.now));
        self.sent().into_iter().map(|(xid, _)| xid).collect()
    }

    fn hear_committed(&mut self) -> Option<Event<char>> {
        let command = BundleCommand::CommitReply;
        self.hear(77, Message::BundleControl { bundle_id: 1, command, flags: bundle_flags() })
    }

    fn pass(&mut self, time: Duration) -> Result<(), SessionError> {
        self.now += time;
        self.session.handle_timeout(self.now)
    }
}

fn change(priority: u16) -> FlowMod {
    let key = FlowKey { table: TableId(0), priority, matching: Match::default() };
    let cookie = flows::model::Cookie(0);
    FlowMod::add(Flow { key, cookie, instructions: Instruction::apply(vec![]) })
}

fn part(more: bool) -> Message {
    Message::MultipartReply { more, body: MultipartReply::FlowDesc(vec![]) }
}

#[test]
fn the_handshake_ends_with_the_switchs_features() {
    Talk::up();
}

#[test]
fn a_switch_that_only_speaks_older_versions_is_named_by_them() {
    let cases = [
        (1, None, "OpenFlow 1.0"),
        (4, None, "OpenFlow 1.0, 1.1, 1.2, 1.3"),
        // Highest in the header, but with a gap that only the bitmap tells of.
        (7, Some(Versions(1 << 1 | 1 << 7)), "OpenFlow 1.0, version 0x07"),
    ];
    for (version, versions, words) in cases {
        let error = Talk::new().try_hear(version, 1, &Message::Hello { versions }).unwrap_err();
        assert!(matches!(&error, SessionError::Version(theirs) if theirs == words), "{error}");
        assert!(error.to_string().contains("`protocols`"), "{error}");
    }
}

#[test]
fn a_hello_without_a_bitmap_stands_for_its_version_and_all_below() {
    for version in [6, 7, 255] {
        let mut talk = Talk::new();
        talk.try_hear(version, 1, &Message::Hello { versions: None }).unwrap();
        assert_eq!(talk.sent(), [(2, Message::FeaturesRequest)]);
    }
}

#[test]
fn a_message_of_another_version_after_the_handshake_ends_the_session() {
    let error = Talk::up().try_hear(4, 1, &Message::BarrierReply).unwrap_err();
    assert!(matches!(error, SessionError::StrayVersion(4)), "{error}");
}

#[test]
fn a_handshake_that_is_refused_or_begins_with_something_else_ends_the_session() {
    let refused = Message::Error(OfpError {
        kind: 0,
        code: 0,
        experimenter: 0,
        data: Bytes::from_static(b"no"),
    });
    let mut talk = Talk::new();
    let error = talk.try_hear(VERSION, 1, &refused).unwrap_err();
    assert!(error.to_string().contains("OFPHFC_INCOMPATIBLE"), "{error}");
    let error = Talk::new().try_hear(VERSION, 1, &Message::BarrierReply).unwrap_err();
    assert!(matches!(error, SessionError::NoHandshake), "{error}");
}

#[test]
fn an_answer_finds_its_question_whatever_the_order() {
    let mut talk = Talk::up();
    let (first, second) = (talk.ask('a'), talk.ask('b'));
    let answer = talk.hear(second, part(false));
    assert!(matches!(answer, Some(Event::Part { tag: 'b', more: false, .. })), "{answer:?}");
    for more in [true, true, false] {
        let answer = talk.hear(first, part(more));
        assert!(matches!(answer, Some(Event::Part { tag: 'a', more: m, .. }) if m == more));
    }
    // Now it is answered, and nothing more belongs to it.
    assert!(talk.hear(first, part(false)).is_none());
}

#[test]
fn an_error_finds_its_question() {
    let mut talk = Talk::up();
    let (first, second) = (talk.ask('a'), talk.ask('b'));
    let answer = talk.hear_error(first);
    let Some(Event::Refused { tag: 'a', error }) = answer else { panic!("{answer:?}") };
    assert!(error.to_string().contains("OFPBAC_BAD_OUT_PORT"), "{error}");
    assert!(matches!(talk.hear(second, part(false)), Some(Event::Part { tag: 'b', .. })));
}

#[test]
fn an_answer_that_cannot_be_read_is_a_refusal_of_its_question_only() {
    let mut talk = Talk::up();
    let (first, second) = (talk.ask('a'), talk.ask('b'));
    let broken = Message::Raw { type_code: message_type::MULTIPART_REPLY, body: vec![0; 3].into() };
    let answer = talk.hear(first, broken);
    let Some(Event::Refused { tag: 'a', error: RequestError::Decode(_) }) = answer else {
        panic!("{answer:?}")
    };
    assert!(matches!(talk.hear(second, part(false)), Some(Event::Part { tag: 'b', .. })));
}

#[test]
fn an_error_of_no_known_request_is_told_and_does_no_harm() {
    let mut talk = Talk::up();
    let question = talk.ask('a');
    let bundle = talk.commit('b', 2);
    for xid in [0, 1, question - 1, bundle[0] - 1, bundle[3] + 1, u32::MAX] {
        if xid != question {
            let event = talk.hear_error(xid);
            assert!(matches!(event, Some(Event::Stray(_))), "{xid}: {event:?}");
        }
    }
    assert!(matches!(talk.hear(question, part(false)), Some(Event::Part { tag: 'a', .. })));
    assert!(matches!(talk.hear_committed(), Some(Event::Bundle { tag: 'b', outcome: Ok(()), .. })));
}

#[test]
fn a_bundle_opens_takes_its_changes_in_order_and_commits() {
    let mut talk = Talk::up();
    assert!(talk.session.commit('b', (0..3).map(change), talk.now));
    let sent: Vec<_> = talk.sent().into_iter().map(|(_, message)| message).collect();
    let flags = bundle_flags();
    let control = |command| Message::BundleControl { bundle_id: 1, command, flags };
    let add = |priority| Message::BundleAdd {
        bundle_id: 1,
        flags,
        message: Box::new(Message::FlowMod(change(priority))),
    };
    let (open, commit) = (BundleCommand::OpenRequest, BundleCommand::CommitRequest);
    assert_eq!(sent, [control(open), add(0), add(1), add(2), control(commit)]);
}

#[test]
fn an_error_in_a_bundle_names_the_change_that_caused_it() {
    let mut talk = Talk::up();
    let bundle = talk.commit('b', 3);
    assert!(talk.hear_error(bundle[1]).is_none());
    assert!(talk.hear_error(bundle[3]).is_none());
    // The switch took the commit all the same.
    let event = talk.hear_committed();
    let Some(Event::Bundle { tag: 'b', outcome: Ok(()), refused }) = event else {
        panic!("{event:?}")
    };
    let places: Vec<_> = refused.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [0, 2]);
}

#[test]
fn a_commit_that_is_refused_ends_the_bundle_with_the_changes_that_were_refused() {
    let mut talk = Talk::up();
    let bundle = talk.commit('b', 2);
    assert!(talk.hear_error(bundle[2]).is_none());
    let event = talk.hear_error(bundle[3]);
    let Some(Event::Bundle { tag: 'b', outcome: Err(_), refused }) = event else {
        panic!("{event:?}")
    };
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, 1);
    talk.commit('c', 1);
}

#[test]
fn a_second_bundle_waits_for_the_first() {
    let mut talk = Talk::up();
    talk.commit('b', 1);
    assert!(!talk.session.commit('c', [change(1)], talk.now));
    assert!(talk.sent().is_empty());
    talk.hear_committed();
    talk.commit('c', 1);
    assert!(matches!(talk.hear_committed(), Some(Event::Bundle { tag: 'c', .. })));
}

#[test]
fn an_echo_is_answered_with_what_it_bore() {
    let mut talk = Talk::up();
    let data = Bytes::from_static(b"alive?");
    assert!(talk.hear(5, Message::EchoRequest(data.clone())).is_none());
    assert_eq!(talk.sent(), [(5, Message::EchoReply(data))]);
}

#[test]
fn a_switch_that_asks_for_echoes_and_never_reads_them_fills_no_memory() {
    let mut talk = Talk::up();
    for xid in 0..100_000 {
        talk.hear(xid, Message::EchoRequest(Bytes::from_static(&[0; 1000])));
    }
    assert_eq!(talk.sent().len(), ECHO_REPLIES);
    // It reads again, and is answered again.
    talk.hear(7, Message::EchoRequest(Bytes::new()));
    assert_eq!(talk.sent(), [(7, Message::EchoReply(Bytes::new()))]);
}

#[test]
fn a_silent_switch_is_asked_for_a_sign_of_life_and_in_the_end_given_up() {
    let mut talk = Talk::up();
    assert_eq!(talk.session.poll_timeout(), talk.now + IDLE);
    talk.pass(IDLE - Duration::from_millis(1)).unwrap();
    assert!(talk.sent().is_empty());
    talk.pass(Duration::from_millis(1)).unwrap();
    let asked = talk.sent();
    assert!(matches!(asked[..], [(_, Message::EchoRequest(_))]), "{asked:?}");
    assert!(!talk.session.is_stalled(talk.now));
    talk.pass(ECHO).unwrap();
    assert!(talk.session.is_stalled(talk.now), "that is told, and no more");
    assert_eq!(talk.sent(), [], "one question is enough");
    assert_eq!(talk.session.poll_timeout(), talk.now - ECHO - IDLE + DEAD);
    assert!(matches!(talk.pass(DEAD - ECHO - IDLE), Err(SessionError::Silent)));
}

#[test]
fn a_switch_that_was_stalled_gets_as_much_time_to_answer_as_any_other() {
    let mut talk = Talk::up();
    let question = talk.ask('a');
    talk.pass(IDLE).unwrap();
    talk.pass(ANSWER).unwrap();
    assert!(talk.session.is_stalled(talk.now));
    talk.hear(0, Message::EchoReply(Bytes::new()));
    assert!(!talk.session.is_stalled(talk.now));
    assert_eq!(talk.session.poll_timeout(), talk.now + IDLE, "it is not overdue");
    talk.now += ANSWER / 2;
    talk.hear(0, Message::EchoReply(Bytes::new()));
    talk.now += ANSWER / 2;
    assert!(matches!(talk.pass(Duration::ZERO), Err(SessionError::Unanswered)));
    assert!(talk.hear(question, part(false)).is_some(), "it was the question that was awaited");
}

#[test]
fn a_switch_that_stalls_again_and_again_and_answers_nothing_is_given_up() {
    let mut talk = Talk::up();
    talk.ask('a');
    let asked = talk.now;
    let error = loop {
        assert!(talk.now < asked + 2 * DEAD + ANSWER, "it gets time for ever");
        talk.pass(IDLE).unwrap();
        talk.pass(ECHO).unwrap();
        talk.hear(0, Message::EchoReply(Bytes::new()));
        if let Err(error) = talk.pass(Duration::ZERO) {
            break error;
        }
    };
    assert!(matches!(error, SessionError::Unanswered), "{error}");
}

#[test]
fn any_message_is_a_sign_of_life() {
    let mut talk = Talk::up();
    for _ in 0..3 {
        talk.pass(IDLE).unwrap();
        assert_eq!(talk.sent().len(), 1);
        talk.hear(1, Message::EchoReply(Bytes::new()));
        assert_eq!(talk.session.poll_timeout(), talk.now + IDLE);
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up_at_either_step() {
    let mut talk = Talk::new();
    assert_eq!(talk.session.poll_timeout(), talk.now + HANDSHAKE);
    assert!(matches!(talk.pass(HANDSHAKE), Err(SessionError::NoHandshake)));
    let mut talk = Talk::new();
    talk.hear(1, Message::Hello { versions: Some(Versions::OURS) });
    // Hello alone gives no further time.
    assert!(matches!(talk.pass(HANDSHAKE), Err(SessionError::NoHandshake)));
}

#[test]
fn a_request_without_an_answer_is_given_up_although_the_switch_is_alive() {
    for is_bundle in [false, true] {
        let mut talk = Talk::up();
        if is_bundle {
            talk.commit('b', 1);
        } else {
            talk.ask('a');
        }
        let asked = talk.now;
        while talk.now + IDLE < asked + ANSWER {
            talk.pass(IDLE).unwrap();
            talk.hear(0, Message::EchoReply(Bytes::new()));
        }
        assert_eq!(talk.session.poll_timeout(), asked + ANSWER);
        assert!(matches!(talk.pass(IDLE), Err(SessionError::Unanswered)));
    }
}

#[test]
fn each_part_of_an_answer_gives_the_next_one_time() {
    let mut talk = Talk::up();
    let question = talk.ask('a');
    for _ in 0..10 {
        talk.now += ANSWER / 2;
        talk.hear(question, part(true));
    }
    assert_eq!(talk.session.poll_timeout(), talk.now + IDLE);
    talk.hear(question, part(false));
    talk.pass(ANSWER * 2).unwrap();
}
