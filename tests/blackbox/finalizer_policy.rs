//! The policy `finalizer`, which is installed by choice: it puts the finalizer on a run as it is made.

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;

use crate::choices::{create, has_mutating_policies, namespace_with};
use crate::cluster::{ok, run};
use crate::operator::SOON;

const FINALIZER: &str = "testinium.io/stop";

fn stops(name: &str) -> Value {
    run(name, json!({"plans": [1], "deletionPolicy": "Stop"}))
}

#[test]
fn a_run_that_is_stopped_when_it_is_deleted_has_its_finalizer_from_the_start() {
    if !has_mutating_policies() {
        return;
    }
    let namespace = namespace_with("finalizer");
    let kubectl = &namespace.kubectl;
    let finalizers = |name: &str| {
        let metadata = ok(kubectl.get_json(&["tpr", name]))["metadata"].clone();
        metadata["finalizers"].as_array().cloned().unwrap_or_default()
    };
    ok(wait_until("the policy is in force", SOON, || {
        let output = create(kubectl, &stops("probe"));
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
        namespace.apply(&object);
    }
    assert_eq!(finalizers("new"), [FINALIZER]);
    assert_eq!(finalizers("held"), ["example.com/hold", FINALIZER]);
    assert!(finalizers("plain").is_empty() && finalizers("orphan").is_empty());
    let change = |name: &str, patch: Value| {
        namespace.run(&["patch", "tpr", name, "--type=merge", "--patch", &patch.to_string()]);
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
    namespace.run(&["delete", "tpr", "orphan", "--wait=false"]);
    change("orphan", json!({"spec": {"deletionPolicy": "Stop"}}));
    assert_eq!(finalizers("orphan"), ["example.com/hold"]);
}
