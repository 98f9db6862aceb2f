//! Time as a run meets it: deadlines, a wait cut short, and when a status is written on the way.

use std::time::{Duration, Instant};

use serde_json::json;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Hold, Reply, When};

use crate::cluster::{cluster, ok, run};
use crate::operator::{SOON, Stage, condition, outcomes};

/// Waits until this long after a moment, where that is what the test is about.
fn reach(since: Instant, after: Duration) {
    ok(wait_until("the time to come", SOON, || match since.elapsed() {
        elapsed if elapsed > after => Ok(()),
        elapsed => Err(format!("{elapsed:?}")),
    }));
}

// --- the deadline of a stop ---

#[test]
fn a_stop_that_is_not_delivered_in_time_expires_and_is_not_sent_afterwards() {
    let mut stage = Stage::prepare_accepting(json!({"suspend": true}));
    stage.start_operator();
    stage.namespace.apply(&run("held", json!({"plans": [1], "stopped": true, "stopDeadlineSeconds": 2})));
    let status = stage.wait_for("held", "Expired");
    assert_eq!(outcomes(&status), ["1 Expired"]);
    assert_eq!(status["plans"][0]["reason"], "DeadlineExceeded");
    for (type_, wanted) in [("Ready", "False"), ("Stopped", "False"), ("Stalled", "True")] {
        assert_eq!(condition(&status, type_).expect("the condition")["status"], wanted, "{type_}");
    }
    stage.wait_for_event("held", "StopExpired");
    stage.gateway(json!({"suspend": false}));

    stage.simulator.down().expect("the gateway goes away");
    stage.namespace.apply(&run("tried", json!({"plans": [2], "stopped": true, "stopDeadlineSeconds": 2})));
    assert_eq!(outcomes(&stage.wait_for("tried", "Expired")), ["2 Expired"]);
    stage.simulator.up().expect("the gateway comes back");

    stage.settle("other", 3);
    assert_eq!(stage.calls(), [[3]]);
    // Asked for again, it is sent.
    stage.annotate("held", "again");
    stage.wait_for("held", "Accepted");
}

#[test]
fn of_a_call_in_flight_at_the_deadline_the_answer_counts_and_no_answer_is_told() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let mut stage = Stage::prepare_accepting(json!({"timeoutSeconds": 300, "batching": {"maxPlans": 1}}));
    let (answered, lost) = (Hold::new(), Hold::new());
    stage.simulator.script(When::nth(1).naming(1), Reply::natural().held(&answered));
    stage.simulator.script(When::nth(1).naming(2), Reply::dropped().held(&lost));
    stage.start_operator();
    for (name, plan) in [("answered", 1), ("lost", 2)] {
        let spec = json!({"plans": [plan], "stopped": true, "stopDeadlineSeconds": DEADLINE.as_secs()});
        stage.namespace.apply(&run(name, spec));
    }
    let asked = Instant::now();
    stage.wait_for_calls(2);
    reach(asked, DEADLINE);
    stage.catch_up();
    for (name, pending) in [("answered", "1 Pending"), ("lost", "2 Pending")] {
        assert_eq!(outcomes(&stage.status(name)), [pending]);
    }
    answered.release();
    stage.wait_for("answered", "Accepted");
    lost.release();
    let status = stage.wait_for("lost", "Expired");
    let told =
        "the stop was sent, but no answer came; the gateway's last answer: cut off, the connection broke";
    assert_eq!(status["plans"][0]["message"], told);
    assert_eq!(stage.calls().len(), 2);
}

#[test]
fn a_restart_does_not_put_the_deadline_off() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let mut stage = Stage::prepare_accepting(json!({"suspend": true}));
    let spec =
        |plan: i64| json!({"plans": [plan], "stopped": true, "stopDeadlineSeconds": DEADLINE.as_secs()});
    stage.start_operator();
    stage.namespace.apply(&run("seen", spec(1)));
    let before = stage.wait_for("seen", "Suspended");
    stage.kill_operator();
    stage.namespace.apply(&run("unseen", spec(2)));
    stage.gateway(json!({"suspend": false}));
    reach(Instant::now(), DEADLINE);
    stage.start_operator();
    let after = stage.wait_for("seen", "Expired");
    assert_eq!(after["stop"]["requestTime"], before["stop"]["requestTime"]);
    stage.wait_for("unseen", "Expired");
    stage.namespace.apply(&run("other", json!({"plans": [3], "stopped": true})));
    stage.wait_for("other", "Accepted");
    assert_eq!(stage.calls(), [[3]]);
}

