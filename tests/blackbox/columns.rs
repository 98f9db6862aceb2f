//! The columns that `kubectl get` shows, and the fields by which it can select.

use serde_json::json;

use crate::cluster::{Namespace, cleanup, gateway, run};

const STATUS: &str = r#"{"status": {"summary": "2/3", "conditions": [
    {"type": "Ready", "status": "False", "reason": "Failed", "message": "1 of 3 failed",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1},
    {"type": "Stopped", "status": "False", "reason": "PartiallyStopped", "message": "plan 7 was refused",
     "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}]}}"#;

/// The cells of each line; they are two or more spaces apart.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

#[test]
fn runs_show_how_far_their_stop_is_and_why() {
    let namespace = Namespace::create();
    namespace.apply(&run("nightly", json!({"plans": [1, 2, 7], "gatewayRef": {"name": "eu"}})));
    namespace.run(&["patch", "tpr", "nightly", "--type=merge", "--subresource=status", "--patch", STATUS]);
    let short = namespace.run(&["get", "tpr"]);
    let short = table(&short);
    assert_eq!(short[0], ["NAME", "PLANS", "STOPPED", "REASON", "AGE"]);
    assert_eq!(short[1][..4], ["nightly", "2/3", "False", "PartiallyStopped"]);
    let wide = namespace.run(&["get", "tpr", "--output=wide"]);
    let wide = table(&wide);
    assert_eq!(wide[0], ["NAME", "PLANS", "STOPPED", "REASON", "GATEWAY", "MESSAGE", "AGE"]);
    assert_eq!(wide[1][..6], ["nightly", "2/3", "False", "PartiallyStopped", "eu", "plan 7 was refused"]);
}

#[test]
fn gateways_show_whether_they_work() {
    let namespace = Namespace::create();
    namespace.apply(&gateway("eu", json!({})));
    namespace.run(&["patch", "tgw", "eu", "--type=merge", "--subresource=status", "--patch", STATUS]);
    let short = namespace.run(&["get", "tgw"]);
    let short = table(&short);
    assert_eq!(short[0], ["NAME", "URL", "READY", "REASON", "AGE"]);
    assert_eq!(short[1][..4], ["eu", "https://testinium.example.com", "False", "Failed"]);
    let wide = namespace.run(&["get", "tgw", "--output=wide"]);
    let wide = table(&wide);
    assert_eq!(wide[0], ["NAME", "URL", "READY", "REASON", "MESSAGE", "AGE"]);
    assert_eq!(wide[1][4], "1 of 3 failed");
}

#[test]
fn runs_are_selected_by_stop_and_gateway() {
    let namespace = Namespace::create();
    namespace.apply(&run("a", json!({"plans": [1], "stopped": true, "gatewayRef": {"name": "eu"}})));
    namespace.apply(&run("b", json!({"plans": [1], "stopped": false})));
    namespace.apply(&run("c", json!({"plans": [1]})));
    for (selector, names) in [
        ("spec.stopped=true", "a"),
        ("spec.stopped=false", "b"),
        ("spec.gatewayRef.name=eu", "a"),
        ("spec.gatewayRef.name=default", "b c"),
        ("spec.gatewayRef.name=default,spec.stopped!=false", "c"),
    ] {
        let found = namespace.run(&[
            "get",
            "tpr",
            "--field-selector",
            selector,
            "--output=jsonpath={.items[*].metadata.name}",
        ]);
        assert_eq!(found, names, "of {selector}");
    }
}

#[test]
fn the_category_shows_both_kinds() {
    let namespace = Namespace::create();
    namespace.apply(&run("nightly", json!({"plans": [1]})));
    namespace.apply(&gateway("default", json!({})));
    let names = namespace.run(&["get", "testinium", "--output=name"]);
    assert_eq!(names.lines().count(), 2, "{names}");
    assert!(names.contains("testplanrun.testinium.io/nightly"), "{names}");
    assert!(names.contains("testiniumgateway.testinium.io/default"), "{names}");
}

#[test]
fn cleanup_rules_show_when_they_run_and_whether_they_can() {
    let namespace = Namespace::create();
    namespace.apply(&cleanup(
        "sweep",
        json!({"schedule": "0 22 * * *", "timeZone": "Europe/Istanbul", "dryRun": true}),
    ));
    namespace.run(&["patch", "tpc", "sweep", "--type=merge", "--subresource=status", "--patch", STATUS]);
    let short = namespace.run(&["get", "tpc"]);
    let short = table(&short);
    assert_eq!(
        short[0],
        ["NAME", "SCHEDULE", "ACTION", "DRY RUN", "SUSPEND", "LAST SCHEDULE", "READY", "AGE"]
    );
    assert_eq!(short[1][..4], ["sweep", "0 22 * * *", "Stop", "true"]);
    let wide = namespace.run(&["get", "tpc", "--output=wide"]);
    let wide = table(&wide);
    assert!(wide[0].contains(&"TIME ZONE") && wide[1].contains(&"Europe/Istanbul"), "{wide:?}");
    assert!(wide[0].contains(&"MESSAGE") && wide[1].contains(&"1 of 3 failed"), "{wide:?}");
}
