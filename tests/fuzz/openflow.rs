//! Arbitrary bytes from an OpenFlow peer: read as a message, scanned, printed, written and read again.
//!
//! The first byte of the input is the message's type code, the rest its body.
#![no_main]

use bytes::BytesMut;
use flows::marker::{choose, register_bits_used};
use flows::model::Flow;
use flows::ofp::{FlowMod, FlowUpdate, Message, MultipartReply};
use libfuzzer_sys::fuzz_target;

/// The flows that a message tells.
fn flows(message: &Message) -> Vec<&Flow> {
    match message {
        Message::FlowMod(FlowMod { flow, .. }) => vec![flow],
        Message::BundleAdd { message, .. } => flows(message),
        Message::MultipartReply { body: MultipartReply::FlowDesc(flows), .. } => {
            flows.iter().map(|desc| &desc.flow).collect()
        }
        Message::MultipartReply { body: MultipartReply::FlowMonitor(updates), .. } => updates
            .iter()
            .filter_map(|update| match update {
                FlowUpdate::Initial { flow, .. }
                | FlowUpdate::Added { flow, .. }
                | FlowUpdate::Modified { flow, .. }
                | FlowUpdate::Removed { flow, .. } => Some(flow),
                FlowUpdate::Abbrev { .. } | FlowUpdate::Paused | FlowUpdate::Resumed => None,
            })
            .collect(),
        _ => vec![],
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((type_code, body)) = input.split_first() else { return };
    let message = match Message::decode(*type_code, body) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.at <= body.len(), "{error}");
            return;
        }
    };
    for flow in flows(&message) {
        if let Some(bits) = choose(register_bits_used(flow, 10)) {
            assert_ne!(bits.copied, bits.delivered);
        }
        assert!(flow.to_string().contains("actions="));
    }
    let mut again = BytesMut::new();
    // Inputs are far shorter than what a message can hold, so what was read fits.
    message.encode(7, &mut again).unwrap();
    assert_eq!(Message::decode(*type_code, &again), Ok(message));
});
