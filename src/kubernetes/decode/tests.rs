//! Tests of decoding: objects that look real, and broken ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{Outcome, TestPlanRunSpec, TestPlanRunStatus};

/// A run as the API server sends it, managedFields and all.
fn sample() -> Value {
    json!({
        "apiVersion": "testinium.io/v1alpha1",
        "kind": "TestPlanRun",
        "metadata": {
            "name": "nightly", "namespace": "qa", "uid": "5f0d", "resourceVersion": "4711", "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"testinium.io/stop": "1", "testinium.io/stop-requested-by": "jane@corp",
                            "reconcile.fluxcd.io/requestedAt": "now", "other": "x"},
            "labels": {"velero.io/restore-name": "b"},
            "managedFields": [
                {"manager": "kubectl-create", "operation": "Update", "time": "2026-01-02T03:04:05Z",
                 "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {".": {}, "f:plans": {}}}},
                {"manager": "kubectl-patch", "operation": "Update", "time": "2026-01-02T03:04:09Z",
                 "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:stopped": {}}}},
            ],
        },
        "spec": {"plans": [614, 615], "stopped": true, "gatewayRef": {"name": "eu"}, "future": {"unknown": 1}},
        "status": {
            "observedGeneration": 2, "summary": "1/2",
            "plans": [{"id": 614, "outcome": "Accepted"}, {"id": 615, "outcome": "Pending"}],
            "conditions": [{"type": "Stopped", "status": "Unknown", "reason": "Stopping", "message": "",
                            "lastTransitionTime": "2026-01-02T03:04:10Z"}],
        },
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut object = sample();
    *object.pointer_mut(pointer).expect("the sample has this field") = value;
    object
}

fn without(parent: &str, field: &str) -> Value {
    let mut object = sample();
    object.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(field);
    object
}

fn decoded(value: &Value) -> Decoded<RunView> {
    run(value.to_string().as_bytes())
}

#[test]
fn a_run_is_read_whole() {
    let Decoded::Seen(view) = decoded(&sample()) else { panic!("not readable") };
    assert_eq!(*view.key, Key::new("qa", "nightly"));
    assert_eq!((&*view.uid, view.version, view.generation), ("5f0d", Version(4711), 3));
    assert_eq!(view.stop_annotation.as_deref(), Some("1"));
    assert_eq!(view.requested_by.as_deref(), Some("jane@corp"));
    assert_eq!(view.reconcile_annotation.as_deref(), Some("now"));
    assert_eq!(view.restored.as_deref(), Some("b"));
    assert_eq!(view.spec.plans, [614, 615]);
    assert_eq!(view.spec.gateway_ref.and_then(|gateway| gateway.name).as_deref(), Some("eu"));
    assert_eq!(view.status.plans[0].outcome, Outcome::Accepted);
    let set = view.stopped_set.expect("an owner of spec.stopped");
    assert_eq!((set.manager.as_str(), set.time), ("kubectl-patch", "2026-01-02T03:04:09Z".parse().ok()));
    assert_eq!(view.annotation_set, None);
}

