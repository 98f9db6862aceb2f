//! The walk through an answer: every field that could hold an error is read, in every shape that an error may have.

use serde_json::{Map, Value};

use super::fields::{
    is_code, is_code_of_success, is_denied, is_status_of_success, is_success, tells_of_failure,
};
use super::named::{Named, named_plan, plan_id};
use super::reported_error::{is_map_of_errors, named_in, reported_error_of, said, words_of};
use crate::machine::words::{Sense, sense};
use crate::machine::{PlanId, ReportedError};
use crate::testinium::json::{is_empty, plain};
use crate::testinium::redact::Secrets;

/// The most reported errors that are kept: a call has at most as many plans.
pub(super) const REPORTED_ERRORS_MAX: usize = 1000;

/// The reported errors found so far.
pub(super) struct Reading<'a> {
    secrets: &'a Secrets<'a>,
    pub reported_errors: Vec<ReportedError>,
    /// Something could mean a failure and can't be told.
    pub opaque: bool,
}

// === impl Reading ===

impl<'a> Reading<'a> {
    pub fn new(secrets: &'a Secrets<'a>) -> Self {
        Self { secrets, reported_errors: Vec::new(), opaque: false }
    }

    /// An object that may tell of success or failure: the envelope, or a part of it. Its own words become one
    /// reported error; a list or a map of errors in it becomes one each.
    pub fn object(&mut self, object: &Map<String, Value>) {
        let before = self.reported_errors.len();
        let mut failed = false;
        for (key, value) in object {
            match plain(key).as_str() {
                "errors" => self.errors(value),
                "result" => self.result(value),
                "data" => self.data(value),
                "code" | "errorcode" => failed |= !is_code_of_success(value),
                "status" | "statuscode" => failed |= !is_status_of_success(value),
                "success" | "ok" => failed |= !matches!(value, Value::Null | Value::Bool(true)),
                key if tells_of_failure(key) && !is_denied(value) => match value {
                    Value::Array(_) | Value::Object(_) => self.errors(value),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => failed = true,
                },
                _ => self.unknown(key, value),
            }
        }
        // Words that speak of trouble are no greeting, even beside an empty `errors`.
        failed |= self.reported_errors.len() == before && words_of(object) != Sense::Other;
        if failed {
            let own = reported_error_of(object, Named::Nothing, self.secrets);
            // A bare "there were errors" adds nothing to a list of what is wrong, and would only stand in the way of
            // "all of it is that the plan is not running".
            let is_bare = own.message.is_none()
                && own.code.as_ref().is_none_or(|code| code.bytes().all(|b| b.is_ascii_digit()));
            if !is_bare || self.reported_errors.len() == before {
                self.push(own);
            }
        }
    }

    /// The documented `result`: a code other than 0 is a failure, and so is anything else that it may be.
    fn result(&mut self, value: &Value) {
        match value {
            Value::Object(result) => self.object(result),
            Value::String(text) if is_success(text) => {}
            value if is_empty(value) => {}
            value => self.item(value, None),
        }
    }

    /// The documented `data` of a stop is null. A known word in it may be the answer of a failed one
    /// ("NOT_AVAILABLE"); a value that nobody documents is no success.
    fn data(&mut self, value: &Value) {
        match value {
            Value::String(text) if is_success(text) => {}
            value if is_empty(value) => {}
            Value::String(text) if sense(Some(text), None, std::iter::empty()) != Sense::Other => {
                self.item(value, None);
            }
            Value::Object(data) => {
                self.object(data);
                let says_success = data.get("status").and_then(Value::as_str).is_some_and(is_success);
                self.opaque |= !(says_success && data.len() == 1);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_) => {
                self.opaque = true;
            }
        }
    }

    /// A field that nobody documents. It may well be harmless, such as a trace id, but an error within it is one.
    fn unknown(&mut self, key: &str, value: &Value) {
        self.opaque |= plan_id(key).is_some();
        match value {
            Value::Object(object) => self.object(object),
            Value::Array(items) => items.iter().for_each(|item| self.unknown("", item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The documented `errors`, of undocumented shape.
    fn errors(&mut self, value: &Value) {
        match value {
            // Some servers write "no errors" so.
            Value::Bool(false) => {}
            value if is_empty(value) => {}
            Value::Array(items) => items.iter().for_each(|item| self.item(item, None)),
            value => self.item(value, None),
        }
    }

    /// One error, of the plan that the key of a map has named, if it has.
    fn item(&mut self, value: &Value, plan: Option<PlanId>) {
        match value {
            // An empty place in a list of errors may be an error that nobody worded, so it blames no plan.
            value if is_empty(value) => self.push(ReportedError::default()),
            Value::String(text) => {
                let named = Named::from(plan).and(named_in(text));
                let (code, message) =
                    if is_code(text) { (Some(&**text), None) } else { (None, Some(&**text)) };
                self.push(said(code, message, &[], named, self.secrets));
            }
            Value::Bool(_) | Value::Number(_) | Value::Null => {
                self.push(said(Some(&value.to_string()), None, &[], plan.into(), self.secrets));
            }
            Value::Array(items) => items.iter().for_each(|item| self.item(item, plan)),
            Value::Object(object) if is_map_of_errors(object) => {
                object.iter().for_each(|(key, value)| self.entry(key, value));
            }
            Value::Object(object) => {
                self.push(reported_error_of(object, plan.into(), self.secrets));
                for (key, value) in object {
                    if matches!(value, Value::Array(_) | Value::Object(_)) && tells_of_failure(&plain(key)) {
                        self.errors(value);
                    }
                }
            }
        }
    }

    /// One entry of a map of errors: keyed by the plan's id, or by the field that is wrong.
    fn entry(&mut self, key: &str, value: &Value) {
        let plan = plan_id(key).or_else(|| named_plan(key));
        match value {
            Value::String(text) if plan.is_none() && !text.is_empty() => {
                let (code, message) =
                    if is_code(key) { (Some(key), text) } else { (None, &format!("{key}: {text}")) };
                self.push(said(code, Some(message), &[], named_in(text).into(), self.secrets));
            }
            value => self.item(value, plan),
        }
    }

    pub fn push(&mut self, error: ReportedError) {
        match self.reported_errors.len() {
            ..REPORTED_ERRORS_MAX => self.reported_errors.push(error),
            // A dropped one may have named further plans: one error without a plan says that not all are named.
            REPORTED_ERRORS_MAX => self.reported_errors.push(ReportedError::default()),
            _ => {}
        }
    }
}
