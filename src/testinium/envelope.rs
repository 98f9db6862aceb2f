//! The envelope of a stop: the body of its request, and what the body of an answer says.
//!
//! `bytes -> strict JSON -> every reported error in it -> Body`
//!
//! Testinium documents no more of a failed stop's answer than its field's name, so each field that could hold
//! an error is read in every shape that was seen elsewhere. Two rules make this safe:
//! - anything that may be an error is a reported error, even if nothing of it can be understood;
//! - a body is an envelope only if it has the documented mark of one: the keys `data` and `errors`, or a `result`
//!   with an integer `code`. Nothing is kept of any other body: it may be another service's.
//!
//! The machine decides what a reported error means.

mod alarms;
mod fields;
mod named;
mod reading;
mod reported_error;

use serde::Serialize;
use serde_json::{Map, Value};

use self::alarms::doubt;
use self::fields::{MESSAGES, text};
use self::named::Named;
use self::reading::Reading;
use self::reported_error::reported_error_of;
use super::json;
use super::redact::Secrets;
use crate::machine::{Body, Envelope, PlanId};

/// The body of `POST /stop/execution`.
pub fn request(plans: &[PlanId]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request {
        plans: Vec<i64>,
    }
    // A list of integers can always be written, so the fallback is never sent.
    serde_json::to_vec(&Request { plans: plans.iter().map(|plan| plan.0).collect() }).unwrap_or_default()
}

/// The content of an answer's body.
///
/// `success` is whether the status was a 2xx: an error reply may be worded as Spring and OAuth servers do, with
/// nothing but a `message`. Its texts are freed of the secrets, which are those that the request carried.
pub fn body(bytes: &[u8], success: bool, secrets: &Secrets<'_>) -> Body {
    let Some(Value::Object(top)) = json::parse(bytes) else { return Body::Other };
    let code = top.get("result").and_then(|result| result.get("code"));
    let is_code = code.is_some_and(|code| code.is_i64() || code.is_u64());
    let is_own = is_code || (top.contains_key("data") && top.contains_key("errors"));
    if !is_own {
        return Body::Json;
    }
    let Reading { reported_errors: mut errors, opaque, .. } = read(&top, success, secrets);
    let code = code.and_then(Value::as_i64);
    doubt(&mut errors, &Value::Object(top), opaque);
    Body::Envelope(Envelope { code, errors, opaque })
}

/// Whether a body is JSON in which no key stands twice.
pub fn is_unambiguous(bytes: &[u8]) -> bool {
    json::parse(bytes).is_some()
}

fn read<'a>(top: &Map<String, Value>, success: bool, secrets: &'a Secrets<'a>) -> Reading<'a> {
    let mut reading = Reading::new(secrets);
    reading.object(top);
    // Words alone are a reported error in an error reply; in another reply they may be a greeting.
    if !success && reading.reported_errors.is_empty() && text(top, MESSAGES).is_some() {
        reading.push(reported_error_of(top, Named::Nothing, secrets));
    }
    reading
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
