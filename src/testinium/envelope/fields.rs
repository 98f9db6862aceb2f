//! The fields of an answer: how they are named in the wild, and which of their values say that nothing has failed.

use serde_json::{Map, Value};

use crate::testinium::json::{is_empty, plain};

pub(super) const CODES: &[&str] = &["code", "errorcode"];
pub(super) const MESSAGES: &[&str] =
    &["message", "errormessage", "errordescription", "description", "detail", "msg"];
pub(super) const WORDS: &[&str] = &["error", "reason", "title", "exception"];

/// The first of the fields that holds a text, in the names' order.
pub(super) fn text(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    fields(object, names).find_map(|value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

/// The first of the fields that holds a text or a number, in the names' order.
pub(super) fn scalar(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    fields(object, names).find_map(|value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

pub(super) fn fields<'a>(
    object: &'a Map<String, Value>,
    names: &'a [&'a str],
) -> impl Iterator<Item = &'a Value> {
    names
        .iter()
        .flat_map(|name| object.iter().filter(move |(key, _)| plain(key) == *name).map(|(_, value)| value))
}

/// Whether a text looks like NOT_AVAILABLE or invalid_grant rather than like words.
pub(super) fn is_code(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        && (text.contains(['_', '-']) || !text.contains(|c: char| c.is_ascii_lowercase()))
}

pub(super) fn is_success(text: &str) -> bool {
    text.eq_ignore_ascii_case("success")
}

pub(super) fn is_code_of_success(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => is_success(text),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

pub(super) fn is_status_of_success(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => {
            number.as_i64().is_some_and(|status| status == 0 || (200..300).contains(&status))
        }
        Value::String(text) => is_success(text),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Whether a field of this (plain) name speaks of what went wrong.
pub(super) fn tells_of_failure(key: &str) -> bool {
    ["error", "fail", "reject", "exception", "invalid"].iter().any(|word| key.contains(word))
        || key == "fault"
}

/// Whether a field that speaks of failure says that there was none.
pub(super) fn is_denied(value: &Value) -> bool {
    is_empty(value) || matches!(value, Value::Bool(false)) || value.as_i64() == Some(0)
}
