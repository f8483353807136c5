//! The two nodes with all servers.

use std::{fs, path::Path};

use lab::{Daemon, Invocation, KERNELS_DATAPATH, Namespace, Node, Output, Result, TwoNodes, until};

use crate::in_force;

/// nginx in one process, that answers two bytes and keeps connections.
const NGINX: &str = "\
daemon off; master_process off; pid FOLDER/nginx.pid; error_log stderr error;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path FOLDER/nginx; proxy_temp_path FOLDER/nginx; fastcgi_temp_path FOLDER/nginx;
    uwsgi_temp_path FOLDER/nginx; scgi_temp_path FOLDER/nginx;
    server { listen 80; location / { return 200 \"ok\"; } }
}
";

/// Two nodes with qperf's servers on both and in Pods b and c, and nginx in these.
pub(crate) struct Stage {
    // In the order in which they are to end.
    _servers: Vec<Daemon>,
    nodes: TwoNodes,
}

impl Stage {
    /// Brings it up.
    pub(crate) fn set() -> Result<Self> {
        let nodes = TwoNodes::start()?;
        if lab::datapath() == KERNELS_DATAPATH {
            offload(&nodes)?;
        }
        nodes.nodes().into_iter().try_for_each(in_force::make_mirror_port)?;
        let mut servers = Vec::new();
        for (node, pod) in nodes.nodes().into_iter().zip(["b", "c"]) {
            let pod = node.pod(pod);
            servers.push(qperf(node, node.namespace())?);
            servers.push(qperf(node, pod.namespace())?);
            servers.push(nginx(node, pod.namespace())?);
        }
        Ok(Self { _servers: servers, nodes })
    }

    pub(crate) fn nodes(&self) -> &TwoNodes {
        &self.nodes
    }
}

/// Lets NICs cut and check segments, as a real node's do. The lab has them not do so, as tests are about single frames, and the
/// userspace datapath takes nothing else from such NICs.
fn offload(nodes: &TwoNodes) -> Result {
    for node in nodes.nodes() {
        node.namespace().offload(TwoNodes::node_interface(), true)?;
        for pod in node.pods() {
            pod.namespace().offload("eth0", true)?;
            node.namespace().offload(pod.interface(), true)?;
        }
    }
    Ok(())
}

/// What the servers and clients are, with their versions.
pub(crate) fn versions() -> Result<String> {
    let mut found = Vec::new();
    for (program, option) in [("qperf", "--version"), ("wrk", "--version"), ("nginx", "-v")] {
        // Not all of them end well, or say it on their standard output.
        let Output { stdout, stderr, .. } = Invocation::new(program).arg(option).output()?;
        let said = stdout + &stderr;
        let version =
            said.split_whitespace().find(|word| word.contains(|c: char| c.is_ascii_digit()));
        let version = version.and_then(|word| word.rsplit('/').next()).unwrap_or("unknown");
        found.push(format!("{program} {version}"));
    }
    Ok(found.join(", "))
}

fn qperf(node: &Node, namespace: &Namespace) -> Result<Daemon> {
    serve("qperf", node.folder(), namespace, &[], 19765)
}

fn nginx(node: &Node, namespace: &Namespace) -> Result<Daemon> {
    let folder = node.folder().display().to_string();
    let configuration = format!("{folder}/nginx.conf");
    fs::create_dir_all(format!("{folder}/nginx"))?;
    fs::write(&configuration, NGINX.replace("FOLDER", &folder))?;
    serve("nginx", node.folder(), namespace, &["-c", &configuration], 80)
}

/// Starts a server and waits until it listens.
fn serve(
    program: &str,
    folder: &Path,
    namespace: &Namespace,
    arguments: &[&str],
    port: u16,
) -> Result<Daemon> {
    let log = folder.join(format!("{program}-{}.out", namespace.name()));
    let invocation = namespace.program(program).args(arguments.iter().copied());
    let server = Daemon::new(program, invocation, log);
    server.start()?;
    until(&format!("{program} to listen"), || {
        server.alive()?;
        let filter = format!("sport = :{port}");
        let sockets = namespace.program("ss").args(["-Hltn", &filter]).run()?;
        Ok((!sockets.is_empty()).then_some(()))
    })?;
    Ok(server)
}
