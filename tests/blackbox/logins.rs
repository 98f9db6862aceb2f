//! Gateways with a login: how often, when, and with what the operator logs in.

use std::time::Duration;

use serde_json::{Value, json};
use testinium_testbed::kubectl::wait_until;
use testinium_testbed::simulator::{
    Client, Config, Endpoint, Login, Logins, Reach, Reply, Request, Simulator, When,
};

use crate::cluster::{ok, run};
use crate::operator::{SOON, Stage, condition};

const USERNAME: &str = "jane@qa.example";

/// A site where one logs in, with an operator at work.
fn start(login: Login, password: &str) -> Stage {
    let mut stage = prepare(login, password);
    stage.start_operator();
    stage
}

fn prepare(login: Login, password: &str) -> Stage {
    let stage = Stage::prepare_with(Config { login, ..Config::default() }, json!({}));
    secret(&stage, password);
    stage.gateway(spec(&stage.simulator, "login"));
    stage
}

fn account() -> Login {
    Login { username: USERNAME.to_owned(), ..Login::default() }
}

/// A gateway's spec. One plan a call, so that what goes on at the same time is several calls.
fn spec(site: &Simulator, secret: &str) -> Value {
    let password = json!({"tokenURL": site.token_url(), "secretRef": {"name": secret}});
    json!({
        "url": site.url(),
        "auth": {"password": password},
        "batching": {"maxPlans": 1},
        "limits": {"requestsPerSecond": 1000, "maxInFlight": 8},
    })
}

fn secret(stage: &Stage, password: &str) {
    let data = json!({
        "username": USERNAME, "password": password, "clientId": "client", "clientSecret": "simulated-secret",
    });
    apply_secret(stage, "login", &data);
}

fn apply_secret(stage: &Stage, name: &str, data: &Value) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    stage.namespace.apply(&secret);
}

/// Stops plans, and waits until that has come to something.
#[track_caller]
fn stop(stage: &Stage, name: &str, plans: impl IntoIterator<Item = i64>, reason: &str) -> String {
    let plans: Vec<_> = plans.into_iter().collect();
    stage.namespace.apply(&run(name, json!({"plans": plans, "stopped": true})));
    let status = stage.wait_for(name, reason);
    let stopped = condition(&status, "Stopped").expect("it was waited for");
    stopped["message"].as_str().unwrap_or_default().to_owned()
}

fn logins(attempts: u32, wrong: u32) -> Logins {
    Logins { attempts, succeeded: attempts - wrong, wrong, locked: false }
}

fn to(site: &Simulator, endpoint: Endpoint) -> Vec<Request> {
    site.requests().into_iter().filter(|request| request.endpoint == endpoint).collect()
}

#[test]
fn both_releases_give_a_token_that_all_calls_share() {
    let stage = start(account(), "simulated-password");
    let client = Client::Key("simulated-secret-key".to_owned());
    let config = Config { login: Login { client, ..account() }, ..Config::default() };
    let newer = Simulator::start(config).expect("the simulator starts");
    apply_secret(
        &stage,
        "newer",
        &json!({"username": USERNAME, "password": "simulated-password", "clientKey": "simulated-secret-key"}),
    );
    stage.namespace.apply(&stage.gateway_named("newer", spec(&newer, "newer")));
    let plans: Vec<_> = (1..=20).collect();
    let at_newer = json!({"plans": plans, "stopped": true, "gatewayRef": {"name": "newer"}});
    stage.namespace.apply(&run("at-newer", at_newer));
    stop(&stage, "nightly", plans, "Accepted");
    stage.wait_for("at-newer", "Accepted");
    stop(&stage, "later", [21], "Accepted");
    for site in [&stage.simulator, &newer] {
        assert_eq!(site.logins(), logins(1, 0));
        let calls = site.calls();
        assert!(calls.len() >= 20 && calls.iter().all(|call| call.authorized), "{calls:?}");
    }
}

#[test]
fn a_token_is_kept_until_shortly_before_it_expires() {
    let minute = Duration::from_secs(60);
    let stage = start(Login { expires_in: 60, ..account() }, "simulated-password");
    stop(&stage, "first", [1], "Accepted");
    // Nobody waits for it: it is renewed so that nobody has to.
    let seen = ok(wait_until("the token to be renewed", minute * 2, || match stage.simulator.logins() {
        Logins { attempts: 1, .. } => Err("not yet"),
        seen => Ok(seen),
    }));
    assert_eq!(seen, logins(2, 0));
    stop(&stage, "second", [2], "Accepted");
    let at: Vec<_> = to(&stage.simulator, Endpoint::Token).iter().map(|login| login.at).collect();
    let kept = at[1] - at[0];
    assert!(kept > minute / 2 && kept < minute, "{kept:?}");
    let calls = stage.simulator.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls.iter().all(|call| call.authorized) && calls[0].authorization != calls[1].authorization);
}

