//! A real Prometheus on the node, which scrapes an agent there.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{Agent, Node, Result, daemon::Daemon, until};

/// Where Prometheus listens, within the node's namespace.
const PORT: u16 = 9090;

/// What a test changes of `deploy/prometheus/`.
#[derive(Clone, Copy, Debug)]
pub struct Haste {
    /// Seconds between two scrapes, and between two evaluations of the rules.
    pub interval: u32,
    /// Whether alerts fire without waiting as long as their `for` says.
    pub impatient: bool,
}

/// A Prometheus that was started; it is killed when dropped.
#[derive(Debug)]
pub struct Prometheus<'a> {
    node: &'a Node,
    daemon: Daemon,
}

/// A file of `deploy/`.
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

impl Node {
    /// Starts a Prometheus with `deploy/prometheus/`, where the API server is replaced by what it would tell of `agent`.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn prometheus(&self, agent: &Agent<'_>, haste: Haste) -> Result<Prometheus<'_>> {
        let folder = self.folder().join("prometheus");
        fs::create_dir_all(&folder)?;
        let mut rules = fs::read_to_string(deployed("prometheus/rules.yml"))?;
        if haste.impatient {
            let hurry = |line: &str| match line.split_once("for: ") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 2s\n"),
                _ => format!("{line}\n"),
            };
            rules = rules.lines().map(hurry).collect();
        }
        fs::write(folder.join("rules.yml"), rules)?;
        let config = fs::read_to_string(deployed("prometheus/prometheus.yml"))?;
        let config = self.configure(&config, agent, haste.interval)?;
        fs::write(folder.join("prometheus.yml"), config)?;
        let command = self
            .program("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{PORT}"));
        let daemon = Daemon::new("prometheus", command, self.log_folder().join("prometheus.log"));
        daemon.start()?;
        let prometheus = Prometheus { node: self, daemon };
        until("Prometheus to be ready", || {
            prometheus.daemon.alive()?;
            Ok(prometheus.get("/-/ready").is_ok().then_some(()))
        })?;
        Ok(prometheus)
    }

    /// The configuration with a target that bears the labels that Kubernetes' discovery would give it. Debian's Prometheus is
    /// built without that.
    fn configure(&self, config: &str, agent: &Agent<'_>, interval: u32) -> Result<String> {
        let (before, rest) =
            config.split_once("    kubernetes_sd_configs:\n").context("no discovery")?;
        let (_, after) = rest.split_once("    relabel_configs:\n").context("no relabelling")?;
        let target = format!(
            "    static_configs:\n\
             \x20     - targets: ['{}']\n\
             \x20       labels:\n\
             \x20         __meta_kubernetes_pod_label_app_kubernetes_io_name: ofmirror\n\
             \x20         __meta_kubernetes_pod_container_port_name: metrics\n\
             \x20         __meta_kubernetes_pod_node_name: {}\n",
            agent.address(),
            self.name(),
        );
        Ok(format!(
            "global: {{scrape_interval: {interval}s, evaluation_interval: {interval}s}}\n\
             {before}{target}    relabel_configs:\n{after}"
        ))
    }
}

impl Prometheus<'_> {
    /// What an expression comes to now: one element for each series, none if there is no data.
    ///
    /// # Errors
    /// Prometheus does not understand it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        self.result(&format!("/api/v1/query?query={}", encoded(expression)))
            .with_context(|| format!("the query {expression}"))
    }

    /// What an expression came to within the last `past` seconds, at points that are `step` seconds apart.
    ///
    /// # Errors
    /// Prometheus does not understand it.
    pub fn query_range(&self, expression: &str, past: u64, step: u64) -> Result<Vec<Value>> {
        // time() is a scalar: a pair of the time of the query, and the value as text.
        let end = self.query("time()")?[0].as_f64().context("time() is no time")?;
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={end}&step={step}",
            encoded(expression),
            end - past as f64,
        );
        self.result(&path).with_context(|| format!("the query {expression}"))
    }

    fn result(&self, path: &str) -> Result<Vec<Value>> {
        let data = self.get(path)?;
        data["result"].as_array().cloned().with_context(|| format!("no result in {data}"))
    }

    /// All rules that it has loaded, as its API tells of them.
    ///
    /// # Errors
    /// It does not answer.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/rules")?;
        let groups = data["groups"].as_array().context("no groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        Ok(rules.cloned().collect())
    }

    /// The alerts that fire.
    ///
    /// # Errors
    /// It does not answer.
    pub fn firing(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/alerts")?;
        let alerts = data["alerts"].as_array().context("no alerts")?;
        Ok(alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect())
    }

    /// The targets that it scrapes.
    ///
    /// # Errors
    /// It does not answer.
    pub fn targets(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/targets")?;
        Ok(data["activeTargets"].as_array().context("no targets")?.clone())
    }

    /// What it says to a request: the data, if it is JSON.
    fn get(&self, path: &str) -> Result<Value> {
        let answer = self.node.namespace().inside(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            // HTTP/1.0 has no chunks.
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an HTTP answer")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "Prometheus says {head}\n{body}");
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        Ok(body["data"].clone())
    }
}

/// A text as part of a URL (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
