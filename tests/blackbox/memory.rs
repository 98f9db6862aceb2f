//! The memory of a run's status for requests: across removals, restarts, outages, backups and new objects of its name.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Hold, Reply, When};

use crate::cluster::{ok, run};
use crate::events::{assert_commands, paste};
use crate::operator::{SOON, Stage, condition, outcomes, patient};
use crate::waiting::stopped_reason;

fn stage() -> Stage {
    Stage::start_accepting(patient(false))
}

fn prepare() -> Stage {
    Stage::prepare_accepting(patient(false))
}

/// Waits until this long after a moment, where that is what the test is about.
fn reach(since: Instant, after: Duration) {
    ok(wait_until("the time to come", SOON, || match since.elapsed() {
        elapsed if elapsed > after => Ok(()),
        elapsed => Err(format!("{elapsed:?}")),
    }));
}

/// Times in objects are whole seconds: what has to be later than another must be of a later one.
fn reach_the_next_second() {
    reach(Instant::now(), Duration::from_millis(1_100));
}

fn stop_of(status: &Value) -> &Value {
    &status["stop"]
}

// --- what was last seen ---

#[test]
fn rule_05_what_was_last_seen_is_in_status_absence_included() {
    let stage = stage();
    let seen = |what: &str, stopped: Value, request: Value| {
        stage.wait_for_status("nightly", what, |status| {
            status["stop"].get("observedStopped").unwrap_or(&Value::Null) == &stopped
                && status["stop"].get("observedRequest").unwrap_or(&Value::Null) == &request
                && condition(status, "Stopped").is_some_and(|stopped| stopped["status"] != "Unknown")
        })
    };
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    stage.stop("nightly");
    seen("true", json!(true), json!(null));
    stage.patch("nightly", r#"{"spec":{"stopped":null}}"#);
    seen("absent", json!(null), json!(null));
    stage.rearm("nightly");
    seen("false", json!(false), json!(null));
    stage.annotate("nightly", "monday");
    seen("monday", json!(false), json!("monday"));
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    seen("the annotation gone", json!(false), json!(null));
}

#[test]
fn rule_05_a_restart_neither_repeats_nor_forgets() {
    let mut stage = stage();
    for (name, plan) in [("removed", 1), ("emptied", 2), ("standing", 3)] {
        stage.run(name, &[plan]);
        stage.annotate(name, "now");
        stage.wait_for(name, "Accepted");
    }
    stage.kill_operator();
    stage.namespace.run(&["annotate", "tpr", "removed", "testinium.io/stop-"]);
    stage.annotate("emptied", "");
    stage.start_operator();
    stage.wait_for_status("removed", "the removal to be seen", |status| {
        status["stop"].is_object() && stop_of(status)["observedRequest"].is_null()
    });
    stage.wait_for_status("emptied", "the empty value", |status| stop_of(status)["observedRequest"] == "");
    assert_eq!(stage.calls().len(), 3);
    // The removal was seen, by another process: the same value asks anew.
    stage.annotate("removed", "now");
    stage.annotate("emptied", "now");
    stage.wait_for_calls(5);
    stage.settle("other", 4);
    let mut sent = stage.calls().concat();
    sent.sort_unstable();
    assert_eq!(sent, [1, 1, 2, 2, 3, 4]);
}

#[test]
fn rule_05_the_same_value_whose_removal_nobody_saw_asks_for_nothing() {
    let mut stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    stage.stop_operator();
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    stage.annotate("nightly", "now");
    stage.start_operator();
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
}

// --- plans that come later ---

#[test]
fn rule_10_a_plan_added_to_a_stopped_run_has_a_request_of_its_own() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let stage = stage();
    let spec =
        |plans: &[i64]| json!({"plans": plans, "stopped": true, "stopDeadlineSeconds": DEADLINE.as_secs()});
    stage.namespace.apply(&run("nightly", spec(&[1])));
    let asked = Instant::now();
    let before = stage.wait_for("nightly", "Accepted");
    reach(asked, DEADLINE + Duration::from_secs(1));
    stage.namespace.apply(&run("nightly", spec(&[1, 2])));
    let status = stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted"]);
    assert_eq!(stop_of(&status)["requestTime"], stop_of(&before)["requestTime"]);
    assert!(status["plans"][0]["requestTime"].is_null(), "{status}");
    let (first, own) = (time(&stop_of(&status)["requestTime"]), time(&status["plans"][1]["requestTime"]));
    assert!(own.duration_since(first).as_secs() >= 3, "{status}");
    assert_eq!(stage.calls(), [[1], [2]]);
}

