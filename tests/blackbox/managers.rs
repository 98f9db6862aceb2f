//! Field managers: some take a stop back, some never did, and some fight over it.

use serde_json::{Value, json};
use testinium_testbed::simulator::Nature;

use crate::cluster::{ok, run};
use crate::events::{assert_commands, note, paste};
use crate::operator::{Stage, condition, outcomes};

fn suspended() -> Stage {
    Stage::start_accepting(json!({"suspend": true}))
}

fn at_work() -> Stage {
    Stage::start_accepting(json!({}))
}

/// A patch in the name of a field manager.
fn patch_as(stage: &Stage, manager: &str, patch: &Value) {
    let manager = format!("--field-manager={manager}");
    let patch = patch.to_string();
    stage.namespace.run(&["patch", "tpr", "nightly", "--type=merge", &manager, "--patch", &patch]);
}

/// A server-side apply, as GitOps tools do it.
fn apply_as(stage: &Stage, manager: &str, spec: &Value) {
    let manager = format!("--field-manager={manager}");
    let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "--filename=-"];
    let object = run("nightly", spec.clone()).to_string();
    ok(stage.namespace.kubectl.run_with_input(&arguments, &object).and_then(|output| output.success()));
}

#[test]
fn rule_20_a_manager_that_owned_false_all_along_is_not_blamed_for_what_a_person_did() {
    let stage = suspended();
    apply_as(&stage, "kustomize-controller", &json!({"plans": [1], "stopped": false}));
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    stage.annotate("nightly", "no");
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(stage.wait_for_event("nightly", "StopWithdrawn")["type"], "Normal");
    let by = status["stop"]["withdrawnBy"].as_str().unwrap_or_default().to_owned();
    assert!(by.starts_with("kubectl"), "{status}");
    assert!(stage.events("nightly", "StopReverted").is_empty());
}

#[test]
fn rule_20_a_manager_that_sets_false_is_named_with_what_would_last() {
    let stage = suspended();
    apply_as(&stage, "kustomize-controller", &json!({"plans": [1], "stopped": false}));
    patch_as(&stage, "kubectl-patch", &json!({"spec": {"stopped": true}}));
    stage.wait_for("nightly", "Suspended");
    apply_as(&stage, "kustomize-controller", &json!({"plans": [1], "stopped": false}));
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(status["stop"]["withdrawnBy"], "kustomize-controller");
    let told = stage.wait_for_warning("nightly", "StopReverted");
    assert!(told.contains("kustomize-controller"), "{told}");
    assert!(stage.events("nightly", "StopWithdrawn").is_empty());
    let commands = assert_commands(&stage, &told);
    paste(&stage.namespace, &commands[0]);
    stage.wait_for("nightly", "Suspended");
    stage.gateway(json!({}));
    stage.wait_for("nightly", "Accepted");
}

#[test]
fn rule_20_a_manager_whose_annotation_says_no_is_named() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Suspended");
    patch_as(&stage, "argocd-controller", &json!({"metadata": {"annotations": {"testinium.io/stop": "no"}}}));
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(status["stop"]["withdrawnBy"], "argocd-controller");
    let told = stage.wait_for_warning("nightly", "StopReverted");
    assert!(told.contains("argocd-controller"), "{told}");
}

#[test]
fn rule_20_what_a_person_does_by_the_advised_manager_is_a_persons() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    patch_as(&stage, "testinium", &json!({"spec": {"stopped": true}}));
    stage.wait_for("nightly", "Suspended");
    patch_as(&stage, "testinium", &json!({"spec": {"stopped": false}}));
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(status["stop"]["withdrawnBy"], "testinium");
    assert_eq!(stage.wait_for_event("nightly", "StopWithdrawn")["type"], "Normal");
    assert!(stage.events("nightly", "StopReverted").is_empty());
}

