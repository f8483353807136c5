//! Flags that say who may read `/metrics`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum, error::ErrorKind};

use crate::{
    cli::Cli,
    http::{Addresses, CertificateSource, Guard, Identity},
    kubernetes::client,
    settings,
};

#[derive(Debug, Args)]
pub(super) struct Auth {
    /// Who may read /metrics at --metrics-addr: whoever reaches it, or those whom Kubernetes lets
    #[arg(long, env = "OFMIRROR_METRICS_AUTH", default_value = "none", value_name = "WHO")]
    metrics_auth: MetricsAuth,

    /// Certificate of --metrics-auth=kubernetes, a file with PEM that is read again when it changes [default: one that the agent
    /// makes at its start, which clients can't check]
    #[arg(
        long,
        env = "OFMIRROR_METRICS_TLS_CERT",
        value_name = "FILE",
        requires = "metrics_tls_key"
    )]
    metrics_tls_cert: Option<PathBuf>,

    /// Private key of --metrics-tls-cert, a file with PEM
    #[arg(
        long,
        env = "OFMIRROR_METRICS_TLS_KEY",
        value_name = "FILE",
        requires = "metrics_tls_cert"
    )]
    metrics_tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MetricsAuth {
    /// Whoever reaches the address, by HTTP
    None,
    /// By HTTPS, the bearer of a token whom RBAC lets get the nonResourceURL /metrics. The agent asks the API server by TokenReview and
    /// SubjectAccessReview; a yes counts for a minute
    Kubernetes,
}

impl Auth {
    /// Who stands before `/metrics`, if anybody. Flags that would leave it open all the same end the program.
    pub(super) async fn guard(&self, addresses: Addresses) -> anyhow::Result<Option<Arc<Guard>>> {
        let files = self.metrics_tls_cert.clone().zip(self.metrics_tls_key.clone());
        if self.metrics_auth == MetricsAuth::None {
            if files.is_some() {
                refuse(
                    "--metrics-tls-cert and --metrics-tls-key are for --metrics-auth=kubernetes, without which /metrics is served by HTTP",
                );
            }
            return Ok(None);
        }
        if let Err(unguarded) = addresses.check_guarded() {
            refuse(&unguarded.to_string());
        }
        let source = match files {
            Some((certificate, key)) => CertificateSource::Files { certificate, key },
            None => CertificateSource::SelfMade(names(addresses)),
        };
        let identity = Identity::new(source).context("--metrics-auth=kubernetes")?;
        let config = client::configure().await.context("--metrics-auth=kubernetes")?;
        let guard = Guard::new(identity, config).context("--metrics-auth=kubernetes")?;
        Ok(Some(Arc::new(guard)))
    }
}

/// What clients may call this node.
fn names(addresses: Addresses) -> Vec<String> {
    let address = addresses.metrics.map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
    let host = settings::host_name().ok().filter(|name| !name.is_empty() && name.is_ascii());
    address.map(|ip| ip.to_string()).into_iter().chain(host).collect()
}

fn refuse(why: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, why).exit()
}
