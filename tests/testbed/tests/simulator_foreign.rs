//! The simulator's answers that are not Testinium's, or not quite: they arrive as the real ones do, and stop nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall say where")]

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use testinium_testbed::simulator::{Config, Endpoint, Foreign, Nature, Reply, Simulator, TokenRefusal, When};

fn client() -> Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().tls_certs_only([]);
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn post(sim: &Simulator, client: &Client, token: &str, path: &str, plan: i64) -> Response {
    let request = client.post(format!("{}{path}", sim.url())).bearer_auth(token);
    request
        .header(CONTENT_TYPE, "application/json")
        .body(json!({"plans": [plan]}).to_string())
        .send()
        .await
        .unwrap()
}

async fn stop(sim: &Simulator, plan: i64) -> Response {
    post(sim, &client(), "simulated-token", "/stop/execution", plan).await
}

/// Whether the body is in Testinium's own form.
fn is_envelope(body: &str) -> bool {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body.get("data").is_some() && body.get("errors").is_some()
}

#[tokio::test]
async fn a_foreign_answer_is_no_envelope_and_stops_nothing() {
    let sim = Simulator::start(Config::default()).unwrap();
    for foreign in Foreign::all() {
        sim.script(When::next(1), foreign.reply("/stop/execution"));
        let response = stop(&sim, 614).await;
        assert_eq!(response.status(), foreign.status(), "{foreign:?}");
        let type_ = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        let body = response.text().await.unwrap();
        assert!(!is_envelope(&body), "{foreign:?}: {body}");
        let is_json = serde_json::from_str::<Value>(&body).is_ok();
        assert_eq!(is_json, type_.as_deref() == Some("application/json"), "{foreign:?}: {type_:?} {body}");
    }
    assert!(!sim.truth().contains_key(&614), "{:?}", sim.truth());
}

#[tokio::test]
async fn spring_quotes_the_path_and_a_login_redirect_leads_back_to_the_same_origin() {
    let config = Config { unknown_path: Some(Foreign::SpringNotFound), ..Config::default() };
    let sim = Simulator::start(config).unwrap();
    let response = post(&sim, &client(), "simulated-token", "/gatway/stop/execution", 1).await;
    assert_eq!(response.status(), 404);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&body["error"], &body["path"]), (&json!("Not Found"), &json!("/gatway/stop/execution")));
    assert!(body["timestamp"].is_string() && body["status"] == 404, "{body}");

    sim.script(When::next(1), Foreign::LoginRedirect.reply("/stop/execution"));
    let response = stop(&sim, 1).await;
    let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
    assert!(location.starts_with("/login"), "{location}");
    let followed = client().get(format!("{}{location}", sim.url())).send().await.unwrap();
    assert_eq!(followed.status(), 404);
    assert!(sim.requests().iter().any(|request| {
        request.endpoint == Endpoint::Unknown && request.path == location && request.method == "GET"
    }));
}

#[tokio::test]
async fn a_token_is_refused_in_the_way_that_is_set() {
    let sim = Simulator::start(Config::default()).unwrap();
    let mut seen = Vec::new();
    for refusal in TokenRefusal::all() {
        sim.refuse_tokens(*refusal);
        let response = post(&sim, &client(), "yesterdays-token", "/stop/execution", 1).await;
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        seen.push((status, is_envelope(&body), body.contains("TOKEN_EXPIRED")));
        assert_eq!(stop(&sim, 614).await.status(), 200, "{refusal:?}");
    }
    let expected = [
        (401, true, false),
        (401, false, false),
        (403, true, false),
        (400, true, true),
        (302, false, false),
        (200, false, false),
        (500, true, false),
        (400, true, false),
        (200, false, false),
    ];
    assert_eq!(seen, expected);
    assert!(!sim.truth().contains_key(&1), "{:?}", sim.truth());
    assert!(sim.calls().iter().all(|call| call.authorized == (call.plans == [614])));
}

#[tokio::test]
async fn one_bad_replica_of_two_answers_every_other_call() {
    let sim = Simulator::start(Config { default_nature: Nature::NeverStops, ..Config::default() }).unwrap();
    sim.script(When::every_other(), Foreign::NginxNotFound.reply("/stop/execution"));
    let client = client();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = post(&sim, &client, "simulated-token", "/stop/execution", 1).await;
        seen.push(response.status().as_u16());
    }
    assert_eq!(seen, [404, 200, 404, 200, 404]);
}

#[tokio::test]
async fn one_bad_replica_of_two_answers_every_other_connection() {
    let sim = Simulator::start(Config { default_nature: Nature::NeverStops, ..Config::default() }).unwrap();
    sim.script(When::every_other_connection(), Foreign::BadGateway.reply("/stop/execution"));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let client = client();
        for _ in 0..2 {
            let response = post(&sim, &client, "simulated-token", "/stop/execution", 1).await;
            seen.push(response.status().as_u16());
            // A connection is used again only once its answer has been read.
            response.bytes().await.unwrap();
        }
    }
    assert_eq!(seen, [502, 502, 200, 200, 502, 502, 200, 200]);
}

#[tokio::test]
async fn the_envelope_comes_with_any_status_any_sentence_and_a_byte_order_mark() {
    let sim = Simulator::start(Config::default()).unwrap();
    sim.script(When::next(1), Reply::errors_with(404, &json!("Selenium grid is not running")));
    let response = stop(&sim, 1).await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.text().await.unwrap(), r#"{"data":null,"errors":"Selenium grid is not running"}"#);
    assert!(!sim.truth().contains_key(&1), "a reported error stops nothing");

    sim.script(When::next(1), Reply::success_with(202));
    assert_eq!(stop(&sim, 2).await.status(), 202);
    sim.script(When::next(1), Reply::success().with_byte_order_mark());
    let bytes = stop(&sim, 3).await.bytes().await.unwrap();
    assert!(bytes.starts_with(b"\xEF\xBB\xBF{"), "{bytes:?}");
    let truth = sim.truth();
    assert!(!truth[&2].running && !truth[&3].running, "a success stops: {truth:?}");
}
