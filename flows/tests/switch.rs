//! The codec against a real switch: an `ovs-vswitchd` of our own with a dummy datapath, which needs no privileges.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod peer;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use flows::model::{
    Action, Cookie, Field, Flow, FlowKey, Instruction, Match, MatchField, OfPort, TableId,
};
use flows::ofp::{
    AsyncEvent, AsyncMask, AsyncRole, BundleCommand, BundleFlags, FlowFilter, FlowFlags, FlowMod,
    FlowMonitorRequest, FlowUpdate, Message, MonitorFlags, MultipartReply, MultipartRequest,
    OfpError, PortReason, RemovedReason, Versions,
};
use peer::Peer;
use tempfile::TempDir;

const MISSING: &str = "Open vSwitch must be there: apt-get install openvswitch-switch";

/// A bridge with ports 1 and 2.
struct Switch {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Switch {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut switch = Self { folder, daemons: vec![] };
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        assert!(Path::new(schema).exists(), "{schema}: {MISSING}");
        let status = switch.command("ovsdb-tool").args(["create", "conf.db", schema]).status();
        assert!(status.expect(MISSING).success());
        let database = format!("--remote=punix:{}/db.sock", switch.path());
        switch.spawn("ovsdb-server", &[&database, "--no-chdir", "conf.db"]);
        switch.vsctl(&["--no-wait", "init"]);
        let database = format!("unix:{}/db.sock", switch.path());
        switch.spawn(
            "ovs-vswitchd",
            &["--enable-dummy=override", "--disable-system", "--no-chdir", &database],
        );
        let mut bridge = vec!["add-br", "br-int", "--", "set", "bridge", "br-int"];
        bridge.extend(["datapath_type=dummy", "fail_mode=secure"]);
        bridge.push("other_config:datapath-id=00000000000000ab");
        switch.vsctl(&bridge);
        switch.add_port(1);
        switch.add_port(2);
        switch
    }

    fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// A command that finds nothing of the system's Open vSwitch.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.folder.path());
        }
        command
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let child = self.command(program).args(arguments).spawn().expect(MISSING);
        self.daemons.push(child);
    }

    /// Changes the configuration, and waits until the switch has done it unless told otherwise.
    fn vsctl(&self, arguments: &[&str]) {
        let database = format!("--db=unix:{}/db.sock", self.path());
        let mut command = self.command("ovs-vsctl");
        let status = command.args([&database, "--retry", "--timeout=60"]).args(arguments).status();
        assert!(status.expect(MISSING).success(), "ovs-vsctl {arguments:?}");
    }

    fn add_port(&self, number: u32) {
        let name = format!("p{number}");
        let number = format!("ofport_request={number}");
        let port = ["add-port", "br-int", &name, "--", "set", "interface", &name, "type=dummy"];
        self.vsctl(&[&port[..], &[&number]].concat());
    }

    fn connect(&self) -> Session {
        let stream = UnixStream::connect(self.folder.path().join("br-int.mgmt")).unwrap();
        let mut session = Session { peer: Peer::new(stream), xid: 0 };
        session.send(&Message::Hello { versions: Some(Versions::OURS) });
        assert!(matches!(session.next(), Message::Hello { .. }));
        session
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// A controller's connection.
struct Session {
    peer: Peer,
    xid: u32,
}

impl Session {
    fn send(&mut self, message: &Message) -> u32 {
        self.xid += 1;
        self.peer.send(self.xid, message);
        self.xid
    }

    fn next(&mut self) -> Message {
        self.peer.receive().unwrap().1
    }

    /// The answer to `message`.
    fn ask(&mut self, message: &Message) -> Message {
        let asked = self.send(message);
        let (xid, answer) = self.peer.receive().unwrap();
        assert_eq!(xid, asked, "{answer:?}");
        answer
    }

    /// The flows of all tables.
    fn flows(&mut self) -> Vec<Flow> {
        let request = MultipartRequest::FlowDesc(FlowFilter::default());
        match self.ask(&Message::MultipartRequest(request)) {
            Message::MultipartReply { more: false, body: MultipartReply::FlowDesc(flows) } => {
                flows.into_iter().map(|desc| desc.flow).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends `messages` in one bundle.
    fn commit(&mut self, messages: Vec<Message>) -> Message {
        let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
        let control = |command| Message::BundleControl { bundle_id: 9, command, flags };
        let opened = self.ask(&control(BundleCommand::OpenRequest));
        assert!(is_reply(&opened, BundleCommand::OpenReply), "{opened:?}");
        for message in messages {
            self.send(&Message::BundleAdd { bundle_id: 9, flags, message: Box::new(message) });
        }
        self.send(&control(BundleCommand::CommitRequest));
        self.next()
    }

    /// The next flow monitor update, which OVS sends one by one for single changes.
    fn update(&mut self) -> FlowUpdate {
        match self.next() {
            Message::MultipartReply { body: MultipartReply::FlowMonitor(mut updates), .. } => {
                assert_eq!(updates.len(), 1);
                updates.remove(0)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn is_reply(message: &Message, expected: BundleCommand) -> bool {
    matches!(message, Message::BundleControl { command, .. } if *command == expected)
}

fn set(mask: u128, value: u128) -> Action {
    Action::SetField(MatchField::masked(Field::reg(10), value, mask))
}

/// The hooks of a port, one by one in the form in which OVS tells them again.
fn hooks() -> Vec<Flow> {
    let (copied, delivered, both) = (0x0800_0000, 0x0400_0000, 0x0c00_0000);
    let flow = |table, priority, fields: Vec<MatchField>, actions| {
        let key = FlowKey { table: TableId(table), priority, matching: Match::new(fields) };
        Flow::new(key, Cookie(0x6f66_6d72_2000_0001), actions)
    };
    let delivery = |value, signs: &[MatchField]| {
        let mut fields = vec![
            MatchField::exact(Field::METADATA, 3),
            MatchField::exact(Field::reg(15), 2),
            MatchField::masked(Field::reg(10), value, both),
        ];
        fields.extend_from_slice(signs);
        let output = Action::output(OfPort(2));
        let resubmit = Action::resubmit(TableId(65));
        flow(65, 65534, fields, vec![output, set(both, both), resubmit, set(delivered, 0)])
    };
    let in_port = |port: OfPort| MatchField::exact(Field::IN_PORT, port.0.into());
    let unset = MatchField::masked(Field::reg(10), 0, copied);
    let actions =
        vec![Action::output(OfPort(2)), set(copied, copied), Action::resubmit(TableId(0))];
    let reply = MatchField::masked(Field::CT_STATE, 0x28, 0x28);
    let natted_to_copied = Action::CopyField {
        bits: 1,
        source: Field::CT_MARK,
        source_offset: 1,
        destination: Field::reg(10),
        destination_offset: 27,
    };
    let flags = |value| MatchField::masked(Field::reg(10), value, both);
    let again = Action::resubmit(TableId(65));
    vec![
        flow(0, 65534, vec![in_port(OfPort(1)), unset], actions),
        delivery(0, &[]),
        delivery(copied, &[in_port(OfPort::ANY)]),
        delivery(copied, &[in_port(OfPort::CONTROLLER)]),
        flow(
            65,
            65534,
            vec![flags(copied), reply],
            vec![set(delivered, delivered), natted_to_copied, again.clone()],
        ),
        flow(65, 65534, vec![flags(both)], vec![set(both, 0), again]),
        flow(0, 65535, vec![in_port(OfPort(2))], vec![]),
    ]
}

#[test]
fn hooks_come_back_from_the_switch_as_they_were_added() {
    let switch = Switch::start();
    let mut session = switch.connect();
    let Message::FeaturesReply(features) = session.ask(&Message::FeaturesRequest) else {
        panic!("no features")
    };
    assert_eq!(features.datapath_id, 0xab);
    let ping = Bytes::from_static(b"ping");
    assert_eq!(session.ask(&Message::EchoRequest(ping.clone())), Message::EchoReply(ping));
    let ports = session.ask(&Message::MultipartRequest(MultipartRequest::PortDesc(OfPort::ANY)));
    let Message::MultipartReply { body: MultipartReply::PortDesc(ports), .. } = ports else {
        panic!("{ports:?}")
    };
    assert!(ports.iter().any(|port| port.port == OfPort(2) && port.name.to_string() == "p2"));

    let add = |flow| Message::FlowMod(FlowMod::add(flow));
    let committed = session.commit(hooks().into_iter().map(add).collect());
    assert!(is_reply(&committed, BundleCommand::CommitReply), "{committed:?}");
    let observed = session.flows();
    assert_eq!(observed.len(), hooks().len());
    for flow in hooks() {
        assert!(observed.contains(&flow), "{flow} is not in {observed:#?}");
    }

    let delete = FlowMod::delete_by_cookie(Cookie::OURS, Cookie::TAG_MASK);
    session.send(&Message::FlowMod(delete));
    assert_eq!(session.ask(&Message::BarrierRequest), Message::BarrierReply);
    assert_eq!(session.flows(), []);
}

#[test]
fn the_switch_tells_every_change_of_a_flow() {
    let switch = Switch::start();
    let mut ours = switch.connect();
    let mut others = switch.connect();
    let flow = hooks().remove(0);
    ours.send(&Message::FlowMod(FlowMod::add(flow.clone())));
    assert_eq!(ours.ask(&Message::BarrierRequest), Message::BarrierReply);

    let flags = MonitorFlags::INITIAL
        | MonitorFlags::ADD
        | MonitorFlags::REMOVED
        | MonitorFlags::MODIFY
        | MonitorFlags::INSTRUCTIONS;
    let monitor = MultipartRequest::FlowMonitor(vec![FlowMonitorRequest::add(1, flags)]);
    ours.send(&Message::MultipartRequest(monitor));
    let update = ours.update();
    assert!(matches!(&update, FlowUpdate::Initial { flow: f, .. } if *f == flow), "{update:?}");

    // By this connection itself.
    let delete = FlowMod::delete_strict(flow.key.clone(), flow.cookie, u64::MAX);
    let asked = ours.send(&Message::FlowMod(delete.clone()));
    assert_eq!(ours.update(), FlowUpdate::Abbrev { xid: asked });

    // By somebody else.
    let counted = FlowMod::add(flow.clone()).with_flags(FlowFlags::SEND_FLOW_REM);
    others.send(&Message::FlowMod(counted));
    let update = ours.update();
    assert!(matches!(&update, FlowUpdate::Added { flow: f, .. } if *f == flow), "{update:?}");
    let mut changed = flow.clone();
    changed.instructions = Instruction::apply(vec![Action::output(OfPort(2))]);
    others.send(&Message::FlowMod(FlowMod {
        command: flows::ofp::FlowModCommand::ModifyStrict,
        flow: Flow { cookie: Cookie(0), ..changed.clone() },
        ..FlowMod::add(flow.clone())
    }));
    let update = ours.update();
    assert!(matches!(&update, FlowUpdate::Modified { flow: f, .. } if *f == changed), "{update:?}");
    others.send(&Message::SetConfig { flags: 0, miss_send_len: 128 });
    others.send(&Message::FlowMod(delete));
    let FlowUpdate::Removed { flow: gone, reason, .. } = ours.update() else { panic!("not gone") };
    assert_eq!((gone, reason), (changed, RemovedReason::Delete));
    let Message::FlowRemoved(removed) = others.next() else { panic!("not told") };
    assert_eq!((removed.key, removed.cookie), (flow.key, flow.cookie));
    assert_eq!((removed.stats.packets, removed.stats.bytes), (Some(0), Some(0)));
}

#[test]
fn ports_and_what_the_switch_tells_of_itself_are_as_asked_for() {
    let switch = Switch::start();
    let mut session = switch.connect();
    let mask = |event, reasons| AsyncMask { event, role: AsyncRole::PrimaryOrEqual, reasons };
    let masks = [mask(AsyncEvent::PACKET_IN, 0), mask(AsyncEvent::PORT_STATUS, 7)];
    session.send(&Message::SetAsync(masks.to_vec()));
    // The answer to OFPT_GET_ASYNC_REQUEST has the body of a SET_ASYNC.
    let answer = session.ask(&Message::Raw { type_code: 26, body: Bytes::new() });
    let Message::Raw { type_code: 27, body } = answer else { panic!("{answer:?}") };
    let Ok(Message::SetAsync(told)) = Message::decode(28, &body) else { panic!("{body:?}") };
    assert!(masks.iter().all(|mask| told.contains(mask)), "{told:?}");

    session.send(&Message::SetConfig { flags: 0, miss_send_len: 128 });
    assert_eq!(session.ask(&Message::BarrierRequest), Message::BarrierReply);
    switch.add_port(3);
    let Message::PortStatus { reason, port } = session.next() else { panic!("no port") };
    assert_eq!(
        (reason, port.port, port.name.to_string()),
        (PortReason::Add, OfPort(3), "p3".into())
    );
}

#[test]
fn refusals_name_what_was_wrong() {
    let switch = Switch::start();
    let mut session = switch.connect();
    let refused = |answer| match answer {
        Message::Error(error @ OfpError { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let flow =
        |action| Flow { instructions: Instruction::apply(vec![action]), ..hooks().remove(0) };
    let add = |action| Message::FlowMod(FlowMod::add(flow(action)));
    assert_eq!(refused(session.ask(&add(Action::Group(7)))), "bad action: OFPBAC_BAD_OUT_GROUP");
    let load = Action::RegLoad { field: Field::reg(10), offset: 0, bits: 1, value: 1 };
    // OpenFlow 1.5 has set_field instead.
    assert_eq!(refused(session.ask(&add(load))), "bad action: OFPBAC_BAD_VENDOR_TYPE");
    let stats = MultipartRequest::FlowStats(FlowFilter::default());
    let answer = session.ask(&Message::MultipartRequest(stats));
    assert_eq!(refused(answer), "bad request: OFPBRC_BAD_STAT");

    // In a bundle: the refused message first, then that the commit failed; nothing was done.
    let good = Message::FlowMod(FlowMod::add(hooks().remove(0)));
    let first = session.commit(vec![good, add(Action::Group(7))]);
    assert_eq!(refused(first), "bad action: OFPBAC_BAD_OUT_GROUP");
    assert_eq!(refused(session.next()), "bundle failed: OFPBFC_MSG_FAILED");
    assert_eq!(session.flows(), []);
}
