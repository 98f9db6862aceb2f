//! The bytes of a stop: its request's body, and what the body of an answer says.
//!
//! `bytes -> strict JSON -> every complaint in it -> Body`
//!
//! What Testinium answers to a failed stop is not documented beyond its field's name, so each field that could hold
//! an error is read in every shape that was seen elsewhere. Two rules make this safe:
//! - whatever may be an error is a complaint, even if nothing of it can be understood;
//! - a body is an envelope only if it has the documented mark of one: the keys `data` and `errors`, or a `result`
//!   with an integer `code`. Of everything else nothing is kept: it may be another service's.
//!
//! What a complaint means is not decided here.

mod alarms;
mod fields;
mod named;

use serde::Serialize;
use serde_json::{Map, Value};

use self::alarms::doubt;
use self::fields::{
    CODES, MESSAGES, WORDS, fields, is_code, is_code_of_success, is_denied, is_status_of_success, is_success,
    scalar, tells_of_failure, text,
};
use self::named::Named;
use super::json::{self, is_empty, plain};
use super::text::{Secrets, named_plan, plan_id};
use crate::machine::words::{Sense, says_not_running, sense};
use crate::machine::{Body, Complaint, Envelope, PlanId};

/// The most complaints that are kept: a call has at most as many plans.
const COMPLAINTS_MAX: usize = 1000;

/// The body of `POST /stop/execution`.
pub fn request(plans: &[PlanId]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request {
        plans: Vec<i64>,
    }
    // A list of integers can always be written, so the fallback is never sent.
    serde_json::to_vec(&Request { plans: plans.iter().map(|plan| plan.0).collect() }).unwrap_or_default()
}

/// What the body of an answer says.
///
/// `success` is whether the status was a 2xx: an error reply may be worded as Spring and OAuth servers do, with
/// nothing but a `message`. Texts are freed of the secrets, which are those that the request carried.
pub fn body(bytes: &[u8], success: bool, secrets: &Secrets<'_>) -> Body {
    let Some(Value::Object(top)) = json::parse(bytes) else { return Body::Other };
    let code = top.get("result").and_then(|result| result.get("code"));
    let is_code = code.is_some_and(|code| code.is_i64() || code.is_u64());
    let is_own = is_code || (top.contains_key("data") && top.contains_key("errors"));
    if !is_own {
        return Body::Json;
    }
    let Reading { complaints: mut errors, opaque, .. } = read(&top, success, secrets);
    let code = code.and_then(Value::as_i64);
    doubt(&mut errors, &Value::Object(top), opaque);
    Body::Envelope(Envelope { code, errors, opaque })
}

/// Whether a body is JSON in which no key stands twice.
pub fn is_unambiguous(bytes: &[u8]) -> bool {
    json::parse(bytes).is_some()
}

/// Every complaint in a body of whatever form: for servers other than the gateway.
pub fn complaints(bytes: &[u8], success: bool, secrets: &Secrets<'_>) -> Vec<Complaint> {
    let Some(Value::Object(top)) = json::parse(bytes) else { return Vec::new() };
    read(&top, success, secrets).complaints
}

fn read<'a>(top: &Map<String, Value>, success: bool, secrets: &'a Secrets<'a>) -> Reading<'a> {
    let mut reading = Reading { secrets, complaints: Vec::new(), opaque: false };
    reading.object(top);
    // Words alone are a complaint in an error reply; in another they may be a greeting.
    if !success && reading.complaints.is_empty() && text(top, MESSAGES).is_some() {
        reading.push(complaint_of(top, Named::Nothing, secrets));
    }
    reading
}

struct Reading<'a> {
    secrets: &'a Secrets<'a>,
    complaints: Vec<Complaint>,
    /// There is something that could mean a failure and can't be told.
    opaque: bool,
}

// === impl Reading ===

