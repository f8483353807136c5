//! The demo's story.

use std::thread;

use anyhow::{Context as _, anyhow, ensure};
use flows::model::Cookie;

use super::{
    Demo,
    copies::{self, Copy},
    pings::{Pings, number},
    stage::Stage,
};
use crate::{
    Agent, EVERYONE, Frame, MIRROR, Namespace, Node, OURS, Proto, Recording, Result, Service,
    VIP_TCP_PORT, until,
};

/// The flag for mirroring all Pods.
const ALL: &str = "--enable-mirror";
/// The lab's network.
const PICTURE: &str = "\
sw1  10.16.0.0/16  Pods a (10.16.0.11), b (10.16.0.12), e (10.16.0.15)
sw2  10.17.0.0/16  Pods c (10.17.0.13), d (10.17.0.14)
a router between the two, and a service: VIP 10.96.0.10, backends b and c. IPv6 likewise.";

/// Plays all chapters.
pub(super) fn play(stage: &mut Stage) -> Result {
    stage.chapter("A node: Open vSwitch and OVN of its own, five Pods in network namespaces");
    let node = Node::start()?;
    let mut demo = Demo { stage: &mut *stage, node: &node };
    demo.pods_speak()?;
    let agent = demo.agent_starts()?;
    demo.flows_are_few()?;
    demo.copies_are_explained()?;
    demo.copies_are_exact(&agent)?;
    demo.ovn_restarts(&agent)?;
    let agent = demo.agent_dies(agent)?;
    agent.stop()?;
    let agent = demo.annotation_decides()?;
    demo.agent_stops(agent)?;
    everything_goes(stage, node)
}

impl<'a> Demo<'a> {
    fn pods_speak(&self) -> Result {
        let stage = &self.stage;
        let versions = self.on_node(
            None,
            "ovs-vsctl --version | head -n 1; ovn-controller --version | head -n 1",
        )?;
        stage.output(&versions);
        stage.output(PICTURE);
        let said = self.in_pod("a", "ping -n -c 1 -W 30 10.17.0.13")?;
        stage.output(said.lines().nth(1).unwrap_or_default());
        stage.good("Pods speak with each other, and nothing is mirrored");
        Ok(())
    }

