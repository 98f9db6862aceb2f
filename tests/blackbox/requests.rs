//! The ways to ask for a stop and to take it back, rule by rule, as a person at a terminal meets them.

use serde_json::{Value, json};
use testinium_testbed::simulator::{Config, Hold, Nature, Reply, Simulator, When};

use crate::cluster::{gateway, ok, run};
use crate::events::{assert_commands, note, paste};
use crate::operator::{Stage, condition, outcomes, patient};
use crate::waiting::stopped_reason;

/// A stage whose plans accept every stop, and whose calls may take as long as a test holds them.
fn stage() -> Stage {
    Stage::start_accepting(patient(false))
}

fn prepare() -> Stage {
    Stage::prepare_accepting(patient(false))
}

/// The same with the gateway suspended: whatever is asked for waits.
fn suspended() -> Stage {
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    stage
}

fn remove_annotation(stage: &Stage, name: &str) {
    stage.namespace.run(&["annotate", "tpr", name, "testinium.io/stop-"]);
}

fn handled(value: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["stop"]["lastHandledRequest"] == value
}

/// Another gateway, at a site of its own.
fn elsewhere(stage: &Stage) -> Simulator {
    let config = Config { default_nature: Nature::NeverStops, ..Config::default() };
    let site = Simulator::start(config).expect("another gateway starts");
    let mut spec = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]))["spec"].clone();
    spec["url"] = json!(site.url());
    spec["suspend"] = json!(false);
    stage.namespace.apply(&gateway("elsewhere", spec));
    site
}