impl Reading<'_> {
    /// An object that may tell of success or failure: the envelope, or a part of it. Its own words become one
    /// complaint; a list or a map of errors in it becomes one each.
    fn object(&mut self, object: &Map<String, Value>) {
        let before = self.complaints.len();
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
        // Beside an empty `errors`, words that speak of trouble are no greeting.
        failed |= self.complaints.len() == before && words_of(object) != Sense::Other;
        if failed {
            let own = complaint_of(object, Named::Nothing, self.secrets);
            // Beside a list of what is wrong, a bare "there were errors" says nothing more, and would only stand in
            // the way of "all of it is that the plan is not running".
            let is_bare = own.message.is_none()
                && own.code.as_ref().is_none_or(|code| code.bytes().all(|b| b.is_ascii_digit()));
            if !is_bare || self.complaints.len() == before {
                self.push(own);
            }
        }
    }

    /// The documented `result`: a code other than 0 is a failure, and so is whatever else it may be.
    fn result(&mut self, value: &Value) {
        match value {
            Value::Object(result) => self.object(result),
            Value::String(text) if is_success(text) => {}
            value if is_empty(value) => {}
            value => self.item(value, None),
        }
    }

    /// The documented `data` of a stop is null. A known word in it may be the answer of a failed one
    /// ("NOT_AVAILABLE"); whatever nobody documents is no success.
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
            // Some write "no errors" so.
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
            value if is_empty(value) => self.push(Complaint::default()),
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
                self.push(complaint_of(object, plan.into(), self.secrets));
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

    fn push(&mut self, complaint: Complaint) {
        match self.complaints.len() {
            ..COMPLAINTS_MAX => self.complaints.push(complaint),
            // What is dropped may have named further plans: one complaint without a plan says that not all are named.
            COMPLAINTS_MAX => self.complaints.push(Complaint::default()),
            _ => {}
        }
    }
}

