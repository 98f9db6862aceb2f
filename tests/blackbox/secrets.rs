//! No secret is ever told: after each test that went well, everything that its operators have said and written is
//! searched for everything that its Secrets hold.

use serde_json::json;
use testinium_testbed::encodings::ENCODINGS;
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{Client, Config, Endpoint, Login, Reply, When};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage};

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
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.assert_kept()));
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
