//! The operations of a transaction and what the server made of them (RFC 7047 sections 4.1.3, 5.2).

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use super::column::Atom as _;

/// Columns and their values.
pub type Columns = Map<String, Value>;

/// One step of a transaction; all of them take effect, or none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a row.
    Insert {
        /// Name of the table.
        table: &'static str,
        /// Columns that differ from their defaults.
        row: Columns,
        /// Name by which [`named`] refers to the row within the transaction.
        #[serde(rename = "uuid-name")]
        uuid_name: &'static str,
    },
    /// Sets columns of the rows that meet all conditions.
    Update {
        /// Name of the table.
        table: &'static str,
        /// Which rows.
        #[serde(rename = "where")]
        conditions: Vec<Condition>,
        /// The new values.
        row: Columns,
    },
    /// Changes sets and maps of the rows that meet all conditions.
    Mutate {
        /// Name of the table.
        table: &'static str,
        /// Which rows.
        #[serde(rename = "where")]
        conditions: Vec<Condition>,
        /// What to do, in this order.
        mutations: Vec<Mutation>,
    },
    /// Lets the transaction go on only if the rows that meet all conditions are exactly `rows`.
    Wait {
        /// Name of the table.
        table: &'static str,
        /// Which rows.
        #[serde(rename = "where")]
        conditions: Vec<Condition>,
        /// Columns to compare.
        columns: Vec<&'static str>,
        /// `==`, as [`Operation::expect`] makes it.
        until: &'static str,
        /// What these columns must hold.
        rows: Vec<Columns>,
        /// How long the server may wait for that, in milliseconds; 0 asks only once.
        timeout: u64,
    },
    /// Lets the transaction go on only if its sender holds this lock.
    Assert {
        /// The lock.
        lock: String,
    },
    /// Leaves a line in the log of the server's database.
    Comment {
        /// The line.
        comment: String,
    },
}

/// `[column, function, value]`: which rows are meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Condition(pub &'static str, pub &'static str, pub Value);

/// `[column, mutator, value]`: how a column changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mutation(pub &'static str, pub &'static str, pub Value);

impl Operation {
    /// A [`Operation::Wait`] that asks once.
    pub fn expect(
        table: &'static str,
        conditions: Vec<Condition>,
        columns: Vec<&'static str>,
        rows: Vec<Columns>,
    ) -> Self {
        Self::Wait { table, conditions, columns, until: "==", rows, timeout: 0 }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { table, .. } => write!(f, "insert into {table}"),
            Self::Update { table, .. } => write!(f, "update of {table}"),
            Self::Mutate { table, .. } => write!(f, "mutate of {table}"),
            Self::Wait { table, .. } => write!(f, "wait on {table}"),
            Self::Assert { lock } => write!(f, "assertion of lock {lock}"),
            Self::Comment { .. } => f.write_str("comment"),
        }
    }
}

/// The row of that UUID.
pub fn row_is(uuid: Uuid) -> Condition {
    Condition("_uuid", "==", existing(uuid))
}

/// A reference to a row that exists.
pub fn existing(uuid: Uuid) -> Value {
    json!(["uuid", uuid])
}

/// A reference to a row inserted by the same transaction.
pub fn named(uuid_name: &str) -> Value {
    json!(["named-uuid", uuid_name])
}

/// A set.
pub fn set(elements: impl IntoIterator<Item = Value>) -> Value {
    json!(["set", elements.into_iter().collect::<Vec<_>>()])
}

/// A map of strings.
pub fn map(pairs: &BTreeMap<String, String>) -> Value {
    json!(["map", pairs.iter().collect::<Vec<_>>()])
}

/// What one operation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationResult {
    /// The row that an insert added.
    pub uuid: Option<Uuid>,
    /// The number of rows that an update or mutate met.
    pub count: Option<u64>,
}

/// Why the server refused a transaction; nothing of it took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}: {details}", .operation.as_deref().unwrap_or("commit"))]
pub struct Rejection {
    /// Position of the operation that failed; as many as there are operations for the commit.
    pub index: usize,
    /// That operation; none for the commit.
    pub operation: Option<String>,
    /// The kind of failure.
    pub cause: Cause,
    /// The server's explanation.
    pub details: String,
}

/// The `<error>` strings of RFC 7047 that a caller may want to tell apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A wait found other rows than expected: somebody was faster.
    #[error("the database is not as expected")]
    TimedOut,
    /// A value or the number of rows breaks the schema.
    #[error("constraint violation")]
    ConstraintViolation,
    /// A reference to a row that does not exist, or to one that is still needed.
    #[error("referential integrity violation")]
    ReferentialIntegrityViolation,
    /// The sender does not hold the lock that it should.
    #[error("somebody else holds the lock")]
    NotOwner,
    /// Anything else, in the server's word.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Cause {
    fn from(error: String) -> Self {
        match error.as_str() {
            "timed out" => Self::TimedOut,
            "constraint violation" => Self::ConstraintViolation,
            "referential integrity violation" => Self::ReferentialIntegrityViolation,
            "not owner" => Self::NotOwner,
            _ => Self::Other(error),
        }
    }
}

/// An element of the reply to `transact`.
#[derive(Deserialize)]
struct Outcome {
    error: Option<String>,
    details: Option<String>,
    uuid: Option<Value>,
    count: Option<u64>,
}

/// Joins the reply to `transact` to its operations.
///
/// The outer error means that the reply makes no sense.
pub(super) fn results(
    operations: &[Operation],
    reply: &RawValue,
) -> Result<Result<Vec<OperationResult>, Rejection>, serde_json::Error> {
    use serde::de::Error as _;

    let outcomes: Vec<Option<Outcome>> = serde_json::from_str(reply.get())?;
    let mut results = Vec::with_capacity(operations.len());
    for (index, outcome) in outcomes.into_iter().enumerate() {
        // Null: an operation before it failed, or it is the sign of a commit that went well.
        let Some(outcome) = outcome else { continue };
        if let Some(error) = outcome.error {
            return Ok(Err(Rejection {
                index,
                operation: operations.get(index).map(ToString::to_string),
                cause: error.into(),
                details: outcome.details.unwrap_or_default(),
            }));
        }
        let uuid = outcome.uuid.map(|uuid| Uuid::read(&uuid).ok_or("not a UUID")).transpose();
        let uuid = uuid.map_err(serde_json::Error::custom)?;
        results.push(OperationResult { uuid, count: outcome.count });
    }
    if results.len() != operations.len() {
        let (results, operations) = (results.len(), operations.len());
        return Err(serde_json::Error::custom(format_args!(
            "{results} results for {operations} operations"
        )));
    }
    Ok(Ok(results))
}

#[cfg(test)]
mod tests;
