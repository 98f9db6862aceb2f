//! What the policies that are installed by choice make of `spec.deletionPolicy`, on a control plane of their own.

use serde_json::{Value, json};
use testinium_testbed::control_plane::{ControlPlane, Options};
use testinium_testbed::kubectl::{Kubectl, Output, wait_until};
use testinium_testbed::operator::install;

use crate::choices::{has_mutating_policies, patch, refused, taken};
use crate::cluster::{ok, repository, run};
use crate::operator::SOON;

const FINALIZER: &str = "testinium.io/stop";

/// A control plane with these policies, whose definitions have the field.
fn plane_with(choice: &str) -> ControlPlane {
    let plane = ok(ControlPlane::start(Options::default()));
    let kubectl = plane.kubectl();
    ok(install(&kubectl));
    let folder = repository(&format!("deploy/manifests/{choice}"));
    ok(ok(kubectl.run(&["apply".as_ref(), "--kustomize".as_ref(), folder.as_os_str()])).success());
    // The policies are older than the field.
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/deletionPolicy";
    let crd = ok(kubectl.get_json(&["crd", "testplanruns.testinium.io"]));
    if crd.pointer(schema).is_none() {
        let field = json!({"type": "string", "enum": ["Orphan", "Stop"]});
        let change = json!([{"op": "add", "path": schema, "value": field}]).to_string();
        ok(ok(kubectl.run(&["patch", "crd", "testplanruns.testinium.io", "--type=json", "-p", &change]))
            .success());
    }
    ok(wait_until("the field is served", SOON, || {
        let output = dry_run(&kubectl, &stops("probe"));
        if output.stdout.contains("deletionPolicy") { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    plane
}

fn stops(name: &str) -> Value {
    run(name, json!({"plans": [1], "deletionPolicy": "Stop"}))
}

/// What would be created.
fn dry_run(kubectl: &Kubectl, object: &Value) -> Output {
    let arguments = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    ok(kubectl.run_with_input(&arguments, &object.to_string()))
}

#[test]
fn to_have_a_deletion_stop_plans_needs_the_verb_and_to_delete_does_not() {
    let plane = plane_with("stop-verb");
    let kubectl = plane.kubectl();
    for role in ["testinium-edit", "testinium-view"] {
        let binding =
            ["create", "clusterrolebinding", role, "--user=deployer", &format!("--clusterrole={role}")];
        ok(ok(kubectl.run(&binding)).success());
    }
    for object in [run("plain", json!({"plans": [1], "deletionPolicy": "Orphan"})), stops("stops")] {
        ok(kubectl.apply(&object.to_string()));
    }
    let deployer = |name: &str, spec: Value| {
        let change = json!({ "spec": spec }).to_string();
        let how = ["--type=merge", "--dry-run=server", "--as=deployer", "--patch", &change];
        ok(kubectl.run(&[&["patch", "tpr", name], &how[..]].concat()))
    };
    ok(wait_until("the role is seen and the policy in force", SOON, || {
        let output = deployer("plain", json!({"stopped": true}));
        if output.stderr.contains("testinium-stop-verb") { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    let plans = "to set spec.plans or spec.gatewayRef of a run that is, or will be, stopped is to stop";
    for (name, spec, words) in [
        ("plain", json!({"deletionPolicy": "Stop"}), "to set spec.deletionPolicy is to stop"),
        ("stops", json!({"plans": [1, 2]}), plans),
        ("stops", json!({"plans": [1, 2], "deletionPolicy": "Orphan"}), plans),
    ] {
        refused(&spec.to_string(), &deployer(name, spec.clone()), &["deployer lacks it", words]);
        taken(&spec.to_string(), &patch(&kubectl, name, &json!({ "spec": spec })));
    }
    let arguments = ["create", "--as=deployer", "--dry-run=server", "--filename=-"];
    let new = ok(kubectl.run_with_input(&arguments, &stops("new").to_string()));
    refused("a new run", &new, &["to set spec.deletionPolicy is to stop"]);
    for (name, spec) in [
        ("plain", json!({"deletionPolicy": null, "plans": [1, 2]})),
        ("stops", json!({"deletionPolicy": "Orphan"})),
        ("stops", json!({"deletionPolicy": "Stop", "reason": "x"})),
    ] {
        taken(&spec.to_string(), &deployer(name, spec.clone()));
    }
    taken("delete", &ok(kubectl.run(&["delete", "tpr", "stops", "--as=deployer"])));
}

#[test]
fn a_run_that_is_stopped_when_it_is_deleted_has_its_finalizer_from_the_start() {
    if !has_mutating_policies() {
        return;
    }
    let plane = plane_with("finalizer");
    let kubectl = plane.kubectl();
    let finalizers = |name: &str| {
        let metadata = ok(kubectl.get_json(&["tpr", name]))["metadata"].clone();
        metadata["finalizers"].as_array().cloned().unwrap_or_default()
    };
    ok(wait_until("the policy is in force", SOON, || {
        let output = dry_run(&kubectl, &stops("probe"));
        if output.stdout.contains(FINALIZER) { Ok(()) } else { Err(format!("{output:?}")) }
    }));
    let mut held = stops("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    for object in [
        stops("new"),
        held,
        run("plain", json!({"plans": [1]})),
        run("orphan", json!({"plans": [1], "deletionPolicy": "Orphan"})),
    ] {
        ok(kubectl.apply(&object.to_string()));
    }
    assert_eq!(finalizers("new"), [FINALIZER]);
    assert_eq!(finalizers("held"), ["example.com/hold", FINALIZER]);
    assert!(finalizers("plain").is_empty() && finalizers("orphan").is_empty());
    let change = |name: &str, patch: Value| {
        ok(ok(kubectl.run(&["patch", "tpr", name, "--type=merge", "--patch", &patch.to_string()])).success());
    };
    for name in ["plain", "orphan"] {
        change(name, json!({"spec": {"deletionPolicy": "Stop"}}));
        assert_eq!(finalizers(name), [FINALIZER], "{name}");
    }
    // Whoever takes it off wants it off, and so it stays, whatever is changed later.
    change("new", json!({"metadata": {"finalizers": null}}));
    change("new", json!({"spec": {"reason": "x"}}));
    assert!(finalizers("new").is_empty());
    change("orphan", json!({"spec": {"deletionPolicy": "Orphan"}, "metadata": {"finalizers": null}}));
    assert!(finalizers("orphan").is_empty());
    // Not on what is being deleted, which could not be taken.
    change("orphan", json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    ok(ok(kubectl.run(&["delete", "tpr", "orphan", "--wait=false"])).success());
    change("orphan", json!({"spec": {"deletionPolicy": "Stop"}}));
    assert_eq!(finalizers("orphan"), ["example.com/hold"]);
}
