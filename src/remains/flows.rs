//! Our flows in a switch, all of them, whoever installed them.

use std::time::Duration;

use flows::{
    model::Cookie,
    ofp::{FlowFilter, FlowMod, MultipartReply, MultipartRequest},
};
use tokio::time::timeout;

use crate::{
    endpoint::Endpoint,
    openflow::{
        connection::{Connection, ConnectionError},
        session::{Event, RequestError},
    },
    switch::Tag,
};

/// Why flows are left, or may be.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// The switch can't be asked.
    #[error("can't tell whether flows are left: {0}")]
    Connection(#[from] ConnectionError),
    /// The switch refuses.
    #[error("can't tell whether flows are left: {0}")]
    Refused(#[from] RequestError),
    /// The switch says nothing.
    #[error("can't tell whether flows are left: {endpoint} is silent for {} s", .limit.as_secs())]
    Silent {
        /// Where.
        endpoint: Endpoint,
        /// How long.
        limit: Duration,
    },
}

/// How many there are. The switch looks at all of its flows for that, and describes none.
///
/// # Errors
/// The switch does not tell, or not within `limit`.
pub(super) async fn count(endpoint: &Endpoint, limit: Duration) -> Result<u64, FlowsError> {
    within(endpoint, limit, async {
        let mut connection = connect(endpoint).await?;
        connection.ask(Tag::Count, MultipartRequest::Aggregate(ours()));
        loop {
            match connection.next().await? {
                Event::Part { body: MultipartReply::Aggregate(stats), .. } => {
                    if let Some(flows) = stats.flows {
                        return Ok(flows.into());
                    }
                }
                Event::Refused { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
    })
    .await
}

/// Removes all of them at once.
///
/// # Errors
/// The switch refuses, or does not answer within `limit`.
pub(super) async fn remove(endpoint: &Endpoint, limit: Duration) -> Result<(), FlowsError> {
    within(endpoint, limit, async {
        let mut connection = connect(endpoint).await?;
        let everything = FlowMod::delete_by_cookie(Cookie::OURS, Cookie::TAG_MASK);
        connection.commit(Tag::Remove, [everything]);
        loop {
            if let Event::Bundle { outcome, .. } = connection.next().await? {
                return Ok(outcome?);
            }
        }
    })
    .await
}

fn ours() -> FlowFilter {
    let (cookie, cookie_mask) = (Cookie::OURS, Cookie::TAG_MASK);
    FlowFilter { cookie, cookie_mask, ..FlowFilter::default() }
}

async fn connect(endpoint: &Endpoint) -> Result<Connection<Tag>, FlowsError> {
    let mut connection = Connection::connect(endpoint).await?;
    loop {
        if let Event::Up(_) = connection.next().await? {
            return Ok(connection);
        }
    }
}

async fn within<T>(
    endpoint: &Endpoint,
    limit: Duration,
    work: impl Future<Output = Result<T, FlowsError>>,
) -> Result<T, FlowsError> {
    let silent = || FlowsError::Silent { endpoint: endpoint.clone(), limit };
    timeout(limit, work).await.unwrap_or_else(|_| Err(silent()))
}
