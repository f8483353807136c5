//! The agent does its work with the rights that `deploy/` gives it, and needs each of them.

use std::{fs, os::unix::fs::chown};

use anyhow::Context as _;
use lab::{Agent, Cluster, EVERYONE, Node, Result, Service, until};

/// Each folder of `deploy/` that an operator applies, the NIC that it mirrors to, and who owns the sockets of Open vSwitch
/// on nodes that it is for.
const FOLDERS: [(&str, &str, u32); 3] = [
    ("", "mirror0", 0),
    ("overlays/kube-ovn", "ofmirror0", 65_534),
    ("overlays/ovn-kubernetes", "mirror0", 800),
];
/// What is mirrored does not matter here.
const ALL: [&str; 2] = ["--pod-source=ovsdb", "--enable-mirror"];
/// The numbers of capabilities (linux/capability.h).
const NUMBERS: [(&str, u32); 2] = [("DAC_OVERRIDE", 1), ("NET_ADMIN", 12)];

fn give_sockets_to(node: &Node, owner: u32) -> Result {
    for socket in ["db.sock", "br-int.mgmt"] {
        chown(node.run_folder().join(socket), Some(owner), Some(owner))?;
    }
    Ok(())
}

/// A file of the agent's own in /proc.
fn proc(agent: &Agent<'_>, file: &str) -> Result<String> {
    let path = format!("/proc/{}/{file}", agent.pid()?);
    fs::read_to_string(&path).context(path)
}

/// The capabilities that it has, by a line of its status.
fn capabilities(agent: &Agent<'_>, kind: &str) -> Result<u64> {
    let status = proc(agent, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(kind));
    Ok(u64::from_str_radix(line.with_context(|| status.clone())?.trim(), 16)?)
}

#[test]
fn the_agent_does_its_work_with_the_rights_of_each_folder_and_no_others() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    for (folder, nic, owner) in FOLDERS {
        cluster.apply_deploy(folder)?;
        let set = cluster.daemon_set()?;
        give_sockets_to(&node, owner)?;
        let agent = cluster.launch_container(&set, &ALL)?;
        agent.await_ready().context(folder)?;

        let given = set.capabilities()?;
        let numbers = NUMBERS.iter().filter(|(name, _)| given.contains(name));
        let bits = numbers.fold(0_u64, |bits, (_, number)| bits | 1 << number);
        assert_eq!(bits.count_ones() as usize, given.len(), "{given:?}");
        for kind in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(capabilities(&agent, kind)?, bits, "{folder}: {kind}");
        }
        assert_eq!(capabilities(&agent, "NoNewPrivs:")?, 1);
        let mounts = proc(&agent, "mounts")?;
        for place in ["/", "/proc/sys", &node.run_folder().display().to_string()] {
            let mut on_it = mounts.lines().filter(|line| line.split(' ').nth(1) == Some(place));
            let last = on_it.next_back().with_context(|| format!("{place} in {mounts}"))?;
            assert_eq!(last.split([' ', ',']).nth(3), Some("ro"), "{last}");
        }

        let capture = node.capture_at(nic, &EVERYONE)?;
        node.say_everything()?;
        capture.finish()?.assert_exact();
        // /proc/sys is read-only, so IPv6 is still on, but has no address to speak with, and gets no copy.
        assert_eq!(node.namespace().ip(["-oneline", "address", "show", nic])?, "");
        agent.stop()?;
        assert_eq!(node.our_flows()?, [""; 0]);
        assert!(!node.vsctl(["list-ports", "br-int"])?.contains(nic));
    }
    Ok(())
}

#[test]
fn without_any_one_of_its_capabilities_the_agent_is_not_ready_and_says_why() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    for (folder, _, owner) in FOLDERS {
        cluster.apply_deploy(folder)?;
        let set = cluster.daemon_set()?;
        give_sockets_to(&node, owner)?;
        for capability in set.capabilities()? {
            let words = match capability {
                "NET_ADMIN" => "this needs CAP_NET_ADMIN",
                _ => "Permission denied",
            };
            let agent = cluster.launch_container(&set.clone().without(capability), &ALL)?;
            until(&format!("the agent to say {words:?} without {capability}"), || {
                agent.alive()?;
                let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
                assert_eq!(answer.status, 503, "{folder} without {capability}: ready");
                Ok(answer.body.contains(words).then_some(()))
            })
            .with_context(|| agent.log().unwrap_or_default())?;
            agent.stop()?;
        }
    }
    Ok(())
}

#[test]
fn without_the_hosts_processes_all_works_but_what_mirroring_costs_and_that_is_said_once() -> Result
{
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy("")?;
    let agent = cluster.launch_container_apart(&cluster.daemon_set()?, &ALL)?;
    agent.await_ready()?;
    let capture = node.capture(&EVERYONE)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    let lines = |agent: &Agent<'_>| -> Result<usize> {
        let log = agent.log()?;
        let said: Vec<_> = log.lines().filter(|line| line.contains("processor time")).collect();
        assert!(said.iter().all(|line| line.contains(" INFO ")), "{said:?}");
        assert!(said.iter().all(|line| line.contains("deploy/components/cpu-metrics")), "{said:?}");
        Ok(said.len())
    };
    until("it to be said", || Ok((lines(&agent)? > 0).then_some(())))?;
    // Another process each time; the ports are read again when hooks are back.
    for _ in 0..2 {
        node.restart(Service::Vswitchd)?;
        agent.await_ready()?;
        let read = agent.metric("ofmirror_switched_packets_total")?;
        until("the ports to be read", || {
            // OVN may not be done yet.
            let _ = node.pod("a").ping(node.pod("c").ip4());
            Ok((agent.metric("ofmirror_switched_packets_total")? > read).then_some(()))
        })?;
    }
    assert_eq!(lines(&agent)?, 1, "{}", agent.log()?);
    let metrics = agent.get("/metrics")?.context("it does not listen")?.body;
    for absent in ["\nofmirror_cpu_overhead_ratio ", "\nofmirror_datapath_cpu_seconds_total{"] {
        assert!(!metrics.contains(absent), "{metrics}");
    }
    Ok(())
}

#[test]
fn an_agent_whose_folder_of_sockets_was_made_anew_ends_so_that_its_next_container_sees_the_new_one()
-> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy("")?;
    let agent = cluster.launch_container(&cluster.daemon_set()?, &ALL)?;
    agent.await_ready()?;
    // As systemd does it when Open vSwitch stops and starts.
    node.kill(Service::Vswitchd)?;
    node.kill(Service::Ovsdb)?;
    fs::rename(node.run_folder(), node.folder().join("old"))?;
    fs::create_dir(node.run_folder())?;
    fs::remove_dir_all(node.folder().join("old"))?;
    until("the agent to end", || Ok(agent.alive().is_err().then_some(())))?;
    let (status, log) = agent.await_end()?;
    assert!(!status.success(), "{log}");
    assert!(log.contains("was removed, and is still mounted here"), "{log}");
    Ok(())
}