    fn agent_starts(&mut self) -> Result<Agent<'a>> {
        self.stage.chapter("The agent: one process, no change to OVN");
        self.stage.command("node", "ofmirror agent --enable-mirror &");
        let agent = self.node.agent(&[ALL])?;
        self.stage.output(&log(&agent)?);
        let status = self.on_node(Some(&agent), "ofmirror status")?;
        self.stage.output(&status);
        self.stage.good("all Pods are mirrored to mirror0, a port that the agent made");
        Ok(agent)
    }

    fn flows_are_few(&mut self) -> Result {
        self.stage.chapter("The flows: two for a Pod, and they only copy");
        let port = self.node.ofport(self.node.pod("a").interface())?;
        // The cookie's lowest bits are the port; what is between them and the tag tells the direction.
        let cookie = Cookie::OURS.0 | u64::from(port);
        let dump = format!(
            "ovs-ofctl -O OpenFlow15 --no-stats --names dump-flows br-int cookie={cookie:#x}/{:#x}",
            Cookie::TAG_MASK | 0xffff
        );
        let flows = self.on_node(None, &dump)?;
        let flows: Vec<_> =
            flows.lines().map(str::trim).filter(|line| line.contains("actions")).collect();
        flows.iter().for_each(|flow| self.stage.output(flow));
        ensure!(flows.len() == 2, "Pod a has {} flows", flows.len());
        self.stage.say(
            "Each sends a copy to mirror0, notes that in two bits of reg10, and hands the packet back to OVN's own \
             flow of the same table. None decides where a packet goes.",
        );
        let ours = self.node.dump_flows(OURS)?;
        let all = self.node.dump_flows("")?;
        ensure!(
            !ours.is_empty() && ours.len() < all.len(),
            "{} of {} flows",
            ours.len(),
            all.len()
        );
        self.stage.good(&format!(
            "{} flows in all, besides {} of OVN's",
            ours.len(),
            all.len() - ours.len()
        ));
        Ok(())
    }

    fn copies_are_explained(&mut self) -> Result {
        self.stage.chapter("The copies: each distinct frame once");
        // What follows is about other things than finding neighbours.
        let addresses = ["b", "c", "d"].map(|name| self.node.pod(name).ip4());
        addresses.iter().try_for_each(|address| self.node.pod("a").ping(*address))?;

        let ping = |address| format!("ping -n -q -c 1 -W 30 {address}");
        self.stage.say("On one switch, a frame is delivered as it was sent:");
        self.show("icmp", |demo| demo.in_pod("a", &ping("10.16.0.12")).map(drop))?.exactly(2)?;
        self.stage.pause("A router makes another frame of it, so both forms are copied:");
        self.show("icmp", |demo| demo.in_pod("a", &ping("10.17.0.13")).map(drop))?.exactly(4)?;
        self.stage.pause("A broadcast is one frame, however many get it:");
        self.show("icmp", |demo| {
            // Nobody answers, which ping calls a failure.
            let line = "ping -n -q -b -c 1 -W 0.1 10.16.255.255 2>/dev/null || true";
            demo.in_pod("a", line).map(drop)
        })?
        .exactly(1)?;
        self.stage.pause("A service, before and after the load balancer:");
        let service = ["b", "c"].map(|name| self.node.pod(name).serve(Proto::Tcp, VIP_TCP_PORT));
        let service = service.into_iter().collect::<Result<Vec<_>>>()?;
        self.show("tcp", |demo| {
            let line = format!("echo hello | busybox nc 10.96.0.10 {VIP_TCP_PORT}");
            let answer = demo.in_pod("d", &line)?;
            demo.stage.output(&answer);
            ensure!(answer == "hello\n", "the service answers {answer:?}");
            Ok(())
        })?
        .at_least(12)?;
        drop(service);
        self.stage.good(
            "compared with what was on the Pods' wires: all are there, byte for byte, none twice",
        );
        Ok(())
    }

    /// Lets Pods speak, compares all copies with the wires, and shows those of one protocol with a word on each.
    fn show(&self, protocol: &str, speak: impl FnOnce(&Self) -> Result) -> Result<Shown> {
        /// More would tell nothing new.
        const MOST: usize = 4;
        let capture = self.node.capture(&EVERYONE)?;
        speak(self)?;
        let recording = capture.finish()?;
        ensure_exact(&recording)?;
        self.stage.command("node", &format!("tcpdump -n -t -q -i {MIRROR} {protocol}"));
        let mut copies = copies::explain(self.node, &recording)?;
        copies.retain(|copy| copy.protocol == Some(protocol));
        for Copy { line, word, .. } in copies.iter().take(MOST) {
            self.stage.explained(line, word);
        }
        if copies.len() > MOST {
            self.stage.say(&format!("  ... and {} more", copies.len() - MOST));
        }
        Ok(Shown(copies.len()))
    }

    fn copies_are_exact(&mut self, agent: &Agent<'_>) -> Result {
        self.stage.chapter("All of it: every kind of traffic that the lab knows, frame by frame");
        self.stage.say(
            "The Pods speak on their switch, by the router and the service's VIP, by IPv4 and IPv6, ICMP, TCP, UDP, \
             ARP and ND, broadcast and multicast, up to the MTU, with rejected packets and DHCP.",
        );
        let capture = self.node.capture(&EVERYONE)?;
        self.node.say_everything()?;
        let recording = capture.finish()?;
        ensure_exact(&recording)?;
        let seen: usize =
            recording.pods.values().map(|pod| pod.sent.len() + pod.received.len()).sum();
        self.stage.output(&self.on_node(Some(agent), "ofmirror status | sed -n '/^POD/,/^$/p'")?);
        self.stage.good(&format!(
            "{seen} frames on the five Pods' wires, {} copies on mirror0: none missing, none too many, none changed",
            recording.copies()
        ));
        Ok(())
    }

    fn ovn_restarts(&mut self, agent: &Agent<'_>) -> Result {
        self.stage.chapter("OVN restarts: ovn-controller deletes all flows, ours too");
        let (pinged, restarted) = thread::scope(|scope| {
            let ping =
                scope.spawn(|| self.in_pod("a", "ping -n -q -i 0.02 -c 100 -W 30 10.17.0.13"));
            let restarted = self.node.restart(Service::Controller);
            (ping.join(), restarted)
        });
        restarted?;
        let pinged = pinged.map_err(|_| anyhow!("the ping panicked"))??;
        self.stage.say(
            "Meanwhile ovn-controller was killed and started again. For a moment OVN's own flows are gone too: \
             pings may be lost then, with or without an agent.",
        );
        self.stage.output(summary(&pinged));
        let restored = until("the agent to tell of the loss", || {
            let log = log(agent)?;
            Ok(log.lines().find(|line| line.contains("all are back")).map(str::to_owned))
        })?;
        self.stage.output(&restored);
        agent.await_ready()?;
        self.on_node(Some(agent), "ofmirror flows --diff  # prints what differs: nothing")?;
        let without = restored.split("without_ms=").nth(1).context("the log tells no time")?;
        self.stage.good(&format!(
            "our flows came back by themselves, {} ms after they went",
            without.trim()
        ));
        Ok(())
    }

    fn agent_dies(&mut self, agent: Agent<'a>) -> Result<Agent<'a>> {
        self.stage.chapter("The agent dies: Pods do not notice, and copies go on");
        self.stage.command("node", &format!("kill -KILL {}", agent.pid()?));
        agent.kill()?;
        let address = self.node.pod("c").ip4();
        self.stage.pause("With no agent:");
        let line = format!("ping -n -q -c 1 -W 30 {address}");
        self.show("icmp", |demo| demo.in_pod("a", &line).map(drop))?.exactly(4)?;
        self.stage.pause("The next agent takes the flows over as they are:");
        self.stage.command("node", "ofmirror agent --enable-mirror &");
        let agent = self.node.agent(&[ALL])?;
        self.stage.output(&log(&agent)?);
        let text = agent.get("/metrics")?.context("the agent does not listen")?.body;
        let changes = |line: &&str| line.starts_with("ofmirror_flow_changes_total");
        let changed = text.lines().filter(changes).any(|line| !line.ends_with(" 0"));
        ensure!(!changed, "the new agent changed flows:\n{text}");
        self.stage.good("copies went on without an agent, and the next one changed no flow");
        Ok(agent)
    }

    fn annotation_decides(&mut self) -> Result<Agent<'a>> {
        self.stage.chapter("Only annotated Pods: what the agent does unless told otherwise");
        self.stage.command("node", "ofmirror agent &");
        let agent = self.node.agent(&[])?;
        let capture = self.node.watch(&[])?;
        let pod = self.node.pod("a");
        let line = "ping -n -i 0.02 10.16.0.12";
        self.stage.command("a", &format!("{line} &"));
        let mut ping = Pings::start(&pod.program("bash").args(["-c", &format!("exec {line}")]))?;
        ping.answers(5)?;
        let (port, key) = (pod.interface(), "ovn.kubernetes.io/mirror");
        self.on_node(
            None,
            &format!("ovs-vsctl set Interface {port} external_ids:{key}='\"true\"'"),
        )?;
        until("copies", || Ok((capture.copies()?.len() >= 20).then_some(())))?;
        self.on_node(None, &format!("ovs-vsctl remove Interface {port} external_ids {key}"))?;
        until("the end of mirroring", || {
            let mirrored = agent.metric("ofmirror_pods_mirrored")?;
            Ok((mirrored == 0.0 && agent.is_ready()?).then_some(()))
        })?;
        // The switch's cache has no copies in it either.
        self.node.revalidate()?;
        let requests = |frames: &[Frame]| -> Result<Vec<u64>> {
            let lines = copies::lines(frames)?;
            let requests = lines.iter().filter(|line| line.contains("echo request"));
            Ok(requests.filter_map(|line| number(line, "seq ")).collect())
        };
        let sent = loop {
            let answered = ping.answers(1)?;
            let end = requests(&capture.copies()?)?.last().copied().unwrap_or_default();
            if answered > end + 10 {
                break answered;
            }
        };
        drop(ping);
        let numbers = requests(&capture.finish()?.mirror)?;
        let (first, end) = numbers.first().zip(numbers.last()).context("no request was copied")?;
        ensure!(1 < *first && *end < sent, "requests {first} to {end} of {sent} were copied");
        ensure!(
            numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "some are missing: {numbers:?}"
        );
        self.stage
            .good(&format!("of the requests 1 to {sent}, {first} to {end} were copied, each once"));
        Ok(agent)
    }

    fn agent_stops(&mut self, agent: Agent<'_>) -> Result {
        self.stage.chapter("The agent stops: nothing of it is left on the node");
        let foreign = || -> Result<Vec<String>> {
            let ours = format!("cookie={:#x}", Cookie::TAG);
            let all = self.node.dump_flows("")?;
            Ok(all.into_iter().filter(|flow| !flow.starts_with(&ours)).collect())
        };
        let before = foreign()?;
        self.stage.command("node", &format!("kill {}", agent.pid()?));
        agent.stop()?;
        let left = self.node.dump_flows(OURS)?;
        ensure!(left.is_empty(), "flows are left: {left:?}");
        ensure!(foreign()? == before, "the flows of OVN have changed");
        let ports = self.on_node(None, "ovs-vsctl list-ports br-int")?;
        self.stage.output(&ports.split_whitespace().collect::<Vec<_>>().join(" "));
        ensure!(ports.lines().all(|port| port != MIRROR), "{MIRROR} is left");
        let said = self.in_pod("a", "ping -n -q -c 3 -i 0.1 -W 30 10.17.0.13")?;
        self.stage.output(summary(&said));
        self.stage.good(&format!(
            "mirror0 and our flows are gone, OVN's {} flows are as they were",
            before.len()
        ));
        Ok(())
    }
}

