//! The life of a node in the lab: Pods come and go, daemons end and start again, and nothing stays.

use std::{fs, path::Path};

use lab::{Node, PodSpec, Proto, Result, SWITCHES, Service, until};

#[test]
fn pods_speak_again_after_each_daemon_was_killed() -> Result {
    let node = Node::start()?;
    for service in [Service::Controller, Service::Vswitchd, Service::Ovsdb, Service::Northd] {
        node.restart(service)?;
        // The switch has its ports before OVN has brought all of its flows back.
        lab::until("OVN's flows to be back", || {
            Ok((!node.dump_flows("table=0")?.is_empty()).then_some(()))
        })?;
        node.sync()?;
        for ip in node.pod("c").ips() {
            node.pod("a").ping(ip)?;
        }
    }
    Ok(())
}

#[test]
fn a_daemon_that_dies_by_itself_is_named() -> Result {
    let node = Node::start_bare()?;
    let pid = fs::read_to_string(node.run_folder().join("ovs-vswitchd.pid"))?;
    // The lab does not know of this kill.
    node.program("kill").args(["-ABRT", pid.trim()]).run()?;
    let error = lab::until("the death", || Ok(node.alive().err()))?;
    assert!(format!("{error:#}").contains("ovs-vswitchd died by itself (signal: 6"), "{error:#}");
    std::mem::forget(node); // it would complain again
    Ok(())
}

#[test]
fn a_pod_comes_goes_and_comes_again_under_another_port_number() -> Result {
    let node = Node::start()?;
    let new = node.add_pod(&PodSpec::new("f", &SWITCHES[1], 16))?;
    node.pod("a").ping(new.ip6())?;

    let before = node.ofport(new.interface())?;
    let again = node.replug_pod("f")?;
    assert_ne!(node.ofport(again.interface())?, before);
    let _server = again.serve(Proto::Tcp, 80)?;
    node.pod("b").exchange(Proto::Tcp, again.ip4(), 80, 10_000)?;

    node.remove_pod("f")?;
    assert!(node.ofport(again.interface()).is_err());
    assert!(node.pods().iter().all(|pod| pod.name() != "f"));
    Ok(())
}

#[test]
fn the_annotation_is_set_and_taken_back() -> Result {
    let node = Node::start()?;
    let ids = || node.vsctl(["get", "Interface", node.pod("a").interface(), "external_ids"]);
    let before = ids()?;
    node.annotate("a")?;
    assert!(ids()?.contains(r#""ovn.kubernetes.io/mirror"="true""#), "{}", ids()?);
    node.unannotate("a")?;
    assert_eq!(ids()?, before);
    Ok(())
}

#[test]
fn five_hundred_ports_are_delivered_to() -> Result {
    let node = Node::start()?;
    node.add_bare_ports(500)?;
    for index in [0, 250, 499] {
        let port = node.ofport(&format!("bare{index}"))?;
        until("OVN to deliver to it by one flow", || {
            let flows = node.dump_flows(&format!("out_port={port}"))?;
            Ok((flows.len() == 1).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn two_nodes_live_side_by_side_and_leave_nothing() -> Result {
    let (one, two) = (Node::start()?, Node::start()?);
    assert_ne!(one.name(), two.name());
    one.pod("a").ping(one.pod("b").ip4())?;
    two.pod("a").ping(two.pod("b").ip4())?;
    let (folder, name) = (two.folder().to_owned(), two.name().to_owned());
    drop(two);
    assert!(!folder.exists());
    assert!(!Path::new("/run/netns").join(&name).exists());
    assert!(!Path::new("/run/netns").join(format!("{name}-a")).exists());
    one.pod("a").ping(one.pod("b").ip4())
}

#[test]
fn a_program_inside_of_a_pod_sees_only_its_own_network() -> Result {
    let node = Node::start()?;
    let links = node.pod("a").program("ip").args(["-brief", "link"]).run()?;
    assert_eq!(links.lines().count(), 2, "lo and eth0: {links}");
    Ok(())
}
