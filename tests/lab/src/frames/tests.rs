use std::time::Duration;

use super::*;

/// A UDP packet of IPv4 in an Ethernet frame; `tag` is the last byte of its payload.
fn bytes(tag: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    bytes.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 16, 0, 11, 10, 16, 0, 12]);
    bytes.extend([0x30, 0x39, 0, 53, 0, 12, 0, 0, 0, 0, 0, tag]);
    bytes
}

/// Frames at second 5, the middle of the window.
fn frames(tags: &[u8]) -> Vec<Frame> {
    frames_at(5, tags)
}

fn frames_at(second: u64, tags: &[u8]) -> Vec<Frame> {
    tags.iter().map(|tag| Frame { at: Duration::from_secs(second), bytes: bytes(*tag) }).collect()
}

/// Pods as name, switch, what it sent, what it received; then the copies.
fn recording(pods: &[(&str, &str, &[u8], &[u8])], mirror: &[u8]) -> Recording {
    let pods = pods.iter().map(|(name, switch, sent, received)| {
        let (sent, received) = (frames(sent), frames(received));
        ((*name).to_owned(), PodFrames { switch: (*switch).to_owned(), sent, received })
    });
    let window = Duration::from_secs(1)..=Duration::from_secs(9);
    Recording { pods: pods.collect(), mirror: frames(mirror), window }
}

/// Tag, transmissions and copies of each difference.
fn wrong(recording: &Recording) -> Vec<(u8, usize, usize)> {
    let differences = recording.differences();
    differences.iter().map(|d| (d.bytes[d.bytes.len() - 1], d.transmissions, d.copies)).collect()
}

#[test]
fn a_frame_between_two_mirrored_pods_needs_one_copy() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] = [("a", "sw1", &[1], &[]), ("b", "sw1", &[], &[1])];
    assert_eq!(wrong(&recording(&wires, &[1])), []);
    assert_eq!(wrong(&recording(&wires, &[1, 1])), [(1, 1, 2)]);
    assert_eq!(wrong(&recording(&wires, &[])), [(1, 1, 0)]);
}

#[test]
fn a_broadcast_needs_one_copy_whoever_receives_it() {
    let wires: [(&str, &str, &[u8], &[u8]); 3] =
        [("a", "sw1", &[1], &[]), ("b", "sw1", &[], &[1]), ("e", "sw1", &[], &[1])];
    assert_eq!(wrong(&recording(&wires, &[1])), []);
    assert_eq!(wrong(&recording(&wires[1..], &[1])), [], "the sender need not be mirrored");
    assert_eq!(wrong(&recording(&wires[1..], &[1, 1])), [(1, 1, 2)]);
}

#[test]
fn the_same_bytes_sent_again_need_another_copy() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] =
        [("a", "sw1", &[1, 1], &[]), ("b", "sw1", &[], &[1, 1])];
    assert_eq!(wrong(&recording(&wires, &[1, 1])), []);
    assert_eq!(wrong(&recording(&wires, &[1])), [(1, 2, 1)]);
}

#[test]
fn a_frame_that_is_dropped_on_its_way_was_sent_nevertheless() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] =
        [("a", "sw1", &[1, 1, 1], &[]), ("b", "sw1", &[], &[1])];
    assert_eq!(wrong(&recording(&wires, &[1, 1, 1])), []);
}

#[test]
fn a_routed_frame_needs_a_copy_of_each_form() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] = [("a", "sw1", &[1], &[]), ("c", "sw2", &[], &[2])];
    assert_eq!(wrong(&recording(&wires, &[1, 2])), []);
    assert_eq!(wrong(&recording(&wires, &[1])), [(2, 1, 0)]);
}

#[test]
fn the_same_bytes_on_two_switches_are_two_transmissions() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] = [("a", "sw1", &[], &[1]), ("c", "sw2", &[], &[1])];
    assert_eq!(wrong(&recording(&wires, &[1, 1])), []);
    assert_eq!(wrong(&recording(&wires, &[1])), [(1, 2, 1)]);
}

#[test]
fn a_flipped_byte_is_a_missing_frame_and_one_from_nowhere() {
    let wires: [(&str, &str, &[u8], &[u8]); 1] = [("a", "sw1", &[1, 2], &[])];
    assert_eq!(wrong(&recording(&wires, &[1, 3])), [(2, 1, 0), (3, 0, 1)]);
}

#[test]
fn the_frames_of_a_pod_that_is_not_mirrored_are_from_nowhere() {
    let wires: [(&str, &str, &[u8], &[u8]); 1] = [("a", "sw1", &[1], &[])];
    assert_eq!(wrong(&recording(&wires, &[1, 7])), [(7, 0, 1)]);
}

#[test]
fn frames_beyond_the_window_need_no_copy_but_may_have_one() {
    let mut recording = recording(&[("a", "sw1", &[1], &[])], &[1]);
    let sent = &mut recording.pods.get_mut("a").unwrap().sent;
    sent.extend(frames_at(0, &[2, 3]));
    recording.mirror.extend(frames_at(1, &[3]));
    recording.mirror.extend(frames_at(10, &[4]));
    assert_eq!(wrong(&recording), []);
}

#[test]
fn a_frame_at_the_edge_of_the_window_may_have_its_copy_beyond() {
    let mut recording = recording(&[("a", "sw1", &[1], &[])], &[]);
    recording.mirror = frames_at(10, &[1]);
    assert_eq!(wrong(&recording), []);
}

#[test]
#[should_panic(expected = "nothing to copy")]
fn an_empty_recording_proves_nothing() {
    recording(&[("a", "sw1", &[], &[])], &[]).assert_exact();
}

#[test]
fn a_difference_is_told_in_the_words_of_tcpdump() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] = [("a", "sw1", &[1], &[]), ("b", "sw1", &[], &[1])];
    let text = explain(&recording(&wires, &[]).differences(), |_| None).unwrap();
    assert!(
        text.contains("missing 1 (1 transmitted, 0 copied, received by b, sent by a)"),
        "{text}"
    );
    assert!(text.contains("10.16.0.11.12345 > 10.16.0.12.53"), "{text}");
}

#[test]
fn a_frame_that_was_changed_on_its_way_is_told_with_what_it_was() {
    let wires: [(&str, &str, &[u8], &[u8]); 2] = [("a", "sw1", &[1], &[]), ("b", "sw1", &[], &[2])];
    let recording = recording(&wires, &[1]);
    let text = explain(&recording.differences(), |bytes| recording.nearest(bytes)).unwrap();
    assert!(text.contains("missing 1 (1 transmitted, 0 copied, received by b)"), "{text}");
    assert!(text.contains("has 02 where one that was sent by a has 01, at [45]"), "{text}");
}
