//! What people see who look from within the agent's Pod: names as Kubernetes has them, and whether it answers.

use std::collections::BTreeSet;

use lab::{Cluster, Component, Node, Output, PortName, Result};
use serde_json::Value;

const MIRROR: &str = "ovn.kubernetes.io/mirror";
const LAUNCHER: &str = "virt-launcher-vm1-x7k2p";

fn json(output: &Output) -> Result<Value> {
    Ok(serde_json::from_str(&output.stdout)?)
}

/// The values of a field of all objects in a list, those that are none left out.
fn all<'a>(list: &'a Value, field: &str) -> BTreeSet<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

#[test]
fn names_are_those_of_kubernetes_and_an_api_server_that_is_away_is_told() -> Result {
    let node = Node::start()?;
    let cluster = Cluster::start(&node)?;
    let account = cluster.deploy()?;
    // One as OVN-Kubernetes names it, one of KubeVirt on Kube-OVN, and one that is not mirrored.
    let uid = cluster.create_pod("default", "a", &[(MIRROR, "true")])?;
    node.name_port("a", &PortName::ovn_kubernetes("default", "a", &uid))?;
    cluster.create_namespace("shop")?;
    cluster.create_launcher("shop", LAUNCHER, "vm1", &[])?;
    cluster.annotate_pod("shop", LAUNCHER, &format!("{MIRROR}=true"))?;
    node.name_port("b", &PortName::kube_ovn("shop", "vm1"))?;
    cluster.create_pod("default", "d", &[])?;
    let agent = cluster.agent(&account, &[], &["--node-name", node.name()])?;
    node.await_hooked(&agent, &["a_h", "b_h"])?;
    let ofmirror = |args: &[&str]| cluster.ofmirror(&account, &agent, args);

    let status = ofmirror(&["status", "-o", "json"])?;
    let report = json(&status)?;
    assert!(status.status.success() && report["well"] == true, "{report:#}");
    assert_eq!(all(&report["taps"], "namespace"), ["default", "shop"].into());
    assert_eq!(all(&report["taps"], "pod"), ["a", LAUNCHER].into());
    let kubernetes = &report["kubernetes"];
    assert_eq!(kubernetes["connected"], true);
    assert_eq!(kubernetes["node"], node.name());
    assert_eq!(kubernetes["pods"], 3);
    let table = ofmirror(&["status"])?.stdout;
    for (pod, port) in [("default/a", "a_h"), (&*format!("shop/{LAUNCHER}"), "b_h")] {
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(lines.any(|words| words.starts_with(&[pod, port])), "{pod}: {table}");
    }
    assert!(table.contains("2 Pods mirrored, 3 not."), "{table}");

    let flows = ofmirror(&["flows", "-o", "json"])?;
    let report = json(&flows)?;
    assert!(flows.status.success() && report["in_sync"] == true, "{report:#}");
    let names: BTreeSet<_> = ["default/a".to_owned(), format!("shop/{LAUNCHER}")].into();
    let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
    for list in ["observed", "desired"] {
        assert_eq!(all(&report[list], "pod"), names, "{list}");
    }
    let doctor = ofmirror(&["doctor"])?;
    let found = format!("https://127.0.0.1:6443/ answers; Pods on node {}: 3", node.name());
    assert!(doctor.status.success() && doctor.stdout.contains(&found), "{doctor:?}");

    cluster.kill(Component::ApiServer)?;
    let away = "no answer about Pods: ";
    let status = ofmirror(&["status", "-o", "json"])?;
    let report = json(&status)?;
    assert_eq!(status.status.code(), Some(1), "{report:#}");
    assert_eq!(report["kubernetes"]["connected"], false);
    let problems = report["problems"].to_string();
    assert!(problems.contains(&format!("Kubernetes: {away}")), "{problems}");
    assert!(problems.contains("Connection refused"), "{problems}");
    let status = ofmirror(&["status"])?;
    assert_eq!(status.status.code(), Some(1));
    assert!(status.stdout.contains(&format!("Kubernetes: {away}")), "{}", status.stdout);
    let doctor = ofmirror(&["doctor"])?;
    assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains(&format!("https://127.0.0.1:6443/: {away}")), "{doctor:?}");
    // What can't be known is not made up.
    for unknown in ["pods_mirrored", "pods_not_mirrored", "flows"] {
        assert!(report[unknown].is_null(), "{unknown}: {report:#}");
    }
    assert!(report["kubernetes"]["pods"].is_null(), "{report:#}");
    assert!(!status.stdout.contains("mirrored, "), "{}", status.stdout);
    let skipped = "5 ports of Pods on the bridge; Kubernetes does not say whose";
    assert!(doctor.stdout.contains(skipped), "{}", doctor.stdout);
    let flows = json(&ofmirror(&["flows", "-o", "json"])?)?;
    assert!(flows["in_sync"].is_null() && flows["desired"].is_null(), "{flows:#}");
    agent.stop()
}
