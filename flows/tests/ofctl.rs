//! The text form, read by the real `ovs-ofctl`: what it makes of a printed flow is that flow. And the other way round,
//! which register bits are used by flows that are written as OVN's look.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod peer;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use flows::marker::register_bits_used;
use flows::model::{
    Action, Cookie, Field, Flow, FlowKey, Instruction, Match, MatchField, OfPort, TableId,
};
use flows::ofp::{FlowModCommand, Message};
use peer::Peer;

/// The flows that `ovs-ofctl add-flows` sends for these lines.
fn read_by_ofctl(lines: &[String]) -> Vec<Flow> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("switch");
    let listener = UnixListener::bind(&path).unwrap();
    let mut ofctl = Command::new("ovs-ofctl")
        .args([
            "-O",
            "OpenFlow15",
            "--no-names",
            "add-flows",
            &format!("unix:{}", path.display()),
            "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ovs-ofctl must be there: apt-get install openvswitch-switch");
    let text = lines.join("\n");
    let mut input = ofctl.stdin.take().unwrap();
    let feeder = thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let (hang_up, hung_up) = std::sync::mpsc::channel();
    let switch = thread::spawn(move || {
        let mut flows = vec![];
        // ovs-ofctl may connect more than once.
        for stream in listener.incoming() {
            let mut peer = Peer::new(stream.unwrap());
            while let Some((xid, message)) = peer.receive() {
                match message {
                    Message::Hello { .. } => peer.send(xid, &Message::Hello { versions: None }),
                    Message::BarrierRequest => peer.send(xid, &Message::BarrierReply),
                    Message::EchoRequest(data) => peer.send(xid, &Message::EchoReply(data)),
                    Message::FlowMod(flow_mod) => {
                        assert_eq!(flow_mod.command, FlowModCommand::Add);
                        flows.push(flow_mod.flow);
                    }
                    other => panic!("{other:?}"),
                }
            }
            if hung_up.try_recv().is_ok() {
                break;
            }
        }
        flows
    });
    let output = ofctl.wait_with_output().unwrap();
    feeder.join().unwrap();
    hang_up.send(()).unwrap();
    // Wakes the switch from accepting, unless it has heard and gone already.
    drop(std::os::unix::net::UnixStream::connect(&path));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let flows = switch.join().unwrap();
    assert_eq!(flows.len(), lines.len(), "{errors}");
    flows
}

const fn basic(number: u8, width: u8) -> Field {
    Field { class: 0x8000, number, width, experimenter: 0 }
}

const fn nicira(number: u8, width: u8) -> Field {
    Field { class: 1, number, width, experimenter: 0 }
}

fn flow(fields: &[MatchField], instructions: Vec<Instruction>) -> Flow {
    Flow {
        key: FlowKey { table: TableId(7), priority: 100, matching: Match::new(fields) },
        cookie: Cookie(0x6f66_6d72_1000_0001),
        instructions: instructions.into(),
    }
}

#[track_caller]
fn assert_read_back(flows: &[Flow]) {
    let lines: Vec<_> = flows.iter().map(ToString::to_string).collect();
    for ((flow, read), line) in flows.iter().zip(read_by_ofctl(&lines)).zip(lines) {
        assert_eq!(*flow, read, "{line}");
    }
}

