//! Runs whose plans are stopped before their objects go, by the operator that ships, with the rights and under the
//! policies that ship.
//!
//! The test control plane has neither garbage collector nor namespace controller: a test sends the requests that these
//! would send.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testinium_testbed::arena::Arena;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::pages::blocks;
use testinium_testbed::simulator::Config;

use crate::cluster::{ok, page, run, site};
use crate::operator::{SOON, Stage};
use crate::outages::bound_in;

fn held(name: &str, plans: &[i64]) -> Value {
    run(name, json!({"plans": plans, "deletionPolicy": "Stop"}))
}

fn finalizers(stage: &Stage, name: &str) -> String {
    stage.namespace.run(&["get", "tpr", name, "--output=jsonpath={.metadata.finalizers}"])
}

/// Makes a run, and waits until it has its finalizer and is at rest.
fn put(stage: &Stage, object: &Value) {
    let name = object["metadata"]["name"].as_str().expect("a name");
    stage.namespace.apply(object);
    wait_for_finalizer(stage, name);
    stage.wait_for(name, "NotRequested");
}

fn wait_for_finalizer(stage: &Stage, name: &str) {
    ok(wait_until("the finalizer", SOON, || match finalizers(stage, name) {
        list if list.contains("testinium.io/stop") => Ok(()),
        list => Err(list),
    }));
}

fn is_stopped(stage: &Stage, plan: i64) -> bool {
    stage.simulator.truth().get(&plan).is_some_and(|truth| truth.accepted > 0)
}

#[test]
fn kubectl_delete_waits_until_the_plans_are_stopped() {
    let stage = Stage::start();
    put(&stage, &held("nightly", &[1, 2]));
    stage.namespace.run(&["delete", "tpr", "nightly", "--timeout=30s"]);
    assert_eq!(stage.calls(), [[1, 2]]);
    assert!(is_stopped(&stage, 1) && is_stopped(&stage, 2));
    stage.wait_for_event("nightly", "StopBeforeDeletion");
    stage.wait_for_event("nightly", "StopAccepted");
}

#[test]
fn each_way_of_deleting_stops_the_plans_first() {
    let stage = Stage::start();
    let ways: [(&str, &[&str]); 4] = [
        ("background", &["--cascade=background"]),
        ("foreground", &["--cascade=foreground"]),
        ("orphan", &["--cascade=orphan"]),
        ("now", &["--now"]),
    ];
    for (plan, (name, flags)) in (1..).zip(ways) {
        put(&stage, &held(name, &[plan]));
        stage.namespace.run(&[&["delete", "tpr", name, "--wait=false"], flags].concat());
        ok(wait_until("the stop", SOON, || if is_stopped(&stage, plan) { Ok(()) } else { Err(name) }));
        // What Kubernetes itself has put on is the garbage collector's to take off.
        ok(wait_until("its finalizer to go", SOON, || {
            match stage.is_there(name) && finalizers(&stage, name).contains("testinium.io/stop") {
                true => Err(finalizers(&stage, name)),
                false => Ok(()),
            }
        }));
    }
}

/// As the garbage collector deletes what a Job or a Workflow owns, once that is gone.
#[test]
fn a_run_that_goes_with_its_owner_is_stopped_first() {
    let stage = Stage::start();
    let mut owned = held("nightly", &[1]);
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "load",
        "uid": "6a1c0f0e-0000-4000-8000-000000000000", "controller": true, "blockOwnerDeletion": true}]);
    put(&stage, &owned);
    let path =
        format!("/apis/testinium.io/v1alpha1/namespaces/{}/testplanruns/nightly", stage.namespace.name);
    let found = ok(site().client.get(&path)).expect("it is there");
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": found["metadata"]["uid"], "resourceVersion": found["metadata"]["resourceVersion"]}});
    let answer = ok(site().client.send("DELETE", &path, Some(&options)));
    assert!(answer.is_success(), "{answer:?}");
    stage.wait_until_gone("nightly");
    assert!(is_stopped(&stage, 1));
}

#[test]
fn what_is_stopped_already_goes_at_once_and_a_deleted_run_without_the_policy_stops_nothing() {
    let stage = Stage::start();
    put(&stage, &held("nightly", &[1]));
    stage.stop("nightly");
    stage.wait_for("nightly", "Accepted");
    stage.namespace.apply(&run("other", json!({"plans": [2]})));
    stage.wait_for("other", "NotRequested");
    stage.namespace.run(&["delete", "tpr", "nightly", "other", "--timeout=30s"]);
    assert_eq!(stage.calls(), [[1]]);
}

#[test]
fn a_gateway_that_is_suspended_holds_no_deletion_up_and_the_end_is_told() {
    let stage = Stage::start();
    put(&stage, &held("nightly", &[1]));
    stage.gateway(json!({"suspend": true}));
    stage.wait_for_gateway("Suspended");
    stage.namespace.run(&["delete", "tpr", "nightly", "--timeout=30s"]);
    assert!(stage.calls().is_empty());
    stage.wait_for_event("nightly", "StopExpired");
    let count = "testinium_deletions_given_up_total{why=\"NothingToSend\"} 1";
    assert!(stage.metrics().contains(count), "{}", stage.metrics());
}

