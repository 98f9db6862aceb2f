//! Words of answers that say less than they seem to.

use crate::machine::gateways::verdict::{Verdict, verdict};
use crate::machine::{Answer, PlanId, Reply};
use crate::testinium::{Secrets, envelope};

/// The meaning of an answer with this status and body for these plans.
fn judged(status: u16, body: &str, plans: &[i64]) -> String {
    let body = envelope::body(body.as_bytes(), (200..300).contains(&status), &Secrets::default());
    let plans: Vec<_> = plans.iter().copied().map(PlanId).collect();
    match verdict(&Answer::Reply(Reply { status, retry_after: None, body }), &plans, true) {
        Verdict::Settled(settled) => format!("{:?}", settled.outcome),
        Verdict::Named(named) => {
            let all: Vec<_> = named.iter().map(|(p, s)| format!("{p} {:?}", s.outcome)).collect();
            all.join(", ")
        }
        Verdict::Split(parts) => format!("{parts:?}"),
        Verdict::Wait(trouble) => format!("{:?}", trouble.kind),
    }
}

fn none_is(bad: &str, rows: &[(u16, &str, &[i64])]) {
    let wrong: Vec<_> = rows
        .iter()
        .map(|(status, body, plans)| (judged(*status, body, plans), body))
        .filter(|(told, _)| told.contains(bad))
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
}

// --- words ---

#[test]
fn words_of_trouble_count_in_every_field_of_a_reported_error() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","details":"Please try again later"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","cause":"Selenium grid is down"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","developerMessage":"Database is not available"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","userMessage":"Servis çalışmıyor, lütfen tekrar deneyin"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","localizedMessage":"Sistem bakım nedeniyle kapalı"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","status":"SERVICE_UNAVAILABLE"}]}"#,
                &[614],
            ),
            (
                400,
                r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","type":"DATABASE_UNAVAILABLE"}]}"#,
                &[614],
            ),
        ],
    );
}

#[test]
fn words_of_trouble_beside_errors_count() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":["The action is not available"],"message":"Database is not available, try again later"}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":["NOT_AVAILABLE"],"message":"The service is temporarily unavailable"}"#,
                &[614],
            ),
            (
                422,
                r#"{"data":null,"errors":{"614":"NOT_AVAILABLE"},"detail":"Selenium grid is not running"}"#,
                &[614, 615],
            ),
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"message":"token has expired"}"#, &[614]),
        ],
    );
}

#[test]
fn a_sentence_with_another_code_or_text_beside_it_is_none() {
    none_is(
        "NotRunning",
        &[
            (
                200,
                r#"{"data":null,"errors":[{"code":"QUOTA_EXCEEDED","message":"The action is not available"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"code":"PLAN_STARTING","message":"The action is not available"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","reason":"the plan is still starting"}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"The action is not available","detail":"Plan 614 is running"}]}"#,
                &[614],
            ),
            (200, r#"{"data":{"614":"RUNNING"},"errors":["The action is not available"]}"#, &[614]),
        ],
    );
}

#[test]
fn the_id_of_an_execution_or_an_action_is_no_plans() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["Execution 7 is not running"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["Test execution 7 is not running"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["The action 7 is not available"]}"#, &[7, 614]),
            (200, r#"{"data":null,"errors":["7 numaralı koşum çalışmıyor"]}"#, &[7, 614]),
        ],
    );
}

#[test]
fn a_stop_operation_that_does_not_work_says_nothing_of_the_plan() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["Durdurma işlemi çalışmıyor"]}"#, &[614]),
            (200, r#"{"data":null,"errors":["Durdurma işlemi şu anda çalışmıyor"]}"#, &[614]),
            (200, r#"{"data":null,"errors":["İşlem şu anda çalışmıyor"]}"#, &[614]),
        ],
    );
}

#[test]
fn data_that_nobody_documents_is_no_success() {
    none_is(
        "Accepted",
        &[
            (
                200,
                r#"{"data":{"status":"SUCCESS","results":[{"planId":614,"stopped":false}]},"errors":null}"#,
                &[614],
            ),
            (200, r#"{"data":{"status":"SUCCESS","notStopped":[614]},"errors":null}"#, &[614]),
            (200, r#"{"data":{"status":"SUCCESS","614":"RUNNING"},"errors":null}"#, &[614]),
        ],
    );
}

#[test]
fn a_code_of_trouble_in_the_body_counts() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"statusCode":503}"#, &[614]),
            (200, r#"{"data":null,"errors":["NOT_AVAILABLE"],"code":401}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"code":"NOT_AVAILABLE","status":503}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"The action is not available","code":500}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"The action is not available","code":403}]}"#, &[614]),
        ],
    );
}

/// An id in a reported error's fields is not always the plan's.
#[test]
fn another_plans_id_in_a_field_with_another_name_counts() {
    none_is(
        "NotRunning",
        &[
            (200, r#"{"data":null,"errors":[{"message":"Plan is not running","planIds":"615"}]}"#, &[614]),
            (200, r#"{"data":null,"errors":[{"message":"Plan is not running","plans":"615"}]}"#, &[614]),
            (
                200,
                r#"{"data":null,"errors":[{"message":"Plan is not running","testPlanNumber":615}]}"#,
                &[614],
            ),
            (
                200,
                r#"{"data":null,"errors":[{"message":"Plan is not running","id":614,"executionId":9}]}"#,
                &[9],
            ),
        ],
    );
}
