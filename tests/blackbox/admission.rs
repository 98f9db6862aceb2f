//! The objects that the API server takes as a TestPlanRun, and its words to the rest.

use serde_json::{Value, json};

use crate::cluster::{Namespace, run};

fn accepts(specs: impl IntoIterator<Item = Value>) {
    Namespace::create().accepts(specs.into_iter().map(|spec| run("run", spec)));
}

fn refuses<'a>(cases: impl IntoIterator<Item = (Value, &'a str)>) {
    Namespace::create().refuses(cases.into_iter().map(|(spec, reason)| (run("run", spec), reason)));
}

const MAX_ID: i64 = 9_007_199_254_740_991;

#[test]
fn plans_are_1_to_1000_ids_of_1_to_2_to_the_53rd_minus_1() {
    let ids = |count: i64| (1..=count).collect::<Vec<_>>();
    accepts([
        json!({"plans": [1]}),
        json!({"plans": ids(1000)}),
        json!({"plans": [MAX_ID]}),
        // Applied by two tools, say; counts once.
        json!({"plans": [7, 7]}),
    ]);
    refuses([
        (json!({"plans": []}), "spec.plans in body should have at least 1 items"),
        (json!({"plans": ids(1001)}), "spec.plans: Too many: 1001: must have at most 1000 items"),
        (json!({"plans": [0]}), "spec.plans[0] in body should be greater than or equal to 1"),
        (json!({"plans": [-1]}), "spec.plans[0] in body should be greater than or equal to 1"),
        (
            json!({"plans": [1, MAX_ID + 1]}),
            "spec.plans[1] in body should be less than or equal to 9007199254740991",
        ),
        (json!({"plans": ["614"]}), "spec.plans[0] in body must be of type integer"),
        (json!({"stopped": true}), "spec.plans: Required value"),
    ]);
}

#[test]
fn a_reason_has_at_most_256_characters() {
    accepts([json!({"plans": [1], "reason": "ş".repeat(256)})]);
    refuses([(json!({"plans": [1], "reason": "x".repeat(257)}), "spec.reason: Too long")]);
}

#[test]
fn a_stop_deadline_is_between_a_second_and_a_week() {
    let deadline = |seconds: i64| json!({"plans": [1], "stopDeadlineSeconds": seconds});
    accepts([deadline(1), deadline(604_800)]);
    refuses([
        (deadline(0), "spec.stopDeadlineSeconds in body should be greater than or equal to 1"),
        (deadline(604_801), "spec.stopDeadlineSeconds in body should be less than or equal to 604800"),
    ]);
}

#[test]
fn a_deadline_is_between_a_second_and_a_year() {
    let deadline = |seconds: Value| json!({"plans": [1], "activeDeadlineSeconds": seconds});
    accepts([deadline(json!(1)), deadline(json!(31_536_000)), deadline(Value::Null)]);
    refuses([
        (deadline(json!(0)), "spec.activeDeadlineSeconds in body should be greater than or equal to 1"),
        (
            deadline(json!(31_536_001)),
            "spec.activeDeadlineSeconds in body should be less than or equal to 31536000",
        ),
        (deadline(json!("1h")), "spec.activeDeadlineSeconds in body must be of type integer"),
    ]);
}

#[test]
fn a_ttl_is_up_to_a_year() {
    let ttl = |seconds: Value| json!({"plans": [1], "ttlSecondsAfterFinished": seconds});
    accepts([ttl(json!(0)), ttl(json!(31_536_000)), ttl(Value::Null)]);
    refuses([
        (ttl(json!(-1)), "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0"),
        (
            ttl(json!(31_536_001)),
            "spec.ttlSecondsAfterFinished in body should be less than or equal to 31536000",
        ),
    ]);
}

#[test]
fn a_gateway_is_named_as_objects_are() {
    let at = |name: &str| json!({"plans": [1], "gatewayRef": {"name": name}});
    accepts(["eu", "eu.west-1", "0"].map(at));
    refuses(
        ["EU", "e_u", "-eu", "eu.", "a b"]
            .map(|name| (at(name), "write an object's name: lower-case letters")),
    );
    refuses([(at(""), "spec.gatewayRef.name in body should be at least 1 chars long")]);
}

