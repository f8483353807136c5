//! The DaemonSet of `deploy/`, and agents that run as it says.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Cluster, ServiceAccount};
use crate::{Agent, Invocation, Result, agent};

/// Confines a program as a container runtime does. $1: folder of sockets, mounted read-only; $2: capabilities that are
/// left, as `setpriv` lists them; $3 and on: the program. `unshare` has made a mount namespace for it.
const CONFINE: &str = r#"
set -eu
sockets=$1 capabilities=$2
shift 2
# By its path the folder is not found in a container, only by its mount.
mount --bind "$sockets" /mnt
mount -t tmpfs container "${sockets%/*}"
mkdir "$sockets"
mount --move /mnt "$sockets"
mount --bind /proc/sys /proc/sys
for place in / /proc/sys "$sockets"; do mount -o remount,bind,ro "$place"; done
exec setpriv --reuid 0 --regid 0 --clear-groups --no-new-privs \
    --inh-caps="-all$capabilities" --ambient-caps=-all --bounding-set="-all$capabilities" -- "$@"
"#;

/// The DaemonSet as the API server has it.
#[derive(Clone, Debug)]
pub struct DaemonSet(Value);

impl<'a> Cluster<'a> {
    /// Does what an operator does: `kubectl apply -k` on a folder of `deploy/`, with fields that nobody knows refused.
    ///
    /// # Errors
    /// The API server refuses something.
    pub fn apply_deploy(&self, folder: &str) -> Result {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(folder);
        let path = path.display().to_string();
        self.kubectl(["apply", "--validate=strict", "-k", &path]).map(drop)
    }

    /// Applies a kustomization of an operator's own, of a folder of `deploy/` and some of its components.
    ///
    /// # Errors
    /// As [`Self::apply_deploy`].
    pub fn apply_deploy_with(&self, folder: &str, components: &[&str]) -> Result {
        let own = self.node().folder().join("kustomization");
        fs::create_dir_all(&own)?;
        // Kustomize takes no absolute paths.
        let up = "../".repeat(own.components().count() - 1);
        let deploy = format!("{up}{}/../../deploy", &env!("CARGO_MANIFEST_DIR")[1..]);
        let components: Vec<_> =
            components.iter().map(|name| format!("{deploy}/components/{name}")).collect();
        let text = json!({"resources": [format!("{deploy}/{folder}")], "components": components});
        fs::write(own.join("kustomization.yaml"), text.to_string())?;
        let own = own.display().to_string();
        self.kubectl(["apply", "--validate=strict", "-k", &own]).map(drop)
    }

    /// Does what an operator does for the simplest of nodes, and gives who the agent is then.
    ///
    /// # Errors
    /// As [`Self::apply_deploy`].
    pub fn deploy(&self) -> Result<ServiceAccount> {
        self.apply_deploy("")?;
        self.service_account("ofmirror-system", "ofmirror")
    }

    /// The DaemonSet that was applied.
    ///
    /// # Errors
    /// There is none.
    pub fn daemon_set(&self) -> Result<DaemonSet> {
        let get = ["get", "daemonset", "-n", "ofmirror-system", "ofmirror", "-o", "json"];
        Ok(DaemonSet(serde_json::from_str(&self.kubectl(get)?)?))
    }