#[test]
fn rule_10_a_plan_added_that_cannot_be_sent_expires_by_its_own_request() {
    let mut stage = prepare();
    stage.start_operator();
    let spec = |plans: &[i64]| json!({"plans": plans, "stopped": true, "stopDeadlineSeconds": 4});
    stage.namespace.apply(&run("nightly", spec(&[1])));
    stage.wait_for("nightly", "Accepted");
    stage.gateway(patient(true));
    stage.wait_for_gateway("Suspended");
    stage.namespace.apply(&run("nightly", spec(&[1, 2])));
    let status = stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Expired"]);
    assert_eq!(stopped_reason(&status), "PartiallyStopped");
}

#[test]
fn rule_10_a_plan_added_while_a_stop_of_an_event_is_under_way_is_asked_for() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for_calls(1);
    stage.patch("nightly", r#"{"spec":{"plans":[1,2]}}"#);
    stage.wait_for_calls(2);
    hold.release();
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted"]);
    assert_eq!(stage.calls(), [[1], [2]]);
}

#[test]
fn rule_10_a_plan_added_after_the_stop_of_an_event_is_not_sent_and_told() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    stage.patch("nightly", r#"{"spec":{"plans":[1,4711]}}"#);
    let status = stage.wait_for("nightly", "NotRequested");
    let stopped = condition(&status, "Stopped").expect("Stopped");
    assert_eq!(stopped["status"], "False");
    assert!(stopped["message"].as_str().is_some_and(|message| message.contains("4711")), "{stopped}");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
    stage.annotate("nightly", "again");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "4711 Accepted"]);
}

#[test]
fn rule_10_a_plan_that_is_removed_is_sent_no_more() {
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    stage.run("nightly", &[1, 2]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    stage.patch("nightly", r#"{"spec":{"plans":[2]}}"#);
    stage.catch_up();
    stage.gateway(patient(false));
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["2 Accepted"]);
    assert_eq!(stage.calls(), [[2]]);
}

// --- the time of a request ---

fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap_or_default().parse().unwrap_or_else(|error| panic!("{value} is no time: {error}"))
}

#[test]
fn rule_11_a_request_on_an_old_run_is_as_young_as_its_field() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let mut stage = prepare();
    let spec = |plan: i64| json!({"plans": [plan], "stopDeadlineSeconds": DEADLINE.as_secs()});
    stage.namespace.apply(&run("annotated", spec(1)));
    stage.namespace.apply(&run("patched", spec(2)));
    reach(Instant::now(), DEADLINE + Duration::from_secs(1));
    stage.annotate("annotated", "now");
    stage.stop("patched");
    let asked = jiff::Timestamp::now();
    stage.start_operator();
    for name in ["annotated", "patched"] {
        let status = stage.wait_for(name, "Accepted");
        let request = time(&stop_of(&status)["requestTime"]);
        let difference = asked.duration_since(request).as_secs().abs();
        assert!(difference <= 3, "{name}: asked at {asked}, said to be at {request}");
    }
}

#[test]
fn rule_11_an_outage_longer_than_the_deadline_makes_no_old_request_young() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let mut stage = prepare();
    let spec = |plan: i64| json!({"plans": [plan], "stopDeadlineSeconds": DEADLINE.as_secs()});
    stage.namespace.apply(&run("annotated", spec(1)));
    stage.namespace.apply(&run("patched", spec(2)));
    stage.start_operator();
    stage.wait_for_all("NotRequested", 2);
    stage.stop_operator();
    stage.annotate("annotated", "now");
    stage.stop("patched");
    reach(Instant::now(), DEADLINE + Duration::from_secs(1));
    // Other edits of other managers, later, are not the request.
    for name in ["annotated", "patched"] {
        let patch = r#"{"spec":{"reason":"another edit"}}"#;
        stage.namespace.run(&[
            "patch",
            "tpr",
            name,
            "--type=merge",
            "--field-manager=argocd",
            "--patch",
            patch,
        ]);
    }
    stage.start_operator();
    assert_eq!(outcomes(&stage.wait_for("annotated", "Expired")), ["1 Expired"]);
    assert_eq!(outcomes(&stage.wait_for("patched", "Expired")), ["2 Expired"]);
    stage.settle("other", 3);
    assert_eq!(stage.calls(), [[3]]);
}