fn message(status: &Value) -> String {
    condition(status, "Stopped")
        .and_then(|stopped| stopped["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

// --- one stop, asked for by events and by a state ---

#[test]
fn rule_01_several_requests_that_wait_are_one_stop() {
    let stage = suspended();
    stage.run("nightly", &[1, 2]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "Suspended");
    stage.annotate("nightly", "tuesday");
    stage.stop("nightly");
    stage.wait_until_observed("nightly");
    stage.gateway(patient(false));
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(status["stop"]["lastHandledRequest"], "tuesday");
    assert_eq!(stage.calls(), [[1, 2]]);
}

#[test]
fn rule_01_two_requests_in_one_look_are_one_stop() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    let both = r#"{"metadata":{"annotations":{"testinium.io/stop":"now"}},"spec":{"stopped":true}}"#;
    stage.patch("nightly", both);
    let status = stage.wait_for_status("nightly", "the request to be handled", handled("now"));
    assert_eq!(stopped_reason(&status), "Accepted");
    stage.catch_up();
    assert_eq!(stage.calls(), [[1]]);
}

#[test]
fn rule_02_an_event_asks_once() {
    let mut stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "Accepted");
    stage.patch("nightly", r#"{"spec":{"reason":"another edit"}}"#);
    stage.wait_until_observed("nightly");
    stage.namespace.run(&["label", "tpr", "nightly", "team=qa"]);
    stage.annotate("nightly", "monday");
    stage.kill_operator();
    stage.start_operator();
    stage.catch_up();
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
}

// --- people ask ---

#[test]
fn rule_03_stopped_that_was_removed_asks_again() {
    let stage = stage();
    stage.settle("nightly", 1);
    // As Flux does with what somebody else has set.
    stage.patch("nightly", r#"{"spec":{"stopped":null}}"#);
    let status = stage.wait_for_status("nightly", "the removal to be seen", |status| {
        status["stop"].is_object() && status["stop"]["observedStopped"].is_null()
    });
    assert_eq!((stopped_reason(&status), outcomes(&status)), ("Accepted", vec!["1 Accepted".to_owned()]));
    let hold = Hold::new();
    stage.simulator.script(When::always(), Reply::natural().held(&hold));
    stage.stop("nightly");
    stage.wait_for_calls(2);
    let status = stage.wait_for("nightly", "Stopping");
    assert_eq!(
        (&status["stop"]["observedStopped"], outcomes(&status)),
        (&json!(true), vec!["1 Pending".to_owned()])
    );
    hold.release();
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn rule_03_the_same_annotation_after_its_removal_asks_again() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for_status("nightly", "the first to be handled", handled("now"));
    remove_annotation(&stage, "nightly");
    stage.wait_for_status("nightly", "the removal to be seen", |status| {
        status["stop"].is_object() && status["stop"]["observedRequest"].is_null()
    });
    stage.annotate("nightly", "now");
    stage.wait_for_calls(2);
    let status = stage.wait_for_status("nightly", "the second to be handled", handled("now"));
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn rule_03_an_earlier_value_asks_again() {
    let stage = stage();
    stage.run("nightly", &[1]);
    for (count, value) in (1..).zip(["monday", "tuesday", "monday"]) {
        stage.annotate("nightly", value);
        stage.wait_for_calls(count);
        stage.wait_for_status("nightly", value, handled(value));
    }
    assert_eq!(stage.calls(), [[1], [1], [1]]);
}

#[test]
fn rule_03_a_request_asks_for_every_plan_anew() {
    let stage = stage();
    stage.simulator.plan(2, Nature::Unknown);
    stage.run("nightly", &[1, 2]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "PartiallyStopped");
    let before = stage.calls().len();
    stage.simulator.plan(2, Nature::NeverStops);
    stage.annotate("nightly", "tuesday");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted"]);
    assert_eq!(stage.calls()[before..], [[1, 2]]);
}

#[test]
fn rule_03_what_a_run_is_made_with_asks() {
    let stage = stage();
    let mut annotated = run("annotated", json!({"plans": [1]}));
    annotated["metadata"]["annotations"] = json!({"testinium.io/stop": "now"});
    stage.namespace.apply(&annotated);
    assert_eq!(stage.wait_for("annotated", "Accepted")["stop"]["trigger"], "Annotation");
    stage.namespace.apply(&run("declared", json!({"plans": [2], "stopped": true})));
    assert_eq!(stage.wait_for("declared", "Accepted")["stop"]["trigger"], "Spec");
    let mut refused = run("refused", json!({"plans": [3]}));
    refused["metadata"]["annotations"] = json!({"testinium.io/stop": "no"});
    stage.namespace.apply(&refused);
    stage.wait_for("refused", "NotRequested");
    stage.catch_up();
    assert_eq!(stage.calls(), [[1], [2]]);
}

fn retry(stage: &Stage, value: &str) {
    let annotation = format!("testinium.io/retry={value}");
    stage.namespace.run(&["annotate", "tpr", "nightly", "--overwrite", &annotation]);
}

#[test]
fn rule_03_a_retry_asks_for_what_was_not_stopped_and_keeps_the_rest() {
    let stage = stage();
    stage.simulator.plans([2, 3], Nature::Unknown);
    stage.run("nightly", &[1, 2, 3, 4]);
    stage.stop("nightly");
    stage.wait_for("nightly", "PartiallyStopped");
    let before = stage.calls().len();
    stage.simulator.plans([2, 3], Nature::NeverStops);
    retry(&stage, "once");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted", "3 Accepted", "4 Accepted"]);
    assert_eq!(status["stop"]["lastHandledRetry"], "once");
    assert_eq!(stage.calls()[before..], [[2, 3]]);
    // Nothing is left to be retried, and what is spent stays spent.
    retry(&stage, "twice");
    stage.catch_up();
    let status = stage.status("nightly");
    assert_eq!(stopped_reason(&status), "Accepted");
    assert_eq!(stage.calls().len(), before + 1);
}

#[test]
fn rule_04_a_retry_leaves_alone_what_is_being_stopped() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    retry(&stage, "impatient");
    stage.catch_up();
    hold.release();
    stage.wait_for("nightly", "Accepted");
    stage.catch_up();
    assert_eq!(stage.calls(), [[1, 2]]);
}

// --- an explicit no takes back ---

#[test]
fn rule_06_stopped_becoming_false_takes_back_what_an_annotation_asked_for() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    stage.rearm("nightly");
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(outcomes(&status), ["1 Withdrawn"]);
    assert_eq!(stage.wait_for_event("nightly", "StopWithdrawn")["type"], "Normal");
    stage.gateway(patient(false));
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[2]]);
}

