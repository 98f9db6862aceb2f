//! No secret is ever told: after each test that went well, everything that its operators have said and written is
//! searched for everything that its Secrets hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};
use testinium_testbed::encodings::ENCODINGS;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::operator::page;
use testinium_testbed::oracles::secrets_told;
use testinium_testbed::simulator::{Client, Config, Endpoint, Login, Reply, When};

use crate::cluster::{ok, run};
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
    let secrets: Vec<String> = secrets.iter().flat_map(values).collect();
    for (place, text) in &told {
        let found = secrets_told(text, secrets.iter().map(String::as_str));
        assert!(found.is_empty(), "{place}: {}:\n{text}", found.join(", "));
        for word in NEVER {
            assert!(!text.contains(word), "{word:?} is in {place}:\n{text}");
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
    assert!(message.contains("an object: \"simulated-token\" is there as plain"), "{message}");
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

/// Whatever a gateway quotes of a call, and however, the token is not told: the search at the test's end knows every
/// encoding.
#[test]
fn a_gateway_that_quotes_the_call_in_any_encoding_does_not_spread_the_token() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJxYSJ9.c2lnbmF0dXJl+/=~";
    let mut stage = Stage::prepare_with(
        Config { token: token.into(), ..Config::default() },
        json!({"batching": {"maxPlans": 1}}),
    );
    stage.token(token);
    for (plan, encoding) in (1_i64..).zip(ENCODINGS) {
        stage.simulator.script(When::next(1).naming(plan), Reply::quoting(200, *encoding));
        stage.namespace.apply(&run(&format!("run-{plan}"), json!({"plans": [plan], "stopped": true})));
    }
    stage.start_operator();
    for (plan, encoding) in (1_i64..).zip(ENCODINGS) {
        let status = stage.wait_for(&format!("run-{plan}"), "Failed");
        let told = status["plans"][0].to_string();
        assert!(told.contains("[redacted]"), "{}: {told}", encoding.name);
    }
}

/// The same of a login, which sends a user's password: nothing of the endpoint's words is told at all.
#[test]
fn a_token_endpoint_that_quotes_the_login_in_any_encoding_does_not_spread_it() {
    let password = "pa ss+wörd&5ecret\"<>'%41";
    let client = Client::Basic { id: "qa-client-17".into(), secret: "cl:ient 5ecret".into() };
    let login =
        Login { username: "jane@qa.example".into(), password: password.into(), client, ..Login::default() };
    let mut stage = Stage::prepare_with(Config { login, ..Config::default() }, json!({}));
    let statuses = [400, 401, 403, 423, 200, 500, 302].into_iter().cycle();
    for ((number, encoding), status) in (1_i64..).zip(ENCODINGS).zip(statuses) {
        let name = format!("site-{number}");
        let data = json!({
            "username": "jane@qa.example", "password": password, "clientId": "qa-client-17",
            "clientSecret": "cl:ient 5ecret",
        });
        stage.namespace.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}),
        );
        let grant = json!({"tokenURL": stage.simulator.token_url(), "secretRef": {"name": name}});
        stage.namespace.apply(&stage.gateway_named(&name, json!({"auth": {"password": grant}})));
        stage.simulator.script(When::next(1).to(Endpoint::Token), Reply::quoting(status, *encoding));
        let spec = json!({"plans": [number], "stopped": true, "gatewayRef": {"name": name}});
        stage.namespace.apply(&run(&name, spec));
    }
    stage.start_operator();
    let logins = || stage.simulator.requests().iter().filter(|call| call.endpoint == Endpoint::Token).count();
    ok(wait_until("every gateway to log in", SOON * 2, || {
        if logins() >= ENCODINGS.len() { Ok(()) } else { Err(format!("{} so far", logins())) }
    }));
    for number in 1..=ENCODINGS.len() {
        let name = format!("site-{number}");
        ok(wait_until("the gateway's status to say what became of it", SOON * 2, || {
            let status = ok(stage.namespace.kubectl.get_json(&["tgw", &name]))["status"].to_string();
            if status.contains("\"Ready\"") { Ok(()) } else { Err(status) }
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
