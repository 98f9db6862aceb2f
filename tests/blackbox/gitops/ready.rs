//! Whether an object is ready, by kstatus and by Flux' health checks, evaluated by Flux' own libraries.

use serde_json::{Value, json};
use testinium_testbed::tools::Tool;

use super::page::block;
use super::situations::{differences, situations};
use crate::cluster::ok;

/// What Flux says of the objects of all situations, with these health checks.
fn judged(checks: &Value) -> Vec<Value> {
    let objects: Vec<_> = situations().iter().map(|situation| &situation.object).collect();
    let said = ok(Tool::Flux.ask(&["judge"], &json!({"objects": objects, "healthCheckExprs": checks})));
    let said = said.as_array().cloned().unwrap_or_default();
    assert_eq!(said.len(), objects.len());
    said
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn kstatus_and_its_fork_in_flux_read_every_situation_as_the_page_says() {
    let said = judged(&json!([]));
    let all = || situations().iter().zip(&said);
    let wrong: String = ["kstatus", "flux"]
        .map(|by| differences(by, all().map(|(found, said)| (found, text(&said[by]), found.seen.kstatus))))
        .concat();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_health_check_of_the_page_waits_until_a_run_is_stopped_and_fails_as_soon_as_it_has_failed() {
    let kustomization = block("healthCheckExprs");
    let said = judged(&kustomization["spec"]["healthCheckExprs"]);
    let all = situations().iter().zip(&said);
    let wrong = differences(
        "healthCheckExprs",
        all.map(|(found, said)| {
            (found, format!("{}{}", text(&said["checked"]), text(&said["error"])), found.seen.until_stopped)
        }),
    );
    assert!(wrong.is_empty(), "{wrong}");
}