#[test]
fn ofctl_reads_every_printed_match() {
    let exact = MatchField::exact;
    let masked = MatchField::masked;
    let eth_type = |number| exact(basic(5, 2), number);
    let ip_proto = |number| exact(basic(10, 1), number);
    let none: &[MatchField] = &[];
    let (ip, ipv6, arp) = (&[eth_type(0x800)], &[eth_type(0x86dd)], &[eth_type(0x806)]);
    let over_ip = |number| [eth_type(0x800), ip_proto(number)];
    let over_ipv6 = |number| [eth_type(0x86dd), ip_proto(number)];
    let nd =
        |kind| [eth_type(0x86dd), ip_proto(58), exact(basic(29, 1), kind), exact(basic(30, 1), 0)];
    let tracked = |kind, protocol| {
        [masked(Field::CT_STATE, 0x20, 0x20), eth_type(kind), exact(nicira(119, 1), protocol)]
    };
    let address = 0xfd00_0000_0000_0000_0000_0000_0000_0102;
    let prefix64 = u128::MAX << 64;
    let mut cases: Vec<(Vec<MatchField>, MatchField)> = vec![];
    let mut add = |before: &[MatchField], field| cases.push((before.to_vec(), field));
    for port in [OfPort(1), OfPort::LAST, OfPort::LOCAL, OfPort::CONTROLLER, OfPort::ANY] {
        add(none, exact(Field::IN_PORT, port.0.into()));
    }
    add(none, exact(Field::METADATA, u128::from(u64::MAX)));
    add(none, masked(Field::METADATA, 3, 0xff_ffff));
    for register in 0..16 {
        add(none, exact(Field::reg(register), 0x1234));
        add(none, masked(Field::reg(register), 0x0800_0000, 0x0c00_0000));
    }
    for mac in [basic(3, 6), basic(4, 6)] {
        add(none, exact(mac, 0x0a00_0000_0102));
        add(none, masked(mac, 0x0100_0000_0000, 0x0100_0000_0000));
    }
    add(none, eth_type(0x88cc));
    add(none, eth_type(0x0800));
    add(none, exact(basic(6, 2), 0x1005));
    add(none, exact(basic(6, 2), 0));
    add(none, masked(basic(6, 2), 0x1000, 0x1000));
    add(&[exact(basic(6, 2), 0x1005)], exact(basic(7, 1), 3));
    for address in [basic(11, 4), basic(12, 4)] {
        add(ip, exact(address, 0x0a00_0001));
        add(ip, masked(address, 0x0a00_0000, 0xffff_ff00));
        add(ip, masked(address, 0x0a00_0001, 0xff00_00ff));
    }
    for field in [basic(26, 16), basic(27, 16)] {
        add(ipv6, exact(field, address));
        add(ipv6, masked(field, address, prefix64));
        add(ipv6, masked(field, address, 0xffff));
    }
    add(ipv6, exact(basic(28, 4), 0x12345));
    for ip in [ip, ipv6] {
        add(ip, ip_proto(47));
        add(ip, exact(basic(8, 1), 46));
        add(ip, exact(basic(9, 1), 3));
        add(ip, exact(nicira(29, 1), 64));
        add(ip, exact(nicira(26, 1), 0));
        for (value, mask) in [(1, 1), (0, 2)] {
            add(ip, masked(nicira(26, 1), value, mask));
        }
        for value in [1, 3] {
            add(ip, exact(nicira(26, 1), value));
        }
    }
    for (protocol, source, destination) in [
        (6, basic(13, 2), basic(14, 2)),
        (17, basic(15, 2), basic(16, 2)),
        (132, basic(17, 2), basic(18, 2)),
    ] {
        for before in [over_ip(protocol), over_ipv6(protocol)] {
            add(&before, exact(source, 53));
            add(&before, exact(destination, 65535));
            add(&before, masked(destination, 0x1000, 0xf000));
        }
    }
    add(&over_ip(6), masked(basic(42, 2), 0x002, 0x012));
    add(&over_ip(6), exact(basic(42, 2), 0x012));
    add(&over_ip(1), exact(basic(19, 1), 8));
    add(&over_ip(1), exact(basic(20, 1), 0));
    add(&over_ipv6(58), exact(basic(29, 1), 128));
    add(&over_ipv6(58), exact(basic(30, 1), 1));
    add(&nd(135), exact(basic(31, 16), address));
    add(&nd(135), exact(basic(32, 6), 0x0a00_0000_0102));
    add(&nd(136), exact(basic(33, 6), 0x0a00_0000_0102));
    add(arp, exact(basic(21, 2), 1));
    add(arp, exact(basic(22, 4), 0x0a00_0001));
    add(arp, masked(basic(23, 4), 0x0a00_0000, 0xff00_0000));
    add(arp, exact(basic(24, 6), 0x0a00_0000_0102));
    add(arp, exact(basic(25, 6), 0x0a00_0000_0102));
    for mpls in [exact(basic(34, 4), 99), exact(basic(35, 1), 3), exact(basic(36, 1), 1)] {
        add(&[eth_type(0x8847)], mpls);
    }
    add(none, exact(basic(38, 8), 0x1234));
    add(none, masked(basic(38, 8), 3, 0xff_ffff));
    add(none, exact(nicira(31, 4), 0xac10_0001));
    add(none, masked(nicira(32, 4), 0xac10_0000, 0xffff_0000));
    add(none, exact(nicira(109, 16), address));
    add(none, exact(nicira(110, 16), address));
    add(none, masked(nicira(104, 2), 1, 1));
    add(none, exact(nicira(37, 4), 17));
    add(none, masked(nicira(33, 4), 2, 3));
    add(none, masked(Field::CT_STATE, 0x28, 0x28));
    add(none, masked(Field::CT_STATE, 0x21, 0xff));
    add(none, exact(nicira(106, 2), 7));
    add(none, masked(Field::CT_MARK, 2, 2));
    add(none, masked(nicira(108, 16), 1 << 96, 1 << 96));
    add(&tracked(0x800, 6)[..2], exact(nicira(119, 1), 6));
    add(&tracked(0x800, 6), exact(nicira(120, 4), 0x0a00_0001));
    add(&tracked(0x800, 6), masked(nicira(121, 4), 0x0a00_0000, 0xff00_0000));
    add(&tracked(0x86dd, 6), exact(nicira(122, 16), address));
    add(&tracked(0x86dd, 6), masked(nicira(123, 16), address, prefix64));
    add(&tracked(0x800, 6), exact(nicira(124, 2), 80));
    add(&tracked(0x800, 6), masked(nicira(125, 2), 0x1000, 0xf000));
    let flows: Vec<_> = cases
        .into_iter()
        .map(|(mut fields, field)| {
            fields.push(field);
            flow(&fields, vec![])
        })
        .collect();
    assert_read_back(&flows);
}