#[test]
fn rule_11_a_lost_status_makes_no_old_request_young() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    let spec = json!({"plans": [1], "stopped": true, "stopDeadlineSeconds": DEADLINE.as_secs()});
    stage.namespace.apply(&run("nightly", spec));
    let asked = Instant::now();
    stage.wait_for("nightly", "Suspended");
    stage.kill_operator();
    stage.patch_status("nightly", &Value::Null);
    stage.gateway(patient(false));
    reach(asked, DEADLINE + Duration::from_secs(1));
    stage.start_operator();
    assert_eq!(outcomes(&stage.wait_for("nightly", "Expired")), ["1 Expired"]);
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[2]]);
}

#[test]
fn rule_11_what_expired_stays_so_for_that_request() {
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": true, "stopDeadlineSeconds": 2})));
    stage.wait_for("nightly", "Expired");
    stage.patch("nightly", r#"{"spec":{"stopDeadlineSeconds":3600}}"#);
    stage.gateway(patient(false));
    stage.wait_until_observed("nightly");
    stage.settle("other", 2);
    assert_eq!(outcomes(&stage.status("nightly")), ["1 Expired"]);
    assert_eq!(stage.calls(), [[2]]);
    stage.annotate("nightly", "again");
    stage.wait_for("nightly", "Accepted");
}

// --- a flip that nobody saw ---

#[test]
fn rule_13_a_flip_that_nobody_saw_is_a_new_request() {
    let mut stage = stage();
    stage.settle("nightly", 1);
    stage.stop_operator();
    reach_the_next_second();
    stage.rearm("nightly");
    stage.stop("nightly");
    stage.start_operator();
    stage.wait_for_calls(2);
    stage.wait_for("nightly", "Accepted");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [1], [2]]);
}

