//! Whose a port is: a name that is stale, contradictory or used twice never has somebody else's packets copied.

use lab::{Agent, Cluster, Node, PortName, Result, until};

const MIRROR: &str = "ovn.kubernetes.io/mirror";
const TRUE: &[(&str, &str)] = &[(MIRROR, "true")];

/// Has a Pod of the lab's own mirrored, so that whatever was said before has been heard; then only these ports are.
struct Barrier<'a> {
    cluster: &'a Cluster<'a>,
    agent: &'a Agent<'a>,
}

impl Barrier<'_> {
    /// Waits until the agent has heard all that was said of Pods, and has copies made of these ports and no others.
    fn await_hooked(&self, ports: &[&str]) -> Result {
        let node = self.cluster.node();
        let with_d: Vec<_> = ports.iter().chain(&["d_h"]).copied().collect();
        self.cluster.annotate_pod("default", "d", &format!("{MIRROR}=true"))?;
        node.await_hooked(self.agent, &with_d)?;
        self.cluster.annotate_pod("default", "d", &format!("{MIRROR}-"))?;
        node.await_hooked(self.agent, ports)
    }
}

#[test]
fn a_pod_that_was_made_again_is_not_mirrored_by_the_port_of_the_one_that_had_its_name() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_pod("default", "d", &[])?;
    let former = cluster.create_pod("default", "b", TRUE)?;
    node.name_port("b", &PortName::ovn_kubernetes("default", "b", &former))?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let barrier = Barrier { cluster: &cluster, agent: &agent };
    barrier.await_hooked(&["b_h"])?;
    assert_eq!(cluster.await_event("default", "b", "MirrorStarted")?.uid, former);

    // As a StatefulSet does: the next one is there before the CNI has taken the port of the former away.
    cluster.delete_pod("default", "b")?;
    let next = cluster.create_pod("default", "b", TRUE)?;
    assert_ne!(former, next);
    barrier.await_hooked(&[])?;
    let capture = node.watch(&["b"])?;
    node.pod("a").ping(node.pod("b").ip4())?;
    assert_eq!(capture.copies()?.len(), 0, "packets of a Pod that nobody annotated");
    drop(capture);
    let event = cluster.await_event("default", "b", "MirrorRefused")?;
    assert!(event.uid == next && event.message.contains("it has no port on br-int"), "{event:?}");

    node.name_port("b", &PortName::ovn_kubernetes("default", "b", &next))?;
    barrier.await_hooked(&["b_h"])?;
    let capture = node.capture(&["b"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn a_port_whose_names_contradict_each_other_or_is_one_of_two_is_not_mirrored() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_pod("default", "d", &[])?;
    for pod in ["a", "b", "c"] {
        cluster.create_pod("default", pod, TRUE)?;
    }
    // Names of different ages: the logical port is another Pod's than the one that is named.
    let whole = PortName::kube_ovn("default", "c");
    node.name_port("c", &whole.clone().with("pod_name", "a"))?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let barrier = Barrier { cluster: &cluster, agent: &agent };
    barrier.await_hooked(&["a_h", "b_h"])?;
    node.name_port("c", &whole)?;
    barrier.await_hooked(&["a_h", "b_h", "c_h"])?;

    // b is plugged anew while a port of its former life is there. OVN 23.03 takes the newer one, and leaves its mark
    // on both, so nobody can tell whose packets come from which.
    node.add_interface("former_h", &PortName::kube_ovn("default", "b"))?;
    let anew = node.replug_pod("b")?.interface().to_owned();
    until("OVN's mark on both", || {
        let ids = "--columns=external_ids list Interface former_h".split(' ').chain([&*anew]);
        let marks = node.vsctl(ids)?.matches("ovn-installed=\"true\"").count();
        Ok((marks == 2).then_some(()))
    })?;
    barrier.await_hooked(&["a_h", "c_h"])?;
    let event = cluster.await_event("default", "b", "MirrorRefused")?;
    let said = format!("several ports claim to be its: {anew}, former_h");
    assert!(event.kind == "Warning" && event.message.contains(&said), "{event:?}");

    // Once it has it on one of them, that one is b's, though the other still says so too.
    node.vsctl(["remove", "Interface", "former_h", "external_ids", "ovn-installed"])?;
    barrier.await_hooked(&["a_h", &anew, "c_h"])?;
    let capture = node.capture(&["a", "b", "c"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    agent.stop()
}

#[test]
fn a_virtual_machine_is_mirrored_by_its_launchers_annotation_and_a_port_of_plain_ovn_by_its_name()
-> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_pod("default", "d", &[])?;
    let launcher = "virt-launcher-vm1-x7k2p";
    cluster.create_launcher("default", launcher, "vm1", &[])?;
    node.name_port("b", &PortName::kube_ovn("default", "vm1"))?;
    // "shop_web.lab" of plain OVN may be Pod web.lab of namespace shop, or Pod shop_web of lab, which can't be a name.
    cluster.create_namespace("shop")?;
    node.name_port("c", &PortName::plain("shop_web.lab"))?;

    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let barrier = Barrier { cluster: &cluster, agent: &agent };
    barrier.await_hooked(&[])?;
    cluster.annotate_pod("default", launcher, &format!("{MIRROR}=true"))?;
    barrier.await_hooked(&["b_h"])?;
    cluster.create_pod("shop", "web.lab", TRUE)?;
    barrier.await_hooked(&["b_h", "c_h"])?;
    let capture = node.capture(&["b", "c"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();
    cluster.await_event("default", launcher, "MirrorStarted")?;
    agent.stop()
}

#[test]
fn nobody_stops_the_mirroring_of_a_virtual_machine_by_calling_himself_its_pod() -> Result {
    const FALSE: &[(&str, &str)] = &[(MIRROR, "false")];
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    cluster.create_pod("default", "d", &[])?;
    let launcher = "virt-launcher-vm1-x7k2p";
    cluster.create_launcher("default", launcher, "vm1", TRUE)?;
    node.name_port("b", &PortName::kube_ovn("default", "vm1"))?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    let barrier = Barrier { cluster: &cluster, agent: &agent };
    barrier.await_hooked(&["b_h"])?;

    let first = cluster.created("default", launcher)?;
    until("a Pod with a forged owner that came a second later", || {
        cluster.create_launcher("default", "forged", "vm1", FALSE)?;
        if cluster.created("default", "forged")? > first {
            return Ok(Some(()));
        }
        cluster.delete_pod("default", "forged").map(|()| None)
    })?;
    cluster.create_pod("default", "vm1", FALSE)?;
    barrier.await_hooked(&["b_h"])?;
    let capture = node.capture(&["b"])?;
    node.say_everything()?;
    capture.finish()?.assert_exact();

    // Now it is open which of those that are left has the port, and that is told.
    cluster.delete_pod("default", launcher)?;
    cluster.create_launcher("default", launcher, "vm1", TRUE)?;
    barrier.await_hooked(&[])?;
    let event = cluster.await_event("default", launcher, "MirrorRefused")?;
    assert!(event.message.contains("port b_h may as well be that of default/"), "{event:?}");
    until("a degraded agent", || {
        let Some(answer) = agent.get("/readyz")? else { return Ok(None) };
        let told = format!("degraded: default/{launcher}: port b_h may as well be that of");
        Ok((answer.status == 200 && answer.body.contains(&told)).then_some(()))
    })?;
    agent.stop()
}
