//! What is answered to which request.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use metrics::Metrics;
use tokio::sync::watch;

use super::{
    budget::Budget,
    page::{PAGE, POLICY},
};
use crate::{
    foreign,
    health::{DEGRADED, Health, PAUSED},
    inquiry::Inquirer,
    status::live::Live,
};

/// Bytes of answers under way. With 500 mirrored ports, those at `/metrics` and `/status` have some 300 KB.
const BUDGET: usize = 16 << 20;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

const PATHS: &str = "there are /, /status, /healthz, /readyz and /metrics\n";
const BUSY: &str = "too many answers are under way\n";

/// What is served.
#[derive(Clone)]
pub struct Service {
    health: watch::Receiver<Health>,
    metrics: Metrics,
    agent: Inquirer<Live, Bytes>,
    budget: Budget,
}

impl Service {
    /// Serves health at `/readyz`, metrics at `/metrics`, and at `/status` what `agent` answers.
    #[must_use]
    pub fn new(
        health: watch::Receiver<Health>,
        metrics: Metrics,
        agent: Inquirer<Live, Bytes>,
    ) -> Self {
        Self { health, metrics, agent, budget: Budget::new(BUDGET) }
    }

    pub(super) async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/" => page(),
            "/status" => self.status().await,
            "/healthz" => self.liveness(),
            "/readyz" => self.readiness(),
            "/metrics" => match self.budget.hold(self.metrics.render()) {
                Some(text) => answer(StatusCode::OK, METRICS, text),
                None => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, BUSY),
            },
            _ => answer(StatusCode::NOT_FOUND, TEXT, PATHS),
        }
    }

    async fn status(&self) -> Response<Full<Bytes>> {
        let json = |live| {
            let text = serde_json::to_string(&live).ok()?;
            self.budget.hold(foreign::json(&text).into_owned().into_bytes())
        };
        match self.agent.ask(json).await {
            Some(text) => answer(StatusCode::OK, JSON, text),
            None => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the agent is busy\n"),
        }
    }

    fn liveness(&self) -> Response<Full<Bytes>> {
        match self.agent.standstill() {
            None => answer(StatusCode::OK, TEXT, "ok\n"),
            Some(still) => {
                let text = format!("the agent's loop stands still for {} s\n", still.as_secs());
                answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let health = self.health.borrow();
        if health.ready {
            let lines = ["ready"]
                .into_iter()
                .chain(health.paused.then_some(PAUSED))
                .chain(health.remarks.iter().map(String::as_str))
                .map(str::to_owned)
                .chain(health.degraded.iter().map(|reason| format!("{DEGRADED}{reason}")));
            let text = lines.map(|line| line + "\n").collect::<String>();
            return answer(StatusCode::OK, TEXT, text);
        }
        let mut reasons = health.problems.join("\n");
        if !health.complete {
            reasons.push_str(if reasons.is_empty() { "" } else { "\n" });
            reasons.push_str("flows are not all installed yet");
        }
        answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons + "\n")
    }
}

fn page() -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, HTML, PAGE.as_bytes());
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// An answer that no cache keeps, and that a browser takes for nothing but what it is.
fn answer(
    status: StatusCode,
    format: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    const SAME_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().extend(
        [
            (CONTENT_TYPE, format),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (SAME_ORIGIN, "same-origin"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    response
}
