//! The metrics that alerts are made of, by what happens to a run.

use serde_json::json;
use testinium_testbed::kubectl::wait_until;

use crate::cluster::ok;
use crate::operator::{SOON, Stage};

fn figure(stage: &Stage, series: &str) -> f64 {
    let text = stage.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}

fn until(stage: &Stage, series: &str, wanted: impl Fn(f64) -> bool) {
    ok(wait_until(series, SOON, || match figure(stage, series) {
        value if wanted(value) => Ok(()),
        value => Err(format!("{value}")),
    }));
}

/// A run waits for a Secret that is not there, and is stopped once it is.
#[test]
fn a_stop_that_waits_is_counted_until_it_ends() {
    let stage = Stage::start_accepting(json!({"auth": {"bearerToken": {"secretRef": {"name": "later"}}}}));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "SecretNotFound");
    until(&stage, "testinium_runs_waiting{reason=\"SecretNotFound\"}", |count| count == 1.0);
    until(&stage, "testinium_oldest_stop_seconds", |age| age >= 2.0);
    assert_eq!(figure(&stage, "testinium_stop_duration_seconds_count"), 0.0);

    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"},
        "stringData": {"token": "simulated-token"},
    }));
    stage.wait_for("nightly", "Accepted");
    until(&stage, "testinium_runs_waiting{reason=\"SecretNotFound\"}", |count| count == 0.0);
    until(&stage, "testinium_oldest_stop_seconds", |age| age == 0.0);
    until(&stage, "testinium_stops_ended_total{end=\"StopAccepted\"}", |count| count == 1.0);
    assert_eq!(figure(&stage, "testinium_stop_duration_seconds_count"), 1.0);
    assert!(figure(&stage, "testinium_stop_duration_seconds_sum") >= 2.0, "it waited for the Secret");
}
