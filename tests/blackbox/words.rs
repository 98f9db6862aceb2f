//! The gateway's own words about a plan: "not running" only if they say so, of the plan, in Testinium's form.
//!
//! A plan that is wrongly taken for one that does not run is never stopped, and nobody is told.

use serde_json::{Value, json};
use testinium_testbed::simulator::{Reply, When};

use crate::operator::{Stage, condition};
use crate::rows::{Becomes, Row, Table};

/// A row whose gateway reports errors in its own envelope.
fn error_row(status: u16, errors: &Value, becomes: Becomes) -> Row {
    Row::new(format!("{status} {errors}"), Reply::errors_with(status, errors), becomes)
}

// --- a service that is not there is no statement on a plan ---

#[test]
fn a_service_that_is_not_available_is_waited_for_in_any_shape() {
    let waits = Becomes::Waits("");
    let mut rows = Vec::new();
    for text in [
        "SERVICE_NOT_AVAILABLE",
        "INTERNAL_SERVER_ERROR",
        "Selenium grid is not running",
        "Execution service is not available, please try again later",
        "Database is not available",
        "The message broker is not running.",
        "Licence is not available",
        "License server is not available",
        "The execution queue is not available",
        "Selenium grid çalışmıyor",
        "Yürütme servisi kullanılamıyor, lütfen daha sonra tekrar deneyin",
        "Veritabanı kullanılamıyor",
        "VERİTABANI KULLANILAMIYOR",
        "Lisans kullanılamıyor",
    ] {
        rows.push(error_row(200, &json!(text), waits));
    }
    for errors in [
        json!(["Selenium grid is not running"]),
        json!([{"code": "SERVICE_NOT_AVAILABLE"}]),
        json!([{"code": "SERVICE_NOT_AVAILABLE", "message": "the action is not available"}]),
        json!([{"code": "NOT_AVAILABLE", "message": "Selenium grid is not available"}]),
        json!({"1": "Database is not available"}),
        // One plan that does not run does not outweigh a service that is down.
        json!(["NOT_AVAILABLE", "SERVICE_NOT_AVAILABLE"]),
    ] {
        rows.push(error_row(200, &errors, waits));
    }
    let table = Table::play(rows);
    table.recover();
}

#[test]
fn a_service_that_is_not_available_is_waited_for_with_any_status() {
    let waits = Becomes::Waits("");
    let mut rows: Vec<_> = [400, 404, 409, 410, 422]
        .into_iter()
        .flat_map(|status| {
            [
                error_row(status, &json!("Database is not available"), waits),
                error_row(status, &json!([{"code": "SERVICE_NOT_AVAILABLE"}]), waits),
            ]
        })
        .collect();
    rows.push(error_row(422, &json!("Licence is not available"), waits));
    // A 500 is a trouble of the gateway's whatever it says.
    rows.push(error_row(500, &json!("The plan is not running"), Becomes::Waits("HTTP 500")));
    rows.push(error_row(500, &json!("NOT_AVAILABLE"), Becomes::Waits("HTTP 500")));
    rows.push(error_row(503, &json!("NOT_RUNNING"), Becomes::Waits("HTTP 503")));
    let result =
        json!({"data": null, "result": {"code": 4003, "message": "Execution service is not available"}});
    rows.push(Row::new("a code of result", Reply::json(200, &result), waits));
    let table = Table::play(rows);
    table.recover();
}

#[test]
fn a_tomcat_that_does_not_know_the_resource_says_nothing_of_plans() {
    let tomcat = json!({
        "status": 404, "error": "Not Found",
        "message": "The requested resource [/stop/execution] is not available",
    });
    let rows = vec![
        Row::new("one plan", Reply::json(404, &tomcat), Becomes::WaitsAs("Misconfigured")),
        Row::new("four plans", Reply::json(404, &tomcat), Becomes::WaitsAs("Misconfigured")).of_four(),
        Row::new("proven", Reply::json(404, &tomcat), Becomes::WaitsAs("Misconfigured")).proven(),
    ];
    Table::play(rows).recover();
}

#[test]
fn a_refused_credential_in_words_is_waited_for() {
    let rows = vec![
        error_row(200, &json!("UNAUTHORIZED"), Becomes::WaitsAs("AuthenticationFailed")),
        error_row(400, &json!([{"code": "TOKEN_EXPIRED"}]), Becomes::WaitsAs("AuthenticationFailed")),
        error_row(200, &json!(["NOT_AVAILABLE", "UNAUTHORIZED"]), Becomes::WaitsAs("AuthenticationFailed")),
        error_row(401, &json!("NOT_AVAILABLE"), Becomes::WaitsAs("AuthenticationFailed")),
    ];
    Table::play(rows).recover();
}

// --- half a sentence is none ---