#[test]
fn rule_06_each_no_of_the_annotation_takes_back() {
    let stage = suspended();
    let nos = ["false", "No", "OFF", " none ", "0", "FALSE"];
    for number in 0..nos.len() {
        let name = format!("run-{number}");
        stage.run(&name, &[i64::try_from(number).expect("few") + 1]);
        stage.annotate(&name, "now");
    }
    stage.wait_for_all("Suspended", nos.len());
    for (number, no) in nos.iter().enumerate() {
        stage.annotate(&format!("run-{number}"), no);
    }
    for number in 0..nos.len() {
        let status = stage.wait_for(&format!("run-{number}"), "Withdrawn");
        assert!(outcomes(&status)[0].ends_with(" Withdrawn"), "{status}");
        assert!(status["stop"]["withdrawnTime"].is_string(), "{status}");
    }
    stage.gateway(patient(false));
    stage.settle("other", 100);
    assert_eq!(stage.calls(), [[100]]);
}

#[test]
fn rule_06_a_word_that_only_begins_like_a_no_asks() {
    let stage = stage();
    for (number, value) in (1..).zip(["now", "nope", "00", "offline", "true", "n"]) {
        let name = format!("run-{number}");
        stage.run(&name, &[number]);
        stage.annotate(&name, value);
        stage.wait_for_status(&name, value, |status| status["stop"]["lastHandledRequest"] == value);
    }
}

#[test]
fn rule_06_a_no_of_the_annotation_is_nothing_while_stopped_is_true() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.annotate("nightly", "false");
    let told = stage.wait_for_warning("nightly", "StopNotWithdrawn");
    assert!(told.contains("spec.stopped"), "{told}");
    assert_eq!(outcomes(&stage.status("nightly")), ["1 Pending"]);
    stage.gateway(patient(false));
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1]]);
}

#[test]
fn rule_06_the_command_of_a_no_that_is_nothing_takes_back() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.annotate("nightly", "no");
    let told = stage.wait_for_warning("nightly", "StopNotWithdrawn");
    let commands = assert_commands(&stage, &told);
    paste(&stage.namespace, &commands[0]);
    assert_eq!(outcomes(&stage.wait_for("nightly", "Withdrawn")), ["1 Withdrawn"]);
}