/// The words of one object, as one complaint.
fn complaint_of(object: &Map<String, Value>, named_outside: Named, secrets: &Secrets<'_>) -> Complaint {
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

/// A complaint with these words. What they say is found out before they are cut and hidden.
fn said(
    code: Option<&str>,
    message: Option<&str>,
    beside: &[&str],
    named: Named,
    secrets: &Secrets<'_>,
) -> Complaint {
    let sense = match (sense(code, message, beside.iter().copied()), named) {
        // Of which plan, if of several?
        (Sense::NotRunning, Named::Unclear) => Sense::Other,
        (sense, _) => sense,
    };
    Complaint {
        code: code.and_then(|code| secrets.clean(code)),
        message: message.and_then(|message| secrets.clean(message)),
        plan: named.plan(),
        sense,
    }
}

/// What the words of an object say that has not failed by its other fields.
fn words_of(object: &Map<String, Value>) -> Sense {
    sense(None, text(object, MESSAGES).as_deref(), beside(object).into_iter())
}

/// Every text of an error that speaks, and what is within it: words of trouble count wherever they stand.
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
fn named_in(text: &str) -> Option<PlanId> {
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

/// Whether an object's keys are plans or fields, each with its error, rather than the parts of one error.
fn is_map_of_errors(object: &Map<String, Value>) -> bool {
    let is_part = |key: &String| {
        let key = plain(key);
        [CODES, MESSAGES, WORDS, &["status", "id", "planid", "plan"]]
            .iter()
            .any(|names| names.contains(&&*key))
    };
    object.keys().any(|key| plan_id(key).is_some() || named_plan(key).is_some())
        || !object.keys().any(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Body {
        body(text.as_bytes(), true, &Secrets::default())
    }

    fn envelope(body: Body) -> Envelope {
        match body {
            Body::Envelope(envelope) => Some(envelope),
            Body::Json | Body::Other => None,
        }
        .expect("the row is an envelope")
    }

    /// Complaints in short: "code|message|plan", with nothing for what is absent.
    fn short(text: &str, success: bool) -> String {
        let line = |complaint: &Complaint| {
            let plan = complaint.plan.map(|plan| plan.to_string());
            let parts = [complaint.code.clone(), complaint.message.clone(), plan];
            parts.map(Option::unwrap_or_default).join("|")
        };
        let complaints = complaints(text.as_bytes(), success, &Secrets::default());
        complaints.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn requests_are_as_published() {
        let plans = [PlanId(614), PlanId(615), PlanId((1 << 53) - 1)];
        assert_eq!(request(&plans), br#"{"plans":[614,615,9007199254740991]}"#);
    }

    #[test]
    fn known_envelopes_without_errors_are_clean() {
        for text in [
            r#"{"data": null, "errors": null}"#,
            r#"{"data": null, "errors": ""}"#,
            r#"{"data": null, "errors": []}"#,
            r#"{"data": null, "errors": {}}"#,
            r#"{"data": null, "errors": false}"#,
            r#"{"data": null, "result": {"code": 0, "message": "success"}}"#,
            r#"{"result": {"code": 0}}"#,
            r#"{"data": {}, "errors": null, "result": null}"#,
            r#"{"data": {"status": "SUCCESS"}, "errors": null}"#,
            r#"{"status": "SUCCESS", "data": null, "errors": null, "traceId": "5f3"}"#,
            r#"{"success": true, "data": null, "errors": null, "hasErrors": false, "failed": 0, "meta": {"page": 1}}"#,
            r#"{"status": 200, "code": 0, "data": null, "errors": null, "message": "done"}"#,
            "\u{feff}{\"data\": null, \"errors\": null}",
        ] {
            let envelope = envelope(form(text));
            assert!(envelope.errors.is_empty() && !envelope.opaque, "{text}: {envelope:?}");
        }
        assert_eq!(envelope(form(r#"{"result": {"code": 0}}"#)).code, Some(0));
    }

    #[test]
    fn what_may_be_a_failure_and_can_not_be_told_is_opaque() {
        for text in [
            r#"{"data": false, "errors": null}"#,
            r#"{"data": true, "errors": null}"#,
            r#"{"data": "done", "errors": null}"#,
            r#"{"data": [614], "errors": null}"#,
            r#"{"data": 1, "errors": null}"#,
            r#"{"data": {"running": true}, "errors": null}"#,
            r#"{"result": {"code": 0, "data": {"running": true}}}"#,
            r#"{"data": null, "errors": null, "614": "stopped?"}"#,
        ] {
            let envelope = envelope(form(text));
            assert!(envelope.errors.is_empty() && envelope.opaque, "{text}: {envelope:?}");
        }
    }

    #[test]
    fn errors_are_read_in_every_shape() {
        for (errors, expected) in [
            (r#""plan 614 is not running""#, "|plan 614 is not running|614"),
            (r#""NOT_AVAILABLE""#, "NOT_AVAILABLE||"),
            (r#"" ""#, "||"),
            (r#"["not running", "Plan: 615"]"#, "|not running|; |Plan: 615|615"),
            (
                r#"[{"code": "NOT_AVAILABLE", "message": "not available", "id": 614}]"#,
                "NOT_AVAILABLE|not available|614",
            ),
            (r#"[{"code": 17, "message": "no", "planId": "614"}]"#, "17|no|614"),
            (r#"[{"code": 17, "plan": 614}, {"plan_id": 615}]"#, "17||614; ||615"),
            (r#"[{"id": "5f3a", "message": "plan id 614"}]"#, "|plan id 614|"),
            (r#"[{"id": 9, "planId": 614, "message": "no"}]"#, "|no|614"),
            (r#"[{"planId": 614, "message": "see plan 615"}]"#, "|see plan 615|"),
            (r#"[{"planId": 614, "message": "no", "plans": [614, 615]}]"#, "|no|"),
            (r#"[{"planId": 614.5, "message": "no"}]"#, "|no|"),
            (r#"{"code": "INVALID_REQUEST", "message": "bad"}"#, "INVALID_REQUEST|bad|"),
            (r#"{"614": "not running", "615": {"code": "X"}}"#, "|not running|614; X||615"),
            (r#"{"614": ["a", "b"]}"#, "|a|614; |b|614"),
            (r#"{"614": "plan 615"}"#, "|plan 615|"),
            (r#"{"614": null}"#, "||"),
            (r#"{"614": "x", "message": "y"}"#, "|x|614; |message: y|"),
            (r#"{"plan 614": "not running"}"#, "|not running|614"),
            (r#"{"NOT_AVAILABLE": "not running"}"#, "NOT_AVAILABLE|not running|"),
            (r#"{"plans": "must not be empty"}"#, "|plans: must not be empty|"),
            (r#"{"plans[0]": "plan 614 is unknown"}"#, "|plans[0]: plan 614 is unknown|614"),
            (r#"{"message": "many", "errors": [{"planId": 614}]}"#, "|many|; ||614"),
            ("true", "true||"),
            ("false", ""),
            ("0", "0||"),
            ("12.5", "12.5||"),
            ("[null]", "||"),
            (r#"[""]"#, "||"),
            ("[{}]", "||"),
            ("[[]]", "||"),
            ("[614]", "614||"),
            (r#"[["deep"]]"#, "|deep|"),
        ] {
            let text = format!(r#"{{"data": null, "errors": {errors}}}"#);
            assert_eq!(short(&text, true), expected, "{text}");
        }
    }

    #[test]
    fn other_fields_complain_too() {
        for (text, expected) in [
            (
                r#"{"data": null, "result": {"code": 4003, "message": "Plan 614 not found"}}"#,
                "4003|Plan 614 not found|614",
            ),
            (r#"{"data": null, "result": {"code": "4003"}}"#, "4003||"),
            (r#"{"result": {"code": 0, "errors": ["x"]}}"#, "|x|"),
            (r#"{"result": {"code": 99999999999999999999}, "errors": null}"#, "1e+20||"),
            (r#"{"result": "FAILED", "errors": null}"#, "FAILED||"),
            (r#"{"result": false, "errors": null}"#, "false||"),
            (r#"{"result": {"code": 0}, "Result": {"code": 5}}"#, "5||"),
            (r#"{"errors": null, "Errors": ["x"]}"#, "|x|"),
            (r#"{"errors": null, "error": "boom it went"}"#, "|boom it went|"),
            (r#"{"errors": null, "failedPlans": [614]}"#, "614||"),
            (r#"{"errors": null, "hasErrors": true}"#, "||"),
            (r#"{"errors": null, "extra": [{"error": "x y"}]}"#, "|x y|"),
            (r#"{"errors": ["a b"], "hasErrors": true, "status": 400}"#, "|a b|"),
            (r#"{"errors": ["a b"], "status": "FAILED"}"#, "|a b|; FAILED||"),
            (r#"{"errors": null, "success": false, "message": "no"}"#, "|no|"),
            (r#"{"errors": null, "status": 500}"#, "500||"),
            (r#"{"errors": null, "status": "NOT_AVAILABLE"}"#, "NOT_AVAILABLE||"),
            (
                r#"{"status": "NOT_AVAILABLE", "message": "plan is not running"}"#,
                "NOT_AVAILABLE|plan is not running|",
            ),
            (r#"{"data": "NOT_AVAILABLE", "errors": null}"#, "NOT_AVAILABLE||"),
            (r#"{"data": {"status": "NOT_AVAILABLE"}, "errors": null}"#, "NOT_AVAILABLE||"),
            (r#"{"error": {"code": "X", "message": "y"}}"#, "X|y|"),
        ] {
            assert_eq!(short(text, true), expected, "{text}");
        }
    }

    #[test]
    fn every_other_object_is_json_of_somebody_else() {
        for text in [
            "{}",
            r#"{"data": null}"#,
            r#"{"errors": null}"#,
            r#"{"errors": ["NOT_AVAILABLE"]}"#,
            r#"{"data": null, "Errors": null}"#,
            r#"{"Data": null, "errors": null}"#,
            r#"{"status": "SUCCESS"}"#,
            r#"{"status": "NOT_AVAILABLE", "message": "The action is not available"}"#,
            r#"{"timestamp": "x", "status": 404, "error": "Not Found", "path": "/stop/execution"}"#,
            r#"{"error": "invalid_token", "error_description": "expired"}"#,
            r#"{"message": "hello"}"#,
            r#"{"result": {}}"#,
            r#"{"result": {"code": null}}"#,
            r#"{"result": {"code": "0"}}"#,
            r#"{"result": {"code": 0.0}}"#,
            r#"{"result": [{"code": 0}]}"#,
            r#"{"nested": {"data": null, "errors": null}}"#,
        ] {
            assert_eq!(form(text), Body::Json, "{text}");
        }
    }

    #[test]
    fn everything_else_is_other() {
        for text in [
            "",
            " ",
            "null",
            "[]",
            r#"[{"data": null, "errors": null}]"#,
            r#""SUCCESS""#,
            r#"{"data": null, "errors": null, "errors": ["x"]}"#,
            r#"{"data": null, "errors": ["x"], "errors": null}"#,
            r#"{"result": {"code": 1, "code": 0}}"#,
            r#"{"data": null, "errors": null} trailing"#,
            r#"{"data": null, "errors": nul"#,
            "<html><body>502 Bad Gateway</body></html>",
            "\u{feff}",
            "\u{feff}\u{feff}{\"data\": null, \"errors\": null}",
        ] {
            assert_eq!(form(text), Body::Other, "{text}");
        }
        assert_eq!(body(b"{\"errors\": \"\xff\"}", true, &Secrets::default()), Body::Other);
    }

    #[test]
    fn what_words_say_is_found_before_they_are_cut_or_hidden() {
        let long = format!("plan 614 is not running{}", " and so on".repeat(20));
        let hidden = "the action is not available for tok-0123456789abcdef";
        let late = format!("{} the grid is not available", "x ".repeat(200));
        for (errors, expected) in [
            (serde_json::json!("plan 614 is not running"), Sense::NotRunning),
            (serde_json::json!(["Plan çalışmıyor: işlem şu anda kullanılamıyor"]), Sense::NotRunning),
            (serde_json::json!({"614": "NOT_AVAILABLE: the action is not available"}), Sense::NotRunning),
            (
                serde_json::json!({"NOT_AVAILABLE": "NOT_AVAILABLE: the action is not available"}),
                Sense::NotRunning,
            ),
            (serde_json::json!([{"id": 614, "code": "NOT_AVAILABLE", "message": "x"}]), Sense::NotRunning),
            (serde_json::json!({"plans[0]": "plan 614 is not running"}), Sense::Other),
            (serde_json::json!({"plans": "NOT_AVAILABLE"}), Sense::Other),
            (serde_json::json!([{"message": "plan 614 is not running", "planId": 615}]), Sense::Other),
            (serde_json::json!([{"message": "plan is not running", "plans": [614, 615]}]), Sense::Other),
            (
                serde_json::json!([{"message": "plan is not running", "cause": {"text": "Grid is offline"}}]),
                Sense::Trouble,
            ),
            (
                serde_json::json!([{"code": "NOT_AVAILABLE", "error": "Database is not available"}]),
                Sense::Trouble,
            ),
            (serde_json::json!(long), Sense::Other),
            (serde_json::json!(format!("plan is not running{}", ".".repeat(200))), Sense::Other),
            (serde_json::json!(late), Sense::Trouble),
            (serde_json::json!(hidden), Sense::Other),
            (serde_json::json!([null]), Sense::Other),
        ] {
            let text = serde_json::json!({"data": null, "errors": errors}).to_string();
            let secrets = Secrets::new(["tok-0123456789abcdef"]);
            let envelope = envelope(body(text.as_bytes(), true, &secrets));
            let senses: Vec<_> = envelope.errors.iter().map(|complaint| complaint.sense).collect();
            assert_eq!(senses, [expected], "{text}");
        }
        // Beside an empty `errors` too.
        for (text, expected) in [
            (r#"{"data": null, "errors": null, "message": "Service is not available"}"#, Sense::Trouble),
            (r#"{"data": null, "errors": null, "message": "plan is not running"}"#, Sense::NotRunning),
            (r#"{"result": {"code": 0, "message": "token has expired"}}"#, Sense::Credential),
            (r#"{"result": {"code": 4003, "message": "Plan 614 is not running"}}"#, Sense::NotRunning),
            (r#"{"data": "NOT_AVAILABLE", "errors": null}"#, Sense::NotRunning),
        ] {
            let senses: Vec<_> =
                envelope(form(text)).errors.iter().map(|complaint| complaint.sense).collect();
            assert_eq!(senses, [expected], "{text}");
        }
    }

    #[test]
    fn error_replies_may_be_worded_as_elsewhere() {
        for (text, expected) in [
            (
                r#"{"error": "invalid_grant", "error_description": "Bad credentials"}"#,
                "invalid_grant|Bad credentials|",
            ),
            (
                r#"{"timestamp": "x", "status": 400, "error": "Bad Request", "message": "plan 614", "path": "/stop"}"#,
                "Bad Request|plan 614|614",
            ),
            (r#"{"code": "INVALID_REQUEST", "message": "malformed"}"#, "INVALID_REQUEST|malformed|"),
            (r#"{"message": "Plan 614 is not available"}"#, "|Plan 614 is not available|614"),
            (r#"{"detail": "no"}"#, "|no|"),
            (r#"{"data": null, "errors": null}"#, ""),
            ("{}", ""),
        ] {
            assert_eq!(short(text, false), expected, "{text}");
        }
    }

    #[test]
    fn dropped_complaints_leave_one_that_names_no_plan() {
        let errors: Vec<_> = (1..=2000).map(|plan| format!("plan {plan}")).collect();
        let text = serde_json::json!({ "data": null, "errors": errors }).to_string();
        let envelope = envelope(form(&text));
        assert_eq!(envelope.errors.len(), COMPLAINTS_MAX + 1);
        assert_eq!(envelope.errors[COMPLAINTS_MAX - 1].plan, Some(PlanId(1000)));
        assert_eq!(envelope.errors[COMPLAINTS_MAX], Complaint::default());
    }

    #[test]
    fn secrets_are_in_no_text() {
        let token = "tok-0123456789abcdef";
        for text in [
            format!(r#"{{"data": null, "errors": "bad token {token}"}}"#),
            format!(
                r#"{{"data": null, "errors": ["{token}", {{"code": "{token}", "message": "{token}"}}]}}"#
            ),
            format!(r#"{{"data": null, "errors": {{"{token}": "{token}"}}}}"#),
            format!(r#"{{"status": "{token}", "result": "{token}", "data": "{token}", "errors": null}}"#),
        ] {
            let body = format!("{:?}", body(text.as_bytes(), true, &Secrets::new([token])));
            assert!(body.contains("[redacted]"), "{body}");
            assert!(!body.contains("tok-0123"), "{body}");
        }
    }
}
