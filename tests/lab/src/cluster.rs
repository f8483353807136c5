//! A Kubernetes API server for a node: a real kube-apiserver on a real etcd, and `kubectl` to speak to it.
//!
//! There is no kubelet, scheduler or controller: a Pod object is only an object, nobody makes ServiceAccounts called
//! `default`, and a deleted Namespace stays Terminating.

mod audit;
mod control_plane;
mod daemon_set;
mod events;
mod identity;
mod kubectl;
mod objects;
mod operator;

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, anyhow};
use nix::sys::signal::Signal;

pub(crate) use self::control_plane::ASSETS;
pub use self::{
    audit::Request, daemon_set::DaemonSet, events::Event, identity::ServiceAccount,
    objects::PodObject,
};
use crate::{
    Node, Result,
    daemon::{Daemon, tail},
    until,
};

/// A part of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// etcd, which keeps all objects.
    Etcd,
    /// kube-apiserver.
    ApiServer,
}

impl Component {
    /// Both, in the order in which they start.
    const ALL: [Self; 2] = [Self::Etcd, Self::ApiServer];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
        }
    }

    /// Where it listens, on the loopback address of the node's namespace.
    fn port(self) -> u16 {
        match self {
            Self::Etcd => control_plane::ETCD_PORT,
            Self::ApiServer => control_plane::API_PORT,
        }
    }
}

/// An API server in a node's network namespace; it goes when dropped. A node has room for one.
#[derive(Debug)]
pub struct Cluster<'a> {
    node: &'a Node,
    folder: PathBuf,
    kubectl: String,
    daemons: Vec<(Component, Daemon)>,
}

impl<'a> Cluster<'a> {
    /// Starts etcd and kube-apiserver with RBAC and waits until both work; takes about three seconds.
    ///
    /// # Errors
    /// `KUBEBUILDER_ASSETS` does not say where the programs are, or one of them fails.
    pub fn start(node: &'a Node) -> Result<Self> {
        let folder = node.folder().join("kubernetes");
        fs::create_dir_all(&folder)?;
        control_plane::write_credentials(&folder)?;
        audit::write_policy(&folder)?;
        let commands = Component::ALL.map(|component| {
            let command = control_plane::command(component, node, &folder)?;
            let daemon = Daemon::new(component.name(), command, log_file(node, component));
            Ok((component, daemon))
        });
        let cluster = Self {
            kubectl: control_plane::program("kubectl")?,
            daemons: commands.into_iter().collect::<Result<_>>()?,
            node,
            folder,
        };
        identity::write_kubeconfig(&cluster.admin_kubeconfig(), control_plane::ADMIN_TOKEN)?;
        for component in Component::ALL {
            cluster.start_component(component)?;
        }
        Ok(cluster)
    }

    /// The node that it is for.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The folder with its certificates, tokens and data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn daemon(&self, component: Component) -> Result<&Daemon> {
        let found = self.daemons.iter().find(|(of, _)| *of == component);
        found.map(|(_, daemon)| daemon).ok_or_else(|| anyhow!("no daemon {}", component.name()))
    }

    /// Starts a component that does not run, with the data and the port that it had, and waits until it works.
    ///
    /// # Errors
    /// It cannot be started, dies, or does not work within a minute.
    pub fn start_component(&self, component: Component) -> Result {
        self.launch(component)?;
        self.await_component(component)
    }

    /// Starts a component that does not run, and does not wait for it.
    ///
    /// # Errors
    /// It runs already or cannot be started.
    pub fn launch(&self, component: Component) -> Result {
        self.daemon(component)?.start()
    }

    /// Waits until a component that was launched works: etcd listens; the API server says by `/readyz` that it is
    /// ready, which it is not without etcd.
    ///
    /// # Errors
    /// It dies or does not work within a minute.
    pub fn await_component(&self, component: Component) -> Result {
        let daemon = self.daemon(component)?;
        let name = component.name();
        until(&format!("{name} to listen"), || {
            daemon.alive()?;
            let address = ("127.0.0.1", component.port());
            Ok(self.node.namespace().inside(|| Ok(TcpStream::connect(address).ok()))?.map(drop))
        })
        .with_context(|| format!("the log of {name} ends with:\n{}", tail(daemon.log())))?;
        match component {
            Component::Etcd => Ok(()),
            Component::ApiServer => self.await_ready(),
        }
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// A component dies, or a minute passes.
    pub fn await_ready(&self) -> Result {
        // The namespaces of a new cluster are made a little after it calls itself ready.
        for path in ["/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"] {
            until(&format!("an answer to {path}"), || {
                self.alive()?;
                Ok(self.kubectl_command(["get", "--raw", path]).run().ok())
            })?;
        }
        Ok(())
    }

    /// Kills a component by SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It did not run (any more).
    pub fn kill(&self, component: Component) -> Result {
        self.daemon(component)?.end(Signal::SIGKILL).map(drop)
    }

    /// Ends a component by SIGTERM and waits for its end. The API server takes a second to say good-bye, and much
    /// longer when etcd is gone.
    ///
    /// # Errors
    /// It did not run (any more).
    pub fn stop(&self, component: Component) -> Result {
        self.daemon(component)?.end(Signal::SIGTERM).map(drop)
    }

    /// Kills a component, starts it again with the same data and port, and waits until it works.
    ///
    /// # Errors
    /// As [`Self::kill`] and [`Self::start_component`].
    pub fn restart(&self, component: Component) -> Result {
        self.kill(component)?;
        self.start_component(component)
    }

    /// Fails when a component, or a daemon of the node, ended by itself, naming it and its last words.
    ///
    /// # Errors
    /// One ended without [`Self::kill`] or [`Self::stop`].
    pub fn alive(&self) -> Result {
        self.node.alive()?;
        self.daemons.iter().try_for_each(|(_, daemon)| daemon.alive())
    }

    /// A component's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self, component: Component) -> Result<u32> {
        let pid = self.daemon(component)?.pid();
        pid.with_context(|| format!("{} does not run", component.name()))
    }

    /// A component's log file.
    pub fn log_file(&self, component: Component) -> PathBuf {
        log_file(self.node, component)
    }
}

/// Among the node's own logs, which are kept when a test fails.
fn log_file(node: &Node, component: Component) -> PathBuf {
    node.log_folder().join(format!("{}.log", component.name()))
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let alive = self.daemons.iter().try_for_each(|(_, daemon)| daemon.alive());
        // The API server first, so that it complains of no etcd that went.
        for (_, daemon) in self.daemons.drain(..).rev() {
            drop(daemon);
        }
        if let Err(error) = alive {
            if thread::panicking() {
                eprintln!("{error:?}");
            } else {
                panic!("{error:?}");
            }
        }
    }
}
