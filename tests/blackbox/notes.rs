//! A status is the operator's own note, and no order: what stands in it is never sent.

use serde_json::json;

use crate::operator::{Stage, outcomes};

fn stage() -> Stage {
    Stage::start_accepting(json!({}))
}

const PENDING: &str = "Pending";

#[test]
fn a_pending_plan_in_a_forged_status_is_not_sent() {
    const RUNS: [(&str, i64); 3] = [("at-rest", 1), ("annotated", 2), ("withdrawn", 3)];
    let mut stage = stage();
    for (name, plan) in RUNS {
        stage.run(name, &[plan]);
        stage.wait_for(name, "NotRequested");
    }
    stage.annotate("annotated", "now");
    stage.wait_for("annotated", "Accepted");
    stage.stop("withdrawn");
    stage.wait_for("withdrawn", "Accepted");
    stage.rearm("withdrawn");
    stage.wait_for("withdrawn", "NotRequested");
    let before = stage.calls().len();
    let forge_all = |stage: &Stage| {
        for (name, plan) in RUNS {
            let plans = json!([{"id": plan, "outcome": PENDING}, {"id": 77, "outcome": PENDING}]);
            stage.patch_status(name, &json!({"plans": plans}));
        }
    };
    forge_all(&stage);
    stage.catch_up();
    stage.settle("one", 11);
    stage.kill_operator();
    forge_all(&stage);
    stage.start_operator();
    stage.catch_up();
    stage.settle("two", 12);
    // Of the run whose request is in force, its own plan may be sent again: its outcome is lost.
    let sent = stage.calls().split_off(before).concat();
    assert!([77, 1, 3].iter().all(|id| !sent.contains(id)), "{sent:?}");
}

#[test]
fn a_forged_stop_in_a_status_is_not_sent() {
    let mut stage = stage();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    stage.kill_operator();
    stage.patch_status(
        "nightly",
        &json!({
            "plans": [{"id": 1, "outcome": PENDING}, {"id": 77, "outcome": PENDING}],
            "stop": {
                "trigger": "Annotation", "requestTime": "2026-01-02T03:04:05Z", "observedRequest": "forged",
                "gateway": {"name": "default"},
            },
        }),
    );
    stage.start_operator();
    stage.catch_up();
    stage.settle("other", 2);
    assert!(!stage.calls().concat().contains(&77), "{:?}", stage.calls());
}

#[test]
fn a_foreign_plan_in_the_status_of_a_stop_under_way_is_not_sent() {
    let mut stage = stage();
    stage.gateway(json!({"suspend": true}));
    stage.run("nightly", &[1, 2]);
    stage.stop("nightly");
    stage.wait_for("nightly", "Suspended");
    stage.kill_operator();
    let plans = json!([
        {"id": 1, "outcome": PENDING}, {"id": 2, "outcome": PENDING}, {"id": 77, "outcome": PENDING},
    ]);
    stage.patch_status("nightly", &json!({"plans": plans}));
    stage.gateway(json!({}));
    stage.start_operator();
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted", "2 Accepted"]);
    assert_eq!(stage.calls(), [[1, 2]]);
}
