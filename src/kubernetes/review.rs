//! Asks the API server who bears a token, and what they may do.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
        SubjectAccessReviewStatus,
    },
};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

use super::client::{ClientError, in_a_line};

/// How long both questions together may take. A scraper has usually given up after 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its bearer may do it.
    Allowed,
    /// It is nobody's, or is not valid any more.
    Unknown,
    /// Its bearer may not do it.
    Forbidden {
        /// Who that is, as RBAC names them.
        user: String,
    },
}

/// Why the API server did not say.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There was no answer in time.
    #[error("the API server has not answered for {} s", PATIENCE.as_secs())]
    Silent,
    /// It can't be reached, or refuses the question.
    #[error("{}", in_a_line(.0))]
    Failed(#[from] kube::Error),
    /// There can be no client for it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer is not one to that question.
    #[error("the API server's answer has no {0}")]
    Incomplete(&'static str),
}

/// Asks whether the bearer of `token` may do `verb` on `path`, which is no resource, such as get on /metrics.
///
/// # Errors
/// The API server does not answer within five seconds, or does not let us ask. That is no leave.
pub async fn review(
    client: &Client,
    token: &str,
    verb: &str,
    path: &str,
) -> Result<Verdict, ReviewError> {
    let asked = async {
        let Some(user) = bearer(client, token).await? else { return Ok(Verdict::Unknown) };
        let name = user.username.clone().unwrap_or_default();
        let allowed = may(client, user, verb, path).await?;
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden { user: name } })
    };
    timeout(PATIENCE, asked).await.unwrap_or(Err(ReviewError::Silent))
}

/// Who bears the token; none if nobody does.
async fn bearer(client: &Client, token: &str) -> Result<Option<UserInfo>, ReviewError> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
    let question = TokenReview { spec, ..TokenReview::default() };
    let api = Api::<TokenReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &question).await?;
    let status = answer.status.ok_or(ReviewError::Incomplete("status of the token"))?;
    if status.authenticated != Some(true) {
        return Ok(None);
    }
    status.user.map(Some).ok_or(ReviewError::Incomplete("user of the token"))
}

async fn may(client: &Client, user: UserInfo, verb: &str, path: &str) -> Result<bool, ReviewError> {
    let of = NonResourceAttributes { path: Some(path.to_owned()), verb: Some(verb.to_owned()) };
    let spec = SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        non_resource_attributes: Some(of),
        resource_attributes: None,
    };
    let question = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api = Api::<SubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &question).await?;
    match answer.status {
        Some(SubjectAccessReviewStatus { allowed, denied, .. }) => {
            Ok(allowed && denied != Some(true))
        }
        None => Err(ReviewError::Incomplete("status of the access")),
    }
}
