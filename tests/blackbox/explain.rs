//! The texts of `kubectl explain`.

use std::time::Duration;

use serde_json::Value;
use testinium_testbed::Error;
use testinium_testbed::kubectl::wait_until;

use crate::cluster::{cluster, ok};

/// The API server publishes a new kind's documentation some seconds after the kind itself.
fn explain(path: &str) -> String {
    let probe = || {
        let output = cluster().kubectl().run(&["explain", path]).map_err(|error| error.to_string())?;
        // kubectl wraps lines; what is said should not depend on where.
        if output.status.success() { Ok(words(&output.stdout)) } else { Err(output.stderr) }
    };
    ok(wait_until(&format!("an explanation of {path}"), Duration::from_secs(60), probe))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_newcomer_learns_how_to_stop_a_run() {
    let whole = explain("tpr");
    assert!(
        whole.contains("names the Testinium test plans of one run. Setting spec.stopped to true stops them."),
        "{whole}"
    );
    let spec = explain("tpr.spec");
    for field in
        ["gatewayRef", "plans <[]integer> -required-", "reason", "stopDeadlineSeconds", "stopped <boolean>"]
    {
        assert!(spec.contains(field), "no {field} in {spec}");
    }
    let deadline = explain("tpr.spec.activeDeadlineSeconds");
    for said in ["1 to 31536000 (a year)", "whatever stopped says", "added to an old run stops it at once"] {
        assert!(deadline.contains(said), "{deadline}");
    }
    assert!(explain("tpr.status.stop.trigger").contains("ENUM: Spec Annotation Deadline"));
    assert!(explain("tpr.spec.stopDeadlineSeconds").contains("1 to 604800 (a week), 3600 if absent"));
}

#[test]
fn rule_19_a_stop_happens_once_and_a_newcomer_is_told() {
    let stopped = explain("tpr.spec.stopped");
    for said in ["started again", "delete the run"] {
        assert!(stopped.contains(said), "{stopped}");
    }
}

#[test]
fn each_outcome_is_explained_where_it_is_found() {
    let outcome = explain("tpr.status.plans.outcome");
    assert!(
        outcome.contains("ENUM: Pending Accepted NotRunning Rejected Unknown Expired Withdrawn"),
        "{outcome}"
    );
    assert!(outcome.contains("Accepted (the gateway took the stop)"), "{outcome}");
}

#[test]
fn nested_fields_of_a_gateway_are_explained() {
    for (path, text) in [
        (
            "tgw.spec.auth.password.secretRef",
            "with the keys username and password, and either clientId and clientSecret",
        ),
        ("tgw.spec.tls.caRef.kind", "ConfigMap (if absent) or Secret"),
        ("tgw.spec.batching.windowMilliseconds", "0 to 10000, 50 if absent"),
        ("tgw.status.conditions.status", "True, False or Unknown"),
    ] {
        let explained = explain(path);
        assert!(explained.contains(text), "{path}: {explained}");
    }
}

/// In the API server's copy of the schema, which is what users read.
#[test]
fn no_field_is_without_words() {
    let probe = || {
        let output = cluster().kubectl().run(&["get", "--raw", "/openapi/v3/apis/testinium.io/v1alpha1"])?;
        serde_json::from_str::<Value>(&output.success()?)
            .map_err(|source| Error::Json { what: "the API server's OpenAPI document".to_owned(), source })
    };
    let document = ok(wait_until("the OpenAPI document of testinium.io", Duration::from_secs(60), probe));
    for kind in ["TestPlanRun", "TestiniumGateway", "TestPlanCleanup"] {
        let schema = &document["components"]["schemas"][format!("io.testinium.v1alpha1.{kind}")];
        let mut fields = 0;
        for part in ["spec", "status"] {
            described(&format!("{kind}.{part}"), &schema["properties"][part], &mut fields);
        }
        assert!(fields > 20, "found only {fields} fields of {kind}");
    }
}

fn described(path: &str, schema: &Value, fields: &mut u32) {
    *fields += 1;
    let text = schema["description"].as_str().unwrap_or_default();
    assert!(text.len() > 10, "{path} has the description {text:?}");
    for owner in [schema, &schema["items"]] {
        for (name, property) in owner["properties"].as_object().into_iter().flatten() {
            described(&format!("{path}.{name}"), property, fields);
        }
    }
}
