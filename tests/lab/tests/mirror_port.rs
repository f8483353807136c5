//! The port that gets the copies: made or attached, quiet, restored, refused where the node needs the NIC.

use lab::{Agent, EVERYONE, KERNELS_DATAPATH, MIRROR, Node, Peer, Result, datapath, until};

fn assert_copies_are_exact(node: &Node, nic: &str) -> Result {
    let capture = node.capture_at(nic, &EVERYONE)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    Ok(())
}

/// What is not as it should be with a mirror port.
fn wrong(node: &Node, nic: &str, mtu: u32) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let Ok(ofport) = node.ofport(nic) else { return Ok(vec!["no port".into()]) };
    let Ok(link) = node.namespace().ip(["link", "show", nic]) else {
        return Ok(vec!["no device".into()]);
    };
    let flags = link.split(['<', '>']).nth(1).unwrap_or_default();
    let has = |flag| flags.split(',').any(|other| other == flag);
    wrong.extend((!has("UP")).then(|| format!("it is down: {flags}")));
    wrong.extend((!has("NOARP")).then(|| format!("it has ARP: {flags}")));
    let its_mtu: u32 = link
        .split("mtu ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
        .parse()?;
    wrong.extend((its_mtu < mtu).then(|| format!("its MTU is {its_mtu}")));
    let addresses = node.namespace().ip(["-oneline", "address", "show", nic])?;
    wrong.extend(addresses.lines().map(|address| format!("it has an address: {address}")));
    let ipv6 = format!("net.ipv6.conf.{nic}.disable_ipv6");
    let ipv6 = node.namespace().program("sysctl").args(["-n", &ipv6]).run()?;
    wrong.extend((ipv6.trim() != "1").then(|| "it has IPv6".to_owned()));
    // Only OpenFlow 1.0 shows it.
    let ports = node.ofctl(&["-O", "OpenFlow10", "show"], [])?;
    let port = ports.split(&format!(" {ofport}({nic}):")).nth(1).unwrap_or_default();
    let config = port.lines().find(|line| line.contains("config:")).unwrap_or_default();
    wrong.extend((!config.contains("NO_FLOOD")).then(|| format!("it is flooded to: {config}")));
    let guard = format!("in_port={ofport} actions=drop");
    let flows = node.our_flows()?;
    wrong.extend(
        (!flows.iter().any(|flow| flow.contains(&guard))).then(|| "it is not guarded".to_owned()),
    );
    Ok(wrong)
}

/// Waits until the mirror port is as it should be and the agent says so.
fn await_right(node: &Node, agent: &Agent<'_>, nic: &str) -> Result {
    let mut last = Vec::new();
    until("the mirror port to be right", || {
        agent.alive()?;
        last = wrong(node, nic, 1500)?;
        Ok((last.is_empty() && agent.is_ready()?).then_some(()))
    })
    .map_err(|error| error.context(format!("{last:?}\n{}", agent.log().unwrap_or_default())))
}

#[test]
fn whatever_somebody_does_to_the_mirror_port_is_undone() -> Result {
    let node = Node::start()?;
    let proxy = node.proxy("cut", Peer::AsItIs)?;
    let agent = node.agent(&["--enable-mirror", "--openflow", &proxy.endpoint()])?;
    assert_eq!(wrong(&node, MIRROR, 1500)?, [""; 0]);
    for harm in ["link set mirror0 down", "link set mirror0 mtu 1000", "link set mirror0 arp on"] {
        node.namespace().ip(harm.split(' '))?;
        await_right(&node, &agent, MIRROR)?;
    }
    assert_copies_are_exact(&node, MIRROR)?;

    // More than once, as the database tells of it sometimes before, sometimes after the kernel.
    for _ in 0..3 {
        let identity = || node.vsctl(["get", "Interface", MIRROR, "_uuid"]);
        let before = identity()?;
        node.vsctl(["del-port", "br-int", MIRROR])?;
        until("another mirror port", || Ok(identity().ok().filter(|uuid| *uuid != before)))?;
        await_right(&node, &agent, MIRROR)?;
    }
    assert_copies_are_exact(&node, MIRROR)?;

    node.namespace().ip(["link", "del", MIRROR])?;
    await_right(&node, &agent, MIRROR)?;
    assert_copies_are_exact(&node, MIRROR)?;

    // The switch does not tell of this one, so it is looked at again with each connection.
    node.ofctl(&["-O", "OpenFlow10", "mod-port"], [MIRROR, "flood"])?;
    assert!(wrong(&node, MIRROR, 1500)?[0].contains("flooded"));
    proxy.disconnect();
    await_right(&node, &agent, MIRROR)?;
    agent.stop()
}

