//! What `kubectl apply -k` makes of each folder of `deploy/`, as a real API server has it.

use std::fs;

use anyhow::Context as _;
use lab::{Cluster, Node, Result, until};
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
        // To see what ovs-vswitchd takes of the processors.
        assert_eq!(set.at("/hostPID")?, true);
        for shared in ["/hostIPC", "/shareProcessNamespace", "/initContainers"] {
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
            assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!("metrics")));
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

/// The types of the Prometheus operator, with those of their fields that we use, named as in its reference.
const OPERATOR: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PodMonitor, plural: podmonitors}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [podMetricsEndpoints, selector]
              properties:
                selector:
                  type: object
                  properties:
                    matchLabels: {type: object, additionalProperties: {type: string}}
                podMetricsEndpoints:
                  type: array
                  items:
                    type: object
                    properties:
                      port: {type: string}
                      path: {type: string}
                      honorLabels: {type: boolean}
                      relabelings:
                        type: array
                        items:
                          type: object
                          properties:
                            sourceLabels: {type: array, items: {type: string}}
                            targetLabel: {type: string}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: prometheusrules.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PrometheusRule, plural: prometheusrules}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                groups:
                  type: array
                  items:
                    type: object
                    required: [name]
                    properties:
                      name: {type: string}
                      rules:
                        type: array
                        items:
                          type: object
                          required: [expr]
                          properties:
                            alert: {type: string}
                            record: {type: string}
                            expr: {type: string}
                            for: {type: string}
                            labels: {type: object, additionalProperties: {type: string}}
                            annotations: {type: object, additionalProperties: {type: string}}
";

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

    cluster.apply(OPERATOR)?;
    cluster.kubectl(["wait", "--for=condition=established", "crd", "--all", "--timeout=30s"])?;
    // The API server tells clients of new kinds a moment after it has established them.
    until("the operator's kinds", || {
        Ok(cluster.kubectl(["get", "podmonitors,prometheusrules", "-A"]).ok())
    })?;
    // Kustomize takes no absolute paths.
    let folder = node.folder().join("kustomization");
    fs::create_dir(&folder)?;
    let up = "../".repeat(folder.components().count() - 1);
    let deploy = format!("{up}{}/../../deploy", &env!("CARGO_MANIFEST_DIR")[1..]);
    let text = format!(
        "resources: [{deploy}/overlays/kube-ovn]\n\
         components: [{deploy}/components/prometheus-operator]\n"
    );
    fs::write(folder.join("kustomization.yaml"), text)?;
    let folder = folder.display().to_string();
    cluster.kubectl(["apply", "--validate=strict", "-k", &folder])?;
    let monitor = get(&cluster, "podmonitor", "ofmirror")?;
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], labels);
    let named = cluster.daemon_set()?.at("/containers/0/ports/0/name")?.clone();
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], named);
    let rules = get(&cluster, "prometheusrule", "ofmirror")?;
    let groups = rules["spec"]["groups"].as_array().context("no groups of rules")?;
    let names: Vec<_> = groups.iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["ofmirror.recording", "ofmirror.alerts"]);
    let annotations = get(&cluster, "service", "ofmirror")?["metadata"]["annotations"].to_string();
    assert!(!annotations.contains("\"prometheus.io/scrape\""), "scraped twice: {annotations}");
    Ok(())
}