#[test]
fn ofctl_reads_every_printed_action() {
    let reg10 = Field::reg(10);
    let copy = |source, source_offset, destination, destination_offset, bits| Action::CopyField {
        bits,
        source,
        source_offset,
        destination,
        destination_offset,
    };
    let set = |field| Action::SetField(field);
    let output = |port| Action::Output { port, max_len: 0 };
    let resubmit = |in_port, table| Action::Resubmit { in_port, table: TableId(table) };
    let actions = [
        output(OfPort(2)),
        output(OfPort::LOCAL),
        output(OfPort::IN_PORT),
        Action::Output { port: OfPort::CONTROLLER, max_len: 128 },
        Action::OutputTruncated { port: OfPort(2), max_len: 128 },
        Action::OutputTruncated { port: OfPort::LOCAL, max_len: 65535 },
        Action::Group(5),
        Action::Meter(9),
        Action::PushVlan(0x8100),
        Action::PushVlan(0x88a8),
        Action::Clone(vec![
            Action::PushVlan(0x8100),
            set(MatchField::exact(Field::VLAN_VID, 0x102a)),
            output(OfPort(2)),
        ]),
        set(MatchField::exact(reg10, 0)),
        set(MatchField::masked(reg10, 0x0800_0000, 0x0800_0000)),
        set(MatchField::masked(reg10, 0, 0x0c00_0000)),
        set(MatchField::exact(Field::METADATA, 3)),
        set(MatchField::exact(basic(3, 6), 0x0a00_0000_0102)),
        set(MatchField::exact(Field::IN_PORT, OfPort::ANY.0.into())),
        // What OVN's loading 0xffff into in_port is to OpenFlow 1.5.
        set(MatchField::exact(Field { class: 0, number: 0, width: 2, experimenter: 0 }, 0xffff)),
        set(MatchField::exact(Field { class: 0, number: 0, width: 2, experimenter: 0 }, 3)),
        set(MatchField::exact(
            Field { class: 0x8001, number: 5, width: 8, experimenter: 0 },
            1 << 40,
        )),
        set(MatchField::exact(nicira(113, 16), 1 << 100)),
        copy(reg10, 0, Field::reg(1), 0, 32),
        copy(reg10, 27, Field::reg(1), 3, 1),
        copy(Field::METADATA, 8, reg10, 0, 16),
        copy(Field::CT_MARK, 1, reg10, 27, 1),
        resubmit(OfPort::IN_PORT, 0),
        resubmit(OfPort(3), 65),
        resubmit(OfPort(3), 255),
        Action::Clone(vec![
            set(MatchField::exact(reg10, 0)),
            Action::Clone(vec![output(OfPort(2))]),
            resubmit(OfPort::IN_PORT, 8),
        ]),
    ];
    let mut flows: Vec<_> = actions
        .iter()
        .map(|a| flow(&[], vec![Instruction::ApplyActions(vec![a.clone()])]))
        .collect();
    // Of a list, ovs-ofctl takes a meter only as the first.
    let list = actions[..7].to_vec();
    flows.push(flow(&[], vec![Instruction::ApplyActions(list)]));
    // And it lets only those lose a tag that have one.
    let tagged = vec![
        Action::PushVlan(0x8100),
        set(MatchField::exact(Field::VLAN_VID, 0x102a)),
        output(OfPort(2)),
        Action::PopVlan,
    ];
    flows.push(flow(&[], vec![Instruction::ApplyActions(tagged)]));
    flows.push(flow(
        &[MatchField::exact(Field::IN_PORT, 1)],
        vec![
            Instruction::ApplyActions(vec![output(OfPort(2))]),
            Instruction::WriteActions(vec![set(MatchField::exact(reg10, 1)), output(OfPort(3))]),
            Instruction::GotoTable(TableId(9)),
        ],
    ));
    assert_read_back(&flows);
}

