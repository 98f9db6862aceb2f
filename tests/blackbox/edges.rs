//! Requests and withdrawals as they cross other things: calls in flight, other edits, an operator that is away.

use serde_json::json;
use testinium_testbed::simulator::{Config, Hold, Nature, Reply, Simulator, When};

use crate::cluster::{ok, run};
use crate::operator::{Stage, condition, outcomes, patient};
use crate::waiting::stopped_reason;

/// A stage whose plans accept every stop, and whose calls may take as long as a test holds them.
fn stage() -> Stage {
    Stage::start_accepting(patient(false))
}

fn prepare() -> Stage {
    Stage::prepare_accepting(patient(false))
}

fn suspend(stage: &Stage, suspend: bool) {
    stage.gateway(patient(suspend));
}

// --- withdrawing, and asking again ---

#[test]
fn a_stop_withdrawn_in_flight_is_told_as_it_was_answered() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    stage.rearm("nightly");
    stage.wait_for_event("nightly", "StopWithdrawn");
    hold.release();
    let status = stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted"]);
    assert_eq!(stopped_reason(&status), "NotRequested");
    let stopped = condition(&status, "Stopped").expect("Stopped");
    assert_eq!(stopped["status"], "False");
    assert!(stopped["message"].as_str().unwrap_or_default().contains("2 accepted"), "{stopped}");
    assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "True");
    assert_eq!(stage.calls(), [[1, 2]]);
}

#[test]
fn a_stop_withdrawn_in_flight_and_never_answered_is_unknown_and_not_sent_again() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::dropped().held(&hold));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    stage.rearm("nightly");
    stage.wait_for_event("nightly", "StopWithdrawn");
    hold.release();
    let status = stage.wait_for_outcomes("nightly", &["1 Unknown"]);
    assert_eq!(stopped_reason(&status), "Withdrawn");
    let plan = &status["plans"][0];
    assert_eq!(plan["message"], "the stop was sent, but no answer came");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
}

