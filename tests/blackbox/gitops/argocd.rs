//! Argo CD: the scripts of deploy/argocd, run as Argo CD runs them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testinium_testbed::simulator::Nature;
use testinium_testbed::tools::Tool;

use super::situations::{differences, situations};
use crate::cluster::{ok, repository};
use crate::operator::Stage;

/// The ConfigMap of the patch.
pub(crate) fn patch() -> Value {
    let text = std::fs::read_to_string(repository("deploy/argocd/argocd-cm.yaml")).expect("it is there");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The script for the health of this kind.
fn health(kind: &str) -> String {
    let key = format!("resource.customizations.health.testinium.io_{kind}");
    let script = patch()["data"][&key].as_str().map(str::to_owned);
    script.unwrap_or_else(|| panic!("the patch has no {key}"))
}

/// The scripts for what a person may do to a run.
fn actions() -> Value {
    let patch = patch();
    let text = &patch["data"]["resource.customizations.actions.testinium.io_TestPlanRun"];
    serde_saphyr::from_str(text.as_str().expect("a text")).expect("YAML in YAML")
}

fn action(name: &str) -> Value {
    let actions = actions();
    let all = actions["definitions"].as_array().expect("a list");
    let found = all.iter().find(|action| action["name"] == name);
    found.unwrap_or_else(|| panic!("there is no action {name}"))["action.lua"].clone()
}

/// What the script says of each object.
fn run_script(what: &str, script: &Value, objects: &[&Value]) -> Vec<Value> {
    let said = ok(Tool::ArgocdLua.ask(&[what], &json!({"script": script, "objects": objects})));
    let said = said.as_array().cloned().unwrap_or_default();
    assert_eq!(said.len(), objects.len());
    said
}

#[test]
fn argo_cd_reads_every_situation_as_the_page_says() {
    let kinds: BTreeSet<_> = situations().iter().filter_map(|found| found.object["kind"].as_str()).collect();
    let scripts: BTreeSet<_> = kinds.into_iter().map(health).collect();
    assert_eq!(scripts.len(), 1, "all kinds have the same script");
    let script = json!(scripts.first());
    let objects: Vec<_> = situations().iter().map(|situation| &situation.object).collect();
    let said = run_script("health", &script, &objects);
    let wrong = differences(
        "argocd",
        situations().iter().zip(&said).map(|(situation, said)| {
            (situation, said["status"].as_str().unwrap_or_default().to_owned(), situation.seen.argocd)
        }),
    );
    assert!(wrong.is_empty(), "{wrong}");
    for (situation, said) in situations().iter().zip(&said) {
        let conditions = situation.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let message = said["message"].as_str().unwrap_or_default();
        let is_told = conditions.iter().any(|condition| {
            let (reason, words) = (&condition["reason"], &condition["message"]);
            message == format!("{}: {}", reason.as_str().unwrap_or("-"), words.as_str().unwrap_or("-"))
        });
        assert!(is_told || message.contains("has not seen this version"), "{}: {message}", situation.name);
    }
}

#[test]
fn the_action_retry_is_offered_only_where_a_stop_has_failed() {
    let discovery = &actions()["discovery.lua"];
    let of_runs = situations().iter().filter(|situation| situation.object["kind"] == "TestPlanRun");
    let of_runs: Vec<_> = of_runs.collect();
    let objects: Vec<_> = of_runs.iter().map(|situation| &situation.object).collect();
    for (situation, offered) in of_runs.iter().zip(run_script("discovery", discovery, &objects)) {
        assert!(offered["stop"]["disabled"].is_null(), "{offered}");
        let is_failed = situation.seen.argocd == "Degraded";
        assert_eq!(offered["retry"]["disabled"], !is_failed, "{}: {offered}", situation.name);
    }
}

/// A merge patch that makes one object of another, as Argo CD computes it.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return after.clone() };
    let mut patch = json!({});
    for (name, value) in new {
        match old.get(name) {
            Some(same) if same == value => {}
            Some(other) => patch[name] = difference(other, value),
            None => patch[name] = value.clone(),
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch[name] = Value::Null;
    }
    patch
}

#[test]
fn the_actions_stop_and_retry_change_one_annotation_and_ask_for_what_they_say() {
    let stage = Stage::start_accepting(json!({}));
    stage.simulator.plan(2, Nature::Unknown);
    stage.run("nightly", &[1, 2]);
    stage.wait_for("nightly", "NotRequested");
    let act = |name: &str| {
        let before = ok(stage.namespace.kubectl.get_json(&["tpr", "nightly", "--show-managed-fields"]));
        let after = run_script("action", &action(name), &[&before]);
        let patch = difference(&before, &after[0]);
        let value = patch["metadata"]["annotations"][format!("testinium.io/{name}")].clone();
        let alone = json!({"metadata": {"annotations": {(format!("testinium.io/{name}")): value.clone()}}});
        assert_eq!(patch, alone, "an action changes nothing else");
        let manager = "--field-manager=argocd-server";
        let text = patch.to_string();
        stage.namespace.run(&["patch", "tpr", "nightly", "--type=merge", manager, "--patch", &text]);
        value
    };
    let value = act("stop");
    let status = stage.wait_for("nightly", "PartiallyStopped");
    assert_eq!((&status["stop"]["request"], &status["stop"]["trigger"]), (&value, &json!("Annotation")));
    let before = stage.calls().len();
    stage.simulator.plan(2, Nature::NeverStops);
    let value = act("retry");
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(status["stop"]["lastHandledRetry"], value);
    assert_eq!(stage.calls()[before..], [[2]], "what is stopped is not asked again");
}