#[test]
fn the_gateway_cant_change_while_stopped_stays_true() {
    let namespace = Namespace::create();
    let spec = |stopped: Option<bool>, gateway: Option<&str>| {
        let mut spec = json!({"plans": [614]});
        if let Some(stopped) = stopped {
            spec["stopped"] = json!(stopped);
        }
        if let Some(gateway) = gateway {
            spec["gatewayRef"] = json!({"name": gateway});
        }
        spec
    };
    let (yes, no, absent) = (Some(true), Some(false), None);
    let (eu, us, default) = (Some("eu"), Some("us"), Some("default"));
    for (index, (before, after, allowed)) in [
        ((yes, eu), (yes, eu), true),
        ((yes, eu), (yes, us), false),
        ((yes, None), (yes, us), false),
        ((yes, us), (yes, None), false),
        ((yes, None), (yes, default), true),
        ((yes, default), (yes, None), true),
        // Being made false withdraws the stop, being made true is a new one.
        ((yes, eu), (no, us), true),
        ((no, eu), (yes, us), true),
        ((absent, eu), (yes, us), true),
        ((no, eu), (no, us), true),
        ((absent, eu), (absent, us), true),
        // A removed field withdraws nothing: the stop goes on, at its gateway.
        ((yes, eu), (absent, us), false),
        ((yes, eu), (absent, eu), true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("run-{index}");
        namespace.apply(&run(&name, spec(before.0, before.1)));
        let object = run(&name, spec(after.0, after.1)).to_string();
        let change = namespace.kubectl.apply(&object).map_err(|error| error.to_string());
        assert_eq!(change.is_ok(), allowed, "{before:?} -> {after:?}: {change:?}");
        if let Err(refusal) = change {
            assert!(refusal.contains("gatewayRef can't change while stopped is true"), "{refusal}");
            assert!(refusal.contains("set stopped to false in the same change"), "{refusal}");
        }
    }
}

#[test]
fn what_is_left_out_or_null_is_filled_in_as_documented() {
    let namespace = Namespace::create();
    namespace.apply(&run("run", json!({"plans": [3, 1, 3], "stopped": null, "gatewayRef": null})));
    let created = read(&namespace, "run");
    assert_eq!(created["spec"], json!({"plans": [3, 1, 3], "gatewayRef": {"name": "default"}}));
    // kstatus compares it with the generation, and so waits for the operator.
    assert_eq!(created["status"], json!({"observedGeneration": -1}));
}

#[test]
fn status_is_written_as_a_subresource_alone() {
    let namespace = Namespace::create();
    let mut object = run("run", json!({"plans": [1]}));
    object["status"] = json!({"summary": "1/1"});
    namespace.apply(&object);
    assert_eq!(read(&namespace, "run")["status"], json!({"observedGeneration": -1}));
    namespace.run(&[
        "patch",
        "tpr",
        "run",
        "--type=merge",
        "--subresource=status",
        "--patch",
        r#"{"status":{"summary":"1/1"}}"#,
    ]);
    assert_eq!(read(&namespace, "run")["status"]["summary"], "1/1");
}

#[test]
fn plans_of_two_field_managers_are_not_merged() {
    let namespace = Namespace::create();
    let server_side = |manager: &str, object: &Value| {
        let manager = format!("--field-manager={manager}");
        let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "--filename=-"];
        crate::cluster::ok(
            namespace.kubectl.run_with_input(&arguments, &object.to_string()).and_then(|o| o.success()),
        );
    };
    server_side("a", &run("run", json!({"plans": [1, 2]})));
    server_side("b", &run("run", json!({"plans": [3]})));
    assert_eq!(read(&namespace, "run")["spec"]["plans"], json!([3]));
}

fn read(namespace: &Namespace, name: &str) -> Value {
    crate::cluster::ok(namespace.kubectl.get_json(&["testplanrun", name]))
}
