//! A gateway's life while runs wait for it: edited, deleted, made anew, its Secret changed, and what its status says.

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Config, Hold, Nature, Reply, Simulator, When};

use crate::cluster::{cluster, ok, run};
use crate::operator::{SOON, Stage, condition, outcomes};

fn config() -> Config {
    Config { default_nature: Nature::NeverStops, ..Config::default() }
}

fn stage() -> Stage {
    let mut stage = Stage::prepare_with(config(), patient());
    stage.start_operator();
    stage
}

/// Calls may take as long as a test holds them.
fn patient() -> serde_json::Value {
    json!({"timeoutSeconds": 300})
}

/// Applies a run that is to be stopped.
fn stop(stage: &Stage, name: &str, plan: i64) {
    stage.namespace.apply(&run(name, json!({"plans": [plan], "stopped": true})));
}

// --- changes while a call is in flight ---

#[test]
fn an_answer_of_an_address_that_was_edited_meanwhile_says_nothing() {
    let stage = stage();
    let moved_to = Simulator::start(config()).expect("the new address is served");
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::refusal(422).held(&hold));
    stop(&stage, "nightly", 1);
    stage.wait_for_calls(1);
    let mut moved = patient();
    moved["url"] = json!(moved_to.url());
    stage.gateway(moved);
    stage.wait_for_gateway("NotTried");
    hold.release();
    assert_eq!(outcomes(&stage.wait_for("nightly", "Accepted")), ["1 Accepted"]);
    assert_eq!((stage.calls().len(), moved_to.calls().len()), (1, 1));
    assert_eq!(moved_to.calls()[0].plans, [1]);
}

#[test]
fn an_edit_that_leaves_the_address_alone_leaves_the_answer_valid() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stop(&stage, "nightly", 1);
    stage.wait_for_calls(1);
    let mut slower = patient();
    slower["limits"] = json!({"requestsPerSecond": 1});
    stage.gateway(slower);
    stage.wait_for_gateway("NotTried");
    hold.release();
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.calls(), [[1]]);
}

#[test]
fn a_gateway_deleted_in_flight_still_answers_and_one_made_anew_is_asked_anew() {
    let stage = stage();
    let (deleted, replaced) = (Hold::new(), Hold::new());
    stage.simulator.script(When::nth(1).naming(1), Reply::natural().held(&deleted));
    stage.simulator.script(When::nth(1).naming(2), Reply::refusal(422).held(&replaced));

    stop(&stage, "deleted", 1);
    stage.wait_for_calls(1);
    stage.namespace.run(&["delete", "tgw", "default"]);
    // Once a later run misses the gateway, the operator knows that it is gone.
    stop(&stage, "later", 8);
    let status = stage.wait_for("later", "GatewayNotFound");
    let message = condition(&status, "Stopped").expect("Stopped")["message"].clone();
    assert!(message.as_str().unwrap_or_default().contains("\"default\""), "{message}");
    deleted.release();
    stage.wait_for("deleted", "Accepted");

    stage.gateway(patient());
    stage.wait_for("later", "Accepted");
    stop(&stage, "replaced", 2);
    stage.wait_for_calls(3);
    stage.namespace.run(&["delete", "tgw", "default"]);
    stop(&stage, "last", 9);
    stage.wait_for("last", "GatewayNotFound");
    stage.gateway(patient());
    stage.wait_for("last", "Accepted");
    replaced.release();
    assert_eq!(outcomes(&stage.wait_for("replaced", "Accepted")), ["2 Accepted"]);
    assert_eq!(stage.calls(), [[1], [8], [2], [9], [2]]);
}