    /// Starts an agent as a container of the DaemonSet, with its ServiceAccount, flags and rights and no others, and does
    /// not wait for it. What the lab leaves out is seccomp, that all but a few files are hidden, and that the host's processes
    /// are.
    ///
    /// # Errors
    /// The DaemonSet asks for what this does not do, or there is no binary.
    pub fn launch_container(&self, set: &DaemonSet, args: &[&str]) -> Result<Agent<'a>> {
        self.launch_unshared(&["--mount"], set, args)
    }

    /// Starts an agent as [`Self::launch_container`] does, in a PID namespace of its own, as a Pod without hostPID has. It can
    /// be killed, but not be told to stop: signals get to its parent, and so do questions after its process.
    ///
    /// # Errors
    /// As [`Self::launch_container`].
    pub fn launch_container_apart(&self, set: &DaemonSet, args: &[&str]) -> Result<Agent<'a>> {
        let apart = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        self.launch_unshared(&apart, set, args)
    }

    fn launch_unshared(
        &self,
        unshared: &[&str],
        set: &DaemonSet,
        args: &[&str],
    ) -> Result<Agent<'a>> {
        let name = set.at("/serviceAccountName")?.as_str().context("a name")?;
        let account = self.service_account("ofmirror-system", name)?;
        let node = self.node().name();
        let env = set.environment(node)?;
        let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let program =
            self.confine(unshared, &account, set)?.arg(agent::binary()?.display().to_string());
        self.node().start_agent(program, &env, args)
    }

    fn confine(
        &self,
        unshared: &[&str],
        account: &ServiceAccount,
        set: &DaemonSet,
    ) -> Result<Invocation> {
        let sockets = self.node().run_folder().display().to_string();
        let confined = self.program(account, "unshare")?;
        let shell = ["sh", "-c", CONFINE, "sh", &sockets, &set.setpriv()?];
        Ok(confined.args(unshared.iter().copied()).args(shell))
    }
}

impl DaemonSet {
    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// A value of the Pod's specification, by a JSON pointer.
    ///
    /// # Errors
    /// There is no such value.
    pub fn at(&self, pointer: &str) -> Result<&Value> {
        let pod = &self.0["spec"]["template"]["spec"];
        pod.pointer(pointer).with_context(|| format!("the DaemonSet's Pod has no {pointer}"))
    }

    /// The capabilities of the container, as `NET_ADMIN`.
    ///
    /// # Errors
    /// The container keeps some that are not listed.
    pub fn capabilities(&self) -> Result<Vec<&str>> {
        let all = "/containers/0/securityContext/capabilities";
        let list = |pointer: &str| -> Result<Vec<&str>> {
            let list = self.at(&format!("{all}/{pointer}"))?.as_array().context("no list")?;
            list.iter().map(|name| name.as_str().context("no text")).collect()
        };
        ensure!(list("drop")? == ["ALL"], "it does not drop all capabilities");
        list("add")
    }

    /// The same DaemonSet without one of its capabilities.
    ///
    /// # Panics
    /// It has no such capability; a test that takes it away is wrong.
    #[must_use]
    pub fn without(mut self, capability: &str) -> Self {
        let path = "/spec/template/spec/containers/0/securityContext/capabilities/add";
        let added = self.0.pointer_mut(path).and_then(Value::as_array_mut);
        let added = added.expect("it adds capabilities");
        let before = added.len();
        added.retain(|name| name != capability);
        assert!(added.len() < before, "it has no {capability}");
        self
    }

    fn setpriv(&self) -> Result<String> {
        let names = self.capabilities()?;
        Ok(names.iter().map(|name| format!(",+{}", name.to_lowercase())).collect())
    }

    /// The variables of the container. The addresses to listen at are the lab's own affair.
    fn environment(&self, node: &str) -> Result<Vec<(String, String)>> {
        let list = self.at("/containers/0/env")?.as_array().context("no list")?;
        let mut env = Vec::new();
        for entry in list {
            let name = entry["name"].as_str().context("a variable without a name")?;
            if ["POD_IP", "OFMIRROR_METRICS_ADDR", "OFMIRROR_STATUS_ADDR"].contains(&name) {
                continue;
            }
            let field = entry.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str);
            let value = match (entry["value"].as_str(), field) {
                (Some(value), None) => value,
                (None, Some("spec.nodeName")) => node,
                _ => anyhow::bail!("the lab can't make the value of {entry}"),
            };
            env.push((name.to_owned(), value.to_owned()));
        }
        Ok(env)
    }
}
