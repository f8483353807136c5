//! Which addresses are listened at, and what is served to whom there.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::guard::Guard;

/// Where to serve what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The page, `/status`, health and `/metrics`.
    pub status: Option<SocketAddr>,
    /// `/metrics` alone, unless it is the same address.
    pub metrics: Option<SocketAddr>,
}

/// Why `/metrics` would not be guarded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unguarded {
    /// There is no address for it.
    #[error(
        "--metrics-auth=kubernetes has nothing to guard without --metrics-addr: give it an address of the node, such as 10.0.0.1:9475"
    )]
    NoAddress,
    /// It would be read at the other address by whoever reaches that.
    #[error(
        "--metrics-auth=kubernetes guards --metrics-addr only, and {0}, where --status-addr serves as much and more without asking, is not an address of localhost apart from it: set --metrics-addr to an address of the node, and --status-addr to one of localhost"
    )]
    Open(SocketAddr),
}

/// An address that is listened at.
#[derive(Clone)]
pub struct Site {
    /// The address.
    pub address: SocketAddr,
    /// The flag that it is from.
    pub flag: &'static str,
    pub(super) rule: Rule,
}

/// What is served at an address.
#[derive(Clone)]
pub(super) enum Rule {
    /// Everything.
    Status,
    /// `/metrics`.
    Metrics(Option<Arc<Guard>>),
    /// All addresses of the node in one: everything at this one, and `/metrics` at others.
    Both(IpAddr, Option<Arc<Guard>>),
}

/// What a connection gets.
#[derive(Clone)]
pub(super) enum View {
    /// Everything, for programs of this node: it is asked at localhost.
    Local,
    /// Everything.
    Everything,
    /// `/metrics`.
    Metrics,
    /// `/metrics`, by TLS, for those whom the guard lets.
    Guarded(Arc<Guard>),
    /// Nothing, for who speaks plain HTTP to the guard.
    Plain,
}

impl Addresses {
    /// What is to be listened at. `guard` stands before `/metrics` where it is served alone.
    #[must_use]
    pub fn sites(self, guard: Option<Arc<Guard>>) -> Vec<Site> {
        let status = |address| Site { address, flag: "--status-addr", rule: Rule::Status };
        let metrics = |address, rule| Site { address, flag: "--metrics-addr", rule };
        match (self.status, self.metrics) {
            (None, None) => vec![],
            (Some(address), None) => vec![status(address)],
            (None, Some(address)) => vec![metrics(address, Rule::Metrics(guard))],
            // By default it is the latter that both are from.
            (Some(same), Some(address)) if same == address => vec![metrics(address, Rule::Status)],
            (Some(wide), Some(narrow)) if covers(wide, narrow) => vec![status(wide)],
            (Some(narrow), Some(wide)) if covers(wide, narrow) => {
                vec![metrics(wide, Rule::Both(narrow.ip(), guard))]
            }
            (Some(one), Some(other)) => {
                vec![status(one), metrics(other, Rule::Metrics(guard))]
            }
        }
    }

    /// Makes sure that nobody reads `/metrics` past a guard, but for programs of this node.
    ///
    /// # Errors
    /// Somebody would, or there is nothing to guard.
    pub fn check_guarded(self) -> Result<(), Unguarded> {
        let metrics = self.metrics.ok_or(Unguarded::NoAddress)?;
        match self.status {
            Some(status) if status == metrics || !status.ip().is_loopback() => {
                Err(Unguarded::Open(status))
            }
            _ => Ok(()),
        }
    }
}

/// Whether who listens at `wide` gets the connections to `narrow` too, so that nobody else can listen there.
fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide.ip().is_unspecified()
        && wide.port() == narrow.port()
        && (wide.is_ipv6() || narrow.is_ipv4())
}

impl Site {
    /// Everything at `address`, whoever asks.
    #[must_use]
    pub fn status(address: SocketAddr) -> Self {
        Self { address, flag: "--status-addr", rule: Rule::Status }
    }

    /// What is served there, for the log.
    #[must_use]
    pub fn description(&self) -> String {
        const EVERYTHING: &str = "/, /status, /healthz, /readyz and /metrics";
        let metrics = |guard: &Option<Arc<Guard>>| match guard {
            Some(_) => "/metrics by HTTPS to whom Kubernetes lets",
            None => "/metrics",
        };
        match &self.rule {
            Rule::Status => EVERYTHING.to_owned(),
            Rule::Metrics(guard) => metrics(guard).to_owned(),
            Rule::Both(at, guard) => {
                format!("{EVERYTHING} at {at}, and {} elsewhere", metrics(guard))
            }
        }
    }
}

impl Rule {
    /// What somebody at `peer` gets who came to `local`; none if that can't be.
    pub(super) fn view(&self, local: IpAddr, peer: IpAddr) -> Option<View> {
        let (local, peer) = (local.to_canonical(), peer.to_canonical());
        let metrics = |guard: &Option<Arc<Guard>>| match guard {
            Some(guard) => View::Guarded(Arc::clone(guard)),
            None => View::Metrics,
        };
        match self {
            Self::Metrics(guard) => Some(metrics(guard)),
            Self::Both(at, guard) if at.to_canonical() != local => Some(metrics(guard)),
            Self::Status | Self::Both(..) if !local.is_loopback() => Some(View::Everything),
            // A neighbour on the wire can write 127.0.0.1 on a packet, and gets in where route_localnet is set, as kube-proxy
            // sets it (CVE-2020-8558).
            Self::Status | Self::Both(..) => peer.is_loopback().then_some(View::Local),
        }
    }
}

#[cfg(test)]
mod tests;