#[test]
fn a_deletion_that_waits_says_why_and_orphan_lets_it_go() {
    let mut stage = Stage::prepare();
    stage.simulator.down().expect("the gateway goes down");
    stage.start_operator();
    put(&stage, &held("nightly", &[1]));
    stage.namespace.run(&["delete", "tpr", "nightly", "--wait=false"]);
    let status = stage.wait_for("nightly", "Unreachable");
    assert_eq!(status["stop"]["trigger"], "Deletion");
    assert!(status["stop"]["observedDeletion"].is_string());
    let spec = r#"{"spec":{"deletionPolicy":"Orphan"}}"#;
    stage.namespace.run(&[
        "patch",
        "tpr",
        "nightly",
        "--type=merge",
        "--field-manager=testinium",
        "--patch",
        spec,
    ]);
    stage.wait_until_gone("nightly");
    stage.wait_for_event("nightly", "StopWithdrawn");
}

#[test]
fn a_deletion_while_no_operator_runs_is_made_up_for() {
    let mut stage = Stage::start();
    put(&stage, &held("nightly", &[1]));
    stage.kill_operator();
    stage.namespace.run(&["delete", "tpr", "nightly", "--wait=false"]);
    stage.start_operator();
    stage.wait_until_gone("nightly");
    assert!(is_stopped(&stage, 1));
}

/// As the namespace controller does it: the namespace first, then everything in it, in any order.
#[test]
fn a_namespace_that_is_torn_down_has_its_plans_stopped_whatever_goes_first() {
    let orders: [&[&str]; 3] = [
        &["secrets", "testiniumgateways", "testplanruns"],
        &["testiniumgateways", "secrets", "testplanruns"],
        &["testplanruns", "testiniumgateways", "secrets"],
    ];
    for order in orders {
        let stage = Stage::start();
        put(&stage, &held("nightly", &[1]));
        put(&stage, &held("weekly", &[2]));
        let name = &stage.namespace.name;
        stage.namespace.run(&["delete", "namespace", name, "--wait=false"]);
        for resource in order {
            stage.namespace.run(&["delete", resource, "--all", "--wait=false"]);
        }
        stage.wait_until_gone("nightly");
        stage.wait_until_gone("weekly");
        assert!(is_stopped(&stage, 1) && is_stopped(&stage, 2), "{order:?}");
        assert!(stage.log().contains("StopBeforeDeletion"), "the log tells, where no event can be made");
    }
}

#[test]
fn a_namespace_without_a_gateway_is_gone_at_once() {
    let stage = Stage::start();
    put(&stage, &held("nightly", &[1]));
    let missing = r#"{"spec":{"gatewayRef":{"name":"missing"}}}"#;
    stage.patch("nightly", missing);
    stage.namespace.run(&["delete", "namespace", &stage.namespace.name, "--wait=false"]);
    let began = Instant::now();
    stage.namespace.run(&["delete", "testplanruns", "--all", "--timeout=30s"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(stage.log().contains("StopExpired"));
}

#[test]
fn rights_in_one_namespace_alone_are_not_enough_and_status_says_so() {
    let arena = ok(Arena::new(site(), "no-finalizer", Config::default()));
    let site = bound_in("no-finalizer", &arena.namespace);
    let watched = format!("--watch-namespaces={}", arena.namespace);
    let operator = ok(site.operator(arena.directory(), "operator", &[&watched, "--leader-elect=false"]));
    ok(operator.start());
    ok(arena.create_run("nightly", json!({"plans": [1], "deletionPolicy": "Stop"})));
    let run = ok(wait_until("status to say so", SOON, || {
        let run = arena.run("nightly").map_err(|error| error.to_string())?;
        if run["status"]["stop"]["deletionSkipped"].is_string() { Ok(run) } else { Err(run.to_string()) }
    }));
    assert!(run["metadata"]["finalizers"].is_null(), "{run}");
    let why = run["status"]["stop"]["deletionSkipped"].as_str().unwrap_or_default();
    assert!(why.contains("may not patch testplanruns in all namespaces"), "{why}");
    ok(arena.delete_run("nightly"));
    ok(wait_until("the run to go", SOON, || match arena.run("nightly") {
        Ok(Value::Null) => Ok(()),
        other => Err(format!("{other:?}")),
    }));
    assert_eq!(arena.simulator.calls().len(), 0);
}

#[test]
fn the_run_of_the_page_on_cleanup_is_stopped_before_it_goes() {
    let stage = Stage::start();
    let page = page("docs/cleanup.md");
    let example = blocks(&page, "yaml").find(|text| text.contains("deletionPolicy: Stop"));
    let example = example.expect("an example");
    ok(stage.namespace.kubectl.apply(example));
    wait_for_finalizer(&stage, "preview");
    stage.namespace.run(&["delete", "tpr", "preview", "--timeout=30s"]);
    assert_eq!(stage.calls(), [[615]]);
}

#[test]
fn a_policy_that_is_no_policy_is_refused() {
    let stage = Stage::prepare();
    let odd = run("odd", json!({"plans": [1], "deletionPolicy": "Delete"}));
    stage.namespace.refuses([(
        odd,
        "spec.deletionPolicy: Unsupported value: \"Delete\": supported values: \"Orphan\", \"Stop\"",
    )]);
}
