//! The objects of a list, one by one as its bytes come: a list may have gigabytes, an object has not.

use std::{collections::VecDeque, mem};

/// Longest object, in bytes. etcd takes 1.5 MiB, which JSON may make six times as long.
const MAX_ITEM: usize = 16 << 20;
/// Longest rest of a list, in bytes: its kind and its version.
const MAX_ENVELOPE: usize = 64 << 10;

/// Cuts a list into its objects: what is an object, in an array, in the whole.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Objects and arrays that have begun and not ended.
    depth: usize,
    /// Whether what has begun in the whole is an array.
    in_array: bool,
    in_text: bool,
    /// Whether the next byte of the text is taken as it is.
    escaped: bool,
    /// The object that has begun.
    item: Option<Vec<u8>>,
    /// All that is in no object.
    envelope: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
}

/// Why bytes are no list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ItemsError {
    #[error("an object has more than {MAX_ITEM} bytes")]
    LongItem,
    #[error("the list has more than {MAX_ENVELOPE} bytes beside its objects")]
    LongEnvelope,
    #[error("the list ends in the middle")]
    Short,
}

impl Items {
    /// Takes in the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), ItemsError> {
        bytes.iter().try_for_each(|byte| self.take_in(*byte))
    }

    /// The next object that is whole, as JSON.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    /// The list without its objects, when all its bytes are taken in.
    pub(super) fn finish(self) -> Result<Vec<u8>, ItemsError> {
        if self.depth == 0 && !self.envelope.is_empty() {
            Ok(self.envelope)
        } else {
            Err(ItemsError::Short)
        }
    }

    fn take_in(&mut self, byte: u8) -> Result<(), ItemsError> {
        let mut ends = false;
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    match self.depth {
                        2 => self.in_array = byte == b'[',
                        3 if self.in_array && byte == b'{' => self.item = Some(Vec::new()),
                        _ => {}
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    ends = self.depth == 2;
                }
                // Between two objects.
                b',' if self.depth == 2 && self.in_array => return Ok(()),
                _ => {}
            }
        }
        match &mut self.item {
            Some(item) if item.len() == MAX_ITEM => return Err(ItemsError::LongItem),
            Some(item) => item.push(byte),
            None if self.envelope.len() == MAX_ENVELOPE => return Err(ItemsError::LongEnvelope),
            None => self.envelope.push(byte),
        }
        if ends {
            self.whole.extend(mem::take(&mut self.item));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"kind":"L","metadata":{"resourceVersion":"7","x":[{"a":1}]},
        "items":[{"a":"},{\"]"}, {"b":[{"c":{}}]},{}]}"#;

    fn cut(parts: &[&[u8]]) -> (Vec<String>, Result<String, ItemsError>) {
        let (mut items, mut found) = (Items::default(), Vec::new());
        for part in parts {
            items.feed(part).unwrap();
            while let Some(item) = items.next() {
                found.push(String::from_utf8(item).unwrap());
            }
        }
        (found, items.finish().map(|envelope| String::from_utf8(envelope).unwrap()))
    }

    #[test]
    fn objects_come_one_by_one_wherever_the_bytes_are_parted() {
        let found = [r#"{"a":"},{\"]"}"#, r#"{"b":[{"c":{}}]}"#, "{}"];
        for at in 0..LIST.len() {
            let (first, rest) = LIST.as_bytes().split_at(at);
            let (items, envelope) = cut(&[first, rest]);
            assert_eq!(items, found, "parted at {at}");
            let envelope: serde_json::Value = serde_json::from_str(&envelope.unwrap()).unwrap();
            assert_eq!(envelope["metadata"]["resourceVersion"], "7");
            assert_eq!(envelope["items"], serde_json::json!([]));
        }
    }

    #[test]
    fn a_list_that_ends_early_is_no_list() {
        for at in 0..LIST.len() {
            assert_eq!(cut(&[&LIST.as_bytes()[..at]]).1, Err(ItemsError::Short), "at {at}");
        }
    }

    #[test]
    fn nothing_is_kept_without_limit() {
        let mut items = Items::default();
        items.feed(br#"{"items":[{"a":""#).unwrap();
        assert_eq!(items.feed(&vec![b'x'; MAX_ITEM]), Err(ItemsError::LongItem));
        let mut items = Items::default();
        assert_eq!(items.feed(&vec![b' '; MAX_ENVELOPE + 1]), Err(ItemsError::LongEnvelope));
    }
}
