//! JSON-RPC 1.0 messages (RFC 7047 section 4), told apart by their fields; contents stay unparsed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One message from the server, borrowing from its text.
#[derive(Debug)]
pub enum Message<'a> {
    /// The server wants an answer that bears `id`.
    Request {
        /// What it asks for; `echo` is the only one RFC 7047 knows.
        method: Cow<'a, str>,
        /// Its parameters, as they came.
        params: Option<&'a RawValue>,
        /// Its name for the answer, as it came.
        id: &'a RawValue,
    },
    /// The server tells something, `update2` above all.
    Notification {
        /// What it tells.
        method: Cow<'a, str>,
        /// Its parameters, as they came.
        params: Option<&'a RawValue>,
    },
    /// An answer to a request of ours.
    Response {
        /// The name that we gave.
        id: &'a RawValue,
        /// The result, or the error; a result of `null` is `None`.
        outcome: Result<Option<&'a RawValue>, &'a RawValue>,
    },
}

/// Why a JSON text is not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or a field of the wrong type.
    #[error("not a JSON-RPC message: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither a method nor an id.
    #[error("a JSON-RPC message with neither a method nor an id")]
    Shapeless,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Reads one text, as the framer cuts it.
    ///
    /// # Errors
    /// [`MessageError`] when it is no message; the connection is of no use then.
    pub fn parse(text: &'a [u8]) -> Result<Self, MessageError> {
        let Fields { method, params, id, result, error } = serde_json::from_slice(text)?;
        match (method, id) {
            (Some(method), Some(id)) => Ok(Self::Request { method, params, id }),
            (Some(method), None) => Ok(Self::Notification { method, params }),
            (None, Some(id)) => Ok(Self::Response { id, outcome: error.map_or(Ok(result), Err) }),
            (None, None) => Err(MessageError::Shapeless),
        }
    }
}

/// A request of ours.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a, P> {
    pub(super) method: &'a str,
    pub(super) params: P,
    pub(super) id: u64,
}

/// An answer of ours; `id` goes back as it came.
#[derive(Debug, Serialize)]
pub(super) struct Response<'a> {
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<&'a str>,
    pub(super) id: &'a RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_message_is_told_by_its_fields() {
        let parse = |text: &'static str| Message::parse(text.as_bytes()).unwrap();
        assert!(matches!(
            parse(r#"{"method":"echo","params":[1, 2],"id":"x"}"#),
            Message::Request { method, params: Some(params), id }
                if method == "echo" && params.get() == "[1, 2]" && id.get() == "\"x\""
        ));
        assert!(matches!(
            parse(r#"{"id":null,"method":"update2","params":[]}"#),
            Message::Notification { method, .. } if method == "update2"
        ));
        assert!(matches!(
            parse(r#"{"id":7,"result":[{}],"error":null}"#),
            Message::Response { id, outcome: Ok(Some(result)) } if id.get() == "7" && result.get() == "[{}]"
        ));
        assert!(matches!(
            parse(r#"{"id":7,"result":null,"error":"canceled"}"#),
            Message::Response { outcome: Err(error), .. } if error.get() == "\"canceled\""
        ));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for text in
            ["", "{", "[]", "7", "{}", r#"{"id":null}"#, r#"{"method":7,"id":1}"#, "{\"\\ud800\":1"]
        {
            assert!(Message::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
