//! Who asked the API server for what: its audit log, of ServiceAccounts only.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

use super::Cluster;
use crate::Result;

/// Every answer to a ServiceAccount, and for a watch its beginning too.
const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
"#;

/// Something that the API server was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The verb, as RBAC has it.
    pub verb: String,
    /// The group of the API, empty for the core.
    pub group: String,
    /// The resource in the plural, with the subresource after a slash; the path of what is no resource.
    pub resource: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_group: String,
    resource: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

/// The arguments by which kube-apiserver writes the log.
pub(super) fn arguments(folder: &Path) -> [String; 2] {
    [("policy-file", policy(folder)), ("log-path", log(folder))]
        .map(|(name, path)| format!("--audit-{name}={}", path.display()))
}

/// Writes what is logged of whom.
pub(super) fn write_policy(folder: &Path) -> Result {
    Ok(fs::write(policy(folder), POLICY)?)
}

fn policy(folder: &Path) -> std::path::PathBuf {
    folder.join("audit-policy.yaml")
}

fn log(folder: &Path) -> std::path::PathBuf {
    folder.join("audit.log")
}

impl Cluster<'_> {
    /// What a ServiceAccount has asked for so far and got an answer to, good or bad, the oldest first.
    ///
    /// # Errors
    /// The log is not what it should be.
    pub fn requests(&self, namespace: &str, account: &str) -> Result<Vec<Request>> {
        Ok(self.entries(namespace, account)?.into_iter().map(Request::of).collect())
    }

    /// The paths, with their queries, of the same requests.
    ///
    /// # Errors
    /// As [`Self::requests`].
    pub fn uris(&self, namespace: &str, account: &str) -> Result<Vec<String>> {
        Ok(self.entries(namespace, account)?.into_iter().map(|entry| entry.uri).collect())
    }

    fn entries(&self, namespace: &str, account: &str) -> Result<Vec<Entry>> {
        let username = format!("system:serviceaccount:{namespace}:{account}");
        let text = fs::read_to_string(log(&self.folder))?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut entries = Vec::new();
        for line in whole.lines() {
            let entry: Entry = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if entry.user.username == username {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

impl Request {
    fn of(entry: Entry) -> Self {
        let (group, resource) = match entry.object_ref {
            Some(Object { api_group, resource, subresource: None }) => (api_group, resource),
            Some(Object { api_group, resource, subresource: Some(sub) }) => {
                (api_group, format!("{resource}/{sub}"))
            }
            None => (String::new(), entry.uri),
        };
        Self { verb: entry.verb, group, resource, status: entry.response_status.code }
    }
}
