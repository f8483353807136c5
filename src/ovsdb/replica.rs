//! The local copy of the monitored tables: table updates in, [`Snapshot`] out; no socket, no clock.
//!
//! Updates are those of `monitor_cond` (ovsdb-server(7), 4.1.12 to 4.1.14). They are read in one
//! pass, one row at a time, straight into the rows that they touch.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer as _,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    snapshot::{Fault, Rows, Snapshot},
    tables::{Bridge, Interface, Mirror, Port, Row},
};

/// Longest text of one row, in bytes; a bridge of 50,000 ports takes 2.4 MiB.
const MAX_ROW_BYTES: usize = 4 << 20;

/// Most memory that all rows may take, in bytes, about; 10,000 Pod ports take 8 MB.
const MAX_REPLICA_BYTES: usize = 64 << 20;

/// The tables as far as the server has told.
#[derive(Debug, Default)]
pub struct Replica {
    snapshot: Snapshot,
    bytes: usize,
    /// Whether a difference has not found the value that it builds on.
    doubtful: bool,
}

/// Table updates that do not fit the protocol or the copy; only a full re-read helps.
#[derive(Debug, thiserror::Error)]
#[error("table updates that make no sense: {0}")]
pub struct ReplicaError(#[from] serde_json::Error);

/// `<monitor-cond-requests>` for the tables and columns that the copy holds.
pub fn monitor_requests() -> Value {
    fn request<R: Row>() -> (String, Value) {
        (R::TABLE.to_owned(), json!([{ "columns": R::COLUMNS }]))
    }
    [request::<Bridge>(), request::<Port>(), request::<Interface>(), request::<Mirror>()]
        .into_iter()
        .collect()
}

impl Replica {
    /// Applies `<table-updates2>`, from the reply to `monitor_cond` or an `update2` notification.
    ///
    /// A value that is not of its column's type becomes a [`Fault`] and stops nothing.
    ///
    /// # Errors
    /// [`ReplicaError`] when anything else is wrong; the copy is good for nothing then.
    pub fn apply(&mut self, updates: &RawValue) -> Result<(), ReplicaError> {
        let mut text = serde_json::Deserializer::from_str(updates.get());
        let before = self.snapshot.ports.clone();
        text.deserialize_map(Tables(self))?;
        self.snapshot.name_ports(&before);
        Ok(())
    }

    /// Whether a set or map is another one than the server's since this was asked last: a difference to it could not be
    /// understood, or builds on what could not be. Only a full re-read helps.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubtful)
    }

    /// The tables as they are now; shares all rows.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }
}

/// `<table-updates2>`: table names to row updates.
struct Tables<'r>(&'r mut Replica);

impl<'de> Visitor<'de> for Tables<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("table updates")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Replica { snapshot, bytes, doubtful } = self.0;
        let Snapshot { bridges, ports, interfaces, mirrors, faults, .. } = snapshot;
        while let Some(table) = map.next_key::<Cow<'de, str>>()? {
            match &*table {
                Bridge::TABLE => {
                    map.next_value_seed(Table { rows: bridges, faults, bytes, doubtful })?;
                }
                Port::TABLE => {
                    map.next_value_seed(Table { rows: ports, faults, bytes, doubtful })?;
                }
                Interface::TABLE => {
                    map.next_value_seed(Table { rows: interfaces, faults, bytes, doubtful })?;
                }
                Mirror::TABLE => {
                    map.next_value_seed(Table { rows: mirrors, faults, bytes, doubtful })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

type Faults = Arc<BTreeMap<(Uuid, &'static str), Fault>>;

/// `<table-update2>`: the UUIDs of rows to what happened to them.
struct Table<'r, R> {
    rows: &'r mut Rows<R>,
    faults: &'r mut Faults,
    bytes: &'r mut usize,
    doubtful: &'r mut bool,
}

/// `<row-update2>`: one of these.
#[derive(Deserialize)]
struct RowUpdate<'a> {
    #[serde(borrow)]
    initial: Option<&'a RawValue>,
    #[serde(borrow)]
    insert: Option<&'a RawValue>,
    #[serde(borrow)]
    modify: Option<&'a RawValue>,
    /// Always null; its presence is what counts.
    #[serde(default, deserialize_with = "present")]
    delete: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'de, R: Row> DeserializeSeed<'de> for Table<'_, R> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: Row> Visitor<'de> for Table<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row updates of table {}", R::TABLE)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(uuid) = map.next_key::<Cow<'de, str>>()? {
            let uuid = uuid
                .parse()
                .map_err(|_| A::Error::custom(format_args!("\"{uuid:.50}\" names no row")))?;
            let update = map.next_value::<RowUpdate<'de>>()?;
            self.apply(uuid, &update).map_err(|problem| {
                A::Error::custom(format_args!("table {}, row {uuid}: {problem}", R::TABLE))
            })?;
        }
        Ok(())
    }
}