#[test]
fn a_sentence_that_says_it_of_something_else_is_no_success() {
    let mut rows = Vec::new();
    for text in [
        "stop is not available for your role",
        "The action is not available for your role",
        "The plan is not available in your licence",
        "Plan is not running on this node, another node runs it",
        "Cannot tell whether the plan is not running",
        "The plan is running, the action is not available to you",
        "The browser of the plan is not available",
        "The resource is not available",
        "The agent is not running",
        "not available",
        "NOT_AVAILABLE_FOR_ROLE",
        "Bu işlem rolünüz için kullanılamıyor",
        "Ajan çalışmıyor",
    ] {
        rows.push(error_row(200, &json!(text), Becomes::NoSuccess));
        rows.push(error_row(400, &json!([text]), Becomes::NoSuccess));
    }
    Table::play(rows);
}

#[test]
fn words_outside_the_envelope_are_no_success() {
    let rows = [
        ("200 without data", 200, json!({"errors": "NOT_AVAILABLE"})),
        ("200, a message", 200, json!({"message": "The plan is not running"})),
        ("404, a message", 404, json!({"message": "The plan is not running"})),
        ("409, a code", 409, json!({"code": "NOT_RUNNING"})),
        ("422, a text", 422, json!("The plan is not running")),
        ("200, a list", 200, json!(["NOT_AVAILABLE"])),
    ];
    let rows = rows
        .into_iter()
        .map(|(name, status, body)| Row::new(name, Reply::json(status, &body), Becomes::NoSuccess));
    Table::play(rows.collect());
}

#[test]
fn a_403_and_a_413_never_say_that_a_plan_does_not_run() {
    let role = json!("stop is not available for your role");
    let forbidden = Becomes::WaitsAs("Forbidden");
    let rows = vec![
        error_row(403, &role, forbidden),
        error_row(403, &json!("NOT_AVAILABLE"), forbidden),
        error_row(403, &json!("The plan is not running"), forbidden),
        error_row(403, &role, forbidden).proven(),
        error_row(403, &json!("NOT_RUNNING"), forbidden).proven(),
        error_row(413, &json!("NOT_AVAILABLE"), Becomes::All("Rejected")),
        error_row(413, &json!("The plan is not running"), Becomes::All("Rejected")).of_four(),
    ];
    Table::play(rows).recover();
}

#[test]
fn a_403_that_only_one_plan_gets_is_that_plans_and_no_success() {
    let mut stage = Stage::prepare_accepting(json!({}));
    let role = Reply::errors_with(403, &json!("stop is not available for your role"));
    stage.simulator.script(When::always().naming(3), role);
    stage.start_operator();
    stage.run("nightly", &[1, 2, 3, 4]);
    stage.stop("nightly");
    let status =
        stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted", "3 Rejected", "4 Accepted"]);
    let stopped = condition(&status, "Stopped").expect("Stopped");
    assert_eq!((&stopped["status"], &stopped["reason"]), (&json!("False"), &json!("PartiallyStopped")));
}

// --- a plan that does not run ---

#[test]
fn a_plan_that_does_not_run_is_told_so_in_english_and_turkish() {
    let is_told = Becomes::All("NotRunning");
    let mut rows = Vec::new();
    for text in [
        "NOT_AVAILABLE",
        "NOT_RUNNING",
        "The plan is not running.",
        "Plan is not running",
        "plan 1 is not running",
        "Test plan is not running",
        "The execution is not running",
        "The action is not available",
        "the action is not available.",
        "Plan çalışmıyor",
        "Plan çalışmıyor.",
        "PLAN ÇALIŞMIYOR",
        "plan calismiyor",
        "Plan çalışmıyor: işlem şu anda kullanılamıyor",
        "İşlem kullanılamıyor",
    ] {
        rows.push(error_row(200, &json!(text), is_told));
    }
    for status in [400, 404, 409, 410, 422] {
        rows.push(error_row(status, &json!([{"code": "NOT_AVAILABLE"}]), is_told));
        rows.push(error_row(status, &json!("The plan is not running"), is_told));
    }
    rows.push(error_row(200, &json!(["NOT_AVAILABLE", "The plan is not running"]), is_told));
    Table::play(rows);
}

// --- a success in unusual clothes ---

#[test]
fn a_success_with_another_status_a_false_or_a_byte_order_mark_is_one() {
    let accepted = Becomes::All("Accepted");
    let rows = vec![
        Row::new("201", Reply::success_with(201), accepted).of_four(),
        Row::new("202", Reply::success_with(202), accepted).of_four(),
        Row::new("a byte order mark", Reply::success().with_byte_order_mark(), accepted).of_four(),
        Row::new("errors: false", Reply::errors(json!(false)).acting(), accepted).of_four(),
        Row::new("203", Reply::success_with(203), Becomes::All("Unknown")),
    ];
    Table::play(rows);
}

#[test]
fn data_that_nobody_documents_is_unknown_and_never_accepted() {
    let unknown = Becomes::All("Unknown");
    let rows = [json!({"stopped": [1]}), json!([1]), json!("done"), json!(false)].into_iter().map(|data| {
        let reply = Reply::json(200, &json!({"data": data, "errors": null}));
        Row::new(format!("data: {data}"), reply, unknown)
    });
    Table::play(rows.collect());
}
