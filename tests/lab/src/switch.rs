//! The tools of Open vSwitch and OVN, pointed at one node.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{Invocation, Node, Result, wait::patience};

/// The integration bridge's name.
const BRIDGE: &str = "br-int";

/// Where the database schemas of Open vSwitch are, unless `LAB_OVS_SCHEMAS` says otherwise.
const OVS_SCHEMAS: &str = "/usr/share/openvswitch";
/// Where the database schemas of OVN are, unless `LAB_OVN_SCHEMAS` says otherwise.
const OVN_SCHEMAS: &str = "/usr/share/ovn";

/// A program of Open vSwitch or OVN. `LAB_CHROOT` takes them from another root file system, which the sandbox gives
/// the same `/run`.
pub(crate) fn chrooted(program: &str) -> Vec<String> {
    match env::var("LAB_CHROOT") {
        Ok(root) => vec!["chroot".to_owned(), root, program.to_owned()],
        Err(_) => vec![program.to_owned()],
    }
}

/// A schema file, by name.
pub(crate) fn schema(name: &str) -> PathBuf {
    let (variable, default) = if name.starts_with("ovn-") {
        ("LAB_OVN_SCHEMAS", OVN_SCHEMAS)
    } else {
        ("LAB_OVS_SCHEMAS", OVS_SCHEMAS)
    };
    PathBuf::from(env::var(variable).unwrap_or_else(|_| default.to_owned())).join(name)
}

/// The option by which a tool gives up like everything else in the lab.
fn timeout() -> String {
    format!("--timeout={}", patience().as_secs())
}

/// The variables that point tools at the node with this folder, and at OVN's databases in that of a central one.
pub(crate) fn environment(node: &Path, central: &Path) -> [(&'static str, String); 9] {
    let folder = |name: &str| node.join(name).display().to_string();
    let socket = |name: &str| format!("unix:{}", central.join("run").join(name).display());
    [
        ("OVS_RUNDIR", folder("run")),
        ("OVN_RUNDIR", folder("run")),
        ("OVS_LOGDIR", folder("log")),
        ("OVN_LOGDIR", folder("log")),
        ("OVS_DBDIR", folder("db")),
        ("OVN_DBDIR", folder("db")),
        ("OVN_NB_DB", socket("ovnnb_db.sock")),
        ("OVN_SB_DB", socket("ovnsb_db.sock")),
        ("OFMIRROR_OVS_RUNDIR", folder("run")),
    ]
}

impl Node {
    /// A tool of Open vSwitch or OVN whose environment names this node's folders and databases.
    pub fn tool(&self, program: &str) -> Invocation {
        let mut argv = chrooted(program).into_iter();
        let invocation = Invocation::new(argv.next().unwrap_or_default()).args(argv);
        self.environment().into_iter().fold(invocation, |i, (name, value)| i.env(name, value))
    }

    /// Runs `ovs-vsctl` and waits until the switch has done what was asked.
    ///
    /// # Errors
    /// As [`Invocation::run`]; also when the switch does not answer within a minute.
    pub fn vsctl<T: Into<String>>(&self, args: impl IntoIterator<Item = T>) -> Result<String> {
        self.watched(self.tool("ovs-vsctl").arg(timeout()).args(args))
    }

    /// Runs `ovn-nbctl`; with `--wait=hv` it waits until the switch has the flows.
    ///
    /// # Errors
    /// As [`Invocation::run`]; also when OVN does not answer within a minute.
    pub fn nbctl<T: Into<String>>(&self, args: impl IntoIterator<Item = T>) -> Result<String> {
        self.watched(self.tool("ovn-nbctl").arg(timeout()).args(args))
    }

    /// Runs `ovs-ofctl COMMAND br-int ARGS` in OpenFlow 1.5 on the management socket.
    ///
    /// # Errors
    /// As [`Invocation::run`]; also when the switch does not answer within a minute, or what `--timeout` of the command says.
    pub fn ofctl<'a>(
        &self,
        command: &[&str],
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<String> {
        self.watched(self.ofctl_invocation(command, args))
    }

    /// Adds flows in one bundle, given one a line in `ovs-ofctl` syntax.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn add_flows(&self, flows: &str) -> Result {
        self.ofctl_invocation(&["--bundle", "add-flows"], ["-"]).run_with_input(flows)?;
        Ok(())
    }

    /// The flow table as OVS prints it, without the bridge's counters; `filter` is as for `ovs-ofctl dump-flows`.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn dump_flows(&self, filter: &str) -> Result<Vec<String>> {
        let text = self.ofctl(&["--no-stats", "--no-names", "dump-flows"], [filter])?;
        let mut flows: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("actions="))
            .map(str::to_owned)
            .collect();
        flows.sort_unstable();
        Ok(flows)
    }

    fn ofctl_invocation<'a>(
        &self,
        command: &[&str],
        args: impl IntoIterator<Item = &'a str>,
    ) -> Invocation {
        let bridge = format!("unix:{}", self.run_folder().join(format!("{BRIDGE}.mgmt")).display());
        self.tool("ovs-ofctl")
            .args(["-O", "OpenFlow15"])
            .arg(timeout())
            .args(command.iter().copied())
            .arg(bridge)
            .args(args)
    }

    /// Runs `ovs-appctl` on ovs-vswitchd.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn appctl<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let socket = self.run_folder().join("ovs-vswitchd.ctl").display().to_string();
        self.watched(self.tool("ovs-appctl").args(["-t", &socket]).args(args))
    }

    /// Waits until the datapath does what the flows say by now, and the flows have counted all packets so far: what it counts
    /// later, counts for flows that came meanwhile.
    ///
    /// When flows change the switch revalidates its cache of them soon; until it has, packets go on by the old flows, on a busy machine
    /// for tenths of a second. `revalidator/wait` ends with a revalidation that may have begun before the change, so it takes
    /// the next one, too.
    ///
    /// # Errors
    /// As [`Self::appctl`].
    pub fn revalidate(&self) -> Result {
        for _ in 0..2 {
            self.appctl(["revalidator/wait"])?;
        }
        Ok(())
    }

    /// The OpenFlow number of an interface.
    ///
    /// # Errors
    /// There is no such interface, or it has no number (yet).
    pub fn ofport(&self, interface: &str) -> Result<u16> {
        let text = self.vsctl(["get", "Interface", interface, "ofport"])?;
        text.trim().parse().with_context(|| format!("{interface} has ofport {text}"))
    }

    /// Runs to a good end; a daemon's own death is named before the failure that it causes.
    fn watched(&self, invocation: Invocation) -> Result<String> {
        invocation.run().or_else(|error| {
            self.alive()?;
            Err(error)
        })
    }
}