// --- a wait cut short ---

#[test]
fn a_reconcile_request_ends_a_wait_and_stops_nothing_by_itself() {
    let mut stage =
        Stage::prepare_accepting(json!({"retry": {"initialDelaySeconds": 300, "maxDelaySeconds": 300}}));
    stage.start_operator();
    let busy = || Reply::refusal(503).retry_after(Duration::from_secs(300));
    let request = "reconcile.fluxcd.io/requestedAt=now";
    stage.run("idle", &[9]);
    stage.namespace.run(&["annotate", "tpr", "idle", request]);

    stage.simulator.script(When::nth(1), busy());
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": true})));
    stage.wait_for("nightly", "Unreachable");
    stage.namespace.run(&["annotate", "tpr", "nightly", request]);
    stage.wait_for("nightly", "Accepted");

    stage.simulator.script(When::nth(1), busy());
    stage.namespace.apply(&run("weekly", json!({"plans": [2], "stopped": true})));
    stage.wait_for("weekly", "Unreachable");
    stage.namespace.run(&["annotate", "tgw", "default", request]);
    stage.wait_for("weekly", "Accepted");

    assert_eq!(outcomes(&stage.status("idle")), [""; 0]);
    assert_eq!(stage.calls(), [[1], [1], [2], [2]]);
}

// --- what is written on the way ---

#[test]
fn a_slow_answer_costs_two_writes() {
    let mut stage = Stage::prepare_accepting(json!({"timeoutSeconds": 300}));
    stage.start_operator();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    stage.stop("nightly");
    let status = stage.wait_for("nightly", "Stopping");
    for (type_, wanted) in [("Ready", "False"), ("Stopped", "Unknown"), ("Reconciling", "True")] {
        assert_eq!(condition(&status, type_).expect("the condition")["status"], wanted, "{type_}");
    }
    hold.release();
    stage.wait_for("nightly", "Accepted");
    stage.catch_up();
    // The first is from before the stop.
    assert_eq!(writes_at(&stage, "nightly", 3).len(), 3);
}

#[test]
fn parts_of_the_outcome_are_written_at_most_every_five_seconds() {
    let limits = json!({"maxInFlight": 1});
    let mut stage = Stage::prepare_accepting(
        json!({"timeoutSeconds": 300, "batching": {"maxPlans": 1}, "limits": limits}),
    );
    let holds = [Hold::new(), Hold::new()];
    for (plan, hold) in (2..).zip(&holds) {
        stage.simulator.script(When::nth(1).naming(plan), Reply::natural().held(hold));
    }
    stage.start_operator();
    stage.namespace.apply(&run("nightly", json!({"plans": [1, 2, 3], "stopped": true})));
    stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Pending", "3 Pending"]);
    holds[0].release();
    let status = stage.wait_for_outcomes("nightly", &["1 Accepted", "2 Accepted", "3 Pending"]);
    assert_eq!(status["summary"], "2/3");
    holds[1].release();
    stage.wait_for("nightly", "Accepted");
    let mut at = writes_at(&stage, "nightly", 3);
    // What is complete is written at once.
    at.pop();
    for pair in at.windows(2) {
        assert!(pair[1].duration_since(pair[0]).as_secs() >= 5, "{at:?}");
    }
}

/// When the API server got the status writes of a run, once there are so many.
fn writes_at(stage: &Stage, name: &str, count: usize) -> Vec<jiff::Timestamp> {
    ok(wait_until(&format!("{count} writes"), SOON, || {
        let audit = ok(cluster().audit());
        let ours = audit.iter().filter(|entry| {
            entry.is_write()
                && entry.subresource == "status"
                && entry.namespace == stage.namespace.name
                && entry.name == name
        });
        let at: Vec<_> = ours.map(|entry| entry.time).collect();
        if at.len() >= count { Ok(at) } else { Err(format!("{at:?}")) }
    }))
}
