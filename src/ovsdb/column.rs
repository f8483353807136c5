//! Column values: the JSON of RFC 7047 section 5.1 into Rust types, whole or as a difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use imbl::OrdSet;
use serde_json::Value;
use uuid::Uuid;

/// A value that is not of its column's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(super) struct Mismatch {
    expected: &'static str,
    found: String,
}

impl Mismatch {
    /// Longest part of a strange value that is repeated, in characters.
    const FOUND_CHARS: usize = 80;

    pub(super) fn new(expected: &'static str, found: &Value) -> Self {
        let found = found.to_string().chars().take(Self::FOUND_CHARS).collect();
        Self { expected, found }
    }
}

/// A field that holds the value of one column.
pub(super) trait Column {
    /// Takes over a whole value. A mismatch leaves the default of the type.
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch>;

    /// Applies the difference of a `modify` update (ovsdb-server(7), 4.1.14), which is the new
    /// value itself unless the column is [composite](Self::is_composite).
    fn modify(&mut self, difference: &Value) -> Result<(), Mismatch> {
        self.assign(difference)
    }

    /// Whether a difference builds on the value before: sets and maps of more than one element.
    fn is_composite(&self) -> bool {
        false
    }

    /// Memory held beyond the field itself, in bytes, about.
    fn heap_bytes(&self) -> usize;
}

/// A value that sets and maps are made of.
pub(super) trait Atom: Sized + Ord {
    const NAME: &'static str;
    const SET: &'static str;

    fn read(value: &Value) -> Option<Self>;

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Atom for String {
    const NAME: &'static str = "a string";
    const SET: &'static str = "a set of strings";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Atom for bool {
    const NAME: &'static str = "a boolean";
    const SET: &'static str = "a set of booleans";

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Atom for i64 {
    const NAME: &'static str = "an integer";
    const SET: &'static str = "a set of integers";

    fn read(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Atom for u32 {
    const NAME: &'static str = "an integer from 0 to 4294967295";
    const SET: &'static str = "a set of integers from 0 to 4294967295";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl Atom for u16 {
    const NAME: &'static str = "an integer from 0 to 65535";
    const SET: &'static str = "a set of integers from 0 to 65535";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl Atom for Uuid {
    const NAME: &'static str = "a UUID";
    const SET: &'static str = "a set of UUIDs";

    fn read(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [Value::String(tag), Value::String(text)] if tag == "uuid" => text.parse().ok(),
            _ => None,
        }
    }
}

/// The elements of a set; one atom alone is a set of one.
fn read_set<T: Atom>(value: &Value) -> Result<BTreeSet<T>, Mismatch> {
    let elements = match value.as_array().map(Vec::as_slice) {
        Some([Value::String(tag), Value::Array(elements)]) if tag == "set" => elements.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let read = |element| T::read(element).ok_or_else(|| Mismatch::new(T::SET, value));
    elements.iter().map(read).collect()
}

fn read_map(value: &Value) -> Result<BTreeMap<String, String>, Mismatch> {
    let pairs = match value.as_array().map(Vec::as_slice) {
        Some([Value::String(tag), Value::Array(pairs)]) if tag == "map" => Some(pairs),
        _ => None,
    };
    let read = |pair: &Value| match pair.as_array()?.as_slice() {
        [Value::String(key), Value::String(value)] => Some((key.clone(), value.clone())),
        _ => None,
    };
    pairs
        .and_then(|pairs| pairs.iter().map(read).collect())
        .ok_or_else(|| Mismatch::new("a map of strings", value))
}

impl<T: Atom + Default> Column for T {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        *self = Self::default();
        *self = Self::read(value).ok_or_else(|| Mismatch::new(T::NAME, value))?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        Atom::heap_bytes(self)
    }
}

impl<T: Atom> Column for Option<T> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        *self = None;
        let mut set = read_set(value)?;
        let first = set.pop_first();
        if !set.is_empty() {
            return Err(Mismatch::new("at most one value", value));
        }
        *self = first;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Atom::heap_bytes)
    }
}

impl<T: Atom> Column for BTreeSet<T> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        self.clear();
        *self = read_set(value)?;
        Ok(())
    }

    fn modify(&mut self, difference: &Value) -> Result<(), Mismatch> {
        for element in read_set::<T>(difference)? {
            if !self.remove(&element) {
                self.insert(element);
            }
        }
        Ok(())
    }

    fn is_composite(&self) -> bool {
        true
    }

    fn heap_bytes(&self) -> usize {
        self.iter().map(|element| mem::size_of::<T>() + element.heap_bytes()).sum()
    }
}

impl<T: Atom + Clone> Column for OrdSet<T> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        self.clear();
        *self = read_set(value)?.into();
        Ok(())
    }

    fn modify(&mut self, difference: &Value) -> Result<(), Mismatch> {
        for element in read_set::<T>(difference)? {
            if self.remove(&element).is_none() {
                self.insert(element);
            }
        }
        Ok(())
    }

    fn is_composite(&self) -> bool {
        true
    }

    fn heap_bytes(&self) -> usize {
        // Counted each time that a row changes, so it must not go over all elements.
        mem::size_of::<T>() * self.len()
    }
}

impl Column for BTreeMap<String, String> {
    fn assign(&mut self, value: &Value) -> Result<(), Mismatch> {
        self.clear();
        *self = read_map(value)?;
        Ok(())
    }

    fn modify(&mut self, difference: &Value) -> Result<(), Mismatch> {
        for (key, value) in read_map(difference)? {
            if self.get(&key) == Some(&value) {
                self.remove(&key);
            } else {
                self.insert(key, value);
            }
        }
        Ok(())
    }

    fn is_composite(&self) -> bool {
        true
    }

    fn heap_bytes(&self) -> usize {
        let strings = 2 * mem::size_of::<String>();
        self.iter().map(|(key, value)| strings + key.len() + value.len()).sum()
    }
}
