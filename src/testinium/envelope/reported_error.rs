//! One error object as a reported error: its code, its words, and the plan that it names.

use serde_json::{Map, Value};

use super::fields::{CODES, MESSAGES, WORDS, fields, is_code, is_success, scalar, text};
use super::named::{Named, named_plan, plan_id};
use crate::machine::words::{Sense, says_not_running, sense};
use crate::machine::{PlanId, ReportedError};
use crate::testinium::json::{is_empty, plain};
use crate::testinium::redact::Secrets;

/// The words of one object, as one reported error.
pub(super) fn reported_error_of(
    object: &Map<String, Value>,
    named_outside: Named,
    secrets: &Secrets<'_>,
) -> ReportedError {
    let code =
        scalar(object, CODES).or_else(|| text(object, &["status"]).filter(|status| !is_success(status)));
    // OAuth and Spring put a code into `error` and the words elsewhere; others put the words into it.
    let (code, message) = match (code, text(object, MESSAGES), text(object, WORDS)) {
        (None, Some(message), Some(word)) => (Some(word), Some(message)),
        (Some(code), None, Some(word)) => (Some(code), Some(word)),
        (None, None, Some(word)) if is_code(&word) => (Some(word), None),
        (None, None, Some(word)) => (None, Some(word)),
        (code, message, _) => (code, message),
    };
    let named = if object
        .values()
        .any(|value| matches!(value, Value::Array(_) | Value::Object(_)) && !is_empty(value))
    {
        // Lists and objects within an error may name further plans.
        Named::Unclear
    } else {
        named_outside.and(id(object)).and(message.as_deref().and_then(named_in))
    };
    let code = code.or_else(|| scalar(object, &["status"]));
    let beside = beside(object);
    said(code.as_deref(), message.as_deref(), &beside, named, secrets)
}

/// A reported error with these words. Their sense is found out before they are cut and hidden.
pub(super) fn said(
    code: Option<&str>,
    message: Option<&str>,
    beside: &[&str],
    named: Named,
    secrets: &Secrets<'_>,
) -> ReportedError {
    let sense = match (sense(code, message, beside.iter().copied()), named) {
        // Nobody can say which of several plans it is that does not run.
        (Sense::NotRunning, Named::Unclear) => Sense::Other,
        (sense, _) => sense,
    };
    ReportedError {
        code: code.and_then(|code| secrets.clean(code)),
        message: message.and_then(|message| secrets.clean(message)),
        plan: named.plan(),
        sense,
    }
}

/// The sense of an object's words, for one that has not failed by its other fields.
pub(super) fn words_of(object: &Map<String, Value>) -> Sense {
    sense(None, text(object, MESSAGES).as_deref(), beside(object).into_iter())
}

/// Every text of an error in its fields for words, and every text within it: words of trouble count wherever they
/// stand.
fn beside(object: &Map<String, Value>) -> Vec<&str> {
    let mut texts: Vec<_> =
        [MESSAGES, WORDS].iter().flat_map(|names| fields(object, names)).filter_map(Value::as_str).collect();
    let mut within: Vec<_> = object.values().filter(|value| !value.is_string()).collect();
    while let Some(value) = within.pop() {
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(items) => within.extend(items),
            Value::Object(fields) => within.extend(fields.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    texts
}

/// The plan that a text names, as a text or as a whole sentence does.
pub(super) fn named_in(text: &str) -> Option<PlanId> {
    named_plan(text).or_else(|| says_not_running(text).flatten())
}

/// The plan that the fields of an error name.
fn id(object: &Map<String, Value>) -> Named {
    // `id` may be the error's own, so it counts only where nothing else names the plan.
    const PLANS: &[&str] = &["planid", "plan", "testplanid", "testplan"];
    let speaks_of_plans = |(key, value): (&String, &Value)| {
        let key = plain(key);
        key.contains("plan") && !PLANS.contains(&&*key) && !is_empty(value)
    };
    if object.iter().any(speaks_of_plans) {
        return Named::Unclear;
    }
    let plan = ids(object, PLANS);
    if matches!(plan, Named::Nothing) { ids(object, &["id"]) } else { plan }
}

fn ids(object: &Map<String, Value>, names: &[&str]) -> Named {
    let read = |value: &Value| match value {
        Value::Number(number) => plan_id(&number.to_string()),
        Value::String(text) => plan_id(text).or_else(|| named_plan(text)),
        _ => None,
    };
    fields(object, names)
        .filter(|value| !is_empty(value))
        .map(|value| read(value).map_or(Named::Unclear, Named::One))
        .fold(Named::Nothing, Named::and)
}

/// Whether an object's keys are plans or fields, each with its error, and not the parts of one error.
pub(super) fn is_map_of_errors(object: &Map<String, Value>) -> bool {
    let is_part = |key: &String| {
        let key = plain(key);
        [CODES, MESSAGES, WORDS, &["status", "id", "planid", "plan"]]
            .iter()
            .any(|names| names.contains(&&*key))
    };
    object.keys().any(|key| plan_id(key).is_some() || named_plan(key).is_some())
        || !object.keys().any(is_part)
}
