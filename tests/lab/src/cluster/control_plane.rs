//! How etcd and kube-apiserver are found and started.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::{Component, audit};
use crate::{Invocation, Node, Result};

/// etcd's usual port for clients.
pub(super) const ETCD_PORT: u16 = 2379;
/// etcd's usual port for other members, of which there are none.
const ETCD_PEER_PORT: u16 = 2380;
/// The usual port of kube-apiserver.
pub(super) const API_PORT: u16 = 6443;
/// What says that one is the admin; it is worth nothing outside of the node's namespace.
pub(super) const ADMIN_TOKEN: &str = "lab-admin";

/// The folder with the programs, by the name that the ecosystem has for it (envtest of controller-runtime).
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// What to start for a program of Kubernetes: one in the folder, or for want of it one in `PATH`.
pub(super) fn program(name: &str) -> Result<String> {
    let folder = env::var(ASSETS).with_context(|| {
        format!(
            "{ASSETS} does not say where kube-apiserver, etcd and kubectl are: \
             use `make test`, or first `export {ASSETS}=$(tests/kubernetes/binaries)`"
        )
    })?;
    let here = PathBuf::from(folder).join(name);
    if here.is_file() {
        return Ok(here.display().to_string());
    }
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    let found = found.with_context(|| format!("{} is missing, and not in PATH", here.display()))?;
    Ok(found.display().to_string())
}

/// The file with the API server's own certificate and that of the authority that it made for itself.
pub(super) fn certificate(folder: &Path) -> PathBuf {
    folder.join("certificates/apiserver.crt")
}

/// Writes the key that signs ServiceAccounts' tokens, and the admin's token.
pub(super) fn write_credentials(folder: &Path) -> Result {
    let key = folder.join("service-accounts.key");
    ensure!(!key.exists(), "this node has a cluster already, or had one");
    // Of the kinds of key that tokens may be signed with, this one is made in no time.
    Invocation::new("openssl")
        .args(["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out"])
        .arg(key.display().to_string())
        .run()?;
    let admin = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
    Ok(fs::write(folder.join("tokens.csv"), admin)?)
}

/// The command line of a component.
pub(super) fn command(component: Component, node: &Node, folder: &Path) -> Result<Invocation> {
    let path = |name: &str| folder.join(name).display().to_string();
    let invocation = node.program(&program(component.name())?);
    Ok(match component {
        Component::Etcd => {
            let clients = format!("http://127.0.0.1:{ETCD_PORT}");
            let members = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
            invocation
                .arg(format!("--data-dir={}", path("etcd")))
                .arg(format!("--listen-client-urls={clients}"))
                .arg(format!("--advertise-client-urls={clients}"))
                .arg(format!("--listen-peer-urls={members}"))
                .arg(format!("--initial-advertise-peer-urls={members}"))
                .arg(format!("--initial-cluster=default={members}"))
        }
        Component::ApiServer => invocation
            .arg(format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={API_PORT}"))
            // Nobody reaches it by the Service `kubernetes`, which must not point at a loopback address.
            .arg("--endpoint-reconciler-type=none")
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            // It makes a key and a certificate there at its first start.
            .arg(format!("--cert-dir={}", path("certificates")))
            .arg("--authorization-mode=RBAC")
            .arg(format!("--token-auth-file={}", path("tokens.csv")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", path("service-accounts.key")))
            .arg(format!("--service-account-signing-key-file={}", path("service-accounts.key")))
            .args(audit::arguments(folder))
            // It refuses Pods whose ServiceAccount is missing, and no controller makes any.
            .arg("--disable-admission-plugins=ServiceAccount"),
    })
}
