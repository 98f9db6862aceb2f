//! Tests with bodies of answers in every shape that was seen or feared.

use super::reading::REPORTED_ERRORS_MAX;
use super::*;
use crate::machine::words::Sense;
use crate::machine::{PlanId, ReportedError};

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

/// Reported errors in short: "code|message|plan", with nothing for what is absent.
fn short(text: &str, success: bool) -> String {
    let line = |error: &ReportedError| {
        let plan = error.plan.map(|plan| plan.to_string());
        let parts = [error.code.clone(), error.message.clone(), plan];
        parts.map(Option::unwrap_or_default).join("|")
    };
    let Some(Value::Object(top)) = json::parse(text.as_bytes()) else { return String::new() };
    read(&top, success, &Secrets::default()).reported_errors.iter().map(line).collect::<Vec<_>>().join("; ")
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
fn other_fields_report_errors_too() {
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
        let senses: Vec<_> = envelope.errors.iter().map(|error| error.sense).collect();
        assert_eq!(senses, [expected], "{text}");
    }
    // The same holds beside an empty `errors`.
    for (text, expected) in [
        (r#"{"data": null, "errors": null, "message": "Service is not available"}"#, Sense::Trouble),
        (r#"{"data": null, "errors": null, "message": "plan is not running"}"#, Sense::NotRunning),
        (r#"{"result": {"code": 0, "message": "token has expired"}}"#, Sense::Credential),
        (r#"{"result": {"code": 4003, "message": "Plan 614 is not running"}}"#, Sense::NotRunning),
        (r#"{"data": "NOT_AVAILABLE", "errors": null}"#, Sense::NotRunning),
    ] {
        let senses: Vec<_> = envelope(form(text)).errors.iter().map(|error| error.sense).collect();
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
fn dropped_errors_leave_one_that_names_no_plan() {
    let errors: Vec<_> = (1..=2000).map(|plan| format!("plan {plan}")).collect();
    let text = serde_json::json!({ "data": null, "errors": errors }).to_string();
    let envelope = envelope(form(&text));
    assert_eq!(envelope.errors.len(), REPORTED_ERRORS_MAX + 1);
    assert_eq!(envelope.errors[REPORTED_ERRORS_MAX - 1].plan, Some(PlanId(1000)));
    assert_eq!(envelope.errors[REPORTED_ERRORS_MAX], ReportedError::default());
}

#[test]
fn secrets_are_in_no_text() {
    let token = "tok-0123456789abcdef";
    for text in [
        format!(r#"{{"data": null, "errors": "bad token {token}"}}"#),
        format!(r#"{{"data": null, "errors": ["{token}", {{"code": "{token}", "message": "{token}"}}]}}"#),
        format!(r#"{{"data": null, "errors": {{"{token}": "{token}"}}}}"#),
        format!(r#"{{"status": "{token}", "result": "{token}", "data": "{token}", "errors": null}}"#),
    ] {
        let body = format!("{:?}", body(text.as_bytes(), true, &Secrets::new([token])));
        assert!(body.contains("[redacted]"), "{body}");
        assert!(!body.contains("tok-0123"), "{body}");
    }
}
