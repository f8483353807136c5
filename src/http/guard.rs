//! Lets read `/metrics` whom Kubernetes lets: the API server is asked who bears the request's token (TokenReview), and
//! whether RBAC lets them get /metrics (SubjectAccessReview).
//!
//! Whoever has no leave, or can't be asked about, gets nothing. Whoever reaches the address may send any token, so what
//! that costs is bounded here and at the API server: answers are remembered, for longer if they are yes; tokens that were
//! never good are asked about at a limited pace, and in vain they push no good token out of memory.

mod cache;
mod pace;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use hyper::{HeaderMap, StatusCode, header::AUTHORIZATION};
use kube::{Client, Config};
use tokio::sync::Semaphore;

use self::{
    cache::{Cache, key},
    pace::Pace,
};
use super::tls::Identity;
use crate::kubernetes::{
    client::{ClientError, connect},
    review::{ReviewError, Verdict, review},
};

/// What leave is asked for.
const VERB: &str = "get";
pub(super) const PATH: &str = "/metrics";
/// How long a yes counts, so that a scrape every 30 s costs the API server two requests a minute and a right that was taken
/// away ends within a minute, and how long a no.
const ALLOWED: Duration = Duration::from_secs(60);
const REFUSED: Duration = Duration::from_secs(10);
/// Tokens remembered of each kind.
const REMEMBERED: usize = 64;
/// Questions at a time.
const QUESTIONS: usize = 4;
/// Tokens that were never good: at once, and each second. It is what client-go allows a client by default.
const BURST: u32 = 10;
const EACH_SECOND: u32 = 5;

/// Who stands before `/metrics`.
pub struct Guard {
    identity: Identity,
    config: Config,
    client: OnceLock<Client>,
    questions: Semaphore,
    memory: Mutex<Memory>,
}

struct Memory {
    allowed: Cache<()>,
    refused: Cache<Refusal>,
    pace: Pace,
    /// Why nothing can be asked, as it was logged.
    failure: Option<String>,
}

/// Why somebody gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no token in the request.
    NoToken,
    /// The API server does not know the token.
    Unknown,
    /// It knows the bearer, and they may not.
    Forbidden(String),
    /// Too many tokens were asked about.
    Busy,
    /// The API server does not tell.
    Unavailable(String),
}

impl Guard {
    /// A guard who answers with `identity` and asks the API server of `config`.
    ///
    /// # Errors
    /// Certificates or credentials of `config` are not valid.
    pub fn new(identity: Identity, config: Config) -> Result<Self, ClientError> {
        // The client works on the thread that first needs it; here it is only seen that there can be one.
        connect(&config, || ())?;
        let memory = Memory {
            allowed: Cache::new(REMEMBERED, ALLOWED),
            refused: Cache::new(REMEMBERED, REFUSED),
            pace: Pace::new(BURST, EACH_SECOND),
            failure: None,
        };
        Ok(Self {
            identity,
            config,
            client: OnceLock::new(),
            questions: Semaphore::new(QUESTIONS),
            memory: Mutex::new(memory),
        })
    }

    /// By what clients know who answers them.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Says whether a request with these headers may get `/metrics`.
    ///
    /// # Errors
    /// It may not, or that can't be found out.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = token(headers).ok_or(Refusal::NoToken)?;
        let key = key(token);
        {
            let mut memory = self.memory();
            if memory.allowed.get(&key).is_some() {
                return Ok(());
            }
            if let Some(refusal) = memory.refused.get(&key) {
                return Err(refusal);
            }
            // Whoever sends made-up tokens must not keep out those whose token was good a minute ago.
            if !memory.allowed.knows(&key) && !memory.pace.take() {
                return Err(Refusal::Busy);
            }
        }
        let verdict = self.ask(token).await;
        let mut memory = self.memory();
        memory.log(verdict.as_ref().err());
        let refusal = match verdict {
            Ok(Verdict::Allowed) => {
                memory.refused.remove(&key);
                memory.allowed.put(key, ());
                return Ok(());
            }
            Ok(Verdict::Unknown) => Refusal::Unknown,
            Ok(Verdict::Forbidden { user }) => Refusal::Forbidden(user),
            Err(error) => return Err(Refusal::Unavailable(error.to_string())),
        };
        memory.allowed.remove(&key);
        memory.refused.put(key, refusal.clone());
        Err(refusal)
    }

    async fn ask(&self, token: &str) -> Result<Verdict, ReviewError> {
        let _turn = self.questions.acquire().await.expect("nobody closes it");
        review(self.client()?, token, VERB, PATH).await
    }

    fn client(&self) -> Result<&Client, ReviewError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect(&self.config, || ())?;
        Ok(self.client.get_or_init(|| client))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Logs that nothing can be asked, and why, once as long as that lasts.
    fn log(&mut self, error: Option<&ReviewError>) {
        let failure = error.map(ToString::to_string);
        if failure == self.failure {
            return;
        }
        match &failure {
            Some(error) => {
                tracing::warn!(%error, "/metrics is kept from all whose leave is not known yet");
            }
            None => tracing::info!("the API server tells again who may read /metrics"),
        }
        self.failure = failure;
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::NoToken => {
                "send a token that Kubernetes knows, as Authorization: Bearer TOKEN\n".to_owned()
            }
            Self::Unknown => "the API server does not know this token\n".to_owned(),
            Self::Forbidden(user) => format!(
                "{user} may not {VERB} {PATH}; a ClusterRole with nonResourceURLs: [{PATH}] and verbs: [{VERB}] lets them\n"
            ),
            Self::Busy => "too many tokens are asked about; come back in a second\n".to_owned(),
            Self::Unavailable(reason) => {
                format!("whether you may read this can't be found out: {reason}\n")
            }
        }
    }
}

#[cfg(test)]
mod tests;