/// How many copies there were of what was shown.
struct Shown(usize);

impl Shown {
    fn exactly(self, copies: usize) -> Result {
        ensure!(self.0 == copies, "{} copies instead of {copies}", self.0);
        Ok(())
    }

    /// The last frames of a connection may come after the end.
    fn at_least(self, copies: usize) -> Result {
        ensure!(self.0 >= copies, "{} copies instead of {copies} or more", self.0);
        Ok(())
    }
}

/// Every frame has exactly the copies that it must have.
fn ensure_exact(recording: &Recording) -> Result {
    ensure!(recording.copies() > 0, "nothing was copied");
    let differences = recording.differences();
    let first: Vec<_> = differences.iter().take(3).map(ToString::to_string).collect();
    ensure!(
        differences.is_empty(),
        "{} frames are copied wrongly: {}",
        differences.len(),
        first.join("; ")
    );
    Ok(())
}

/// The agent's log without the times, which would fill the lines.
fn log(agent: &Agent<'_>) -> Result<String> {
    let log = agent.log()?;
    let lines =
        log.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// What ping says at its end.
fn summary(said: &str) -> &str {
    said.lines().find(|line| line.contains("transmitted")).unwrap_or_default()
}

fn everything_goes(stage: &mut Stage, node: Node) -> Result {
    stage.chapter("The node goes");
    let folder = node.folder().to_owned();
    let namespaces: Vec<_> = node.pods().iter().map(|pod| pod.namespace().clone()).collect();
    let namespaces = namespaces.into_iter().chain([node.namespace().clone()]);
    drop(node);
    ensure!(!folder.exists(), "{} is left", folder.display());
    let left = namespaces.filter(Namespace::exists).map(|left| left.name().to_owned());
    let left: Vec<_> = left.collect();
    ensure!(left.is_empty(), "namespaces are left: {left:?}");
    stage.good("no process, namespace or file is left");
    Ok(())
}