#[test]
fn a_secret_that_changes_in_flight_leaves_the_answer_valid_and_is_used_next() {
    let stage = stage();
    let hold = Hold::new();
    stage.simulator.script(When::nth(1), Reply::natural().held(&hold));
    stop(&stage, "before", 1);
    stage.wait_for_calls(1);
    stage.simulator.set_token("the-next-token");
    stage.token("the-next-token");
    hold.release();
    stage.wait_for("before", "Accepted");
    stop(&stage, "after", 2);
    stage.wait_for("after", "Accepted");
    // The second finds that the token has changed, and the third has read the Secret again.
    let calls = stage.simulator.calls();
    let calls: Vec<_> = calls.iter().map(|call| (call.plans[0], call.authorized)).collect();
    assert_eq!(calls, [(1, true), (2, false), (2, true)]);
}

// --- its status ---

#[test]
fn a_gateways_status_tells_each_change_once_and_runs_that_wait_point_at_it() {
    let stage = stage();
    let good = |reason: &str| {
        let status = stage.wait_for_gateway(reason);
        assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "True");
        assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    };
    // A trouble, the condition that goes with it, and how the run that meets it reads.
    let bad = |reason: &str, beside: &str, waits: &str| {
        let status = stage.wait_for_gateway(reason);
        assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "False");
        for type_ in ["Stalled", "Reconciling"] {
            assert_eq!(condition(&status, type_).is_some(), beside == type_, "{reason}: {type_}");
        }
        let run = stage.wait_for(waits, reason);
        let stopped = condition(&run, "Stopped").expect("Stopped");
        assert_eq!(stopped["status"], "Unknown");
        for told in [stopped, condition(&status, "Ready").expect("Ready")] {
            assert!(
                told["message"].as_str().unwrap_or_default().starts_with("gateway \"default\""),
                "{told}"
            );
        }
        assert_eq!(condition(&run, "Ready").expect("Ready")["reason"], "DependencyNotReady");
    };
    good("NotTried");

    let mut suspended = patient();
    suspended["suspend"] = json!(true);
    stage.gateway(suspended);
    good("Suspended");
    stop(&stage, "held", 1);
    stage.wait_for("held", "Suspended");
    stage.gateway(patient());
    stage.wait_for("held", "Accepted");
    good("Succeeded");

    stage.simulator.set_token("another-token");
    stop(&stage, "refused", 2);
    bad("AuthenticationFailed", "Stalled", "refused");
    stage.token("another-token");
    stage.wait_for("refused", "Accepted");
    good("Succeeded");

    stage.simulator.down().expect("the gateway goes away");
    stop(&stage, "out", 3);
    bad("Unreachable", "Reconciling", "out");
    stage.simulator.up().expect("the gateway comes back");
    stage.wait_for("out", "Accepted");
    good("Succeeded");

    let elsewhere = stage.simulator.elsewhere_url();
    stage.simulator.script(When::always(), Reply::redirect(307, &elsewhere));
    stop(&stage, "led-away", 4);
    bad("Misconfigured", "Stalled", "led-away");
    stage.simulator.clear_scripts();
    stage.wait_for("led-away", "Accepted");
    good("Succeeded");

    assert!(stage.simulator.elsewhere().is_empty(), "a redirect was followed");
    stage.catch_up();
    let writes = gateway_writes(&stage, 9);
    assert_eq!(writes, 9, "one for each time that the status was waited for");
}

/// The message of the gateway's condition Ready.
fn message(status: &Value) -> String {
    condition(status, "Ready").expect("Ready")["message"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the message of the gateway's condition Ready has this part.
fn wait_for_message(stage: &Stage, part: &str) {
    ok(wait_until(&format!("the gateway to say {part:?}"), SOON, || {
        let status = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]))["status"].clone();
        match condition(&status, "Ready") {
            Some(ready) if ready["message"].as_str().is_some_and(|text| text.contains(part)) => Ok(()),
            _ => Err(status),
        }
    }));
}

