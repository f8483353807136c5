//! What is answered to which request.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
        REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use metrics::Metrics;
use tokio::sync::watch;

use super::{
    budget::Budget,
    guard::{self, Guard, Refusal},
    host::is_of_localhost,
    page::{PAGE, POLICY},
    site::View,
};
use crate::{
    foreign,
    health::{DEGRADED, Health, PAUSED},
    inquiry::Inquirer,
    status::live::Live,
};

/// Bytes of answers under way, of those to the node's own programs and of all others. With 500 mirrored ports, those at `/metrics` and `/status` have some 300 KB.
const BUDGET: usize = 16 << 20;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

const PATHS: &str = "there are /, /status, /healthz, /readyz and /metrics\n";
const ELSEWHERE: &str = "here is /metrics; /, /status, /healthz and /readyz are at --status-addr, by default the node's localhost\n";
const NAME: &str = "by this name a foreign web page could ask, too; ask for localhost or an address, as in http://127.0.0.1:9475/\n";
const SPEAK_TLS: &str =
    "this address speaks HTTPS; with curl: https://, and -k for a self-made certificate\n";
const BUSY: &str = "too many answers are under way\n";

/// What is served.
#[derive(Clone)]
pub struct Service {
    health: watch::Receiver<Health>,
    metrics: Metrics,
    agent: Inquirer<Live, Bytes>,
    budget: Budget,
    outside: Budget,
}

impl Service {
    /// Serves health at `/readyz`, metrics at `/metrics`, and at `/status` what `agent` answers.
    #[must_use]
    pub fn new(
        health: watch::Receiver<Health>,
        metrics: Metrics,
        agent: Inquirer<Live, Bytes>,
    ) -> Self {
        let [budget, outside] = [Budget::new(BUDGET), Budget::new(BUDGET)];
        Self { health, metrics, agent, budget, outside }
    }

    /// Answers a request of somebody who gets this view.
    pub(super) async fn answer<T>(
        &self,
        view: &View,
        request: &Request<T>,
    ) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        if method != Method::GET && method != Method::HEAD {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match view {
            View::Local if !is_of_localhost(request) => {
                answer(StatusCode::MISDIRECTED_REQUEST, TEXT, NAME)
            }
            View::Local | View::Everything => self.everything(path).await,
            View::Plain => answer(StatusCode::BAD_REQUEST, TEXT, SPEAK_TLS),
            _ if path != guard::PATH => answer(StatusCode::NOT_FOUND, TEXT, ELSEWHERE),
            View::Metrics => self.metrics(&self.outside),
            View::Guarded(guard) => self.guarded(guard, request).await,
        }
    }

    async fn everything(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/" => page(),
            "/status" => self.status().await,
            "/healthz" => self.liveness(),
            "/readyz" => self.readiness(),
            guard::PATH => self.metrics(&self.budget),
            _ => answer(StatusCode::NOT_FOUND, TEXT, PATHS),
        }
    }

    fn metrics(&self, budget: &Budget) -> Response<Full<Bytes>> {
        match budget.hold(self.metrics.render()) {
            Some(text) => answer(StatusCode::OK, METRICS, text),
            None => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, BUSY),
        }
    }

    async fn guarded<T>(&self, guard: &Guard, request: &Request<T>) -> Response<Full<Bytes>> {
        let Err(refusal) = guard.admit(request.headers()).await else {
            return self.metrics(&self.outside);
        };
        let mut response = answer(refusal.status(), TEXT, refusal.text());
        if let Refusal::NoToken | Refusal::Unknown = refusal {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
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