#[test]
fn rule_13_a_removal_and_another_true_that_nobody_saw_are_a_new_request() {
    let mut stage = stage();
    stage.settle("nightly", 1);
    stage.stop_operator();
    reach_the_next_second();
    stage.patch("nightly", r#"{"spec":{"stopped":null}}"#);
    stage.stop("nightly");
    stage.start_operator();
    stage.wait_for_calls(2);
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn rule_13_restarts_repeat_a_flip_that_nobody_saw_no_more() {
    let mut stage = stage();
    stage.settle("nightly", 1);
    stage.stop_operator();
    reach_the_next_second();
    stage.rearm("nightly");
    stage.stop("nightly");
    stage.start_operator();
    stage.wait_for_calls(2);
    stage.wait_for_status("nightly", "the second stop to be done", |status| {
        stopped_reason(status) == "Accepted" && status["observedGeneration"] == 4
    });
    for (name, plan) in [("one", 2), ("two", 3)] {
        stage.kill_operator();
        stage.start_operator();
        stage.settle(name, plan);
    }
    assert_eq!(stage.calls(), [[1], [1], [2], [3]]);
}

#[test]
fn rule_13_edits_of_other_fields_that_nobody_saw_are_none() {
    let mut stage = stage();
    stage.settle("nightly", 1);
    stage.stop_operator();
    reach_the_next_second();
    for patch in
        [r#"{"spec":{"reason":"one"}}"#, r#"{"spec":{"reason":"two"}}"#, r#"{"spec":{"reason":"three"}}"#]
    {
        let manager = "--field-manager=someone-else";
        stage.namespace.run(&["patch", "tpr", "nightly", "--type=merge", manager, "--patch", patch]);
    }
    stage.start_operator();
    stage.wait_until_observed("nightly");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
}

#[test]
fn rule_13_a_flip_during_a_stop_that_has_not_settled_sends_nothing_twice() {
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.stop_operator();
    reach_the_next_second();
    stage.rearm("nightly");
    stage.stop("nightly");
    stage.gateway(patient(false));
    stage.start_operator();
    stage.wait_for("nightly", "Accepted");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
}

// --- waiting for a request ---

#[test]
fn rule_14_the_last_request_that_settled_is_named_even_if_its_annotation_is_gone() {
    let mut stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    stage.wait_for_status("nightly", "monday", |status| stop_of(status)["lastHandledRequest"] == "monday");
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    stage.wait_for_status("nightly", "the removal to be seen", |status| {
        stop_of(status)["observedRequest"].is_null()
    });
    stage.kill_operator();
    stage.start_operator();
    stage.patch("nightly", r#"{"spec":{"reason":"another edit"}}"#);
    let status = stage.wait_until_observed("nightly");
    assert_eq!(stop_of(&status)["lastHandledRequest"], "monday");
}

#[test]
fn rule_14_a_request_removed_while_it_waits_is_named_once_it_settles() {
    let mut stage = prepare();
    stage.gateway(patient(true));
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "Suspended");
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    stage.catch_up();
    stage.gateway(patient(false));
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(stop_of(&status)["lastHandledRequest"], "monday");
}

#[test]
fn rule_14_a_wait_does_not_see_the_stop_before() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for_status("nightly", "the first to be handled", |status| {
        stop_of(status)["lastHandledRequest"] == "now"
    });
    stage.namespace.run(&["annotate", "tpr", "nightly", "testinium.io/stop-"]);
    stage.wait_for_status("nightly", "the removal to be seen", |status| {
        stop_of(status)["observedRequest"].is_null()
    });
    let hold = Hold::new();
    stage.simulator.script(When::always(), Reply::natural().held(&hold));
    stage.annotate("nightly", "now");
    let status = stage.wait_for_status("nightly", "the equal request to be told", |status| {
        stop_of(status)["observedRequest"] == "now"
            && condition(status, "Stopped").is_some_and(|stopped| stopped["status"] == "Unknown")
    });
    assert_ne!(stop_of(&status)["lastHandledRequest"], "now", "a wait on it would return at once");
    hold.release();
    stage.wait_for_status("nightly", "the second to be handled", |status| {
        stop_of(status)["lastHandledRequest"] == "now" && stopped_reason(status) == "Accepted"
    });
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn rule_14_a_request_over_a_stopped_run_is_told_before_it_is_answered() {
    let stage = stage();
    for (name, plan) in [("annotated", 1), ("patched", 2)] {
        stage.settle(name, plan);
    }
    stage.rearm("patched");
    stage.wait_for("patched", "NotRequested");
    let hold = Hold::new();
    stage.simulator.script(When::always(), Reply::natural().held(&hold));
    stage.annotate("annotated", "again");
    stage.stop("patched");
    for name in ["annotated", "patched"] {
        let status = stage.wait_for(name, "Stopping");
        assert!(outcomes(&status)[0].ends_with(" Pending"), "{status}");
    }
    hold.release();
    stage.wait_for("annotated", "Accepted");
    stage.wait_for("patched", "Accepted");
}

#[test]
fn rule_14_a_request_over_a_stopped_run_is_told_at_once_even_if_the_answer_comes_soon() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "Accepted");
    // An answer within a second is otherwise written together with what it says.
    stage.simulator.set_latency(Duration::from_millis(700));
    let before = stage.writes("nightly");
    stage.annotate("nightly", "tuesday");
    stage.wait_for_status("nightly", "tuesday", |status| stop_of(status)["lastHandledRequest"] == "tuesday");
    ok(wait_until("the audit log to tell of both writes", SOON, || match stage.writes("nightly") - before {
        count if count >= 2 => Ok(()),
        count => Err(count),
    }));
}

// --- restored from a backup ---

const RESTORE: &str = "velero.io/restore-name";

fn assert_restored(status: &Value, name: &str) {
    let (stopped, ready) = (condition(status, "Stopped"), condition(status, "Ready"));
    assert_eq!(stopped.expect("Stopped")["status"], "False");
    let ready = ready.expect("Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("True"), &json!("Restored")));
    assert_eq!(stop_of(status)["observedRestore"], name);
}

#[test]
fn rule_15_a_restored_run_carries_the_past_and_says_how_to_ask() {
    let stage = stage();
    let mut restored = run("nightly", json!({"plans": [1], "stopped": true}));
    restored["metadata"]["labels"] = json!({RESTORE: "after-the-fire"});
    restored["metadata"]["annotations"] = json!({"testinium.io/stop": "last-week"});
    stage.namespace.apply(&restored);
    assert_restored(&stage.wait_for("nightly", "Restored"), "after-the-fire");
    let told = stage.wait_for_warning("nightly", "Restored");
    let commands = assert_commands(&stage, &told);
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[2]]);
    paste(&stage.namespace, &commands[0]);
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[2], [1]]);
}

