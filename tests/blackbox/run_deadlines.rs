//! Deadlines of runs (`spec.activeDeadlineSeconds`), by the API server's own times.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition, outcomes, patient};

/// Waits until this long after a moment, where that is what the test is about.
fn reach(since: Instant, after: Duration) {
    ok(wait_until("the time to come", SOON, || match since.elapsed() {
        elapsed if elapsed > after => Ok(()),
        elapsed => Err(format!("{elapsed:?}")),
    }));
}

fn object(stage: &Stage, name: &str) -> Value {
    ok(stage.namespace.kubectl.get_json(&["tpr", name]))
}

fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap_or_default().parse().unwrap_or_else(|error| panic!("{value} is no time: {error}"))
}

/// The deadline that a run was made with.
fn deadline(object: &Value) -> jiff::Timestamp {
    let seconds = object["spec"]["activeDeadlineSeconds"].as_i64().expect("it has a deadline");
    time(&object["metadata"]["creationTimestamp"]) + jiff::SignedDuration::from_secs(seconds)
}

/// The stop of this run was asked for by its deadline, and waits for a gateway that is suspended.
fn waiting(spec: &Value) -> Stage {
    let stage = Stage::start_accepting(patient(true));
    stage.namespace.apply(&run("nightly", spec.clone()));
    let status = stage.wait_for("nightly", "Suspended");
    assert_eq!(status["stop"]["trigger"], "Deadline");
    stage
}

/// No plan is sent, although the gateway serves others.
fn nothing_is_sent(stage: &Stage) {
    stage.gateway(patient(false));
    stage.settle("other", 9);
    assert_eq!(stage.calls(), [[9]]);
}

#[test]
fn a_run_is_stopped_at_its_deadline_whatever_its_spec_says() {
    let stage = Stage::start_accepting(patient(false));
    let spec = json!({"plans": [1, 2], "stopped": false, "activeDeadlineSeconds": 10});
    stage.namespace.apply(&run("nightly", spec.clone()));
    let rest = stage.wait_for("nightly", "NotRequested");
    let message = condition(&rest, "Stopped").expect("the condition")["message"].clone();
    let at = deadline(&object(&stage, "nightly"));
    assert_eq!(message, format!("no stop is asked for; the run's deadline stops it at {at}"));
    assert_eq!(stage.calls().len(), 0);
    let status = stage.wait_for("nightly", "Accepted");
    let stop = &status["stop"];
    assert_eq!(stop["trigger"], "Deadline");
    assert_eq!((time(&stop["requestTime"]), time(&stop["observedDeadline"])), (at, at));
    assert!(time(&stop["completionTime"]) >= at, "not before its time: {stop}");
    assert_eq!(object(&stage, "nightly")["spec"]["stopped"], false, "the spec is not written");
    stage.wait_for_event("nightly", "DeadlinePassed");
    stage.catch_up();
    assert_eq!((stage.calls(), stage.writes("nightly")), (vec![vec![1, 2]], 2));
}

#[test]
fn a_deadline_that_passes_while_no_operator_runs_fires_once() {
    let mut stage = Stage::start_accepting(patient(false));
    let spec = json!({"plans": [1], "activeDeadlineSeconds": 8});
    stage.namespace.apply(&run("nightly", spec));
    stage.wait_for("nightly", "NotRequested");
    stage.kill_operator();
    reach(Instant::now(), Duration::from_secs(9));
    stage.start_operator();
    let status = stage.wait_for("nightly", "Accepted");
    let at = deadline(&object(&stage, "nightly"));
    assert_eq!(time(&status["stop"]["requestTime"]), at, "its request is as old as the deadline");
    stage.kill_operator();
    stage.start_operator();
    stage.settle("other", 9);
    assert_eq!(stage.calls(), [[1], [9]]);
}

#[test]
fn rule_04_a_deadline_sends_nothing_where_every_plan_is_stopped() {
    let stage = Stage::start_accepting(patient(false));
    stage
        .namespace
        .apply(&run("nightly", json!({"plans": [1], "stopped": true, "activeDeadlineSeconds": 6})));
    stage.wait_for("nightly", "Accepted");
    let status = stage.wait_for_status("nightly", "its deadline to be spent", |status| {
        status["stop"]["observedDeadline"].is_string()
    });
    assert_eq!(status["stop"]["trigger"], "Spec");
    stage.settle("other", 9);
    assert_eq!(stage.calls(), [[1], [9]]);
}

#[test]
fn rule_06_stopped_false_takes_back_the_stop_of_a_deadline_for_good() {
    let mut stage = waiting(&json!({"plans": [1], "activeDeadlineSeconds": 1}));
    stage.patch("nightly", r#"{"spec":{"stopped":false}}"#);
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(outcomes(&status), ["1 Withdrawn"]);
    assert!(status["stop"]["observedDeadline"].is_string());
    stage.stop_operator();
    stage.start_operator();
    nothing_is_sent(&stage);
}

#[test]
fn rule_06_a_deadline_that_is_raised_takes_its_stop_back_and_a_lowered_one_fires_at_once() {
    let stage = waiting(&json!({"plans": [1], "activeDeadlineSeconds": 1}));
    stage.patch("nightly", r#"{"spec":{"activeDeadlineSeconds":3600}}"#);
    let status = stage.wait_for("nightly", "Withdrawn");
    let message = condition(&status, "Stopped").expect("the condition")["message"].to_string();
    let at = deadline(&object(&stage, "nightly"));
    assert!(message.contains(&format!("; the run's deadline stops it at {at}")), "{message}");
    stage.wait_for_event("nightly", "StopWithdrawn");
    nothing_is_sent(&stage);
    // Later than the one that has passed, and past by now.
    reach(Instant::now(), Duration::from_secs(3));
    stage.patch("nightly", r#"{"spec":{"activeDeadlineSeconds":2}}"#);
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(status["stop"]["trigger"], "Deadline");
    assert_eq!(stage.calls(), [[9], [1]]);
}

#[test]
fn rule_07_a_deadline_that_is_removed_takes_nothing_back() {
    let stage = waiting(&json!({"plans": [1], "activeDeadlineSeconds": 1}));
    stage.patch("nightly", r#"{"spec":{"activeDeadlineSeconds":null}}"#);
    stage.wait_for_event("nightly", "StopContinues");
    stage.gateway(patient(false));
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1]]);
}

/// It has been past for all the time that the stop may take; its request is of the moment at which it was set.
#[test]
fn rule_11_a_deadline_that_is_added_to_an_old_run_stops_it_now() {
    let stage = Stage::start_accepting(patient(false));
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopDeadlineSeconds": 5})));
    stage.wait_for("nightly", "NotRequested");
    reach(Instant::now(), Duration::from_secs(8));
    stage.patch("nightly", r#"{"spec":{"activeDeadlineSeconds":1}}"#);
    let status = stage.wait_for("nightly", "Accepted");
    assert!(time(&status["stop"]["requestTime"]) > time(&status["stop"]["observedDeadline"]));
}