#[test]
fn a_load_comes_back_as_the_set_field_that_says_the_same() {
    let load = Action::RegLoad { field: Field::reg(10), offset: 26, bits: 2, value: 3 };
    let flow = flow(&[], vec![Instruction::ApplyActions(vec![load])]);
    let set = Action::SetField(MatchField::masked(Field::reg(10), 3 << 26, 3 << 26));
    assert_eq!(read_by_ofctl(&[flow.to_string()])[0].instructions, Instruction::apply(vec![set]));
}

#[test]
fn register_bits_are_found_wherever_a_flow_uses_them() {
    let cases = [
        // As OVN 23.03 installs them.
        (
            "table=0,priority=100,in_port=1 actions=load:0x1->NXM_NX_REG13[],load:0x3->OXM_OF_METADATA[],load:0x1->NXM_NX_REG14[],resubmit(,8)",
            0,
        ),
        (
            "table=0,priority=150,in_port=1,dl_vlan=5 actions=load:0x1->NXM_NX_REG10[5],strip_vlan,resubmit(,8)",
            1 << 5,
        ),
        ("table=39,priority=150,reg10=0x2/0x2 actions=resubmit(,40)", 2),
        (
            "table=64,priority=100,reg10=0x1/0x1,reg15=0x1,metadata=0x1 actions=push:NXM_OF_IN_PORT[],load:0xffff->NXM_OF_IN_PORT[],resubmit(,65),pop:NXM_OF_IN_PORT[]",
            1,
        ),
        (
            "table=65,priority=100,reg15=0x2,metadata=0x3 actions=clone(ct_clear,load:0->NXM_NX_REG11[],load:0x1->NXM_NX_REG14[],load:0->NXM_NX_REG10[],load:0->NXM_NX_REG15[],resubmit(,8))",
            0,
        ),
        (
            "table=8,priority=50,reg14=0x1 actions=learn(table=79,idle_timeout=60,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG14[]->NXM_NX_REG15[])",
            0,
        ),
        // One for each way to touch a register.
        ("priority=1,xreg5=0x300000000/0x300000000 actions=drop", 3),
        ("priority=1,xxreg2=0x300000000/0x300000000 actions=drop", 3),
        ("priority=1 actions=load:0->NXM_NX_REG10[0..30]", 0x7fff_ffff),
        ("priority=1 actions=set_field:0->reg10", 0),
        ("priority=1 actions=set_field:0x100000000->xreg5", u32::MAX),
        ("priority=1 actions=set_field:0->xxreg2", 0),
        ("priority=1 actions=move:NXM_NX_REG10[4..7]->NXM_NX_REG1[0..3]", 0xf0),
        ("priority=1 actions=move:NXM_NX_CT_MARK[1]->NXM_NX_REG10[27]", 1 << 27),
        ("priority=1 actions=move:NXM_NX_REG1[0..3]->NXM_NX_REG10[4..7]", 0xf0),
        ("priority=1 actions=move:NXM_NX_REG1[0..3]->OXM_OF_PKT_REG5[36..39]", 0xf0),
        ("priority=1 actions=push:NXM_NX_REG10[0..3]", 0xf),
        ("priority=1 actions=pop:NXM_NX_REG10[8]", 0x100),
        ("priority=1 actions=output:NXM_NX_REG10[0..15]", 0xffff),
        ("priority=1 actions=multipath(eth_src,50,modulo_n,4,0,NXM_NX_REG10[0..3])", 0xf),
        (
            "priority=1 actions=bundle_load(eth_src,0,hrw,ofport,NXM_NX_REG10[0..15],members:1,2)",
            0xffff,
        ),
        ("priority=1 actions=check_pkt_larger(1500)->NXM_NX_REG10[9]", 0x200),
        ("priority=1,ip actions=ct(zone=NXM_NX_REG10[0..15],table=9)", 0xffff),
        (
            "priority=1,ip actions=ct(commit,zone=7,exec(move:NXM_NX_REG10[0..3]->NXM_NX_CT_MARK[0..3]))",
            0xf,
        ),
        (
            "priority=1,ip actions=ct(commit,zone=7,nat(src=10.0.0.1),exec(load:1->NXM_NX_CT_MARK[]))",
            0,
        ),
        ("priority=1 actions=learn(table=9,NXM_NX_REG10[0..3]=NXM_NX_REG1[0..3])", 0xf),
        ("priority=1 actions=learn(table=9,NXM_NX_REG1[0..3]=NXM_NX_REG10[4..7])", 0xf0),
        (
            "priority=1 actions=learn(table=9,load:1->NXM_NX_REG10[8],output:NXM_NX_REG10[0..3])",
            0x10f,
        ),
        (
            "priority=1 actions=learn(table=9,limit=3,result_dst=NXM_NX_REG10[9],eth_type=0x800)",
            0x200,
        ),
        ("priority=1 actions=write_actions(set_field:0x3/0x3->reg10)", 3),
        ("priority=1 actions=clone(clone(set_field:0x3/0x3->reg10))", 3),
        ("priority=1,ip actions=note:01.02.03,controller,group:3,dec_ttl", 0),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| (*line).to_owned()).collect();
    for ((line, used), flow) in cases.into_iter().zip(read_by_ofctl(&lines)) {
        assert_eq!(register_bits_used(&flow, 10), used, "{line}");
    }
}
