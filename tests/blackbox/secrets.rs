//! No secret is ever told: after each test that went well, everything that its operators have said and written is
//! searched for everything that its Secrets hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::simulator::{Reply, When};

use crate::cluster::ok;
use crate::operator::{SOON, Stage};

/// Keys of a Secret that hold nothing secret.
const PUBLIC: [&str; 3] = ["ca.crt", "tls.crt", "client-id"];
/// What the simulator hands out at a login, and what proxies and other services say to whom they don't know.
const NEVER: [&str; 5] = ["issued-token-", "refresh-token-", "Bearer ", "Basic ", "proxy.example.com"];
/// Shorter ones would be found by chance.
const LEAST: usize = 8;

/// Panics if a secret of the stage is anywhere but in its Secret.
pub(crate) fn assert_kept(stage: &Stage) {
    let all = ok(stage.namespace.kubectl.get_json(&["secrets,testinium,events.events.k8s.io"]));
    let items = all["items"].as_array().cloned().unwrap_or_default();
    let (secrets, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item["kind"] == "Secret");
    let objects = others.iter().map(operators_part).collect();
    let told = BTreeMap::from([("a log", stage.log()), ("metrics", stage.metrics()), ("an object", objects)]);
    let secrets = secrets.iter().flat_map(values).chain(NEVER.map(str::to_owned));
    for secret in secrets {
        for (place, text) in &told {
            assert!(!text.contains(&secret), "{secret:?} is in {place}:\n{text}");
        }
    }
}

/// What the operator may have written: a spec is the user's own.
fn operators_part(object: &Value) -> String {
    let mut object = object.clone();
    object["spec"] = Value::Null;
    object["metadata"]["annotations"] = Value::Null;
    object.to_string()
}

/// Every secret word of a Secret: its values, and the lines of those that are keys.
fn values(secret: &Value) -> Vec<String> {
    let data = secret["data"].as_object().into_iter().flatten();
    let secret = data.filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
    let decoded = secret.filter_map(|(_, value)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    });
    let lines = decoded.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| line.len() >= LEAST && !line.starts_with("-----")).collect()
}

/// The search would find something if it were there: otherwise every other test proves nothing.
#[test]
fn a_secret_that_is_told_would_be_found() {
    let stage = Stage::start();
    stage.run("nightly", &[1]);
    stage.wait_for("nightly", "NotRequested");
    assert!(stage.log().contains("metrics") && stage.metrics().contains("testinium_"));
    // The reason is copied into status, for everybody to read.
    stage.patch("nightly", r#"{"spec":{"stopped":true,"reason":"it is simulated-token, I think"}}"#);
    stage.wait_for("nightly", "Accepted");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_kept(&stage)));
    let message = found.expect_err("it is in status").downcast::<String>().expect("a formatted message");
    assert!(message.contains("\"simulated-token\" is in an object"), "{message}");
    // Now that it is known to be found, it may go.
    stage.namespace.run(&["delete", "tpr", "nightly"]);
    stage.namespace.run(&["delete", "events.events.k8s.io", "--all"]);
}

/// What another service says to a call of ours is its own: not even a token that it echoes is told.
#[test]
fn an_answer_that_echoes_the_token_is_not_told() {
    let stage = Stage::start();
    let echo = "you sent Bearer simulated-token";
    let replies = [
        Reply::raw(200, echo),
        Reply::json(200, &json!({"message": echo})),
        Reply::json(400, &json!({"authorization": echo})),
        Reply::raw(404, echo),
        Reply::raw(500, echo),
        Reply::raw(401, echo),
        Reply::html(502),
    ];
    for (number, reply) in (1_i64..).zip(replies) {
        let name = format!("run-{number}");
        stage.simulator.script(When::next(1), reply);
        stage.run(&name, &[number]);
        stage.stop(&name);
        let what = format!("the gateway to be asked for plan {number}");
        ok(wait_until(&what, SOON, || {
            let asked = stage.simulator.calls().iter().any(|call| call.plans == [number]);
            if asked { Ok(()) } else { Err("not yet") }
        }));
    }
}

// === impl Stage ===

impl Stage {
    /// What `/metrics` of the latest operator says, if it is at work.
    fn metrics(&self) -> String {
        let log = self.log();
        let address = log.lines().rev().find(|line| line.contains("serving the metrics"));
        let port = address.and_then(|line| line.rsplit(':').next()?.trim().parse().ok());
        port.and_then(|port| page(port, "/metrics").ok()).map(|(_, text)| text).unwrap_or_default()
    }
}
