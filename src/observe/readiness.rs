//! What the agent says of itself at `/readyz`.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

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
    match timeout(limit, get(address)).await {
        Ok(Ok((StatusCode::OK, text))) => {
            let degraded = text.lines().filter_map(|line| line.strip_prefix(DEGRADED));
            Readiness::Ready {
                paused: text.lines().any(|line| line == PAUSED),
                degraded: degraded.map(str::to_owned).collect(),
            }
        }
        Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, text))) => {
            Readiness::NotReady(text.lines().map(str::to_owned).collect())
        }
        Ok(Ok((status, _))) => {
            Readiness::Unreachable(format!("something else listens there: it answers {status}"))
        }
        Ok(Err(error)) => Readiness::Unreachable(error.to_string()),
        Err(_) => Readiness::Unreachable(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn get(
    address: SocketAddr,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request =
        Request::get("/readyz").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        // The answer first: the connection may end with it.
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}