#[test]
fn a_nic_of_the_host_is_attached_and_taken_off_again() -> Result {
    let node = Node::start()?;
    add_nic(&node, "nic0")?;
    let agent = node.agent(&["--enable-mirror", "--mirror-iface=nic0"])?;
    assert_eq!(wrong(&node, "nic0", 1500)?, [""; 0]);
    assert!(node.vsctl(["get", "Interface", "nic0", "type"])?.trim().replace('"', "").is_empty());
    assert_copies_are_exact(&node, "nic0-far")?;
    agent.stop()?;
    assert!(!node.vsctl(["list-ports", "br-int"])?.contains("nic0"));
    assert!(node.our_flows()?.is_empty());
    node.namespace().ip(["link", "show", "nic0"])?;
    Ok(())
}

#[test]
fn a_nic_that_the_node_needs_is_refused_until_it_does_not() -> Result {
    let node = Node::start()?;
    node.vsctl("add-br other -- set Bridge other datapath_type=netdev".split(' '))?;
    for (number, (reason, needed, free)) in [
        (
            "NIC has the address 192.0.2.7/24, which the node would lose",
            "ip address add 192.0.2.7/24 dev NIC",
            "ip address del 192.0.2.7/24 dev NIC",
        ),
        (
            "NIC carries the node's default route (0.0.0.0/0",
            "ip route add default dev NIC",
            "ip link set NIC down",
        ),
        (
            "NIC is a port of bridge other",
            "ovs-vsctl add-port other NIC",
            "ovs-vsctl del-port other NIC",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let nic = format!("needed{number}");
        let run = |command: &str| -> Result {
            let command = command.replace("NIC", &nic);
            match command.strip_prefix("ip ") {
                Some(ip) => node.namespace().ip(ip.split(' ')).map(drop),
                None => node.vsctl(command.split(' ').skip(1)).map(drop),
            }
        };
        add_nic(&node, &nic)?;
        run(needed)?;
        let reason = reason.replace("NIC", &nic);
        let (flows, ports) = (node.foreign_flows_with_age()?.len(), node.vsctl(["show"])?);

        let agent = node.launch_agent(&["--enable-mirror", "--mirror-iface", &nic])?;
        until(&format!("the agent to say that {reason}"), || {
            agent.alive()?;
            let told = agent.get("/readyz")?.filter(|answer| answer.body.contains(&reason));
            Ok(told.map(|answer| assert_eq!(answer.status, 503)))
        })?;
        await_log(&agent, &reason)?;
        assert_eq!(node.our_flows()?, [""; 0]);
        assert_eq!(node.foreign_flows_with_age()?.len(), flows);
        assert_eq!(node.vsctl(["show"])?, ports, "the database was changed nevertheless");

        run(free)?;
        await_right(&node, &agent, &nic)?;
        await_log(&agent, &format!("no longer: {reason}"))?;
        agent.stop()?;
    }
    Ok(())
}

/// Copies that have come to `mirror0` in a Pod's network namespace are more than before after some traffic.
fn assert_copies_come(node: &Node, pod: &str) -> Result {
    let count = || node.pod(pod).namespace().transmissions(MIRROR).map(|(received, _)| received);
    let before = count()?;
    let [from, to] = ["a", "b"].map(|name| node.pod(name));
    let ping = ["-q", "-c", "5", "-i", "0.01", &to.ip4().to_string()];
    from.program("ping").args(ping).run()?;
    until("ten copies", || Ok((count()? >= before + 10).then_some(())))
}

#[test]
fn a_mirror_port_that_was_moved_into_a_pod_stays_there_and_gets_the_copies() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror"])?;
    let row = || node.vsctl(["get", "Interface", MIRROR, "_uuid"]);
    let before = row()?;
    let sensor = node.pod("e");
    node.namespace().ip(["link", "set", MIRROR, "netns", sensor.namespace().name()])?;
    sensor.namespace().ip(["link", "set", MIRROR, "up"])?;
    let told = |agent: &Agent<'_>| {
        until("the agent to say where it is", || {
            agent.alive()?;
            Ok(agent.log()?.contains("moved mirror0 into another network namespace").then_some(()))
        })
        .map_err(|error| error.context(agent.log().unwrap_or_default()))?;
        agent.await_ready()
    };
    told(&agent)?;
    assert_copies_come(&node, "e")?;
    // The kernel announces nothing from there, so the agent looks every ten seconds.
    until("the agent to see that it is up there", || {
        Ok((agent.metric("ofmirror_mirror_nic_up")? == 1.0).then_some(()))
    })?;
    agent.kill()?;

    // Who starts now sees the same, under whatever name.
    let agent = node.agent(&["--enable-mirror"])?;
    told(&agent)?;
    assert_copies_come(&node, "e")?;
    assert_eq!(row()?, before, "it was made anew");

    // What was deleted is made anew. Nobody but the switch can delete a device of the kernel's datapath.
    if datapath() == KERNELS_DATAPATH {
        return agent.stop();
    }
    sensor.namespace().ip(["link", "del", MIRROR])?;
    await_right(&node, &agent, MIRROR)?;
    assert_copies_are_exact(&node, MIRROR)?;
    agent.stop()
}

