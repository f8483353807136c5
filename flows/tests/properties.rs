//! What holds for every message and every string of bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flows::marker::{choose, register_bits_used};
use flows::model::{
    Action, Cookie, Field, Flow, FlowKey, Instruction, Match, MatchField, OfPort, TableId,
};
use flows::ofp::{
    AsyncEvent, AsyncMask, AsyncRole, BundleCommand, BundleFlags, EncodeError, FlowDesc,
    FlowFilter, FlowFlags, FlowMod, FlowMonitorRequest, FlowRemoved, FlowStats, FlowStatsEntry,
    FlowUpdate, MAX_BODY, MAX_DEPTH, Message, MonitorFlags, MultipartReply, MultipartRequest,
    OfpError, PortConfig, PortDesc, PortName, PortState, PortStats, Problem, Timeouts, Versions,
};
use proptest::array::uniform8;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn encode(message: &Message, xid: u32) -> Result<BytesMut, EncodeError> {
    let mut out = BytesMut::new();
    message.encode(xid, &mut out).map(|()| out)
}

/// Any field that isn't registers together, which are taken apart when read.
fn field() -> impl Strategy<Value = Field> {
    let class = prop_oneof![Just(0_u16), Just(1), Just(0x8000), Just(0x8002), any::<u16>()];
    (class, 0_u8..128, 1_u8..=16, any::<u32>()).prop_map(|(class, number, width, experimenter)| {
        let experimenter = if class == 0xffff { experimenter } else { 0 };
        let field = Field { class, number, width, experimenter };
        match field.registers() {
            Some((first, last)) if first != last => Field::reg(first),
            _ => field,
        }
    })
}

/// A field with a value; a mask of zeros or ones only would be left out when a register is read.
fn match_field() -> impl Strategy<Value = MatchField> {
    let typed = (field(), any::<u128>(), option::of(any::<u128>())).prop_map(|(field, v, m)| {
        let all = field.all_ones();
        let mask = m.map(|mask| mask & all).filter(|mask| *mask != 0 && *mask != all);
        MatchField::Typed { field, value: v & all & mask.unwrap_or(all), mask }
    });
    let wide = (20_u8..120, any::<bool>()).prop_map(|(width, masked)| {
        let length = width * (1 + u8::from(masked));
        let mut tlv = vec![0, 1, 40 << 1 | u8::from(masked), length];
        tlv.resize(4 + usize::from(length), 7);
        MatchField::Raw(tlv.into())
    });
    prop_oneof![9 => typed, 1 => wide]
}

fn matching() -> impl Strategy<Value = Match> {
    vec(match_field(), 0..8).prop_map(|fields| {
        let mut names = vec![];
        let once = |field: &MatchField| match field {
            MatchField::Typed { field, .. } if names.contains(field) => false,
            MatchField::Typed { field, .. } => {
                names.push(*field);
                true
            }
            MatchField::Raw(_) => true,
        };
        Match::new(fields.into_iter().filter(once).collect::<Vec<_>>())
    })
}

/// Ports that Nicira's actions can say.
fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![(0_u32..=0xfeff), (0xffff_ff00..=u32::MAX)].prop_map(OfPort)
}