#[test]
fn rule_06_a_move_takes_back_what_an_annotation_asked_for() {
    let stage = suspended();
    let elsewhere = elsewhere(&stage);
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    stage.patch("nightly", r#"{"spec":{"gatewayRef":{"name":"elsewhere"}}}"#);
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(outcomes(&status), ["1 Withdrawn"]);
    stage.gateway(patient(false));
    stage.settle("other", 2);
    assert_eq!((stage.calls(), elsewhere.calls().len()), (vec![vec![2]], 0));
    // Asked for again, it is stopped there.
    stage.annotate("nightly", "there");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(status["stop"]["gateway"]["name"], "elsewhere");
    assert_eq!(elsewhere.calls().len(), 1);
}

#[test]
fn rule_06_a_stopped_run_that_moves_is_not_stopped_at_the_other_site() {
    let stage = stage();
    let elsewhere = elsewhere(&stage);
    stage.run("annotated", &[1]);
    stage.annotate("annotated", "now");
    stage.run("removed-since", &[2]);
    stage.stop("removed-since");
    stage.wait_for("annotated", "Accepted");
    stage.wait_for("removed-since", "Accepted");
    stage.patch("removed-since", r#"{"spec":{"stopped":null}}"#);
    stage.catch_up();
    for name in ["annotated", "removed-since"] {
        stage.patch(name, r#"{"spec":{"gatewayRef":{"name":"elsewhere"}}}"#);
        let status = stage.wait_for(name, "NotRequested");
        assert!(outcomes(&status)[0].ends_with(" Accepted"), "{status}");
        // The outcome was had elsewhere, which the status still says.
        assert_eq!(status["stop"]["gateway"]["name"], "default", "{status}");
        assert!(message(&status).contains("accepted"), "{status}");
    }
    stage.catch_up();
    assert!(elsewhere.calls().is_empty(), "{:?}", elsewhere.calls());
    assert_eq!(stage.calls().len(), 2);
}

#[test]
fn rule_06_a_move_and_back_again_stops_nothing_by_itself() {
    let stage = suspended();
    let elsewhere = elsewhere(&stage);
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    stage.patch("nightly", r#"{"spec":{"gatewayRef":{"name":"elsewhere"}}}"#);
    stage.wait_for("nightly", "Withdrawn");
    stage.patch("nightly", r#"{"spec":{"gatewayRef":{"name":"default"}}}"#);
    stage.wait_until_observed("nightly");
    stage.gateway(patient(false));
    stage.settle("other", 2);
    assert_eq!((stage.calls(), elsewhere.calls().len()), (vec![vec![2]], 0));
    assert_eq!(outcomes(&stage.status("nightly")), ["1 Withdrawn"]);
}

// --- a removal takes nothing back ---

#[test]
fn rule_07_a_removal_takes_nothing_back() {
    let stage = suspended();
    stage.run("annotation-removed", &[1]);
    stage.annotate("annotation-removed", "now");
    stage.run("annotation-emptied", &[2]);
    stage.annotate("annotation-emptied", "now");
    stage.run("field-removed", &[3]);
    stage.stop("field-removed");
    stage.wait_for_all("Suspended", 3);
    remove_annotation(&stage, "annotation-removed");
    stage.annotate("annotation-emptied", "");
    stage.patch("field-removed", r#"{"spec":{"stopped":null}}"#);
    for name in ["annotation-removed", "annotation-emptied", "field-removed"] {
        let told = note(&stage.wait_for_event(name, "StopContinues"));
        assert_commands(&stage, &told);
    }
    stage.gateway(patient(false));
    for name in ["annotation-removed", "annotation-emptied", "field-removed"] {
        stage.wait_for(name, "Accepted");
    }
    let mut sent: Vec<_> = stage.calls().concat();
    sent.sort_unstable();
    assert_eq!(sent, [1, 2, 3]);
}

#[test]
fn rule_07_the_command_of_a_stop_that_continues_ends_it() {
    let stage = suspended();
    stage.run("annotated", &[1]);
    stage.annotate("annotated", "now");
    stage.run("declared", &[2]);
    stage.stop("declared");
    stage.wait_for_all("Suspended", 2);
    remove_annotation(&stage, "annotated");
    stage.patch("declared", r#"{"spec":{"stopped":null}}"#);
    for name in ["annotated", "declared"] {
        let told = note(&stage.wait_for_event(name, "StopContinues"));
        let commands = assert_commands(&stage, &told);
        paste(&stage.namespace, &commands[0]);
        let status = stage.wait_for(name, "Withdrawn");
        assert!(outcomes(&status)[0].ends_with(" Withdrawn"), "{status}");
    }
    stage.gateway(patient(false));
    stage.settle("other", 3);
    assert_eq!(stage.calls(), [[3]]);
}

#[test]
fn rule_07_a_removal_after_the_stop_is_done_is_not_told() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    remove_annotation(&stage, "nightly");
    stage.catch_up();
    // Events come in order, so one that is told later shows that none was before.
    stage.annotate("nightly", "");
    stage.wait_for_event("nightly", "InvalidAnnotation");
    assert!(stage.events("nightly", "StopContinues").is_empty());
    assert_eq!(stopped_reason(&stage.status("nightly")), "Accepted");
}

#[test]
fn rule_07_an_empty_value_asks_for_nothing() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "");
    let told = stage.wait_for_warning("nightly", "InvalidAnnotation");
    let commands = assert_commands(&stage, &told);
    stage.catch_up();
    assert!(stage.calls().is_empty());
    assert_eq!(stopped_reason(&stage.status("nightly")), "NotRequested");
    paste(&stage.namespace, &commands[0]);
    stage.wait_for("nightly", "Accepted");
}

// --- in one look ---

#[test]
fn rule_08_asking_beats_taking_back() {
    let stage = stage();
    stage.settle("nightly", 1);
    let both = r#"{"metadata":{"annotations":{"testinium.io/stop":"anew"}},"spec":{"stopped":false}}"#;
    stage.patch("nightly", both);
    let status = stage.wait_for_status("nightly", "the request to be handled", handled("anew"));
    assert_eq!((stopped_reason(&status), outcomes(&status)), ("Accepted", vec!["1 Accepted".to_owned()]));
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn rule_08_a_no_beside_a_true_is_a_stop() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    let both = r#"{"metadata":{"annotations":{"testinium.io/stop":"no"}},"spec":{"stopped":true}}"#;
    stage.patch("nightly", both);
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1]]);
}

#[test]
fn rule_08_a_move_together_with_a_request_asks_at_the_new_gateway() {
    let stage = suspended();
    let elsewhere = elsewhere(&stage);
    for (name, plan) in [("annotated", 1), ("declared", 2)] {
        stage.run(name, &[plan]);
        stage.annotate(name, "here");
        stage.wait_for(name, "Suspended");
    }
    let moved = r#"{"metadata":{"annotations":{"testinium.io/stop":"there"}},"spec":{"gatewayRef":{"name":"elsewhere"}}}"#;
    stage.patch("annotated", moved);
    stage.patch("declared", r#"{"spec":{"stopped":true,"gatewayRef":{"name":"elsewhere"}}}"#);
    for name in ["annotated", "declared"] {
        let status = stage.wait_for(name, "Accepted");
        assert_eq!(status["stop"]["gateway"]["name"], "elsewhere", "{status}");
    }
    stage.gateway(patient(false));
    stage.settle("other", 3);
    assert_eq!(stage.calls(), [[3]]);
    let mut there: Vec<_> = elsewhere.calls().into_iter().flat_map(|call| call.plans).collect();
    there.sort_unstable();
    assert_eq!(there, [1, 2]);
}

// --- taken back ---

#[test]
fn rule_09_what_was_not_sent_is_withdrawn_and_what_was_done_stays() {
    let batching = json!({"timeoutSeconds": 300, "batching": {"maxPlans": 1}, "limits": {"maxInFlight": 1}});
    let mut stage = Stage::prepare_accepting(batching);
    let hold = Hold::new();
    stage.simulator.script(When::nth(1).naming(2), Reply::natural().held(&hold));
    stage.start_operator();
    stage.run("nightly", &[1, 2, 3]);
    stage.stop("nightly");
    stage.wait_for_calls(2);
    stage.rearm("nightly");
    stage.wait_for_event("nightly", "StopWithdrawn");
    hold.release();
    let status = stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted", "3 Withdrawn"]);
    let stopped = condition(&status, "Stopped").expect("Stopped");
    assert_eq!((&stopped["status"], &stopped["reason"]), (&json!("False"), &json!("Withdrawn")));
    assert!(status["stop"]["withdrawnTime"].is_string(), "{status}");
    assert!(status["stop"]["withdrawnBy"].as_str().is_some_and(|by| by.starts_with("kubectl")), "{status}");
    assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "True");
    assert_eq!(stage.calls(), [[1], [2]]);
}

#[test]
fn rule_09_a_stop_taken_back_after_it_was_done_is_not_requested_and_tells_the_earlier_one() {
    let stage = stage();
    stage.simulator.plan(2, Nature::Unknown);
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    let before = stage.wait_for("nightly", "PartiallyStopped");
    stage.rearm("nightly");
    let status = stage.wait_for("nightly", "NotRequested");
    assert_eq!(outcomes(&status), outcomes(&before));
    let told = message(&status);
    assert!(told.contains("1 accepted") && told.contains("1 rejected"), "{told}");
    assert!(status["stop"]["withdrawnTime"].is_string(), "{status}");
    assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "True");
    assert!(condition(&status, "Stalled").is_none(), "{status}");
}

#[test]
fn rule_09_a_new_request_clears_what_said_that_the_last_was_taken_back() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.rearm("nightly");
    let status = stage.wait_for("nightly", "Withdrawn");
    assert!(
        status["stop"]["withdrawnTime"].is_string() && status["stop"]["withdrawnBy"].is_string(),
        "{status}"
    );
    stage.gateway(patient(false));
    stage.annotate("nightly", "after-all");
    let status = stage.wait_for("nightly", "Accepted");
    assert!(status["stop"]["withdrawnTime"].is_null() && status["stop"]["withdrawnBy"].is_null(), "{status}");
}
