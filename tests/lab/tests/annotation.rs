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

/// What a Pod is called in the log, by what `/status` says of the only one that is to be mirrored.
fn name_of_only(agent: &Agent<'_>) -> Result<String> {
    let status = agent.status()?;
    let tap = &status["taps"][0];
    let pod = tap["pod"].as_str().unwrap_or_default();
    Ok(tap["namespace"].as_str().map_or_else(|| pod.to_owned(), |space| format!("{space}/{pod}")))
}

fn await_log(agent: &Agent<'_>, text: &str) -> Result {
    until(&format!("the log to have {text:?}"), || {
        Ok(agent.log()?.lines().any(|line| line.contains(text)).then_some(()))
    })
    .map_err(|error| error.context(agent.log().unwrap_or_default()))
}

#[test]
fn the_log_names_each_pod_that_comes_and_goes_and_says_why() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    node.annotate("a")?;
    await_flows(&node, &agent, ONE_POD)?;
    let name = name_of_only(&agent)?;
    await_log(&agent, &format!(" mirroring {name} to mirror0"))?;
    node.unannotate("a")?;
    await_log(
        &agent,
        &format!("no longer mirroring {name} to mirror0: nobody asks for it any more"),
    )?;
    node.annotate("a")?;
    until("the log to name the Pod again", || {
        let named = agent.log()?.matches(&format!(" mirroring {name} to mirror0\n")).count();
        // The line of its end has the words, too, and then a reason.
        Ok((named == 2).then_some(()))
    })?;
    node.vsctl(["del-port", "br-int", node.pod("a").interface()])?;
    await_log(
        &agent,
        &format!("no longer mirroring {name} to mirror0: it has no port on the bridge"),
    )?;
    agent.stop()
}

#[test]
fn an_annotation_that_is_neither_true_nor_false_is_logged_and_told() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&[])?;
    let interface = node.pod("a").interface().to_owned();
    let value = "external_ids:ovn.kubernetes.io/mirror=yes";
    node.vsctl(["set", "interface", &interface, value])?;
    let told = format!(
        "ovn.kubernetes.io/mirror=\"yes\" in external_ids of {interface} is neither true nor false"
    );
    await_log(&agent, &told)?;
    let remarks = agent.status()?["remarks"].to_string();
    assert!(remarks.contains("is neither true nor false"), "{remarks}");
    assert!(agent.is_ready()?);
    node.annotate("a")?;
    await_log(&agent, "no longer: ")?;
    agent.stop()
}

/// A Mirror record of OVSDB that copies everything to the mirror NIC, too.
const RECORD: &str = "-- --id=@out get port mirror0 -- --id=@m create mirror name=m0 select_all=true output_port=@out \
     -- set bridge br-int mirrors=@m";

#[test]
fn while_a_mirror_record_suspends_mirroring_nothing_is_shown_as_mirrored() -> Result {
    let node = Node::start()?;
    node.annotate("a")?;
    let agent = node.agent(&[])?;
    let name = name_of_only(&agent)?;
    let pods = || -> Result<[Option<u64>; 2]> {
        let status = agent.status()?;
        Ok(["pods_wanted", "pods_mirrored"].map(|field| status[field].as_u64()))
    };
    assert_eq!(pods()?, [Some(1), Some(1)]);
    await_log(&agent, &format!(" mirroring {name} to mirror0"))?;
    node.vsctl(RECORD.split_whitespace())?;
    until("nothing to be mirrored", || Ok((pods()? == [Some(1), Some(0)]).then_some(())))?;
    assert!(agent.status()?["suspended"].to_string().contains("m0"), "{}", agent.status()?);
    assert_eq!(agent.metric("ofmirror_pods_wanted")?, 1.0);
    assert_eq!(agent.metric("ofmirror_pods_mirrored")?, 0.0);
    await_log(&agent, &format!("no longer mirroring {name} to mirror0: Mirror record \"m0\""))?;
    node.vsctl(["clear", "bridge", "br-int", "mirrors"])?;
    until("the Pod to be mirrored", || Ok((pods()? == [Some(1), Some(1)]).then_some(())))?;
    agent.stop()
}
