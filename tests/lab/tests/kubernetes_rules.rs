//! Whose packets are copied: what Pods, namespaces and the operator say, and who of them prevails; and what people are
//! told when they ask in vain.

use lab::{Cluster, Event, Node, PortName, Result};

const MIRROR: &str = "ovn.kubernetes.io/mirror";
const NET1: &str = "net1.infra.ovn.kubernetes.io/mirror";

/// Everything is said, and the frames of these Pods are copied, each exactly once, and no others.
fn assert_copied(node: &Node, pods: &[&str]) -> Result {
    let capture = node.capture(pods)?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    Ok(())
}

/// Annotations as `kubectl annotate` takes them.
fn says(value: &str) -> String {
    format!("{MIRROR}={value}")
}

#[test]
fn pods_and_namespaces_say_who_is_copied_and_the_pod_has_the_last_word() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    // Two Pods of the namespace shop, and a second NIC of Pod a.
    cluster.create_namespace("shop")?;
    cluster.annotate_namespace("shop", &says("true"))?;
    for pod in ["b", "c"] {
        node.name_port(pod, &PortName::kube_ovn("shop", pod))?;
    }
    node.name_port("e", &PortName::kube_ovn("default", "a").on("net1.infra"))?;
    // All are there before the agent is.
    cluster.create_pod("default", "a", &[(MIRROR, "true")])?;
    cluster.create_pod("shop", "b", &[])?;
    cluster.create_pod("shop", "c", &[(MIRROR, "false")])?;
    cluster.create_pod("default", "d", &[(MIRROR, "yes")])?;
    cluster.create_host_pod("default", "host", &[(MIRROR, "true")])?;

    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    node.await_hooked(&agent, &["a_h", "b_h"])?;
    assert_copied(&node, &["a", "b"])?;

    // A NIC on another network has an annotation of its own; a value that is no value changes nothing.
    cluster.annotate_pod("default", "a", &format!("{MIRROR}-"))?;
    cluster.annotate_pod("default", "a", &format!("{NET1}=true"))?;
    cluster.annotate_pod("shop", "b", &says("True"))?;
    node.await_hooked(&agent, &["b_h", "e_h"])?;
    assert_copied(&node, &["b", "e"])?;

    // A Pod's "false" is for all of it, but for what it says of a NIC itself.
    cluster.annotate_namespace("default", &format!("{NET1}=true"))?;
    cluster.annotate_pod("default", "a", &says("false"))?;
    cluster.annotate_pod("shop", "c", &format!("{MIRROR}-"))?;
    node.await_hooked(&agent, &["b_h", "c_h", "e_h"])?;
    cluster.annotate_pod("default", "a", &format!("{NET1}-"))?;
    node.await_hooked(&agent, &["b_h", "c_h"])?;
    cluster.annotate_namespace("shop", &format!("{MIRROR}-"))?;
    node.await_hooked(&agent, &[])?;

    // Whoever asked in vain was told, once.
    for (namespace, pod, value) in [("default", "d", "yes"), ("shop", "b", "True")] {
        let event = cluster.await_event(namespace, pod, "MirrorAnnotationInvalid")?;
        let said = format!("{MIRROR}=\"{value}\" on it or its Namespace is ignored");
        assert!(event.kind == "Warning" && event.message.contains(&said), "{event:?}");
    }
    let event = cluster.await_event("default", "host", "MirrorRefused")?;
    let said = "it has no port on br-int for the cluster's network; a Pod with hostNetwork";
    assert!(event.kind == "Warning" && event.message.contains(said), "{event:?}");
    // The Namespace asked for a NIC that they don't have, which they are told too, if that lasted long enough.
    for (pod, reason) in [("d", "MirrorAnnotationInvalid"), ("host", "MirrorRefused")] {
        let events = cluster.events("default", pod)?;
        let about_it = |event: &&Event| event.reason == reason && !event.message.contains("net1");
        let told: Vec<_> = events.iter().filter(about_it).collect();
        assert!(told.len() == 1 && told[0].count == 1, "{events:?}");
    }
    agent.stop()
}

#[test]
fn the_operator_may_mirror_all_pods_and_no_annotation_brings_in_a_namespace_that_is_out() -> Result
{
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_namespace("quiet")?;
    cluster.annotate_namespace("quiet", &says("false"))?;
    node.name_port("b", &PortName::kube_ovn("kube-system", "b"))?;
    for pod in ["c", "e"] {
        node.name_port(pod, &PortName::kube_ovn("quiet", pod))?;
    }
    cluster.create_pod("default", "a", &[])?;
    cluster.create_pod("kube-system", "b", &[(MIRROR, "true")])?;
    cluster.create_pod("quiet", "c", &[])?;
    cluster.create_pod("default", "d", &[(MIRROR, "false")])?;
    cluster.create_pod("quiet", "e", &[(MIRROR, "true")])?;

    let of_this_node = ["--node-name", node.name()];
    let agent = |args: &[&str]| cluster.agent(&account, &[], &[&of_this_node, args].concat());
    let everyone = agent(&["--enable-mirror=true"])?;
    node.await_hooked(&everyone, &["a_h", "e_h"])?;
    assert_copied(&node, &["a", "e"])?;
    let event = cluster.await_event("kube-system", "b", "MirrorRefused")?;
    let said = "namespace kube-system is denied by --deny-namespaces of the node's ofmirror";
    assert!(event.kind == "Warning" && event.message.contains(said), "{event:?}");
    let refused = |reason: &str| format!("ofmirror_pods_refused{{reason=\"{reason}\"}}");
    assert_eq!(everyone.metric(&refused("NamespaceDenied"))?, 1.0);
    everyone.stop()?;

    let only_default = agent(&["--allow-namespaces=default", "--enable-mirror=true"])?;
    node.await_hooked(&only_default, &["a_h"])?;
    let event = cluster.await_event("quiet", "e", "MirrorRefused")?;
    let said = "namespace quiet is not one of --allow-namespaces of the node's ofmirror";
    assert!(event.kind == "Warning" && event.message.contains(said), "{event:?}");
    assert_eq!(only_default.metric(&refused("NamespaceNotAllowed"))?, 2.0);
    only_default.stop()?;

    let whoever_asks = agent(&["--deny-namespaces="])?;
    node.await_hooked(&whoever_asks, &["b_h", "e_h"])?;
    assert_copied(&node, &["b", "e"])?;
    whoever_asks.stop()
}
