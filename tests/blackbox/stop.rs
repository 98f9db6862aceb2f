//! The main job: a stop travels from kubectl to the gateway and back into status.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Nature, Reply, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition, outcomes};

#[test]
fn a_patch_is_one_call_and_one_status_write() {
    let stage = Stage::start();
    stage.run("nightly", &[614, 615, 312]);
    stage.wait_for("nightly", "NotRequested");
    let before = stage.writes("nightly");
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["614 Accepted", "615 Accepted", "312 Accepted"]);
    assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "True");
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(status["summary"], "3/3");
    let calls = stage.simulator.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].plans, [614, 615, 312]);
    ok(wait_until("the audit log to tell of the write", SOON, || match stage.writes("nightly") - before {
        0 => Err("none yet"),
        _ => Ok(()),
    }));
    assert_eq!(stage.writes("nightly") - before, 1);
    stage.wait_for_event("nightly", "StopAccepted");
}

#[test]
fn a_stop_that_git_undoes_is_told_with_what_would_last() {
    let stage = Stage::start();
    stage.settle("nightly", 1);
    let patch = r#"{"spec":{"stopped":false}}"#;
    let manager = "--field-manager=kustomize-controller";
    stage.namespace.run(&["patch", "tpr", "nightly", "--type=merge", manager, "--patch", patch]);
    stage.wait_for("nightly", "NotRequested");
    stage.wait_for_event("nightly", "StopReverted");
}

#[test]
fn three_hundred_runs_that_already_want_stopping_share_three_calls() {
    let mut stage = Stage::prepare();
    let runs: Vec<_> =
        (1..=300).map(|id| run(&format!("run-{id}"), json!({"plans": [id], "stopped": true}))).collect();
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": runs}));
    stage.start_operator();
    wait_for_all(&stage, 300);
    let sizes: Vec<_> = stage.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100, 100]);
    assert_once(&stage);
}

#[test]
fn runs_stopped_by_label_share_calls_and_no_id_is_sent_twice() {
    let stage = Stage::start();
    let runs: Vec<_> = (1..=300)
        .map(|id| {
            let mut run = run(&format!("run-{id}"), json!({"plans": [id]}));
            run["metadata"]["labels"] = json!({"load": "heavy"});
            run
        })
        .collect();
    stage.namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": runs}));
    stage.namespace.run(&["annotate", "tpr", "--selector=load=heavy", "testinium.io/stop=now"]);
    wait_for_all(&stage, 300);
    let at: Vec<_> = stage.simulator.calls().into_iter().map(|call| call.at).collect();
    let (first, last) = (at.first().expect("a call"), at.last().expect("a call"));
    let windows = (*last - *first).as_millis() / Duration::from_millis(50).as_millis();
    // Two more: the one that begins the first window, and one that its way here has delayed.
    assert!(at.len() as u128 <= windows + 2, "{} calls in {windows} windows", at.len());
    assert_once(&stage);
}

#[test]
fn one_unknown_id_among_64_is_found_in_13_calls() {
    let stage = Stage::start();
    stage.simulator.plan(37, Nature::Unknown);
    stage.run("nightly", &(1..=64).collect::<Vec<_>>());
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "PartiallyStopped");
    let rejected: Vec<_> =
        outcomes(&status).into_iter().filter(|outcome| !outcome.ends_with("Accepted")).collect();
    assert_eq!(rejected, ["37 Rejected"]);
    assert!(stage.calls().len() <= 13, "{} calls", stage.calls().len());
    stage.wait_for_event("nightly", "PartiallyStopped");
}

#[test]
fn a_gateway_that_is_down_is_waited_for() {
    let stage = Stage::start();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    let before = stage.writes("nightly");
    stage.simulator.down().expect("the gateway goes away");
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Unreachable");
    assert_eq!(condition(&status, "Stopped").expect("Stopped")["status"], "Unknown");
    assert_eq!(outcomes(&status), ["1 Pending"]);
    stage.wait_for_event("nightly", "GatewayUnavailable");
    stage.simulator.up().expect("the gateway comes back");
    stage.wait_for("nightly", "Accepted");
    assert!(stage.writes("nightly") - before <= 2);
}

