//! The same plan in several runs, namespaces and lives of a run: when a call is shared, and when it is not.

use serde_json::json;
use testinium_testbed::simulator::{Hold, Reply, When};

use crate::cluster::run;
use crate::operator::{Stage, outcomes, patient};
use crate::waiting::stopped_reason;

fn prepare() -> Stage {
    Stage::prepare_accepting(patient(false))
}

#[test]
fn a_plan_of_two_runs_is_sent_once_while_its_call_has_not_begun() {
    let mut stage = prepare();
    stage.gateway(json!({"suspend": true}));
    stage.start_operator();
    stage.namespace.apply(&run("one", json!({"plans": [1, 2], "stopped": true})));
    stage.namespace.apply(&run("two", json!({"plans": [2, 3], "stopped": true})));
    stage.wait_for("one", "Suspended");
    stage.wait_for("two", "Suspended");
    stage.gateway(json!({"suspend": false}));
    assert_eq!(outcomes(&stage.wait_for("one", "Accepted")), ["1 Accepted", "2 Accepted"]);
    assert_eq!(outcomes(&stage.wait_for("two", "Accepted")), ["2 Accepted", "3 Accepted"]);
    assert_eq!(stage.calls(), [[1, 2, 3]]);
}

#[test]
fn a_plan_that_another_run_wants_while_it_is_in_flight_is_sent_again() {
    let mut stage = prepare();
    stage.start_operator();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    stage.namespace.apply(&run("one", json!({"plans": [1], "stopped": true})));
    stage.wait_for_calls(1);
    stage.namespace.apply(&run("two", json!({"plans": [1], "stopped": true})));
    stage.wait_for("two", "Stopping");
    assert_eq!(stage.calls(), [[1]]);
    hold.release();
    stage.wait_for_outcomes("one", &["1 Rejected"]);
    stage.wait_for_outcomes("two", &["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn a_run_that_withdraws_from_a_shared_call_costs_the_others_nothing() {
    let mut stage = prepare();
    for name in ["leaves", "stays"] {
        stage.namespace.apply(&run(name, json!({"plans": [1], "stopped": true})));
    }
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::dropped().held(&hold));
    stage.start_operator();
    stage.wait_for_calls(1);
    stage.rearm("leaves");
    stage.wait_for_event("leaves", "StopWithdrawn");
    hold.release();
    let left = stage.wait_for_outcomes("leaves", &["1 Unknown"]);
    assert_eq!(stopped_reason(&left), "Withdrawn");
    stage.wait_for_outcomes("stays", &["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}

#[test]
fn a_plan_in_two_namespaces_is_another_one_at_each_gateway() {
    let (here, there) = (prepare(), prepare());
    there.gateway(json!({"url": here.simulator.url()}));
    let _operator = here.spawn_with(&there);
    for stage in [&here, &there] {
        stage.namespace.apply(&run("nightly", json!({"plans": [614], "stopped": true})));
    }
    for stage in [&here, &there] {
        assert_eq!(outcomes(&stage.wait_for("nightly", "Accepted")), ["614 Accepted"]);
    }
    assert_eq!(here.calls(), [[614], [614]]);
}

#[test]
fn a_run_made_anew_under_the_same_name_is_not_answered_by_the_call_of_the_one_before() {
    let mut stage = prepare();
    stage.start_operator();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    let nightly = run("nightly", json!({"plans": [1], "stopped": true}));
    stage.namespace.apply(&nightly);
    stage.wait_for_calls(1);
    stage.namespace.run(&["delete", "tpr", "nightly"]);
    stage.namespace.apply(&nightly);
    stage.wait_for("nightly", "Stopping");
    assert_eq!(stage.calls(), [[1]]);
    hold.release();
    let status = stage.wait_for("nightly", "Accepted");
    assert_eq!(outcomes(&status), ["1 Accepted"]);
    assert_eq!(stage.calls(), [[1], [1]]);
}
