//! The lab proves itself: the design's flows, put in by `ovs-ofctl`, keep the promise of one copy for each distinct
//! frame, and the lab finds out when they do not.

mod stand_in;

use lab::{Node, Result};

const EVERYONE: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn every_distinct_frame_of_every_pod_is_copied_exactly_once() -> Result {
    let node = Node::start()?;
    stand_in::add_mirror_port(&node)?;
    stand_in::mirror(&node, &EVERYONE)?;

    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    Ok(())
}

#[test]
fn only_the_frames_of_the_mirrored_pods_are_copied() -> Result {
    let node = Node::start()?;
    stand_in::add_mirror_port(&node)?;
    stand_in::mirror(&node, &["b", "d"])?;

    let capture = node.capture(&["b", "d"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    Ok(())
}
