//! The objects that the API server takes as a TestPlanCleanup, and its words to the rest.

use serde_json::{Value, json};

use crate::cluster::{Namespace, cleanup};

fn accepts(specs: impl IntoIterator<Item = Value>) {
    Namespace::create().accepts(specs.into_iter().map(|spec| cleanup("rule", spec)));
}

fn refuses<'a>(cases: impl IntoIterator<Item = (Value, &'a str)>) {
    Namespace::create().refuses(cases.into_iter().map(|(spec, reason)| (cleanup("rule", spec), reason)));
}

fn schedule(text: &str) -> Value {
    json!({"schedule": text})
}

#[test]
fn schedules_of_cronjobs_are_taken() {
    let good = [
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "* * * * *",
        "*/15 * * * *",
        "0 22 * * 1-5",
        "0,30 8-18/2 1,15 jan-MAR mon,Fri",
        "5/20 0 ? * ?",
        "59 23 31 12 6",
        " 0  0 * * 0 ",
        "00 00 01 01 *",
    ];
    accepts(good.map(schedule));
}

/// Each wrong schedule by its own sentence.
#[test]
fn a_wrong_schedule_is_refused_with_what_to_write() {
    let zone = "write the time zone's name in timeZone";
    let named = "@every and @reboot are not known";
    let five = "write five fields";
    let (minute, hour) =
        ("the first field, the minute, is 0 to 59", "the second field, the hour, is 0 to 23");
    let day = "the third field, the day of month, is 1 to 31";
    let (month, week) =
        ("the fourth field, the month, is 1 to 12", "the fifth field, the day of week, is 0 (Sunday) to 6");
    let rows = [
        ("TZ=Europe/Istanbul 0 22 * * *", zone),
        ("CRON_TZ=UTC 0 22 * * *", zone),
        ("@every 5m", named),
        ("@reboot", named),
        ("@Daily", named),
        ("0 22 * *", five),
        ("0 0 22 * * *", five),
        ("nightly", five),
        ("60 * * * *", minute),
        ("*-5 * * * *", minute),
        ("-1 * * * *", minute),
        ("1, * * * *", minute),
        ("? * * * *", minute),
        ("0 24 * * *", hour),
        ("0 0 0 * *", day),
        ("0 0 32 * *", day),
        ("0 0 L * *", day),
        ("0 0 15W * *", day),
        ("0 0 * 13 *", month),
        ("0 0 * january *", month),
        ("0 0 * * 7", week),
        ("0 0 * * 1#2", week),
        ("0 0 * * 5L", week),
        ("*/0 * * * *", "a step of 0 never comes"),
        ("0 1-5/00 * * *", "a step of 0 never comes"),
    ];
    refuses(rows.map(|(text, why)| (schedule(text), why)));
    refuses([(schedule(""), "spec.schedule"), (schedule(&"0,".repeat(60)), "spec.schedule: Too long")]);
}

#[test]
fn a_time_zone_is_a_name() {
    let zone = |name: &str| json!({"timeZone": name});
    accepts(["UTC", "Etc/UTC", "Europe/Istanbul", "America/Argentina/Buenos_Aires", "Etc/GMT+3"].map(zone));
    refuses([
        (zone("Local"), "Local would depend on where the operator runs"),
        (zone("+03:00"), "without +03:00 and the like"),
        (zone("Europe/Istanbul "), "write a time zone's name"),
        (zone("../etc/passwd"), "write a time zone's name"),
        (zone(""), "spec.timeZone"),
    ]);
}

#[test]
fn a_selector_selects_something_and_is_one_of_labels() {
    let labels = |labels: Value| json!({"selector": {"matchLabels": labels}});
    let need = |need: Value| json!({"selector": {"matchExpressions": [need]}});
    accepts([
        labels(json!({"load": "heavy", "team.example.com/load": ""})),
        need(json!({"key": "load", "operator": "In", "values": ["heavy", ""]})),
        need(json!({"key": "load", "operator": "NotIn", "values": ["light"]})),
        need(json!({"key": "load", "operator": "Exists"})),
        need(json!({"key": "load", "operator": "DoesNotExist", "values": []})),
    ]);
    let empty = "an empty selector would select every run of the namespace";
    let values = "In and NotIn need values; Exists and DoesNotExist take none";
    refuses([
        (json!({"selector": {}}), empty),
        (labels(json!({})), empty),
        (json!({"selector": {"matchExpressions": []}}), empty),
        (labels(json!({"a b": "c"})), "write labels' names"),
        (labels(json!({"load": "very heavy"})), "write labels' values"),
        (need(json!({"key": "a/b/c", "operator": "Exists"})), "write a label's name"),
        (need(json!({"key": "load", "operator": "In"})), values),
        (need(json!({"key": "load", "operator": "Exists", "values": ["heavy"]})), values),
        (need(json!({"key": "load", "operator": "In", "values": ["a,b"]})), "write a label's value"),
        (need(json!({"key": "load", "operator": "Is", "values": ["a"]})), "supported values"),
    ]);
}

#[test]
fn what_to_do_is_said_and_numbers_have_bounds() {
    accepts(["Stop", "Delete", "StopThenDelete"].map(|action| json!({"action": action})));
    refuses([
        (json!({"action": "Pause"}), "supported values: \"Stop\", \"Delete\", \"StopThenDelete\""),
        (json!({"action": null}), "spec.action: Required value"),
        (json!({"schedule": null}), "spec.schedule: Required value"),
        (json!({"selector": null}), "spec.selector: Required value"),
        (json!({"reason": "x".repeat(257)}), "spec.reason: Too long"),
    ]);
    for (field, least, most) in [
        ("olderThanSeconds", 0, 31_536_000),
        ("maxPerRun", 1, 10_000),
        ("startingDeadlineSeconds", 10, 86_400),
    ] {
        accepts([json!({field: least}), json!({field: most})]);
        refuses([
            (json!({field: least - 1}), "should be greater than or equal to"),
            (json!({field: most + 1}), "should be less than or equal to"),
        ]);
    }
}
