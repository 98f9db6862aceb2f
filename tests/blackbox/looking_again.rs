//! What a gateway's status calls missing or failing is looked for again, whoever waits.

use serde_json::json;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Reply, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition};

/// Waits until the gateway's condition Ready says this, and yields its message.
fn until(stage: &Stage, status: &str, reason: &str) -> String {
    ok(wait_until(&format!("{status}, {reason}"), SOON, || {
        let object = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]));
        match condition(&object["status"], "Ready") {
            Some(ready) if ready["reason"] == reason && ready["status"] == status => {
                Ok(ready["message"].to_string())
            }
            _ => Err(object["status"].clone()),
        }
    }))
}

/// A run meets a trouble and is deleted; nobody waits any more.
fn meet(stage: &Stage, reason: &str) {
    stage.namespace.apply(&run("nightly", json!({"plans": [1], "stopped": true})));
    until(stage, "False", reason);
    stage.namespace.run(&["delete", "tpr", "nightly"]);
}

/// A gateway in Git comes before its Secret, which somebody makes by hand. No run is there.
#[test]
fn a_secret_that_comes_after_its_gateway_is_found_though_no_run_waits() {
    let stage = Stage::start_accepting(json!({"auth": {"bearerToken": {"secretRef": {"name": "later"}}}}));
    until(&stage, "False", "SecretNotFound");
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"},
        "stringData": {"token": "simulated-token"},
    }));
    until(&stage, "True", "NotTried");
    assert!(stage.calls().is_empty(), "nothing was to be stopped");
}

#[test]
fn a_gateway_that_is_up_again_is_found_though_no_run_waits_any_more() {
    let stage = Stage::start();
    stage.simulator.down().expect("it goes down");
    meet(&stage, "Unreachable");
    stage.simulator.up().expect("it comes up");
    until(&stage, "True", "NotTried");
    assert!(stage.calls().is_empty(), "it was looked at without a request");
}

#[test]
fn a_failure_whose_end_only_a_call_can_tell_is_called_past_once_no_run_waits_any_more() {
    for (reply, reason, text) in [
        (Reply::empty(503), "Unreachable", "answered (HTTP 503)"),
        (Reply::empty(401), "AuthenticationFailed", "does not accept the credential (HTTP 401)"),
        (Reply::redirect(302, "https://login.example.com/"), "Misconfigured", "(HTTP 302)"),
    ] {
        let stage = Stage::start();
        stage.simulator.script(When::always(), reply);
        meet(&stage, reason);
        let message = until(&stage, "Unknown", reason);
        assert!(message.contains("the last call failed: ") && message.contains(text), "{message}");
        let calls = stage.calls().len();
        stage.simulator.clear_scripts();
        stage.namespace.apply(&run("weekly", json!({"plans": [2], "stopped": true})));
        until(&stage, "True", "Succeeded");
        assert_eq!(stage.calls().len(), calls + 1, "the next stop is sent at once");
    }
}
