//! What a gateway's status calls missing is looked for again, whoever waits.

use serde_json::json;
use testinium_testbed::kubectl::wait_until;

use crate::cluster::ok;
use crate::operator::{SOON, Stage, condition};

/// A gateway in Git comes before its Secret, which somebody makes by hand. No run is there.
#[test]
fn a_secret_that_comes_after_its_gateway_is_found_though_no_run_waits() {
    let stage = Stage::start_accepting(json!({"auth": {"bearerToken": {"secretRef": {"name": "later"}}}}));
    let until = |reason: &str| {
        ok(wait_until(reason, SOON, || {
            let status = ok(stage.namespace.kubectl.get_json(&["tgw", "default"]))["status"].clone();
            match condition(&status, "Ready") {
                Some(ready) if ready["reason"] == reason => Ok(()),
                _ => Err(status),
            }
        }))
    };
    until("SecretNotFound");
    stage.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"},
        "stringData": {"token": "simulated-token"},
    }));
    until("NotTried");
    assert!(stage.calls().is_empty(), "nothing was to be stopped");
}
