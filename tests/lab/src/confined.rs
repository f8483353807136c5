//! An agent that may do what a container of `deploy/` may, without a cluster.

use crate::{Agent, Node, Result, agent};

/// Confines a program as a container runtime does: `/proc/sys` is read-only, and CAP_NET_ADMIN all that is left.
/// `unshare` has made a mount namespace for it.
const CONFINE: &str = r#"
set -eu
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec setpriv --no-new-privs --inh-caps=-all,+net_admin --ambient-caps=-all --bounding-set=-all,+net_admin -- "$@"
"#;

impl Node {
    /// Starts an agent that can't write sysctls, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::agent`].
    pub fn confined_agent(&self, args: &[&str]) -> Result<Agent<'_>> {
        let agent = self.launch_confined_agent(args)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts such an agent and does not wait for it.
    ///
    /// # Errors
    /// There is no binary.
    pub fn launch_confined_agent(&self, args: &[&str]) -> Result<Agent<'_>> {
        let binary = agent::binary()?.display().to_string();
        let program = self.program("unshare").args(["--mount", "sh", "-c", CONFINE, "sh", &binary]);
        self.start_agent(program, &[], args)
    }
}