/// A proxy's page is no word on the login: the token that is still good goes on being used, and another is asked for.
#[test]
fn a_page_instead_of_a_new_token_costs_neither_the_old_one_nor_the_next_try() {
    let stage = start(Login { expires_in: 60, ..account() }, "simulated-password");
    stop(&stage, "first", [1], "Accepted");
    stage.simulator.script(When::next(1).to(Endpoint::Token), Reply::html(403));
    let tries = || to(&stage.simulator, Endpoint::Token).len();
    ok(wait_until("the refresh", SOON * 4, || if tries() > 1 { Ok(()) } else { Err("not yet") }));
    stop(&stage, "second", [2], "Accepted");
    ok(wait_until("the next try", SOON, || if tries() > 2 { Ok(()) } else { Err("not yet") }));
    assert_eq!(stage.simulator.logins(), logins(2, 0));
    let calls = stage.simulator.calls();
    assert!(calls.iter().all(|call| call.authorized), "{calls:?}");
}

#[test]
fn calls_that_are_all_unauthorized_lead_to_one_login() {
    let stage = start(account(), "simulated-password");
    stop(&stage, "first", [1], "Accepted");
    stage.simulator.revoke_tokens();
    stage.simulator.set_latency(Duration::from_millis(200));
    stop(&stage, "second", 2..=9, "Accepted");
    assert_eq!(stage.simulator.logins(), logins(2, 0));
    let refused = stage.simulator.calls().into_iter().filter(|call| !call.authorized).count();
    assert!(refused > 1, "{refused} calls carried the old token: that tells nothing");
}

/// A token that the site has forgotten may be refused in other ways than 401: that is worth one login too.
#[test]
fn a_refusal_of_another_kind_leads_to_one_login() {
    for (name, reply) in [
        ("a page", Reply::html(403)),
        ("forbidden", Reply::refusal(403)),
        ("a redirect", Reply::redirect(302, "https://login.example.com/")),
        ("a word", Reply::json(400, &json!({"data": null, "errors": "TOKEN_EXPIRED"}))),
    ] {
        let stage = start(account(), "simulated-password");
        stop(&stage, "first", [1], "Accepted");
        stage.simulator.revoke_tokens();
        stage.simulator.script(When::always().matching(|call| !call.authorized), reply);
        stop(&stage, "second", [2, 3], "Accepted");
        assert_eq!(stage.simulator.logins(), logins(2, 0), "{name}");
    }
}

#[test]
fn a_wrong_password_is_not_tried_again_until_its_secret_changes() {
    let login = Login { lockout_after: Some(2), ..account() };
    let stage = start(login, "not-the-right-one");
    let told = stop(&stage, "first", [1], "AuthenticationFailed");
    assert!(told.contains("the token endpoint refused the login: 403 Forbidden"), "{told}");
    assert!(told.contains("(ACCESS_DENIED: the user name or password is wrong, "), "{told}");
    // Nothing of this is a reason to try the same password again.
    stop(&stage, "second", [2], "AuthenticationFailed");
    let mut edited = spec(&stage.simulator, "login");
    edited["timeoutSeconds"] = json!(20);
    stage.gateway(edited);
    stage.namespace.run(&["annotate", "tgw", "default", "reconcile.fluxcd.io/requestedAt=now"]);
    stop(&stage, "third", [3], "AuthenticationFailed");
    assert_eq!(stage.simulator.logins(), logins(1, 1));
    assert!(stage.simulator.calls().is_empty(), "there is no token to call with");

    secret(&stage, "simulated-password");
    for name in ["first", "second", "third"] {
        stage.wait_for(name, "Accepted");
    }
    assert_eq!(stage.simulator.logins(), logins(2, 1));

    // The same when it changes at a site that is in use.
    stage.simulator.set_password("simulated-password-2");
    stage.simulator.revoke_tokens();
    stop(&stage, "fourth", [4], "AuthenticationFailed");
    assert_eq!(stage.simulator.logins(), logins(3, 2));
    secret(&stage, "simulated-password-2");
    stage.wait_for("fourth", "Accepted");
    assert_eq!(stage.simulator.logins(), logins(4, 2));
    // The right one is looked for in every test; these are in no Secret any more.
    stage.assert_silent(&["not-the-right-one", "simulated-password"]);
}