#[test]
fn a_nic_that_must_exist_is_waited_for_and_one_that_need_not_is_made_loudly() -> Result {
    let node = Node::start()?;
    let agent = node.agent(&["--enable-mirror", "--mirror-iface=late0"])?;
    let log = agent.log()?;
    let loud = |line: &str| line.contains("WARN") && line.contains("--mirror-iface-must-exist");
    assert!(log.lines().any(loud), "{log}");
    // It has the NIC's name, so it must go first.
    agent.kill()?;
    let agent = node.launch_agent(&[
        "--enable-mirror",
        "--mirror-iface=late0",
        "--mirror-iface-must-exist",
    ])?;
    until("the agent to wait", || {
        agent.alive()?;
        let answer = agent.get("/readyz")?;
        let waits = |body: &str| body.contains("there is no NIC late0 yet");
        Ok(answer.filter(|answer| answer.status == 503 && waits(&answer.body)).map(drop))
    })?;
    assert!(!node.vsctl(["list-ports", "br-int"])?.contains("late0"));
    add_nic(&node, "late0")?;
    await_right(&node, &agent, "late0")?;
    assert_copies_are_exact(&node, "late0-far")?;
    agent.stop()
}

#[test]
fn what_a_killed_agent_has_left_for_another_nic_is_removed() -> Result {
    let node = Node::start()?;
    let exists = |link: &str| node.namespace().ip(["link", "show", link]).is_ok();
    node.agent(&["--enable-mirror", "--mirror-iface=old0"])?.kill()?;
    assert!(exists("old0") && exists("old0-drain"));
    // Somebody else's port does not matter, nor one that has become a Pod's.
    node.vsctl("add-port br-int span0 -- set Interface span0 type=internal".split(' '))?;
    let mark = "external_ids:owner=ofmirror";
    node.vsctl(["set", "Port", node.pod("e").interface(), mark])?;
    let agent = node.agent(&["--enable-mirror"])?;
    await_right(&node, &agent, MIRROR)?;
    until("the old mirror port to go", || {
        Ok((!exists("old0") && !exists("old0-drain")).then_some(()))
    })?;
    let ports = node.vsctl(["list-ports", "br-int"])?;
    assert!(!ports.contains("old0"), "{ports}");
    assert!(ports.contains("span0") && ports.contains(node.pod("e").interface()), "{ports}");
    assert_copies_are_exact(&node, MIRROR)?;

    // An agent that knows nothing of the port leaves it and its bridge alone when it ends.
    let nowhere = "unix:/nowhere";
    let other = node.launch_agent(&["--ovsdb", nowhere, "--openflow", nowhere])?;
    other.await_listening()?;
    other.stop()?;
    assert!(exists("mirror0-drain"), "another agent's bridge went");
    agent.stop()?;
    assert!(!exists("mirror0-drain") && !exists(MIRROR));
    Ok(())
}

/// The log tells what has lasted for a while.
fn await_log(agent: &Agent<'_>, text: &str) -> Result {
    until(&format!("{text} in the log"), || Ok(agent.log()?.contains(text).then_some(())))
        .map_err(|error| error.context(agent.log().unwrap_or_default()))
}

/// A NIC of the host, with a far end where its frames arrive.
fn add_nic(node: &Node, name: &str) -> Result {
    let far = format!("{name}-far");
    node.namespace().ip(["link", "add", name, "type", "veth", "peer", "name", &far])?;
    let quiet = format!("net.ipv6.conf.{far}.disable_ipv6=1");
    node.namespace().program("sysctl").args(["-q", "-w", &quiet]).run()?;
    for end in [name, &far] {
        node.namespace().ip(["link", "set", end, "up"])?;
    }
    Ok(())
}
