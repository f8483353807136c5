//! What is copied: each distinct frame of a mirrored Pod, once, byte for byte; and Pods notice nothing of it.

use lab::{MIRROR, Node, Result, surplus};

const EVERYONE: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn every_distinct_frame_of_every_pod_is_copied_exactly_once() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    node.let_ovn_speak(&capture)?;
    node.play_script()?;
    let recording = capture.finish()?;
    recording.assert_exact();
    recording.assert_covers_every_kind();
    agent.stop()
}

#[test]
fn pods_receive_exactly_what_they_receive_without_an_agent() -> Result {
    let without = Node::start()?.play_script()?;
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let with = node.play_script()?;
    agent.stop()?;
    for (pod, frames) in &without {
        assert!(frames.len() > 5, "{pod} hardly received anything");
        assert_eq!(surplus(frames, &with[pod])?, [""; 0], "{pod} lacks these");
        assert_eq!(surplus(&with[pod], frames)?, [""; 0], "{pod} has more of these");
    }
    Ok(())
}

#[test]
fn the_flows_counters_agree_with_the_wires_and_with_the_copies() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let before = node.counters()?;
    node.say_everything()?;
    let counted = node.counters()?.since(&before);
    assert_eq!(counted.copied(), counted.copies);
    assert_eq!(counted.from_pod, counted.sent, "what Pods send is copied when they send it");
    for (pod, delivered) in &counted.to_pod {
        // The rest was copied when another Pod sent it, or on its delivery to another receiver.
        assert!((1..counted.received[pod]).contains(delivered), "{pod}: {counted:?}");
    }
    assert!(counted.rewritten > 0, "nothing was rewritten in place");
    agent.stop()
}

#[test]
fn nothing_enters_the_bridge_by_the_mirror_port() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let before = node.counters()?;
    let capture = node.watch_wires(&EVERYONE)?;
    let intruder =
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[0x88, 0xb5], b"let me in", &[0; 50]].concat();
    for _ in 0..10 {
        node.namespace().inject(MIRROR, &intruder)?;
    }
    lab::until("the flow that guards the mirror port to count", || {
        Ok((node.counters()?.since(&before).guarded == 10).then_some(()))
    })?;
    for (pod, frames) in capture.finish()?.pods {
        assert!(frames.received.iter().all(|frame| frame.bytes != intruder), "{pod} got it");
    }
    agent.stop()
}
