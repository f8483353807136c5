//! The annotation that asks for a Pod to be mirrored, as it stands on the Pod's Interface.

use crate::{Node, Result};

/// The key, as in Kube-OVN's Pod annotations.
const KEY: &str = "ovn.kubernetes.io/mirror";

impl Node {
    /// Asks for a Pod to be mirrored.
    ///
    /// # Errors
    /// Whatever `ovs-vsctl` says.
    pub fn annotate(&self, pod: &str) -> Result {
        let interface = self.pod(pod).interface().to_owned();
        self.vsctl(["set", "Interface", &interface, &format!("external_ids:\"{KEY}\"=\"true\"")])?;
        Ok(())
    }

    /// Takes the wish back.
    ///
    /// # Errors
    /// Whatever `ovs-vsctl` says.
    pub fn unannotate(&self, pod: &str) -> Result {
        let interface = self.pod(pod).interface().to_owned();
        self.vsctl(["remove", "Interface", &interface, "external_ids", &format!("\"{KEY}\"")])?;
        Ok(())
    }
}
