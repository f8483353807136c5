//! What a port is called by those who make Pods' ports: its logical port, and the `external_ids` of its Interface.

use crate::{Node, Result, until};

/// The `external_ids` that names are made of.
const NAMES: [&str; 6] =
    ["iface-id", "pod_name", "pod_namespace", "vendor", "iface-id-ver", "sandbox"];

/// The names of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName {
    logical_port: String,
    external_ids: Vec<(String, String)>,
}

impl PortName {
    /// As Kube-OVN names a Pod's NIC on the cluster's network; of a virtual machine, `pod` is that one's name.
    pub fn kube_ovn(namespace: &str, pod: &str) -> Self {
        Self::new(
            format!("{pod}.{namespace}"),
            &[("pod_name", pod), ("pod_namespace", namespace), ("vendor", "kube-ovn")],
        )
    }

    /// As OVN-Kubernetes names the NIC of the Pod with this UID.
    pub fn ovn_kubernetes(namespace: &str, pod: &str, uid: &str) -> Self {
        Self::new(format!("{namespace}_{pod}"), &[("iface-id-ver", uid), ("sandbox", uid)])
    }

    /// As plain OVN names a port: by nothing else.
    pub fn plain(logical_port: &str) -> Self {
        Self::new(logical_port.to_owned(), &[])
    }

    fn new(logical_port: String, ids: &[(&str, &str)]) -> Self {
        let external_ids = [("iface-id", logical_port.as_str())];
        let external_ids = external_ids.iter().chain(ids);
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self { external_ids: external_ids.map(own).collect(), logical_port }
    }

    /// The same NIC on another network: `<nad>.<namespace>` of its NetworkAttachmentDefinition, as Kube-OVN names it.
    #[must_use]
    pub fn on(mut self, network: &str) -> Self {
        self.logical_port = format!("{}.{network}.ovn", self.logical_port);
        let id = self.logical_port.clone();
        self.with("iface-id", &id)
    }

    /// With another value for one of its `external_ids`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.external_ids.retain(|(known, _)| known != key);
        self.external_ids.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Keys and values.
    pub(crate) fn external_ids(&self) -> &[(String, String)] {
        &self.external_ids
    }

    /// The settings of `ovs-vsctl set Interface` that add the `external_ids`.
    pub(crate) fn columns(&self) -> impl Iterator<Item = String> {
        let ids = self.external_ids.iter();
        ids.map(|(key, value)| format!("external_ids:\"{key}\"=\"{value}\""))
    }
}

impl Node {
    /// Gives the port of a Pod of the lab other names, in place of all that it had, and waits until OVN has taken it by
    /// them.
    ///
    /// # Errors
    /// Whatever a tool says.
    pub fn name_port(&self, pod: &str, name: &PortName) -> Result {
        let pod = self.pod(pod);
        let interface = pod.interface();
        let before = self.vsctl(["get", "Interface", interface, "external_ids:iface-id"])?;
        let renamed = before.trim().trim_matches('"') != name.logical_port;
        let mut remove =
            ["remove", "Interface", interface, "external_ids"].map(str::to_owned).to_vec();
        remove.extend(NAMES.map(str::to_owned));
        if renamed {
            let new = format!("name=\"{}\"", name.logical_port);
            self.nbctl(["set", "Logical_Switch_Port", before.trim(), &new])?;
            // OVN says so again of the new name, and does not for a name that it has taken already.
            remove.push("ovn-installed".to_owned());
        }
        let set = ["--", "set", "Interface", interface].map(str::to_owned);
        self.vsctl(remove.into_iter().chain(set).chain(name.columns()))?;
        let port = self.ofport(interface)?;
        self.sync()?;
        until(&format!("OVN to take {interface} for {}", name.logical_port), || {
            self.alive()?;
            let ids = self.vsctl(["get", "Interface", interface, "external_ids"])?;
            let taken = ids.contains("ovn-installed=\"true\"");
            let delivered = !self.dump_flows(&format!("out_port={port}"))?.is_empty();
            Ok((taken && delivered).then_some(()))
        })
    }

    /// Puts another interface on `br-int` with nothing behind it, by these names.
    ///
    /// # Errors
    /// Whatever `ovs-vsctl` says.
    pub fn add_interface(&self, interface: &str, name: &PortName) -> Result {
        let add = ["add-port", "br-int", interface, "--", "set", "Interface", interface];
        let add = add.into_iter().chain(["type=internal"]).map(str::to_owned);
        self.vsctl(add.chain(name.columns()))?;
        self.quiet(interface)
    }
}