#[test]
fn a_token_that_is_missing_then_wrong_then_right_is_picked_up() {
    let stage = Stage::start();
    stage.namespace.run(&["delete", "secret", "token"]);
    stage.gateway(json!({"auth": {"bearerToken": {"secretRef": {"name": "other"}}}}));
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "SecretNotFound");
    stage.token("wrong");
    stage.gateway(json!({}));
    stage.wait_for_calls(1);
    stage.token("simulated-token");
    stage.wait_for("nightly", "Accepted");
}

#[test]
fn an_operator_that_is_killed_during_a_call_finishes_after_its_restart() {
    let mut stage = Stage::start();
    stage.simulator.script(When::nth(1), Reply::never());
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    stage.wait_for_calls(1);
    stage.kill_operator();
    stage.start_operator();
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted"]);
}

#[test]
fn a_stop_withdrawn_before_its_call_is_not_sent() {
    let mut stage = Stage::prepare();
    stage.gateway(json!({"suspend": true}));
    stage.start_operator();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.patch("nightly", r#"{"spec":{"stopped":false}}"#);
    assert_eq!(outcomes(&stage.wait_for("nightly", "Withdrawn")), ["1 Withdrawn"]);
    stage.gateway(json!({"suspend": false}));
    stage.settle("other", 2);
    assert_eq!(stage.calls(), [[2]]);
    stage.patch("other", r#"{"spec":{"stopped":false}}"#);
    assert_eq!(outcomes(&stage.wait_for("other", "NotRequested")), ["2 Accepted"]);
    assert_eq!(stage.calls(), [[2]]);
}

#[test]
fn a_gateway_that_does_not_exist_yet_is_picked_up() {
    let stage = Stage::start();
    stage.namespace.run(&["delete", "tgw", "default"]);
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "GatewayNotFound");
    stage.gateway(json!({}));
    stage.wait_for("nightly", "Accepted");
}

#[test]
fn an_operator_that_is_asked_to_stop_ends_by_itself() {
    let mut stage = Stage::start();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    stage.stop_operator();
}

fn wait_for_all(stage: &Stage, count: usize) {
    ok(wait_until("every run to be stopped", SOON * 2, || {
        let list = ok(stage.namespace.kubectl.get_json(&["tpr"]));
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let done = items
            .iter()
            .filter(|run| {
                condition(&run["status"], "Stopped").is_some_and(|stopped| stopped["reason"] == "Accepted")
            })
            .count();
        if done == count { Ok(()) } else { Err(format!("{done} of {count}")) }
    }));
}

fn assert_once(stage: &Stage) {
    let mut sent = BTreeMap::new();
    for id in stage.calls().into_iter().flatten() {
        *sent.entry(id).or_insert(0) += 1;
    }
    assert!(sent.values().all(|count| *count == 1), "{sent:?}");
}

#[test]
fn a_gateways_status_says_how_it_stands() {
    let stage = Stage::start();
    stage.namespace.run(&["wait", "tgw/default", "--for=condition=Ready", "--timeout=30s"]);
    stage.namespace.run(&["delete", "secret", "token"]);
    stage.gateway(json!({"auth": {"bearerToken": {"secretRef": {"name": "other"}}}}));
    let stalled = ["wait", "tgw/default", "--for=condition=Stalled", "--timeout=30s"];
    stage.namespace.run(&stalled);
    let gateway = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]));
    let ready = condition(&gateway["status"], "Ready").expect("Ready").clone();
    assert_eq!((&ready["reason"], &ready["status"]), (&json!("SecretNotFound"), &json!("False")));
    let message = ready["message"].as_str().unwrap_or_default();
    assert!(message.contains("no Secret \"other\"") && message.contains("create it"), "{message}");
    assert_eq!(gateway["status"]["observedGeneration"], gateway["metadata"]["generation"]);
}

#[test]
fn an_idle_operator_writes_nothing_and_calls_nobody() {
    let stage = Stage::start();
    stage.run("stopped", &[1]);
    stage.run("at-rest", &[2]);
    stage.stop("stopped");
    stage.wait_for("stopped", "Accepted");
    stage.wait_for("at-rest", "NotRequested");
    stage.wait_for_gateway("Succeeded");
    // Half a minute of silence is the claim itself: what is waited for is that nothing comes.
    let before = (stage.all_writes(), stage.simulator.requests().len());
    let noise = wait_until("something to happen", SOON, || {
        let now = (stage.all_writes(), stage.simulator.requests().len());
        if now == before { Err("silence") } else { Ok(now) }
    });
    assert!(noise.is_err(), "{before:?} became {noise:?}");
}