/// A whole action or instruction of a type that has no name.
fn raw() -> impl Strategy<Value = Box<[u8]>> {
    (100_u16..0xfff0, vec(any::<u8>(), 0..8)).prop_map(|(kind, data)| {
        let length = (4 + data.len()).next_multiple_of(8);
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
        bytes.extend(data);
        bytes.resize(length, 0);
        bytes.into()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let offset = 0_u16..1024;
    let named = field().prop_filter("reg_load has no room for it", |f| f.class != 0xffff);
    let leaf = prop_oneof![
        (any::<u32>(), any::<u16>())
            .prop_map(|(p, max_len)| Action::Output { port: OfPort(p), max_len }),
        (port(), any::<u32>())
            .prop_map(|(port, max_len)| Action::OutputTruncated { port, max_len }),
        any::<u32>().prop_map(Action::Group),
        any::<u32>().prop_map(Action::Meter),
        any::<u16>().prop_map(Action::PushVlan),
        Just(Action::PopVlan),
        match_field().prop_map(Action::SetField),
        (named, offset, 1_u16..=64, any::<u64>()).prop_map(|(field, offset, bits, value)| {
            Action::RegLoad { field, offset, bits, value }
        }),
        (any::<[u16; 3]>(), field(), field()).prop_map(|(n, source, destination)| {
            Action::CopyField {
                bits: n[0],
                source,
                source_offset: n[1],
                destination,
                destination_offset: n[2],
            }
        }),
        (port(), any::<u8>())
            .prop_map(|(in_port, table)| Action::Resubmit { in_port, table: TableId(table) }),
        raw().prop_map(Action::Raw),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| vec(inner, 0..4).prop_map(Action::Clone))
}

fn flow() -> impl Strategy<Value = Flow> {
    let instruction = prop_oneof![
        vec(action(), 0..6).prop_map(Instruction::ApplyActions),
        vec(action(), 0..6).prop_map(Instruction::WriteActions),
        any::<u8>().prop_map(|table| Instruction::GotoTable(TableId(table))),
        raw().prop_map(Instruction::Raw),
    ];
    (any::<u8>(), any::<u16>(), matching(), any::<u64>(), vec(instruction, 0..4)).prop_map(
        |(table, priority, matching, cookie, instructions)| Flow {
            key: FlowKey { table: TableId(table), priority, matching },
            cookie: Cookie(cookie),
            instructions: instructions.into(),
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    any::<(u16, u16)>().prop_map(|(idle, hard)| Timeouts { idle, hard })
}

fn stats() -> impl Strategy<Value = FlowStats> {
    let time = || option::of((any::<u32>(), 0..1_000_000_000_u32));
    let duration = |time: Option<(u32, u32)>| time.map(|(s, n)| Duration::new(s.into(), n));
    let other = vec(vec(any::<u8>(), 0..9), 0..3);
    (time(), time(), any::<[Option<u64>; 2]>(), any::<Option<u32>>(), other).prop_map(
        move |(age, idle, [packets, bytes], flows, other)| FlowStats {
            duration: duration(age),
            idle: duration(idle),
            packets,
            bytes,
            flows,
            other: other
                .into_iter()
                .map(|data| [&[0x80, 9, 0, data.len() as u8], &data[..]].concat().into())
                .collect(),
        },
    )
}

fn port_desc() -> impl Strategy<Value = PortDesc> {
    (any::<(u32, [u8; 6], [u8; 16], u32, u32)>(), vec(any::<u8>(), 0..40)).prop_map(
        |((port, mac, name, config, state), properties)| PortDesc {
            port: OfPort(port),
            mac,
            name: PortName(name),
            config: PortConfig::from_bits_retain(config),
            state: PortState::from_bits_retain(state),
            properties: properties.into(),
        },
    )
}

fn port_stats() -> impl Strategy<Value = PortStats> {
    let duration = option::of((any::<u32>(), 0..1_000_000_000_u32));
    let counters = uniform8(option::of(0..u64::MAX));
    (any::<u32>(), duration, counters, vec(any::<u8>(), 0..40)).prop_map(
        |(port, duration, n, properties)| PortStats {
            port: OfPort(port),
            duration: duration.map(|(seconds, nanos)| Duration::new(seconds.into(), nanos)),
            rx_packets: n[0],
            tx_packets: n[1],
            rx_bytes: n[2],
            tx_bytes: n[3],
            rx_dropped: n[4],
            tx_dropped: n[5],
            rx_errors: n[6],
            tx_errors: n[7],
            properties: properties.into(),
        },
    )
}

fn update() -> impl Strategy<Value = FlowUpdate> {
    prop_oneof![
        (flow(), timeouts()).prop_map(|(flow, timeouts)| FlowUpdate::Initial { flow, timeouts }),
        (flow(), timeouts()).prop_map(|(flow, timeouts)| FlowUpdate::Added { flow, timeouts }),
        (flow(), timeouts()).prop_map(|(flow, timeouts)| FlowUpdate::Modified { flow, timeouts }),
        (flow(), timeouts(), any::<u8>()).prop_map(|(flow, timeouts, reason)| {
            FlowUpdate::Removed { flow, reason: reason.into(), timeouts }
        }),
        any::<u32>().prop_map(|xid| FlowUpdate::Abbrev { xid }),
        Just(FlowUpdate::Paused),
        Just(FlowUpdate::Resumed),
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

/// Messages that may be in a bundle.
fn plain_message() -> impl Strategy<Value = Message> {
    let filter = (any::<u8>(), any::<(u32, u32, u64, u64)>(), matching()).prop_map(
        |(table, (out_port, out_group, cookie, cookie_mask), matching)| FlowFilter {
            table: TableId(table),
            out_port: OfPort(out_port),
            out_group,
            cookie: Cookie(cookie),
            cookie_mask,
            matching,
        },
    );
    let monitor = (any::<u32>(), any::<u16>(), matching()).prop_map(|(id, flags, matching)| {
        let flags = MonitorFlags::from_bits_retain(flags);
        FlowMonitorRequest { matching, ..FlowMonitorRequest::add(id, flags) }
    });
    let desc = (flow(), timeouts(), stats(), any::<(u16, u16)>()).prop_map(
        |(flow, timeouts, stats, (flags, importance))| FlowDesc {
            flow,
            flags: FlowFlags::from_bits_retain(flags),
            timeouts,
            importance,
            stats,
        },
    );
    let entry = (flow(), stats(), any::<u8>()).prop_map(|(flow, stats, reason)| FlowStatsEntry {
        key: flow.key,
        reason,
        stats,
    });
    let reply = prop_oneof![
        vec(port_desc(), 0..4).prop_map(MultipartReply::PortDesc),
        vec(port_stats(), 0..4).prop_map(MultipartReply::PortStats),
        vec(desc, 0..4).prop_map(MultipartReply::FlowDesc),
        vec(entry, 0..4).prop_map(MultipartReply::FlowStats),
        vec(update(), 0..4).prop_map(MultipartReply::FlowMonitor),
        (200_u16.., data()).prop_map(|(kind, body)| MultipartReply::Raw { kind, body }),
    ];
    let request =
        prop_oneof![
            any::<u32>().prop_map(|port| MultipartRequest::PortDesc(OfPort(port))),
            any::<u32>().prop_map(|port| MultipartRequest::PortStats(OfPort(port))),
            filter.prop_map(MultipartRequest::FlowDesc),
            vec(monitor, 0..3).prop_map(MultipartRequest::FlowMonitor),
            (200_u16.., any::<u16>(), data())
                .prop_map(|(kind, flags, body)| MultipartRequest::Raw { kind, flags, body }),
        ];
    let mask = any::<(u16, bool, u32)>().prop_map(|(event, secondary, reasons)| AsyncMask {
        event: AsyncEvent(event >> 1),
        role: if secondary { AsyncRole::Secondary } else { AsyncRole::PrimaryOrEqual },
        reasons,
    });
    prop_oneof![
        any::<Option<u32>>().prop_map(|v| Message::Hello { versions: v.map(Versions) }),
        (any::<(u16, u16, u32)>(), data()).prop_map(|((kind, code, experimenter), data)| {
            let experimenter = if kind == 0xffff { experimenter } else { 0 };
            Message::Error(OfpError { kind, code, experimenter, data })
        }),
        data().prop_map(Message::EchoRequest),
        vec(mask, 0..4).prop_map(Message::SetAsync),
        (any::<u8>(), port_desc())
            .prop_map(|(reason, port)| Message::PortStatus { reason: reason.into(), port }),
        (flow(), timeouts(), any::<(u64, u16)>()).prop_map(|(flow, timeouts, (mask, flags))| {
            let flags = FlowFlags::from_bits_retain(flags);
            let add = FlowMod::add(flow).with_flags(flags);
            Message::FlowMod(FlowMod { timeouts, cookie_mask: mask, ..add })
        }),
        (flow(), timeouts(), stats(), any::<u8>()).prop_map(|(flow, timeouts, stats, reason)| {
            let Flow { key, cookie, .. } = flow;
            let reason = reason.into();
            Message::FlowRemoved(FlowRemoved { key, cookie, reason, timeouts, stats })
        }),
        request.prop_map(Message::MultipartRequest),
        (any::<bool>(), reply).prop_map(|(more, body)| Message::MultipartReply { more, body }),
        (35_u8.., data()).prop_map(|(type_code, body)| Message::Raw { type_code, body }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let control = any::<(u32, u16)>().prop_map(|(bundle_id, flags)| Message::BundleControl {
        bundle_id,
        command: BundleCommand::CommitRequest,
        flags: BundleFlags::from_bits_retain(flags),
    });
    let add = (any::<u32>(), plain_message()).prop_map(|(bundle_id, message)| Message::BundleAdd {
        bundle_id,
        flags: BundleFlags::ATOMIC,
        message: Box::new(message),
    });
    prop_oneof![8 => plain_message(), 1 => control, 1 => add]
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(message in message(), xid in any::<u32>()) {
        let body = encode(&message, xid).unwrap();
        prop_assert_eq!(Message::decode(message.type_code(), &body), Ok(message));
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_was_read_can_be_written(
        type_code in 0_u8..36,
        body in vec(any::<u8>(), 0..300),
    ) {
        if let Ok(message) = Message::decode(type_code, &body) {
            let again = encode(&message, 1).unwrap();
            prop_assert_eq!(Message::decode(type_code, &again), Ok(message));
        }
    }

    #[test]
    fn a_message_with_wrong_bytes_is_read_or_refused(
        message in message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = encode(&message, 7).unwrap();
        prop_assume!(!body.is_empty());
        for (index, byte) in damage {
            let position = index.index(body.len());
            body[position] = byte;
        }
        if let Ok(read) = Message::decode(message.type_code(), &body) {
            // Scanning and printing what came off a socket must be safe as well.
            if let Message::FlowMod(FlowMod { flow, .. }) = &read {
                if let Some(bits) = choose(register_bits_used(flow, 10)) {
                    prop_assert_ne!(bits.copied, bits.delivered);
                }
                prop_assert!(flow.to_string().contains("actions="));
            }
            prop_assert_eq!(read.type_code(), message.type_code());
        }
    }

    #[test]
    fn a_body_that_cannot_be_written_leaves_the_buffer_alone(length in 70_000_usize..80_000) {
        let mut out = BytesMut::from(&b"before"[..]);
        let message = Message::EchoRequest(vec![0; length].into());
        let error = message.encode(0, &mut out).unwrap_err();
        let limit = MAX_BODY;
        prop_assert_eq!(error, EncodeError::TooLong { what: "echo request", length, limit });
        prop_assert_eq!(&out[..], b"before");
    }
}

/// A flow with clones within each other, `depth` of them.
fn nested(depth: usize) -> Message {
    let action = (0..depth).fold(Action::Group(1), |inner, _| Action::Clone(vec![inner]));
    let key = FlowKey { table: TableId(0), priority: 0, matching: Match::default() };
    Message::FlowMod(FlowMod::add(Flow::new(key, Cookie(0), vec![action])))
}

#[test]
fn clones_within_clones_are_refused_beyond_a_depth() {
    let deepest = encode(&nested(MAX_DEPTH), 0).unwrap();
    assert_eq!(Message::decode(14, &deepest), Ok(nested(MAX_DEPTH)));
    let error = encode(&nested(MAX_DEPTH + 1), 0).unwrap_err();
    assert_eq!(error, EncodeError::Depth { what: "action", limit: MAX_DEPTH });

    // The same as a peer could send it: 1000 clones, each with 16 bytes of header.
    let mut body = encode(&nested(0), 0).unwrap().to_vec();
    body.truncate(48);
    body.extend_from_slice(&[0, 4]);
    body.extend_from_slice(&(8 + 16 * 1000_u16).to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    for level in (1..=1000_u16).rev() {
        body.extend_from_slice(&[0xff, 0xff]);
        body.extend_from_slice(&(16 * level).to_be_bytes());
        body.extend_from_slice(&[0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0]);
    }
    let error = Message::decode(14, &body).unwrap_err();
    assert_eq!(error.problem, Problem::Depth(MAX_DEPTH));
}

#[test]
fn a_bundle_within_a_bundle_is_refused() {
    let add = |message| Message::BundleAdd {
        bundle_id: 1,
        flags: BundleFlags::ATOMIC,
        message: Box::new(message),
    };
    let error = encode(&add(add(Message::BarrierRequest)), 0).unwrap_err();
    assert_eq!(error, EncodeError::Depth { what: "message in a bundle", limit: 1 });
    let mut body = encode(&add(Message::BarrierRequest), 0).unwrap();
    body[9] = 34;
    assert_eq!(Message::decode(34, &body).unwrap_err().problem, Problem::Depth(1));
}

#[test]
fn a_register_that_a_match_has_twice_is_refused() {
    // reg0 by itself, and in the pair xreg0.
    let fields = [
        &[0x00, 0x01, 0x00, 0x04, 0, 0, 0, 2][..],
        &[0x80, 0x01, 0x00, 0x08, 0, 0, 0, 3, 0, 0, 0, 0],
    ];
    for (count, expected) in [(1, None), (2, Some(Problem::Repeated))] {
        let fields = fields[..count].concat();
        let mut body = vec![0; 40];
        body[24..28].fill(0xff); // no buffered packet
        body.extend([0, 1, 0, 4 + u8::try_from(fields.len()).unwrap()]);
        body.extend(&fields);
        body.resize(body.len().next_multiple_of(8), 0);
        assert_eq!(Message::decode(14, &body).err().map(|error| error.problem), expected);
    }
}
