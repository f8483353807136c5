//! The objects of the cluster that tests need most: Pods and Namespaces.

use serde_json::{Value, json};

use super::Cluster;
use crate::Result;

/// A Pod object that shall be made. It has nothing to do with the node's [`crate::Pod`] but the name that a test gives
/// both.
#[derive(Clone, Copy, Debug)]
pub struct PodObject<'a> {
    /// Its namespace, which must be there.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The Kubernetes node that it was scheduled to: its `spec.nodeName`.
    pub node: &'a str,
    /// Its annotations.
    pub annotations: &'a [(&'a str, &'a str)],
    /// Whether it shares the node's own network.
    pub host_network: bool,
}

impl PodObject<'_> {
    fn manifest(&self) -> Value {
        let annotations = map(self.annotations);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "annotations": annotations,
            },
            "spec": {
                "nodeName": self.node,
                "hostNetwork": self.host_network,
                "containers": [{"name": "main", "image": "none"}],
            },
        })
    }
}

fn map(annotations: &[(&str, &str)]) -> serde_json::Map<String, Value> {
    annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

impl Cluster<'_> {
    /// Makes a Pod object on this node and gives its UID.
    ///
    /// # Errors
    /// The API server refuses it, for one that there is already.
    pub fn create_pod(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
    ) -> Result<String> {
        self.create_here(namespace, name, annotations, false)
    }

    /// Makes a Pod object on this node that shares its network, and gives its UID.
    ///
    /// # Errors
    /// As [`Self::create_pod`].
    pub fn create_host_pod(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
    ) -> Result<String> {
        self.create_here(namespace, name, annotations, true)
    }

    fn create_here(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
        host_network: bool,
    ) -> Result<String> {
        let node = self.node.name();
        let pod = PodObject { namespace, name, node, annotations, host_network };
        Ok(self.create_pods(&[pod])?.concat())
    }

    /// Makes the Pod object on this node that KubeVirt runs a virtual machine in, and gives its UID.
    ///
    /// # Errors
    /// As [`Self::create_pod`].
    pub fn create_launcher(
        &self,
        namespace: &str,
        name: &str,
        machine: &str,
        annotations: &[(&str, &str)],
    ) -> Result<String> {
        let node = self.node.name();
        let pod = PodObject { namespace, name, node, annotations, host_network: false };
        let mut manifest = pod.manifest();
        manifest["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstance",
            "name": machine,
            "uid": "5b1f7a54-4b6f-4b8e-9d8c-0f6a1f0c9a11",
            "controller": true,
        }]);
        let args = ["create", "-o", "jsonpath={.metadata.uid}", "-f", "-"];
        self.kubectl_with_input(args, &manifest.to_string())
    }

    /// Makes many Pod objects by one command and gives their UIDs.
    ///
    /// # Errors
    /// As [`Self::create_pod`]; those before the refused one are there then.
    pub fn create_pods(&self, pods: &[PodObject<'_>]) -> Result<Vec<String>> {
        let items: Vec<_> = pods.iter().map(PodObject::manifest).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let uid = r#"jsonpath={.metadata.uid}{"\n"}"#;
        let uids = self.kubectl_with_input(["create", "-o", uid, "-f", "-"], &list.to_string())?;
        Ok(uids.lines().map(str::to_owned).collect())
    }

    /// When a Pod object was made, to the second, as the API server writes it.
    ///
    /// # Errors
    /// There is no such Pod, or the API server fails.
    pub fn created(&self, namespace: &str, name: &str) -> Result<String> {
        let path = "jsonpath={.metadata.creationTimestamp}";
        self.kubectl(["get", "pod", "-n", namespace, name, "-o", path])
    }

    /// Deletes a Pod object at once, as no kubelet will say that its containers ended.
    ///
    /// # Errors
    /// There is none, or the API server fails.
    pub fn delete_pod(&self, namespace: &str, name: &str) -> Result {
        let args = ["delete", "pod", "-n", namespace, name, "--grace-period=0", "--force"];
        self.kubectl(args).map(drop)
    }

    /// Annotates a Pod: `key=value`, or `key-` to take the annotation away.
    ///
    /// # Errors
    /// There is no such Pod, or the API server fails.
    pub fn annotate_pod(&self, namespace: &str, name: &str, annotation: &str) -> Result {
        self.kubectl(["annotate", "pod", "-n", namespace, name, "--overwrite", annotation])
            .map(drop)
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// There is one of that name already, or the API server fails.
    pub fn create_namespace(&self, name: &str) -> Result {
        self.kubectl(["create", "namespace", name]).map(drop)
    }

    /// Makes namespaces by one command, each with these annotations.
    ///
    /// # Errors
    /// There is one of these names already, or the API server fails.
    pub fn create_namespaces(&self, names: &[String], annotations: &[(&str, &str)]) -> Result {
        let namespace = |name: &String| {
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": { "name": name, "annotations": map(annotations) },
            })
        };
        let items: Vec<_> = names.iter().map(namespace).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.kubectl_with_input(["create", "-f", "-"], &list.to_string()).map(drop)
    }

    /// Annotates a Namespace: `key=value`, or `key-` to take the annotation away.
    ///
    /// # Errors
    /// There is no such Namespace, or the API server fails.
    pub fn annotate_namespace(&self, name: &str, annotation: &str) -> Result {
        self.kubectl(["annotate", "namespace", name, "--overwrite", annotation]).map(drop)
    }
}