#[test]
fn a_changed_cause_is_told_although_its_reason_is_the_same() {
    let stage = stage();
    stage.wait_for_gateway("NotTried");
    stage.namespace.run(&["delete", "secret", "token"]);
    let mut slower = patient();
    slower["limits"] = json!({"requestsPerSecond": 1});
    stage.gateway(slower);
    stop(&stage, "nightly", 1);
    assert!(message(&stage.wait_for_gateway("SecretNotFound")).contains("there is no Secret"));
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"other": "value"},
    }));
    wait_for_message(&stage, "has no key");
    stage.simulator.down().expect("the gateway goes away");
    stage.token("simulated-token");
    wait_for_message(&stage, "can't be connected to");
    stage.simulator.script(When::always(), Reply::empty(503));
    stage.simulator.up().expect("the gateway comes back");
    wait_for_message(&stage, "HTTP 503");
    stage.simulator.clear_scripts();
    stage.wait_for("nightly", "Accepted");
    assert!(message(&stage.wait_for_gateway("Succeeded")).contains("accepts the credential"));
}

#[test]
fn an_edit_is_told_soon_while_the_new_login_hangs() {
    let stage = stage();
    stage.wait_for_gateway("NotTried");
    // Nothing answers there, and the login may take five minutes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"username": "u", "password": "p", "clientKey": "k"},
    }));
    let mut login = patient();
    login["auth"] = json!({"password": {
        "tokenURL": format!("http://{address}/token"), "secretRef": {"name": "login"},
    }});
    stage.gateway(login);
    let status = stage.wait_for_gateway("Progressing");
    assert_eq!(condition(&status, "Ready").expect("Ready")["status"], "Unknown");
    assert_eq!(condition(&status, "Reconciling").expect("Reconciling")["status"], "True");
}

#[test]
fn a_status_that_was_wiped_or_overwritten_is_mended() {
    let stage = stage();
    let before = message(&stage.wait_for_gateway("NotTried"));
    let overwritten = json!([{"type": "Ready", "status": "False", "reason": "Broken", "message": "by hand",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    for conditions in [json!([]), overwritten] {
        let patch = json!({"status": {"conditions": conditions}}).to_string();
        let patch = format!("--patch={patch}");
        stage.namespace.run(&["patch", "tgw", "default", "--subresource=status", "--type=merge", &patch]);
        assert_eq!(message(&stage.wait_for_gateway("NotTried")), before);
    }
    stage.catch_up();
    assert_eq!(gateway_writes(&stage, 5), 5, "one, the two by hand, and one for each of these");
}

#[test]
fn a_restart_writes_no_gateway_status_that_nothing_has_changed() {
    let mut stage = stage();
    stage.simulator.down().expect("the gateway goes away");
    stop(&stage, "out", 1);
    let status = stage.wait_for_gateway("Unreachable");
    stage.namespace.apply(&run("out", json!({"plans": [1], "stopped": false})));
    stage.wait_for("out", "Withdrawn");
    let writes = gateway_writes(&stage, 1);
    stage.stop_operator();
    stage.start_operator();
    stage.catch_up();
    // Once a status that needs a write has had it, this one would have had it as well.
    stage.namespace.apply(&stage.gateway_named("other", json!({})));
    ok(wait_until("another gateway's status", SOON, || {
        let other = ok(stage.namespace.kubectl.get_json(&["tgw", "other"]));
        condition(&other["status"], "Ready").map(|_| ()).ok_or_else(|| other.to_string())
    }));
    assert_eq!(stage.wait_for_gateway("Unreachable"), status);
    assert_eq!(gateway_writes(&stage, writes + 1), writes + 1, "that of the other gateway");
}

/// Status writes of the gateway, once there are so many.
fn gateway_writes(stage: &Stage, count: usize) -> usize {
    ok(wait_until(&format!("{count} writes"), SOON, || {
        let audit = ok(cluster().audit());
        let ours = audit.iter().filter(|entry| {
            entry.is_write()
                && entry.subresource == "status"
                && entry.resource == "testiniumgateways"
                && entry.namespace == stage.namespace.name
                && entry.code == 200
        });
        let writes = ours.count();
        if writes >= count { Ok(writes) } else { Err(format!("{writes} writes")) }
    }))
}
