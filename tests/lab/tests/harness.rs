//! The lab proves itself: the design's flows, put in by `ovs-ofctl`, keep the promise of one copy for each distinct
//! frame, and the lab finds out when they do not.

mod stand_in;

use lab::{Difference, EVERYONE, Node, Result};
use stand_in::Variant;

/// All traffic that the lab knows must be copied exactly.
fn assert_exact_copies_of(mirrored: &[&str]) -> Result {
    let node = stand_in::start(mirrored, Variant::Whole)?;
    let capture = node.capture(mirrored)?;
    node.say_everything()?;
    node.let_ovn_speak(&capture)?;
    capture.finish()?.assert_exact();
    Ok(())
}

/// What the lab finds wrong with worse flows when all Pods are mirrored.
fn differences(
    variant: Variant,
    traffic: impl FnOnce(&Node, &lab::Capture<'_>) -> Result,
) -> Result<Vec<Difference>> {
    let node = stand_in::start(&EVERYONE, variant)?;
    let capture = node.capture(&EVERYONE)?;
    traffic(&node, &capture)?;
    Ok(capture.finish()?.differences())
}

#[test]
fn every_distinct_frame_of_every_pod_is_copied_exactly_once() -> Result {
    assert_exact_copies_of(&EVERYONE)
}

#[test]
fn only_the_frames_of_the_mirrored_pods_are_copied() -> Result {
    assert_exact_copies_of(&["b", "d"])
}

#[test]
fn what_is_sent_to_many_of_which_the_sender_is_not_mirrored_is_copied_once() -> Result {
    assert_exact_copies_of(&["a", "e"])
}

#[test]
fn frames_that_were_rewritten_in_place_are_missed_without_the_flows_for_them() -> Result {
    for index in 0..stand_in::REWRITTEN.len() {
        let found = differences(Variant::Without(index), |node, _| node.say_everything())?;
        let kind = stand_in::REWRITTEN[index];
        assert!(!found.is_empty(), "nothing is missing without the flow for {kind}");
        assert!(found.iter().all(|frame| frame.copies < frame.transmissions), "{kind}: {found:?}");
    }
    Ok(())
}

#[test]
fn frames_between_mirrored_pods_are_found_twice_when_delivery_forgets_the_first_copy() -> Result {
    let found = differences(Variant::Forgetful, |node, _| node.pod("a").ping(node.pod("b").ip4()))?;
    assert!(!found.is_empty());
    assert!(found.iter().all(|frame| frame.copies == frame.transmissions + 1), "{found:?}");
    Ok(())
}

#[test]
fn what_ovn_sends_to_many_is_found_several_times_when_each_receiver_counts() -> Result {
    let found = differences(Variant::EachReceiver, Node::let_ovn_speak)?;
    assert_eq!(found.len(), 3, "ARP, neighbour solicitation, router advertisement: {found:?}");
    assert!(found.iter().all(|frame| frame.copies == 3 * frame.transmissions), "{found:?}");
    Ok(())
}
