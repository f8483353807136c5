//! What `kubectl apply -k` makes of each folder of `deploy/`, as a real API server has it.

use std::net::IpAddr;

use anyhow::Context as _;
use lab::{Cluster, DaemonSet, Node, Result, until};
use serde_json::{Value, json};

/// Each folder that an operator applies, and the capabilities that it adds.
const FOLDERS: [(&str, &[&str]); 3] = [
    ("", &["NET_ADMIN"]),
    ("overlays/kube-ovn", &["NET_ADMIN", "DAC_OVERRIDE"]),
    ("overlays/ovn-kubernetes", &["NET_ADMIN", "DAC_OVERRIDE"]),
];
const NAMESPACE: &str = "ofmirror-system";

fn get(cluster: &Cluster<'_>, kind: &str, name: &str) -> Result<Value> {
    let object = cluster.kubectl(["get", kind, "-n", NAMESPACE, name, "-o", "json"])?;
    Ok(serde_json::from_str(&object)?)
}

/// The value of a variable of the agent's container.
fn variable(set: &DaemonSet, name: &str) -> Result<String> {
    let list = set.at("/containers/0/env")?.as_array().context("no list")?;
    let found = list.iter().find(|entry| entry["name"] == name).with_context(|| name.to_owned())?;
    Ok(found["value"].as_str().with_context(|| format!("{found} has no value"))?.to_owned())
}