#[test]
fn what_may_be_absent_may_be_absent() {
    let bare = json!({"metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "1"}, "spec": {"plans": [1]}});
    let Decoded::Seen(view) = decoded(&bare) else { panic!("not readable") };
    assert_eq!(view.status, TestPlanRunStatus::default());
    assert_eq!((view.generation, view.restored), (0, None));

    let Decoded::Seen(view) = decoded(&with("/status", Value::Null)) else { panic!("not readable") };
    assert_eq!(view.status, TestPlanRunStatus::default());
    let Decoded::Seen(view) = decoded(&with("/status", json!({"observedGeneration": -1}))) else {
        panic!("not readable")
    };
    assert_eq!(view.status.observed_generation, Some(-1));
}

/// A run whose status nobody can read would be deaf to stops.
#[test]
fn no_status_makes_an_object_unreadable() {
    let odd = [
        with("/status/plans/0/outcome", json!("Exploded")),
        without("/status/conditions/0", "lastTransitionTime"),
        with("/status", json!("done")),
    ];
    for object in odd {
        let Decoded::Seen(view) = decoded(&object) else { panic!("{object}") };
        assert_eq!(view.spec.plans, [614, 615], "{object}");
    }
    let gateway = json!({"metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "1"},
        "spec": {"url": "https://a", "auth": {}}, "status": {"conditions": [{"type": "Ready"}], "observedGeneration": 2}});
    let Decoded::Seen(view) = super::gateway(gateway.to_string().as_bytes()) else { panic!("not readable") };
    assert_eq!((view.status.observed_generation, view.status.conditions.len()), (Some(2), 0));
}

#[test]
fn an_unreadable_run_names_the_field_and_what_was_expected() {
    let rows = [
        ("no spec", without("", "spec"), "spec: missing, expected an object"),
        ("null spec", with("/spec", Value::Null), "spec: missing, expected an object"),
        (
            "spec of another type",
            with("/spec", json!("x")),
            "spec: invalid type: string \"x\", expected struct TestPlanRunSpec",
        ),
        (
            "plan of another type",
            with("/spec/plans/1", json!("615")),
            "spec.plans[1]: invalid type: string \"615\", expected i64",
        ),
        ("no plans", without("/spec", "plans"), "spec: missing field `plans`"),
        (
            "version that is no number",
            with("/metadata/resourceVersion", json!("abc")),
            "metadata.resourceVersion: \"abc\", expected a decimal number",
        ),
        (
            "version beyond 64 bits",
            with("/metadata/resourceVersion", json!("99999999999999999999")),
            "metadata.resourceVersion: ",
        ),
        (
            "no version",
            without("/metadata", "resourceVersion"),
            "metadata.resourceVersion: \"\", expected a decimal number",
        ),
        (
            "annotation of another type",
            with("/metadata/annotations/testinium.io~1stop", json!(1)),
            "metadata.annotations.testinium.io/stop: ",
        ),
        (
            "odd managedFields",
            with("/metadata/managedFields/1/time", json!("noon")),
            "metadata.managedFields[1].time: ",
        ),
        (
            "odd generation",
            with("/metadata/generation", json!([])),
            "metadata.generation: invalid type: sequence, expected i64",
        ),
    ];
    for (name, object, expected) in rows {
        let Decoded::Unreadable { key, uid, why, .. } = decoded(&object) else { panic!("{name}: readable") };
        assert_eq!((key, &*uid), (Key::new("qa", "nightly"), "5f0d"), "{name}");
        assert!(why.starts_with(expected), "{name}: {why}");
        assert!(!why.contains(" at line "), "{name}: {why}");
    }
}

#[test]
fn an_object_without_a_name_is_nameless() {
    let rows = [
        ("no metadata", without("", "metadata")),
        ("no name", without("/metadata", "name")),
        ("no uid", without("/metadata", "uid")),
        ("name of another type", with("/metadata/name", json!(7))),
        ("not an object", json!([1, 2])),
    ];
    for (name, object) in rows {
        assert!(matches!(decoded(&object), Decoded::Nameless(_)), "{name}");
    }
    assert!(matches!(run(b"\xff{}"), Decoded::Nameless(_)));
}

#[test]
fn the_reason_is_bounded_at_a_character() {
    let Decoded::Unreadable { why, .. } = decoded(&with("/spec/plans/0", json!("ä".repeat(5000)))) else {
        panic!("readable")
    };
    assert!(why.len() <= WHY_BYTES_MAX, "{} bytes", why.len());
    assert!(why.ends_with("..."));
}

#[test]
fn a_panic_while_decoding_is_one_unreadable_object() {
    let text = sample().to_string();
    let result = contained(text.as_bytes(), |_, _, _: TestPlanRunSpec, _: TestPlanRunStatus| {
        let none: Option<RunView> = None;
        #[allow(clippy::unnecessary_literal_unwrap, reason = "the panic is what is tested")]
        none.expect("a bug")
    });
    let Decoded::Unreadable { key, why, .. } = result else { panic!("readable") };
    assert_eq!((key, why.as_str()), (Key::new("qa", "nightly"), "decoding it panicked"));
}

#[test]
fn a_gateway_is_read() {
    let object = json!({
        "metadata": {"name": "eu", "namespace": "qa", "uid": "g1", "resourceVersion": "12", "generation": 1,
                     "annotations": {"reconcile.fluxcd.io/requestedAt": "now"}},
        "spec": {"url": "https://eu.example.com", "auth": {"bearerToken": {"secretRef": {"name": "token"}}}, "suspend": true},
    });
    let Decoded::Seen(view) = gateway(object.to_string().as_bytes()) else { panic!("not readable") };
    assert_eq!((view.key.to_string().as_str(), view.version, view.generation), ("qa/eu", Version(12), 1));
    assert_eq!((view.reconcile_annotation.as_deref(), view.spec.suspend), (Some("now"), Some(true)));
    let broken = json!({"metadata": object["metadata"], "spec": {"url": "https://eu.example.com"}});
    let Decoded::Unreadable { why, .. } = gateway(broken.to_string().as_bytes()) else { panic!("readable") };
    assert_eq!(why, "spec: missing field `auth`");
}

/// Every place in a value, as a pointer.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                pointers(child, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(items) => {
            for (index, child) in items.iter().enumerate() {
                pointers(child, &format!("{at}/{index}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn no_value_anywhere_hides_which_run_it_is(place in any::<prop::sample::Index>(), odd in 0..7usize) {
        let mut all = Vec::new();
        pointers(&sample(), "", &mut all);
        all.retain(|at| !matches!(at.as_str(), "" | "/metadata" | "/metadata/name" | "/metadata/namespace" | "/metadata/uid"
            | "/metadata/resourceVersion"));
        let odd = [json!(null), json!(true), json!(-1), json!(1e300), json!("text"), json!([[]]), json!({"a": {}})][odd].clone();
        let place = place.index(all.len());
        let object = with(&all[place], odd);
        match decoded(&object) {
            Decoded::Seen(view) => prop_assert_eq!(&*view.key, &Key::new("qa", "nightly")),
            Decoded::Unreadable { key, version, why, .. } => {
                prop_assert!(!all[place].starts_with("/status"), "{}", why);
                prop_assert_eq!(key, Key::new("qa", "nightly"));
                prop_assert_eq!(version, Version(4711));
                prop_assert!(why.len() <= WHY_BYTES_MAX);
            }
            Decoded::Nameless(why) => prop_assert!(false, "nameless: {}", why),
        }
    }

    #[test]
    fn no_bytes_panic(cut in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = sample().to_string().into_bytes();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = decode(&bytes, |_, _, _: TestPlanRunSpec, _: TestPlanRunStatus| ());
        let _ = run(&bytes);
        let _ = gateway(&bytes);
    }
}
