//! The faults: what somebody or something does to a node, and undoes.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::scene::Scene;
use crate::{MIRROR, Node, OURS, PodSpec, Result, SWITCHES, Service, daemon::Daemon, until};

/// Something that happens to a node.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// Whether it can happen on a node without an agent.
    pub(super) compared: bool,
    /// Does it, and lets the node be as it was, as far as that is not the agent's part.
    pub(super) happen: fn(&Scene<'_>) -> Result,
}

const fn node(name: &'static str, happen: fn(&Scene<'_>) -> Result) -> Fault {
    Fault { name, compared: true, happen }
}

const fn agent(name: &'static str, happen: fn(&Scene<'_>) -> Result) -> Fault {
    Fault { name, compared: false, happen }
}

/// All of them, by who is struck.
pub(super) const FAULTS: [Fault; 35] = [
    agent("agent killed and started again", |scene| {
        scene.kill_agent()?;
        pause(500);
        scene.start_agent()
    }),
    agent("agent stopped and started again", |scene| {
        scene.stop_agent()?;
        pause(500);
        scene.start_agent()
    }),
    agent("agent held for 2 s", |scene| {
        scene.with_agent(|agent| {
            agent.hold()?;
            pause(2000);
            agent.go_on()
        })
    }),
    agent("agent held while our flows go", |scene| {
        scene.with_agent(|agent| {
            agent.hold()?;
            scene.node.ofctl(&["del-flows"], [OURS])?;
            pause(500);
            agent.go_on()
        })
    }),
    node("agent killed while ovn-controller restarts", |scene| {
        let had_one = scene.kill_agent()?;
        scene.node.restart(Service::Controller)?;
        if had_one { scene.start_agent() } else { Ok(()) }
    }),
    agent("a second agent for 2 s", |scene| {
        let other = scene.node.launch_agent(&["--enable-mirror", "--mirror-iface=mirror1"])?;
        pause(2000);
        // Unless it has ended by itself, as it should.
        if other.runs()? { other.stop() } else { Ok(()) }
    }),
    node("ovn-controller restarts", |scene| scene.node.restart(Service::Controller)),
    node("ovn-controller restarts twice in a row", |scene| {
        scene.node.kill(Service::Controller)?;
        scene.node.launch(Service::Controller)?;
        pause(100);
        scene.node.restart(Service::Controller)
    }),
    node("ovn-controller is away for 2 s", |scene| {
        scene.node.kill(Service::Controller)?;
        pause(2000);
        scene.node.start_service(Service::Controller)
    }),
    node("ovn-controller stops for good, and starts", |scene| {
        scene.node.stop(Service::Controller)?;
        scene.node.start_service(Service::Controller)
    }),
    node("ovs-vswitchd killed and started", |scene| restart_switch(scene.node)),
    node("ovs-vswitchd held for 2 s", |scene| {
        scene.node.hold(Service::Vswitchd)?;
        pause(2000);
        scene.node.go_on(Service::Vswitchd)
    }),
    node("ovsdb-server restarts", |scene| scene.node.restart(Service::Ovsdb)),
    node("ovn-northd restarts", |scene| scene.node.restart(Service::Northd)),
    node("OVN's southbound database restarts", |scene| {
        scene.node.restart(Service::Southbound)?;
        scene.node.sync()
    }),
    node("all flows deleted, OVN restarted", |scene| {
        scene.node.ofctl(&["del-flows"], [])?;
        scene.node.restart(Service::Controller)
    }),
    agent("our flows deleted", |scene| scene.node.ofctl(&["del-flows"], [OURS]).map(drop)),
    agent("our flows deleted ten times", |scene| {
        (0..10).try_for_each(|_| {
            pause(30);
            scene.node.ofctl(&["del-flows"], [OURS]).map(drop)
        })
    }),
    node("a foreign flow of priority 65535 for 1 s", |scene| foreign_flow(scene.node)),
    node("datapath's flows flushed", |scene| appctl(scene, &["dpctl/del-flows"])),
    node("connections forgotten", |scene| appctl(scene, &["dpctl/flush-conntrack"])),
    agent("mirror NIC deleted", |scene| ip(scene, "link delete mirror0")),
    agent("mirror NIC down", |scene| ip(scene, "link set mirror0 down")),
    agent("mirror NIC flaps ten times", |scene| {
        (0..10).try_for_each(|_| {
            ip(scene, "link set mirror0 down")?;
            pause(30);
            ip(scene, "link set mirror0 up")?;
            pause(30);
            Ok(())
        })
    }),
    agent("mirror NIC gets ARP", |scene| ip(scene, "link set mirror0 arp on")),
    agent("mirror NIC's MTU lowered", |scene| ip(scene, "link set mirror0 mtu 1000")),
    agent("mirror NIC moved to another namespace for 1 s", |scene| {
        let namespace = scene.elsewhere();
        ip(scene, &format!("link set mirror0 netns {namespace}"))?;
        let up = crate::Invocation::new("ip").args(["-n", &namespace, "link", "set", MIRROR, "up"]);
        up.run()?;
        pause(1000);
        // Unless the agent has had another made.
        let back = crate::Invocation::new("ip").args([
            "-n",
            &namespace,
            "link",
            "set",
            MIRROR,
            "netns",
            scene.node.name(),
        ]);
        back.output().map(drop)
    }),
    agent("mirror port removed from OVSDB", |scene| vsctl(scene, "del-port br-int mirror0")),
    agent("a Mirror record on our NIC for 1 s", |scene| {
        vsctl(
            scene,
            "--id=@p get Port mirror0 -- \
             --id=@m create Mirror name=m0 output_port=@p select_all=true -- \
             add Bridge br-int mirrors @m",
        )?;
        pause(1000);
        vsctl(scene, "clear Bridge br-int mirrors")
    }),
    agent("a listener comes and goes five times", |scene| {
        (0..5).try_for_each(|_| listen(scene.node))
    }),
    node("an annotation flaps ten times", |scene| {
        (0..10).try_for_each(|_| {
            scene.node.annotate("e")?;
            scene.node.unannotate("e")
        })
    }),
    node("a Pod's port removed and put back", |scene| scene.node.replug_pod("e").map(drop)),
    node("a Pod's port gets another number", |scene| {
        let interface = scene.node.pod("e").interface().to_owned();
        for request in ["ofport_request=2000", "ofport_request=2001"] {
            vsctl(scene, &format!("set Interface {interface} {request}"))?;
        }
        vsctl(scene, &format!("clear Interface {interface} ofport_request"))?;
        scene.node.sync()
    }),
    node("a Pod comes and goes", |scene| {
        scene.node.add_pod(&PodSpec::new("f", &SWITCHES[0], 16))?;
        scene.node.remove_pod("f")
    }),
    node("2,000 new flows a second", |scene| flood(scene.node)),
];

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

