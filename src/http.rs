//! `/healthz`, `/readyz` and `/metrics` for probes, Prometheus and people.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Metrics;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{
    endpoint::Stream,
    health::{Health, PAUSED},
};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long a client may take for its request, and for all of a connection.
const REQUEST: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(60);
/// Bytes of a request's head, the least that hyper allows.
const HEAD: usize = 8192;

/// What is served.
#[derive(Clone)]
pub struct Service {
    /// `/readyz`.
    pub health: watch::Receiver<Health>,
    /// `/metrics`.
    pub metrics: Metrics,
}

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address} for /metrics: {source}; choose another --metrics-addr, or none")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens at `address`, before anything else is done, so that a wrong one is told at once.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, service: Service) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION, serve_connection(stream, service)).await;
                    drop(place);
                });
            }
            // Out of file descriptors, perhaps; a connection that ends gives one back.
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for /metrics");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: impl Stream, service: Service) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = service.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a client of /metrics");
    }
}

impl Service {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n"),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let health = self.health.borrow();
        if health.ready {
            let lines = ["ready"]
                .into_iter()
                .chain(health.paused.then_some(PAUSED))
                .chain(health.remarks.iter().map(String::as_str));
            return text(StatusCode::OK, lines.map(|line| format!("{line}\n")).collect::<String>());
        }
        let mut reasons = health.problems.join("\n");
        if !health.complete {
            reasons.push_str(if reasons.is_empty() { "" } else { "\n" });
            reasons.push_str("flows are not all installed yet");
        }
        text(StatusCode::SERVICE_UNAVAILABLE, reasons + "\n")
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let format = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

#[cfg(test)]
mod tests;
