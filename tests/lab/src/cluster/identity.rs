//! Who a process is to the cluster: a kubeconfig file, or a ServiceAccount as a process in a Pod has it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;

use super::{Cluster, control_plane};
use crate::{Agent, Invocation, Output, Result, agent};

/// Where a process in a Pod finds its ServiceAccount (`/var/run` is a link to `/run`).
const MOUNT_POINT: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// Mounts the folder $1 where a Pod has its ServiceAccount and becomes the program $2 with the other arguments. `ip
/// netns exec` has made a mount namespace for it, so nobody else sees the mount.
const ENTER_POD: &str =
    r#"mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount && shift && exec "$@""#;

/// Tells apart the kubeconfig files and ServiceAccounts of one test process.
static NEXT_IDENTITY: AtomicU32 = AtomicU32::new(0);

/// A ServiceAccount with a token, as it is mounted into a Pod.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    token: String,
    folder: PathBuf,
}

impl ServiceAccount {
    /// Its token, good for an hour.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The folder with `token`, `ca.crt` and `namespace`; a process that it is mounted for sees changes at once.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl<'a> Cluster<'a> {
    /// A new token of a ServiceAccount that is there, good for an hour.
    ///
    /// # Errors
    /// There is no such ServiceAccount.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        Ok(self.kubectl(["create", "token", "-n", namespace, name])?.trim().to_owned())
    }

    /// A kubeconfig file for whoever has `token`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig(&self, token: &str) -> Result<PathBuf> {
        let path = self.new_identity("kubeconfig");
        write_kubeconfig(&path, token)?;
        Ok(path)
    }

    /// The admin's kubeconfig file.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// A new token of a ServiceAccount that is there, with all that a Pod of its namespace gets along with it.
    ///
    /// # Errors
    /// There is no such ServiceAccount, or a file cannot be written.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount> {
        let token = self.service_account_token(namespace, name)?;
        let folder = self.new_identity("serviceaccount");
        fs::create_dir(&folder)?;
        fs::write(folder.join("token"), &token)?;
        fs::write(folder.join("namespace"), namespace)?;
        fs::copy(control_plane::certificate(&self.folder), folder.join("ca.crt"))?;
        Ok(ServiceAccount { token, folder })
    }

    /// A program that sees itself in a Pod with the node's own network: with the environment and the files of
    /// `account`, for itself alone.
    ///
    /// # Errors
    /// The place for the files cannot be made.
    pub fn program(&self, account: &ServiceAccount, program: &str) -> Result<Invocation> {
        fs::create_dir_all(MOUNT_POINT).with_context(|| format!("cannot make {MOUNT_POINT}"))?;
        Ok(self
            .node
            .program("sh")
            .args(["-c", ENTER_POD, "sh", &account.folder.display().to_string(), program])
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", control_plane::API_PORT.to_string()))
    }

    /// Starts an agent in a Pod of the cluster, see [`Self::program`], with `env` besides, and waits until it is ready.
    ///
    /// # Errors
    /// As [`crate::Node::agent`].
    pub fn agent(
        &self,
        account: &ServiceAccount,
        env: &[(&str, &str)],
        args: &[&str],
    ) -> Result<Agent<'a>> {
        let agent = self.launch_agent(account, env, args)?;
        agent.await_ready()?;
        Ok(agent)
    }

    /// Starts an agent as [`Self::agent`] does, and does not wait for it.
    ///
    /// # Errors
    /// There is no binary.
    pub fn launch_agent(
        &self,
        account: &ServiceAccount,
        env: &[(&str, &str)],
        args: &[&str],
    ) -> Result<Agent<'a>> {
        let program = self.program(account, &agent::binary()?.display().to_string())?;
        self.node.start_agent(program, env, args)
    }

    /// Runs `ofmirror ARGS` to its end where `agent` runs, as `kubectl exec` does.
    ///
    /// # Errors
    /// There is no binary, or it can't be started.
    pub fn ofmirror(
        &self,
        account: &ServiceAccount,
        agent: &Agent<'_>,
        args: &[&str],
    ) -> Result<Output> {
        let program = self.program(account, &agent::binary()?.display().to_string())?;
        let program = program.env("OFMIRROR_NODE_NAME", self.node.name());
        program.env("OFMIRROR_METRICS_ADDR", agent.address()).args(args.iter().copied()).output()
    }

    fn new_identity(&self, kind: &str) -> PathBuf {
        let number = NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{kind}-{number}"))
    }
}

/// Writes a kubeconfig file into the cluster's folder.
pub(super) fn write_kubeconfig(path: &Path, token: &str) -> Result {
    let folder = path.parent().context("a kubeconfig file is in a folder")?;
    let certificate = control_plane::certificate(folder);
    let text = format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: lab\n  \
           cluster:\n    \
             server: https://127.0.0.1:{}\n    \
             certificate-authority: {}\n\
         users:\n\
         - name: lab\n  \
           user:\n    \
             token: {token}\n\
         contexts:\n\
         - name: lab\n  \
           context:\n    \
             cluster: lab\n    \
             user: lab\n\
         current-context: lab\n",
        control_plane::API_PORT,
        certificate.display()
    );
    Ok(fs::write(path, text)?)
}