fn ip(scene: &Scene<'_>, line: &str) -> Result {
    scene.node.namespace().ip(line.split(' ')).map(drop)
}

fn vsctl(scene: &Scene<'_>, line: &str) -> Result {
    scene.node.vsctl(line.split(' ')).map(drop)
}

fn appctl(scene: &Scene<'_>, args: &[&str]) -> Result {
    scene.node.appctl(args.iter().copied()).map(drop)
}

/// Until OVN has brought its flows back.
fn restart_switch(node: &Node) -> Result {
    node.restart(Service::Vswitchd)?;
    until(
        "OVN's flows to be back",
        || Ok((!node.dump_flows("table=0")?.is_empty()).then_some(())),
    )?;
    node.sync()
}

/// Puts a flow in front of all others that does what OVN's does, for packets of Pod a.
fn foreign_flow(node: &Node) -> Result {
    let port = node.ofport(node.pod("a").interface())?;
    let flows = node.dump_flows(&format!("table=0,in_port={port}"))?;
    let theirs = flows.iter().find(|flow| flow.contains("priority=100,"));
    let actions =
        theirs.and_then(|flow| flow.split("actions=").nth(1)).context("no flow of OVN's")?;
    node.add_flows(&format!("table=0,priority=65535,in_port={port} actions={actions}\n"))?;
    pause(1000);
    let flow = format!("table=0,priority=65535,in_port={port}");
    node.ofctl(&["--strict", "del-flows"], [flow.as_str()]).map(drop)
}

fn listen(node: &Node) -> Result {
    let tcpdump = node.program("tcpdump").args(["-n", "-i", MIRROR, "-w", "/dev/null"]);
    let listener = Daemon::new("tcpdump", tcpdump, node.log_folder().join("tcpdump.log"));
    listener.start()?;
    pause(150);
    listener.end(Signal::SIGTERM)?;
    pause(50);
    Ok(())
}

/// Packets of 2,000 connections that nobody has seen before, within a second.
fn flood(node: &Node) -> Result {
    let to = (node.pod("c").ip4(), 9);
    node.pod("a").namespace().inside(|| {
        for number in 0..2000 {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"new", to)?;
            if number % 20 == 19 {
                pause(10);
            }
        }
        Ok(())
    })
}