#[test]
fn a_run_whose_stop_is_taken_back_keeps_its_outcome_and_is_stopped_anew() {
    let stage = stage();
    stage.simulator.plan(1, Nature::Running);
    stage.settle("nightly", 1);
    stage.rearm("nightly");
    let status = stage.wait_for("nightly", "NotRequested");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(status["stop"]["observedStopped"], false);
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "NotRunning");
    assert_eq!(outcomes(&status), ["1 NotRunning"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn a_request_repeated_in_flight_is_not_answered_by_the_call_before_it() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    stage.rearm("nightly");
    stage.wait_for_event("nightly", "StopWithdrawn");
    stage.stop("nightly");
    let status = stage.wait_until_observed("nightly");
    assert_eq!((stopped_reason(&status), outcomes(&status)), ("Stopping", vec!["1 Pending".to_owned()]));
    hold.release();
    let status = stage.wait_for_status("nightly", "no plan pending", |status| status["summary"] == "1/1");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn a_removed_field_takes_nothing_back_and_the_next_true_is_a_new_request() {
    let mut stage = prepare();
    suspend(&stage, true);
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.patch("nightly", r#"{"spec":{"stopped":null}}"#);
    stage.catch_up();
    suspend(&stage, false);
    stage.wait_for("nightly", "Accepted");
    stage.stop("nightly");
    stage.wait_for_calls(2);
    let status = stage.wait_until_observed("nightly");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

// --- the annotation ---

#[test]
fn a_changed_annotation_stops_again_and_a_no_takes_back() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    let handled =
        |value: &'static str| move |status: &serde_json::Value| status["stop"]["lastHandledRequest"] == value;
    let status = stage.wait_for_status("nightly", "monday handled", handled("monday"));
    assert_eq!((stopped_reason(&status), outcomes(&status)), ("Accepted", vec!["1 Accepted".to_owned()]));
    assert_eq!(status["stop"]["trigger"], "Annotation");
    stage.annotate("nightly", "false");
    let status = stage.wait_for("nightly", "NotRequested");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(status["stop"]["lastHandledRequest"], "monday");
    stage.annotate("nightly", "");
    stage.wait_for_event("nightly", "InvalidAnnotation");
    stage.wait_for_status("nightly", "the empty value", |status| status["stop"]["observedRequest"] == "");
    assert_eq!(stage.calls(), [[1]]);
    stage.annotate("nightly", "tuesday");
    stage.wait_for_status("nightly", "tuesday handled", handled("tuesday"));
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn an_annotation_stops_a_run_whose_spec_says_false_and_its_removal_takes_nothing_back() {
    let stage = stage();
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": false})));
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    let status = stage.wait_for_status("nightly", "the removal to be seen", |status| {
        status["stop"]["observedRequest"].is_null()
    });
    assert_eq!((stopped_reason(&status), outcomes(&status)), ("Accepted", vec!["1 Accepted".to_owned()]));
    assert_eq!(stage.calls(), [[1]]);
}

// --- while no operator runs ---

#[test]
fn without_an_operator_an_annotation_is_not_missed() {
    let mut stage = stage();
    stage.run("annotated", &[2]);
    stage.annotate("annotated", "monday");
    stage.wait_for("annotated", "Accepted");
    stage.stop_operator();
    stage.annotate("annotated", "tuesday");
    stage.start_operator();
    stage.wait_for_status("annotated", "tuesday handled", |status| {
        status["stop"]["lastHandledRequest"] == "tuesday"
    });
    assert_eq!(stage.calls(), [[2], [2]]);
}

#[test]
fn what_is_settled_is_not_sent_again_by_other_edits_or_a_restart() {
    let mut stage = stage();
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    let settled = stage.wait_for("nightly", "Accepted");
    stage.patch("nightly", r#"{"spec":{"reason":"load test","stopDeadlineSeconds":60,"plans":[2,1]}}"#);
    stage.namespace.run(&["label", "tpr", "nightly", "team=qa"]);
    let status = stage.wait_until_observed("nightly");
    assert_eq!(outcomes(&status), ["2 Accepted", "1 Accepted"]);
    assert_eq!(status["stop"], settled["stop"]);
    stage.stop_operator();
    stage.start_operator();
    stage.settle("other", 3);
    assert_eq!(stage.calls(), vec![vec![1, 2], vec![3]]);
}

// --- the plans and the gateway of a stopped run ---

#[test]
fn plans_added_to_a_stopped_run_are_sent_alone_and_plans_removed_are_let_go() {
    let stage = stage();
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Accepted");
    stage.patch("nightly", r#"{"spec":{"plans":[2,3]}}"#);
    stage.wait_for_outcomes("nightly", &["2 Accepted", "3 Accepted"]);
    assert_eq!(stage.calls(), vec![vec![1, 2], vec![3]]);

    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    stage.patch("nightly", r#"{"spec":{"plans":[2,3,4]}}"#);
    stage.wait_for_calls(3);
    suspend(&stage, true);
    stage.wait_for_gateway("Suspended");
    stage.patch("nightly", r#"{"spec":{"plans":[2,5,6]}}"#);
    stage.catch_up();
    stage.patch("nightly", r#"{"spec":{"plans":[2,6]}}"#);
    stage.catch_up();
    hold.release();
    suspend(&stage, false);
    let status = stage.wait_for_outcomes("nightly", &["2 Accepted", "6 Accepted"]);
    assert_eq!(stopped_reason(&status), "Accepted");
    assert_eq!(stage.calls(), vec![vec![1, 2], vec![3], vec![4], vec![6]]);
}

#[test]
fn a_run_that_moves_to_another_gateway_is_stopped_there_and_only_there() {
    let stage = stage();
    let elsewhere = Simulator::start(Config::default()).expect("another gateway starts");
    let mut gateway = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]));
    gateway["spec"]["url"] = json!(elsewhere.url());
    let spec = gateway["spec"].clone();
    stage.namespace.apply(&crate::cluster::gateway("elsewhere", spec));
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    stage.patch("nightly", r#"{"spec":{"stopped":false,"gatewayRef":{"name":"elsewhere"}}}"#);
    stage.wait_for_event("nightly", "StopWithdrawn");
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(status["stop"]["gateway"]["name"], "elsewhere");
    hold.release();
    stage.catch_up();
    assert_eq!(outcomes(&stage.status("nightly")), ["1 Accepted"]);
    assert_eq!((stage.calls().len(), elsewhere.calls().len()), (1, 1));
}
