//! JSON that says one thing only.
//!
//! Parsers differ in which of two equal keys they keep. A reply with `errors` twice could so be read as clean by
//! one and as failed by another; here it is not read at all.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads JSON in which no object, at any depth, has a key twice. A byte order mark before it is skipped, as servers
/// on Windows like to send one.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice::<Unambiguous>(bytes).ok().map(|json| json.0)
}

/// Whether a value is null, or an empty text, list or object.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// A key without case and punctuation: planId, plan_id and PlanID are one.
pub fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which no object has a key twice")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Unambiguous(value))) = access.next_entry::<String, _>()? {
            if fields.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_there_twice_are_not_read() {
        for (text, read) in [
            (r#"{"a": 1, "b": [null, true, -2, 3.5, "x"]}"#, true),
            (r#"{"a": 1, "a": 1}"#, false),
            (r#"{"a": 1, "\u0061": 2}"#, false),
            (r#"[{"a": {"b": 1, "b": 2}}]"#, false),
            (r#"{"a": 1} {"a": 2}"#, false),
            (r#"{"a": 1,}"#, false),
            ("", false),
            ("\"\u{fffd}\"", true),
        ] {
            let expected =
                read.then(|| serde_json::from_str::<Value>(text).expect("rows that are read are JSON"));
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse(b"\"\xff\""), None, "not UTF-8");
        assert_eq!(parse("\u{feff}{}".as_bytes()), Some(Value::Object(Map::new())), "a byte order mark");
        assert_eq!(parse("\u{feff}\u{feff}{}".as_bytes()), None, "two of them");
        assert_eq!(parse("[".repeat(100_000).as_bytes()), None, "too deep");
    }

    #[test]
    fn keys_are_compared_without_case_and_punctuation() {
        for key in ["planId", "plan_id", "PlanID", "plan-id"] {
            assert_eq!(plain(key), "planid", "{key}");
        }
    }
}
