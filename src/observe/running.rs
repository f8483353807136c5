//! The settings of the running agent, by its own word at `/status`.

use std::{net::SocketAddr, time::Duration};

use hyper::StatusCode;
use serde::Deserialize;
use tokio::time::timeout;

use super::request::get;
use crate::settings::StatedSettings;

/// Longest answer that is read, in bytes. An agent with 500 mirrored ports has some 300 KB to tell.
const ANSWER: usize = 16 << 20;

/// The part of `/status` that is read.
#[derive(Deserialize)]
struct Told {
    settings: StatedSettings,
}

/// Asks the agent at `address`; none if nobody listens there.
///
/// # Errors
/// Whoever listens there does not state settings, and why, in words.
pub async fn ask_settings(
    address: SocketAddr,
    limit: Duration,
) -> Result<Option<StatedSettings>, String> {
    let (status, body) = match timeout(limit, get(address, "/status", ANSWER)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is::<std::io::Error>() => return Ok(None),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", limit.as_secs())),
    };
    if status != StatusCode::OK {
        let reason: String = String::from_utf8_lossy(&body).trim().chars().take(80).collect();
        return Err(format!("{status}: {reason}"));
    }
    let told = serde_json::from_slice::<Told>(&body);
    told.map(|told| Some(told.settings)).map_err(|error| error.to_string())
}