#[test]
fn rule_15_a_run_restored_in_place_asks_for_nothing_it_carries() {
    let stage = stage();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "monday");
    stage.wait_for("nightly", "Accepted");
    stage.rearm("nightly");
    stage.wait_for("nightly", "NotRequested");
    let patch = json!({
        "metadata": {"labels": {RESTORE: "in-place"}, "annotations": {"testinium.io/stop": "last-week"}},
        "spec": {"stopped": true},
    });
    stage.patch("nightly", &patch.to_string());
    let status = stage.wait_for("nightly", "Restored");
    assert_restored(&status, "in-place");
    assert_eq!(stop_of(&status)["observedStopped"], true);
    assert_eq!(stop_of(&status)["observedRequest"], "last-week");
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[1], [2]]);
    // A label that stays is no further restore: what comes now asks.
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    // A second restore is one.
    let again = json!({
        "metadata": {"labels": {RESTORE: "once-more"}, "annotations": {"testinium.io/stop": "last-week"}},
    });
    stage.patch("nightly", &again.to_string());
    assert_restored(&stage.wait_for("nightly", "Restored"), "once-more");
    stage.settle("another", 3);
    assert_eq!(stage.calls(), [[1], [2], [1], [3]]);
}

#[test]
fn rule_15_a_status_restored_with_its_run_is_known_by_its_start_time() {
    let mut stage = prepare();
    let mut restored = run("nightly", json!({"plans": [1, 2], "stopped": true}));
    restored["metadata"]["labels"] = json!({RESTORE: "same-name-as-before"});
    stage.namespace.apply(&restored);
    stage.patch_status(
        "nightly",
        &json!({
            "observedGeneration": 1, "startTime": "2020-01-02T03:04:05Z", "summary": "1/2",
            "plans": [{"id": 1, "outcome": "Accepted"}, {"id": 2, "outcome": "Pending"}],
            "stop": {
                "trigger": "Spec", "requestTime": "2020-01-02T03:04:05Z", "observedStopped": false,
                "observedRestore": "same-name-as-before", "gateway": {"name": "default"},
            },
            "conditions": [],
        }),
    );
    stage.start_operator();
    let status = stage.wait_for("nightly", "Restored");
    let creation =
        ok(stage.namespace.kubectl.get_json(&["tpr", "nightly"]))["metadata"]["creationTimestamp"].clone();
    assert_eq!(status["startTime"], creation);
    stage.settle("other", 3);
    assert_eq!(stage.calls(), [[3]]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
}

#[test]
fn rule_15_a_restart_keeps_a_restored_run_restored_once() {
    let mut stage = stage();
    let mut restored = run("nightly", json!({"plans": [1], "stopped": true}));
    restored["metadata"]["labels"] = json!({RESTORE: "after-the-fire"});
    stage.namespace.apply(&restored);
    stage.wait_for("nightly", "Restored");
    stage.wait_for_event("nightly", "Restored");
    stage.stop_operator();
    stage.start_operator();
    stage.settle("other", 2);
    assert_eq!(stopped_reason(&stage.status("nightly")), "Restored");
    stage.rearm("nightly");
    stage.stop("nightly");
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[2], [1]]);
}

// --- made anew ---

#[test]
fn rule_16_a_run_made_anew_asks_with_the_same_annotation() {
    let mut stage = stage();
    let mut nightly = run("nightly", json!({"plans": [1]}));
    nightly["metadata"]["annotations"] = json!({"testinium.io/stop": "now"});
    stage.namespace.apply(&nightly);
    stage.wait_for("nightly", "Accepted");
    stage.namespace.run(&["delete", "tpr", "nightly"]);
    stage.namespace.apply(&nightly);
    stage.wait_for("nightly", "Accepted");
    stage.wait_for_calls(2);
    // Nobody watches when it is made the third time.
    stage.stop_operator();
    stage.namespace.run(&["delete", "tpr", "nightly"]);
    stage.namespace.apply(&nightly);
    stage.start_operator();
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1], [1], [1]]);
}

#[test]
fn the_start_of_a_run_is_its_creation() {
    let mut stage = prepare();
    stage.run("nightly", &[1]);
    reach_the_next_second();
    stage.start_operator();
    let status = stage.wait_for("nightly", "NotRequested");
    let object = ok(stage.namespace.kubectl.get_json(&["tpr", "nightly"]));
    assert_eq!(status["startTime"], object["metadata"]["creationTimestamp"]);
}