#[test]
fn rule_20_a_manager_that_touches_the_run_later_is_not_named() {
    let stage = suspended();
    stage.run("nightly", &[1]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    let both = json!({"spec": {"stopped": false}});
    patch_as(&stage, "kubectl-patch", &both);
    patch_as(&stage, "helm-controller", &json!({"spec": {"reason": "a label run"}}));
    let status = stage.wait_for("nightly", "Withdrawn");
    assert_eq!(status["stop"]["withdrawnBy"], "kubectl-patch");
}

#[test]
fn rule_21_two_managers_that_flip_a_stop_in_turn_are_told_and_not_damped() {
    const ROUNDS: i64 = 4;
    let stage = at_work();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    for round in 1..=ROUNDS {
        patch_as(&stage, "helm-controller", &json!({"spec": {"stopped": true}}));
        stage.wait_for_calls(usize::try_from(round).expect("few rounds"));
        stage.wait_for("nightly", "Accepted");
        patch_as(&stage, "kustomize-controller", &json!({"spec": {"stopped": false}}));
        stage.wait_for("nightly", "NotRequested");
    }
    let told = stage.wait_for_warning("nightly", "StopContested");
    assert!(told.contains("helm-controller") || told.contains("kustomize-controller"), "{told}");
    assert_commands(&stage, &told);
    assert_eq!(stage.calls(), [[1]; 4]);
}

#[test]
fn rule_21_one_manager_that_stops_and_takes_back_fights_with_nobody() {
    let stage = at_work();
    stage.run("nightly", &[1]);
    for round in 1..=4 {
        patch_as(&stage, "kubectl-patch", &json!({"spec": {"stopped": true}}));
        stage.wait_for_calls(round);
        stage.wait_for("nightly", "Accepted");
        patch_as(&stage, "kubectl-patch", &json!({"spec": {"stopped": false}}));
        stage.wait_for("nightly", "NotRequested");
    }
    // Events come in order, so one that is told later shows that none was before.
    stage.gateway(json!({"suspend": true}));
    stage.wait_for_gateway("Suspended");
    patch_as(&stage, "kubectl-patch", &json!({"spec": {"stopped": true}}));
    stage.wait_for("nightly", "Suspended");
    patch_as(&stage, "kubectl-patch", &json!({"spec": {"stopped": false}}));
    stage.wait_for_event("nightly", "StopWithdrawn");
    assert!(stage.events("nightly", "StopContested").is_empty());
}

// --- what a status tells can be pasted ---

#[test]
fn commands_in_the_messages_of_a_failed_stop_can_be_pasted() {
    let stage = at_work();
    stage.simulator.plan(2, Nature::Unknown);
    stage.run("nightly", &[1, 2]);
    stage.annotate("nightly", "now");
    let status = stage.wait_for("nightly", "PartiallyStopped");
    let told =
        condition(&status, "Stopped").expect("Stopped")["message"].as_str().unwrap_or_default().to_owned();
    let event = note(&stage.wait_for_event("nightly", "PartiallyStopped"));
    let before = stage.calls().len();
    stage.simulator.plan(2, Nature::NeverStops);
    let mut commands = assert_commands(&stage, &told);
    if event.contains("kubectl") {
        commands.extend(assert_commands(&stage, &event));
    }
    paste(&stage.namespace, &commands[0]);
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted"]);
    assert!(stage.calls().len() > before);
}

/// Each condition is one entry of managedFields, and others may have theirs beside ours: neither takes the other's away.
#[test]
fn a_condition_that_another_manager_applies_stands_beside_ours() {
    let stage = at_work();
    stage.run("nightly", &[1]);
    stage.annotate("nightly", "now");
    stage.wait_for("nightly", "Accepted");
    let mut object = run("nightly", json!({"plans": [1]}));
    object["status"] = json!({"conditions": [{
        "type": "Audited", "status": "True", "reason": "Seen", "message": "by the auditor",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let arguments =
        ["apply", "--server-side", "--subresource=status", "--field-manager=auditor", "--filename=-"];
    ok(stage.namespace.kubectl.run_with_input(&arguments, &object.to_string()).and_then(|out| out.success()));
    stage.annotate("nightly", "again");
    stage.wait_for_status("nightly", "again", |status| status["stop"]["lastHandledRequest"] == "again");
    let status = stage.wait_for("nightly", "Accepted");
    let reason = |type_: &str| condition(&status, type_).map(|condition| condition["reason"].clone());
    assert_eq!(
        (reason("Audited"), reason("Stopped")),
        (Some(json!("Seen")), Some(json!("Accepted"))),
        "{status}"
    );
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    let managed = stage.namespace.run(&["get", "tpr", "nightly", "-o", "json", "--show-managed-fields"]);
    let managed: Value = serde_json::from_str(&managed).expect("kubectl prints JSON");
    let entries = managed["metadata"]["managedFields"].as_array().expect("a list");
    let ours =
        entries.iter().find(|entry| entry["manager"] == "testinium-operator").expect("we have written");
    let fields = &ours["fieldsV1"]["f:status"];
    assert_eq!((&fields["f:stop"], &fields["f:plans"]), (&json!({}), &json!({})), "one entry each: {fields}");
    assert_eq!(fields["f:conditions"][r#"k:{"type":"Stopped"}"#], json!({}), "{fields}");
}