const GATEWAYS: usize = 10;

/// Ten gateways with one Secret, a run at each, and one operator after the other.
fn ten(login: Login, password: &str, reason: &str, starts: usize) -> Stage {
    let mut stage = prepare(login, password);
    for number in 0..GATEWAYS {
        let name = format!("site-{number}");
        stage.namespace.apply(&stage.gateway_named(&name, spec(&stage.simulator, "login")));
        let spec = json!({"plans": [number + 1], "stopped": true, "gatewayRef": {"name": name}});
        stage.namespace.apply(&run(&name, spec));
    }
    for start in 1..=starts {
        stage.start_operator();
        for number in 0..GATEWAYS {
            stage.wait_for(&format!("site-{number}"), reason);
            if reason != "Accepted" {
                wait_for_gateway(&stage, &format!("site-{number}"), reason);
            }
        }
        if start < starts {
            stage.stop_operator();
        }
    }
    stage
}

fn wait_for_gateway(stage: &Stage, name: &str, reason: &str) {
    ok(wait_until(&format!("{name} to be {reason}"), SOON, || {
        let status = ok(stage.namespace.kubectl.get_json(&["tgw", name]))["status"].clone();
        match condition(&status, "Ready") {
            Some(ready) if ready["reason"] == reason => Ok(()),
            _ => Err(status),
        }
    }));
}

#[test]
fn gateways_with_one_secret_log_in_once_and_renew_their_token_once() {
    let stage = ten(account(), "simulated-password", "Accepted", 1);
    assert_eq!(stage.simulator.logins(), logins(1, 0));
    stage.simulator.revoke_tokens();
    for number in 0..GATEWAYS {
        let name = format!("again-{number}");
        let at = format!("site-{number}");
        stage.namespace.apply(&run(
            &name,
            json!({"plans": [100 + number], "stopped": true, "gatewayRef": {"name": at}}),
        ));
    }
    for number in 0..GATEWAYS {
        stage.wait_for(&format!("again-{number}"), "Accepted");
    }
    assert_eq!(stage.simulator.logins(), logins(2, 0));
}

#[test]
fn a_wrong_password_is_tried_once_whatever_the_number_of_gateways_and_of_starts() {
    let login = Login { lockout_after: Some(2), ..account() };
    let stage = ten(login, "not-the-right-one", "AuthenticationFailed", 3);
    assert_eq!(stage.simulator.logins(), logins(1, 1));
    secret(&stage, "simulated-password");
    for number in 0..GATEWAYS {
        stage.wait_for(&format!("site-{number}"), "Accepted");
    }
    assert_eq!(stage.simulator.logins(), logins(2, 1));
}

#[test]
fn a_token_endpoint_that_is_down_is_waited_for() {
    let mut stage = prepare(account(), "simulated-password");
    stage.simulator.set_rest_api_reach(Reach::Refusing).expect("the endpoint goes away");
    stage.start_operator();
    let told = stop(&stage, "nightly", [1], "Unreachable");
    assert!(told.contains("the token endpoint could not be connected to"), "{told}");
    stage.simulator.set_rest_api_reach(Reach::Up).expect("the endpoint comes back");
    stage.wait_for("nightly", "Accepted");
    assert_eq!(stage.simulator.logins(), logins(1, 0));
}

#[test]
fn a_site_that_quotes_secrets_does_not_spread_them() {
    let mut stage = prepare(account(), "simulated-password");
    let quoting = json!({"error": "invalid_grant", "error_description": "no user with simulated-password"});
    stage.simulator.script(When::next(1).to(Endpoint::Token), Reply::json(400, &quoting));
    // Before the plan is given up, the login is renewed once, and the plan is sent with another token.
    for (call, token) in [(1, "issued-token-1"), (2, "issued-token-2")] {
        let error = format!("bad token: {token}");
        stage.simulator.script(When::nth(call), Reply::errors(json!([error])));
    }
    stage.start_operator();
    let told = stop(&stage, "nightly", [1], "AuthenticationFailed");
    assert!(told.contains("(invalid_grant: the user name or password is wrong, "), "{told}");
    // The same content is another version, and so another try.
    stage.namespace.run(&["label", "secret", "login", "rotated=now"]);
    let status = stage.wait_for("nightly", "Failed");
    assert_eq!(status["plans"][0]["message"], "bad token: [redacted]", "{status}");
    ok(wait_until("the event of the failure", SOON, || {
        let events = stage.namespace.run(&["events", "--for", "testplanrun/nightly"]);
        if events.contains("Failed") { Ok(()) } else { Err(events) }
    }));
}