#[test]
fn the_agents_container_is_confined_in_each_folder() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    for (folder, capabilities) in FOLDERS {
        cluster.apply_deploy(folder)?;
        let set = cluster.daemon_set()?;
        assert_eq!(
            set.at("/containers/0/securityContext")?,
            &json!({
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": capabilities},
            }),
            "{folder}"
        );
        assert_eq!(set.at("/containers")?.as_array().map(Vec::len), Some(1));
        assert_eq!(set.at("/securityContext/seccompProfile")?, &json!({"type": "RuntimeDefault"}));
        assert_eq!(set.at("/hostNetwork")?, true);
        for shared in ["/hostPID", "/hostIPC", "/shareProcessNamespace", "/initContainers"] {
            assert!(set.at(shared).is_err(), "{folder}: {shared}");
        }
        // One folder of the host, and that read-only.
        assert_eq!(set.at("/volumes")?.as_array().map(Vec::len), Some(1));
        assert_eq!(
            set.at("/volumes/0/hostPath")?,
            &json!({"path": "/var/run/openvswitch", "type": "Directory"})
        );
        let mounts = set.at("/containers/0/volumeMounts")?;
        let expected = json!([
            {"name": "openvswitch", "mountPath": "/var/run/openvswitch", "readOnly": true}
        ]);
        assert_eq!(mounts, &expected);

        let image = format!("ofmirror:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(set.at("/containers/0/image")?, &json!(image));
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let get = set.at(&format!("/containers/0/{probe}/httpGet"))?;
            assert_eq!(get["path"], path);
            let host = get["host"].as_str().context("no host")?;
            let asked = format!("{host}:{}", get["port"]);
            assert_eq!(asked, variable(&set, "OFMIRROR_STATUS_ADDR")?);
            assert!(host.parse::<IpAddr>()?.is_loopback(), "{host}");
        }
        for bound in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                set.at(&format!("/containers/0/resources/{bound}/{resource}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_agent_sees_the_hosts_processes_only_with_the_component_for_that() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy_with("overlays/ovn-kubernetes", &["cpu-metrics"])?;
    assert_eq!(cluster.daemon_set()?.at("/hostPID")?, true);
    cluster.apply_deploy("overlays/ovn-kubernetes")?;
    assert!(cluster.daemon_set()?.at("/hostPID").is_err());
    Ok(())
}

#[test]
fn the_agents_service_account_may_read_pods_and_namespaces_write_events_and_no_more() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy("")?;
    assert_eq!(
        get(&cluster, "clusterrole", "ofmirror")?["rules"],
        json!([
            {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ])
    );
    let may = |verb: &str, resource: &str| -> Result<bool> {
        let who = format!("--as=system:serviceaccount:{NAMESPACE}:ofmirror");
        let question = cluster.kubectl_command(["auth", "can-i", verb, resource, "-A", &who]);
        Ok(question.output()?.stdout.trim() == "yes")
    };
    for (verb, resource) in [
        ("list", "pods"),
        ("watch", "pods"),
        ("list", "namespaces"),
        ("watch", "namespaces"),
        ("create", "events.events.k8s.io"),
        ("patch", "events.events.k8s.io"),
    ] {
        // The authorizer hears of new roles by watching.
        until(&format!("leave to {verb} {resource}"), || Ok(may(verb, resource)?.then_some(())))?;
    }
    for (verb, resource) in [
        ("get", "pods"),
        ("patch", "pods"),
        ("create", "pods"),
        ("list", "nodes"),
        ("list", "secrets"),
        ("list", "events.events.k8s.io"),
        ("create", "events"),
        ("patch", "namespaces"),
        ("create", "tokenreviews.authentication.k8s.io"),
        ("create", "subjectaccessreviews.authorization.k8s.io"),
    ] {
        assert!(!may(verb, resource)?, "it may {verb} {resource}");
    }
    let account = get(&cluster, "serviceaccount", "ofmirror")?;
    assert_eq!(account["automountServiceAccountToken"], false);
    Ok(())
}

#[test]
fn the_agents_pod_is_let_into_its_own_namespace_and_evicts_nobody() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.create_namespace("other")?;
    let level = "pod-security.kubernetes.io/enforce=baseline";
    cluster.kubectl(["label", "namespace", "other", level])?;
    for (folder, _) in FOLDERS {
        cluster.apply_deploy(folder)?;
        // What the controller of DaemonSets would make.
        let set = cluster.daemon_set()?;
        let mut pod = set.json()["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["generateName"] = json!("ofmirror-");
        let create = |namespace: &str| {
            let args = ["create", "-n", namespace, "-o", "json", "-f", "-"];
            cluster.kubectl_with_input(args, &pod.to_string())
        };
        let pod: Value = serde_json::from_str(&create(NAMESPACE).context(folder)?)?;
        assert_eq!(pod["spec"]["preemptionPolicy"], "Never");
        assert!(pod["spec"]["priority"].as_u64().is_some_and(|priority| priority > 0), "{pod}");
        let refused = format!("{:#}", create("other").expect_err("it is on the host's network"));
        assert!(refused.contains("violates PodSecurity"), "{refused}");
    }
    Ok(())
}

#[test]
fn prometheus_finds_the_agents_by_the_service_or_by_the_operators_component() -> Result {
    let node = Node::start_bare()?;
    let cluster = Cluster::start(&node)?;
    cluster.apply_deploy("")?;
    let labels = cluster.daemon_set()?.json()["spec"]["template"]["metadata"]["labels"].clone();
    let service = get(&cluster, "service", "ofmirror")?;
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(service["spec"]["selector"], labels);
    let port = cluster.daemon_set()?.at("/containers/0/ports/0/containerPort")?.to_string();
    assert_eq!(service["metadata"]["annotations"]["prometheus.io/port"], port.as_str());

    cluster.add_operator_types()?;
    cluster.apply_deploy_with("overlays/kube-ovn", &["prometheus-operator"])?;
    let monitor = get(&cluster, "servicemonitor", "ofmirror")?;
    let service = get(&cluster, "service", "ofmirror")?;
    let wanted = &monitor["spec"]["selector"]["matchLabels"];
    for (label, value) in wanted.as_object().context("no labels")? {
        assert_eq!(&service["metadata"]["labels"][label], value, "{label}");
    }
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    let named = cluster.daemon_set()?.at("/containers/0/ports/0/name")?.clone();
    assert_eq!(service["spec"]["ports"][0]["targetPort"], named);
    // It shows who it is, and the agents ask.
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token");
    assert_eq!(variable(&cluster.daemon_set()?, "OFMIRROR_METRICS_AUTH")?, "kubernetes");
    let rules = get(&cluster, "prometheusrule", "ofmirror")?;
    let groups = rules["spec"]["groups"].as_array().context("no groups of rules")?;
    let names: Vec<_> = groups.iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["ofmirror.recording", "ofmirror.alerts"]);
    let annotations = service["metadata"]["annotations"].to_string();
    assert!(!annotations.contains("\"prometheus.io/scrape\""), "scraped twice: {annotations}");
    Ok(())
}