impl<R: Row> Table<'_, R> {
    fn apply(&mut self, uuid: Uuid, update: &RowUpdate<'_>) -> Result<(), String> {
        match update {
            RowUpdate { initial: Some(text), .. } | RowUpdate { insert: Some(text), .. } => {
                self.remove(uuid);
                let mut row = R::new(uuid);
                // A whole value is what it is, understood or not.
                let _ = set_columns(&mut row, uuid, text, Meaning::Whole, self.faults)?;
                *self.bytes += row.bytes();
                self.rows.insert(uuid, Arc::new(row));
            }
            RowUpdate { modify: Some(text), .. } => {
                let row = self.rows.get_mut(&uuid).ok_or("modified, never there")?;
                *self.bytes -= row.bytes();
                let row = Arc::make_mut(row);
                *self.doubtful |= set_columns(row, uuid, text, Meaning::Difference, self.faults)?;
                *self.bytes += row.bytes();
            }
            RowUpdate { delete: true, .. } if self.remove(uuid) => {}
            RowUpdate { delete: true, .. } => return Err("deleted, never there".to_owned()),
            _ => return Err("neither initial, insert, modify nor delete".to_owned()),
        }
        if *self.bytes > MAX_REPLICA_BYTES {
            return Err(format!("the rows take more than {MAX_REPLICA_BYTES} bytes"));
        }
        Ok(())
    }

    /// Forgets a row; false if there was none.
    fn remove(&mut self, uuid: Uuid) -> bool {
        let Some(row) = self.rows.get(&uuid) else { return false };
        *self.bytes -= row.bytes();
        self.rows.remove(&uuid);
        if !self.faults.is_empty() {
            Arc::make_mut(self.faults).retain(|(row, _), _| *row != uuid);
        }
        true
    }
}

/// How the columns of a row update are to be understood.
#[derive(Clone, Copy)]
enum Meaning {
    Whole,
    Difference,
}

/// Reads a `<row>` into the columns that it names; returns whether a set or map may be wrong now.
fn set_columns<R: Row>(
    row: &mut R,
    uuid: Uuid,
    text: &RawValue,
    meaning: Meaning,
    faults: &mut Faults,
) -> Result<bool, String> {
    if text.get().len() > MAX_ROW_BYTES {
        return Err(format!("the row is longer than {MAX_ROW_BYTES} bytes"));
    }
    let columns: Map<String, Value> =
        serde_json::from_str(text.get()).map_err(|error| error.to_string())?;
    let mut doubtful = false;
    for (name, value) in &columns {
        let Some((column, field)) = row.column(name) else { continue };
        let outcome = match meaning {
            Meaning::Whole => field.assign(value),
            Meaning::Difference => field.modify(value),
        };
        let key = (uuid, column);
        doubtful |= field.is_composite() && (outcome.is_err() || faults.contains_key(&key));
        match outcome {
            Err(mismatch) => {
                let problem = mismatch.to_string();
                let fault = Fault { table: R::TABLE, uuid, column, problem };
                Arc::make_mut(faults).insert(key, fault);
            }
            // A difference cannot mend a set or map of which a part is unknown.
            Ok(()) if !field.is_composite() && faults.contains_key(&key) => {
                Arc::make_mut(faults).remove(&key);
            }
            Ok(()) => {}
        }
    }
    Ok(doubtful)
}

#[cfg(test)]
mod tests;
