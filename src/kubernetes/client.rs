//! The way to the API server: one stack of layers for each use, which tells when it got an answer.

use std::{error::Error, time::Duration};

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

/// How long a connection may take, and the head of an answer after a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may be silent within an answer. Longer than a watch lasts that nothing happens in (290 s).
const SILENCE: Duration = Duration::from_secs(330);
/// When a silent peer is asked by TCP whether it is still there, how often, and how many times in vain until the
/// connection counts as lost: a watch only listens, so it would never notice a peer that went without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Why the API server can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a service account.
    #[error(
        "can't tell where the API server is: {0}; set KUBECONFIG, run in a Pod with a service account, or use --pod-source=ovsdb"
    )]
    Config(#[from] kube::config::InferConfigError),
    /// What the configuration has is not valid.
    #[error("can't use the configuration of the API server: {0}")]
    Stack(#[from] kube::Error),
}

/// Reads where the API server is and who we are: from `KUBECONFIG` or `~/.kube/config`, or else from the service account of the
/// Pod.
///
/// # Errors
/// There is neither, or it is not valid.
pub async fn configure() -> Result<Config, ClientError> {
    Ok(Config::infer().await?)
}

/// A client whose good answers call `answered`. Nothing is sent yet.
///
/// # Errors
/// Certificates or credentials of the configuration are not valid.
pub fn connect(
    config: &Config,
    answered: impl Fn() + Clone + Send + Sync + 'static,
) -> Result<Client, ClientError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(Some(PATIENCE));
    connector.set_read_timeout(Some(SILENCE));
    connector.set_reset_reader_on_write(true);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .timeout(PATIENCE)
        .service(http)
        .map_response(move |response: hyper::Response<_>| {
            if response.status().is_success() {
                answered();
            }
            response
        });
    Ok(Client::new(stack, &*config.default_namespace))
}

/// An error with all its causes, in a line: those of HTTP clients say what happened only at the end. Of a refusal only the API
/// server's own words are told, as kube repeats all of it in a form for programmers.
#[must_use]
pub fn in_a_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        match error.downcast_ref() {
            Some(kube::Error::Api(status)) if !status.message.is_empty() => {
                return line.replace(&text, &status.message);
            }
            _ if line.contains(&text) => {}
            _ => line = format!("{line}: {text}"),
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use kube::{core::Status, runtime::watcher};

    use super::*;

    #[test]
    fn a_refusal_is_told_once_in_the_api_servers_words() {
        let message = "pods is forbidden: User \"x\" cannot list resource \"pods\"";
        let refused =
            || kube::Error::Api(Status::failure(message, "Forbidden").with_code(403).boxed());
        assert_eq!(in_a_line(&refused()), message);
        assert_eq!(
            in_a_line(&watcher::Error::InitialListFailed(refused())),
            format!("failed to perform initial object list: {message}")
        );
    }
}
