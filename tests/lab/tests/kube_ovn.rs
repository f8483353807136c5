//! Beside Kube-OVN, which keeps a mirror of its own on each node and reads the same annotation. What kube-ovn-cni does
//! is done here by the commands that it runs (pkg/daemon/ovs.go and pkg/ovs/ovs-vsctl.go of Kube-OVN 1.16).

use lab::{EVERYONE, Node, Result, until};

/// The NIC of the overlay for Kube-OVN.
const OURS: &str = "--mirror-iface=ofmirror0";

/// kube-ovn-cni starts, with this `--mirror-iface`: `selection` is empty for `--enable-mirror=false`.
fn start_cni(node: &Node, nic: &str, selection: &str) -> Result {
    let command = format!(
        "--may-exist add-port br-int {nic} -- set interface {nic} type=internal \
         -- clear bridge br-int mirrors -- --id=@mirror0 get port {nic} \
         -- --id=@m create mirror name=m0 {selection} output_port=@mirror0 \
         -- add bridge br-int mirrors @m"
    );
    node.vsctl(command.split_whitespace())?;
    node.namespace().ip(["link", "set", nic, "up"])?;
    Ok(())
}

/// kube-ovn-cni sees a Pod's annotation say "true".
fn cni_sees_annotation(node: &Node, pod: &str) -> Result {
    let port = node.vsctl(["get", "port", node.pod(pod).interface(), "_uuid"])?;
    node.vsctl(["add", "mirror", "m0", "select_dst_port", port.trim()])?;
    Ok(())
}

#[test]
fn annotated_pods_are_copied_once_to_a_nic_of_ours_whatever_kube_ovn_copies_to_mirror0() -> Result {
    let node = Node::start()?;
    start_cni(&node, "mirror0", "")?;
    let agent = node.agent(&[OURS])?;
    for pod in ["a", "c"] {
        cni_sees_annotation(&node, pod)?;
        node.annotate(pod)?;
    }
    let copied = || -> Result {
        until("both Pods to be mirrored", || {
            let both = agent.metric("ofmirror_pods_mirrored")? == 2.0;
            Ok((both && agent.is_ready()?).then_some(()))
        })?;
        let capture = node.capture_at("ofmirror0", &["a", "c"])?;
        node.say_everything()?;
        capture.finish()?.assert_exact();
        Ok(())
    };
    copied()?;
    // Its restart empties its own mirror only.
    start_cni(&node, "mirror0", "")?;
    copied()?;
    agent.stop()?;
    let ports = node.vsctl(["list-ports", "br-int"])?;
    assert!(ports.lines().any(|port| port == "mirror0"), "Kube-OVN's port went: {ports}");
    assert!(!ports.contains("ofmirror0"), "ours is left: {ports}");
    assert_eq!(node.vsctl("--bare --columns=name list Mirror".split(' '))?.trim(), "m0");
    Ok(())
}

#[test]
fn both_can_mirror_all_pods_at_once_each_to_its_nic() -> Result {
    let node = Node::start()?;
    start_cni(&node, "mirror0", "select_all=true")?;
    let agent = node.agent(&["--enable-mirror", OURS])?;
    let capture = node.capture_at("ofmirror0", &EVERYONE)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn mirror0_is_ours_once_kube_ovn_mirrors_to_another_nic() -> Result {
    let node = Node::start()?;
    start_cni(&node, "mirror0", "")?;
    cni_sees_annotation(&node, "a")?;
    node.annotate("a")?;
    let agent = node.launch_agent(&[])?;
    until("the agent to say that m0 is in its way", || {
        agent.alive()?;
        let answer = agent.get("/readyz")?;
        Ok(answer.filter(|answer| answer.body.contains("Mirror record \"m0\"")).map(drop))
    })?;
    assert!(node.hooks()?.is_empty(), "copies come twice");

    // What --mirror-iface=kube-ovn0 makes of it; mirror0 stays as a port that no Mirror record knows, so it might be anybody's.
    start_cni(&node, "kube-ovn0", "")?;
    until("the agent to say that mirror0 may carry traffic", || {
        let answer = agent.get("/readyz")?;
        Ok(answer
            .filter(|answer| answer.body.contains("external_ids:ofmirror-sink=true"))
            .map(drop))
    })?;
    // deploy/MIGRATING.md says so.
    node.vsctl(["set", "Port", "mirror0", "external_ids:ofmirror-sink=true"])?;
    agent.await_ready()?;
    cni_sees_annotation(&node, "a")?;
    let capture = node.capture(&["a"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    agent.stop()
}
