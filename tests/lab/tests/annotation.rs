//! Only annotated Pods are mirrored, from the moment of their annotation to that of its end.

use std::collections::BTreeSet;

use lab::{Agent, Frame, Node, Proto, Recording, Result, line_of, until};

/// Flags of TCP (RFC 9293, section 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// Waits until this many flows of ours are wanted, and in the switch.
fn await_flows(node: &Node, agent: &Agent<'_>, flows: usize) -> Result {
    until(&format!("{flows} flows"), || {
        agent.alive()?;
        let told = agent.metric("ofmirror_flows_installed")? == flows as f64;
        Ok((told && node.our_flows()?.len() == flows).then_some(()))
    })
}

/// The flows that one mirrored Pod needs: the guard, one for each direction, four for frames rewritten in place.
const ONE_POD: usize = 7;
/// Those that stay without any: the guard.
const NO_POD: usize = 1;

#[test]
fn only_the_frames_of_annotated_pods_are_copied() -> Result {
    let node = Node::start()?;
    node.annotate("b")?;
    let agent = node.agent(&[])?;
    // Another while the agent runs.
    node.annotate("d")?;
    await_flows(&node, &agent, ONE_POD + 2)?;
    let capture = node.capture(&["b", "d"])?;
    node.say_everything()?;
    node.let_ovn_speak(&capture)?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn an_annotated_pod_is_copied_in_both_directions_and_counted_so() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let before = node.counters()?;
    node.say_everything()?;
    let counted = node.counters()?.since(&before);
    assert!(counted.sent["a"] > 0 && counted.received["a"] > 0, "{counted:?}");
    assert_eq!(counted.from_pod, [("a".to_owned(), counted.sent["a"])].into());
    assert_eq!(counted.to_pod, [("a".to_owned(), counted.received["a"])].into());
    assert_eq!(counted.copies, counted.sent["a"] + counted.received["a"]);
    agent.stop()
}

#[test]
fn nothing_is_copied_without_an_annotation_that_says_true() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    let other = r#"external_ids:"ovn.kubernetes.io/mirror"="false""#;
    node.vsctl(["set", "Interface", node.pod("a").interface(), other])?;
    let before = node.counters()?;
    node.say_everything()?;
    assert_eq!(node.counters()?.since(&before).copies, 0);
    assert_eq!(node.our_flows()?.len(), NO_POD, "{:?}", node.our_flows()?);
    agent.stop()
}

#[test]
fn an_annotation_starts_and_ends_copies_within_a_running_connection() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    let [client, server] = ["a", "b"].map(|name| node.pod(name));
    let _server = server.serve(Proto::Tcp, 8080)?;
    let capture = node.watch(&["a", "b"])?;
    let mut conversation = client.converse(server.ip4(), 8080)?;

    conversation.say(50)?;
    node.annotate("b")?;
    // Lines are said all the time, so the beginning falls between two of them, or into one.
    until("a copy", || {
        conversation.say(1)?;
        Ok((!capture.copies()?.is_empty()).then_some(()))
    })?;
    await_flows(&node, &agent, ONE_POD)?;
    node.revalidate()?;
    let begin = conversation.lines();
    conversation.say(200)?;
    let end = conversation.lines();
    node.unannotate("b")?;
    until("our flows to go", || {
        conversation.say(1)?;
        Ok((node.our_flows()?.len() == NO_POD).then_some(()))
    })?;
    node.revalidate()?;
    let gone = conversation.lines();
    conversation.say(50)?;
    let last = conversation.lines();
    conversation.end()?;
    until("the end of the connection to be past", || {
        let [a_sent, b_sent] = [capture.sent("a")?, capture.sent("b")?];
        let [a_received, b_received] = [capture.received("a")?, capture.received("b")?];
        let agree = tcp(&a_sent).eq(tcp(&b_received)) && tcp(&b_sent).eq(tcp(&a_received));
        // The last frame is a's acknowledgement of b's end.
        let ends = tcp(&b_sent).filter(|frame| frame[47] & FIN != 0);
        let acknowledgements: BTreeSet<_> =
            tcp(&b_received).map(|frame| number(frame, 42)).collect();
        let heard = ends
            .map(|end| number(end, 38).wrapping_add(1))
            .any(|next| acknowledgements.contains(&next));
        Ok((agree && heard).then_some(()))
    })?;
    let recording = capture.finish()?;

    assert_whole(&recording, last);
    let copied = lines(&recording.mirror);
    for (direction, wire) in
        [("to b", &recording.pods["b"].received), ("from b", &recording.pods["b"].sent)]
    {
        let copied = runs(wire, &recording.mirror);
        assert_eq!(copied.len(), 1, "{direction}: copies have gaps: {copied:?}");
        let (first, last) = copied[0];
        let whole = tcp(wire).count();
        assert!(first > 0 && last < whole - 1, "{direction}: {first} to {last} of {whole}");
    }
    assert!(copied.is_superset(&(begin..end).collect()), "{begin}..{end}: {copied:?}");
    assert!(copied.is_disjoint(&(0..50).collect()), "copies before the annotation: {copied:?}");
    assert!(copied.is_disjoint(&(gone..last).collect()), "copies after its end: {copied:?}");
    agent.stop()
}

/// The conversation was one connection, in which each frame arrived once.
fn assert_whole(recording: &Recording, said: u32) {
    let [a, b] = ["a", "b"].map(|name| &recording.pods[name]);
    let with = |frames: &[Frame], flag| {
        tcp(frames)
            .filter(|frame| frame[47] & flag != 0)
            .map(<[u8]>::to_vec)
            .collect::<BTreeSet<_>>()
    };
    for (sent, received) in [(&a.sent, &b.received), (&b.sent, &a.received)] {
        assert!(tcp(sent).eq(tcp(received)), "frames were lost, doubled or changed on their way");
        assert_eq!(with(sent, SYN).len(), 1, "there were more connections than one");
        assert_eq!(with(sent, RST).len(), 0, "the connection was reset");
        assert_eq!(lines(received), (0..said).collect(), "lines are missing");
    }
}

fn tcp(frames: &[Frame]) -> impl Iterator<Item = &[u8]> {
    let frames = frames.iter().map(|frame| frame.bytes.as_slice());
    frames.filter(|bytes| bytes[12..14] == [0x08, 0x00] && bytes[23] == 6)
}

/// Sequence numbers of TCP are at 38 in an Ethernet frame without options of IPv4, acknowledgement numbers at 42.
fn number(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
}

fn lines(frames: &[Frame]) -> BTreeSet<u32> {
    frames.iter().filter_map(|frame| line_of(&frame.bytes)).collect()
}

/// The first and last of each run of TCP frames on a wire that were copied without a gap.
fn runs(wire: &[Frame], copies: &[Frame]) -> Vec<(usize, usize)> {
    let copies: Vec<_> = tcp(copies).collect();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, frame) in tcp(wire).enumerate() {
        if copies.iter().filter(|copy| **copy == frame).count() != 1 {
            assert!(!copies.contains(&frame), "frame {at} was copied more than once");
            continue;
        }
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => runs.push((at, at)),
        }
    }
    runs
}
