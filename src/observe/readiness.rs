//! What the agent says of itself at `/readyz`.

use std::{net::SocketAddr, time::Duration};

use hyper::StatusCode;
use tokio::time::timeout;

use super::request::get;
use crate::health::{DEGRADED, PAUSED};

/// Longest answer that is read, in bytes; ours has a line for each problem.
const ANSWER: usize = 64 * 1024;

/// How the agent is, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The agent mirrors.
    Ready {
        /// It mirrors nothing, as nobody listens.
        paused: bool,
        /// What it mirrors only in part, and why.
        degraded: Vec<String>,
    },
    /// The agent runs, and names what is wrong.
    NotReady(Vec<String>),
    /// No agent answers there, and why.
    Unreachable(String),
}

/// Asks the agent at `address`.
pub(super) async fn ask(address: SocketAddr, limit: Duration) -> Readiness {
    let text = |body: bytes::Bytes| String::from_utf8_lossy(&body).into_owned();
    match timeout(limit, get(address, "/readyz", ANSWER)).await {
        Ok(Ok((StatusCode::OK, body))) => {
            let text = text(body);
            let degraded = text.lines().filter_map(|line| line.strip_prefix(DEGRADED));
            Readiness::Ready {
                paused: text.lines().any(|line| line == PAUSED),
                degraded: degraded.map(str::to_owned).collect(),
            }
        }
        Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, body))) => {
            Readiness::NotReady(text(body).lines().map(str::to_owned).collect())
        }
        Ok(Ok((status, _))) => {
            Readiness::Unreachable(format!("something else listens there: it answers {status}"))
        }
        Ok(Err(error)) => Readiness::Unreachable(error.to_string()),
        Err(_) => Readiness::Unreachable(format!("no answer within {} s", limit.as_secs())),
    }
}
