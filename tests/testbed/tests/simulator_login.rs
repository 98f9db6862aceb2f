//! The simulated login and TLS over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall say where")]

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Certificate, ClientBuilder};
use serde_json::{Value, json};
use testinium_testbed::pki::Authority;
use testinium_testbed::simulator::{Client, Config, Endpoint, Login, Logins, Reply, Simulator, Tls, When};

const FORM: &str = "application/x-www-form-urlencoded";
const GOOD: &str = "grant_type=password&username=operator&password=simulated-password";
const WRONG: &str = "grant_type=password&username=operator&password=x";

fn start(config: Config) -> Simulator {
    Simulator::start(config).unwrap()
}

fn builder() -> ClientBuilder {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

async fn log_in(sim: &Simulator, authorization: &str, content_type: &str, form: &str) -> (u16, Value) {
    let request = builder().build().unwrap().post(sim.token_url()).header(CONTENT_TYPE, content_type);
    let response = request.header(AUTHORIZATION, authorization).body(form.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

async fn stop(sim: &Simulator, client: &reqwest::Client, token: &str) -> reqwest::Result<u16> {
    let request = client.post(format!("{}/stop/execution", sim.url()));
    let request = request.bearer_auth(token).header(CONTENT_TYPE, "application/json");
    Ok(request.body(r#"{"plans":[614]}"#).send().await?.status().as_u16())
}

#[tokio::test]
async fn login_answers_as_published_and_its_token_is_accepted() {
    // Base64 of client:simulated-secret, written out so that the encoding is checked too.
    let basic = "Basic Y2xpZW50OnNpbXVsYXRlZC1zZWNyZXQ=";
    let key = Config {
        login: Login { client: Client::Key("a-key".to_owned()), ..Login::default() },
        ..Config::default()
    };
    for (config, authorization) in [(Config::default(), basic), (key, "Basic a-key")] {
        let sim = start(config);
        let (status, body) = log_in(&sim, authorization, FORM, &format!("{GOOD}&scope=read")).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(3600)));
        assert_eq!(body["scope"], "read");
        assert!(body["jti"].is_string() && body["refresh_token"].is_string(), "{body}");
        let token = body["access_token"].as_str().unwrap();
        let client = builder().build().unwrap();
        assert_eq!(stop(&sim, &client, token).await.unwrap(), 200);
        sim.revoke_tokens();
        assert_eq!(stop(&sim, &client, token).await.unwrap(), 401);
        assert_eq!(sim.logins(), Logins { attempts: 1, succeeded: 1, wrong: 0, locked: false });
        assert_eq!(sim.requests()[0].endpoint, Endpoint::Token);
    }
}

#[tokio::test]
async fn wrong_logins_are_refused_with_their_codes() {
    let sim = start(Config::default());
    let good = Login::default().client.header();
    let rows = [
        ("wrong client", "Basic bm90OmhlcmU=", FORM, GOOD, 401, "INVALID_CLIENT"),
        ("bearer", "Bearer simulated-token", FORM, GOOD, 401, "INVALID_CLIENT"),
        ("JSON", good.as_str(), "application/json", "{}", 400, "INVALID_REQUEST"),
        (
            "other grant",
            good.as_str(),
            FORM,
            "grant_type=refresh_token&refresh_token=x",
            400,
            "INVALID_REQUEST",
        ),
        ("no password", good.as_str(), FORM, "grant_type=password&username=operator", 400, "INVALID_REQUEST"),
        ("wrong password", good.as_str(), FORM, WRONG, 403, "ACCESS_DENIED"),
    ];
    for (name, authorization, content_type, form, status, code) in rows {
        let (seen, body) = log_in(&sim, authorization, content_type, form).await;
        assert_eq!((seen, &body["error"]), (status, &json!(code)), "{name}");
        assert!(body["error_description"].is_string(), "{name}: {body}");
    }
    sim.script(When::next(1).to(Endpoint::Token), Reply::refusal(500));
    assert_eq!(log_in(&sim, &good, FORM, GOOD).await.0, 500);
    assert_eq!(sim.logins(), Logins { attempts: 1, succeeded: 0, wrong: 1, locked: false });
    let get = builder().build().unwrap().get(sim.token_url()).send().await.unwrap();
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn account_locks_after_wrong_passwords_in_a_row() {
    let login = Login { lockout_after: Some(2), ..Login::default() };
    let client = login.client.header();
    let sim = start(Config { login, ..Config::default() });
    for (form, status, locked) in
        [(WRONG, 403, false), (GOOD, 200, false), (WRONG, 403, false), (WRONG, 403, true), (GOOD, 403, true)]
    {
        assert_eq!(log_in(&sim, &client, FORM, form).await.0, status);
        assert_eq!(sim.logins().locked, locked);
    }
    assert_eq!(sim.logins(), Logins { attempts: 5, succeeded: 1, wrong: 3, locked: true });
    sim.unlock();
    assert_eq!(log_in(&sim, &client, FORM, GOOD).await.0, 200);
    sim.set_password("x");
    assert_eq!(log_in(&sim, &client, FORM, WRONG).await.0, 200);
}

#[tokio::test]
async fn issued_token_ends_with_its_lifetime() {
    let client = Login::default().client.header();
    let expired = Login { lifetime: Some(Duration::ZERO), ..Login::default() };
    for (login, status) in [(expired, 401), (Login::default(), 200)] {
        let sim = start(Config { login, ..Config::default() });
        let (_, body) = log_in(&sim, &client, FORM, GOOD).await;
        let token = body["access_token"].as_str().unwrap();
        assert_eq!(stop(&sim, &builder().build().unwrap(), token).await.unwrap(), status);
    }
}

#[tokio::test]
async fn https_is_trusted_by_its_own_authority_alone() {
    let sim = start(Config { tls: Some(Tls::default()), ..Config::default() });
    let ca = |pem: &str| [Certificate::from_pem(pem.as_bytes()).unwrap()];
    let trusting = builder().tls_certs_only(ca(sim.ca_pem().unwrap())).build().unwrap();
    let other = Authority::new("other").unwrap();
    let distrusting = builder().tls_certs_only(ca(other.pem())).build().unwrap();
    assert_eq!(stop(&sim, &trusting, "simulated-token").await.unwrap(), 200);
    assert!(stop(&sim, &distrusting, "simulated-token").await.unwrap_err().is_connect());
    let [call] = &sim.calls()[..] else { panic!("expected one call: {:?}", sim.calls()) };
    assert!(call.http2, "ALPN chose HTTP/2");

    let sim = start(Config { tls: Some(Tls { http2: false, ..Tls::default() }), ..Config::default() });
    let trusting = builder().tls_certs_only(ca(sim.ca_pem().unwrap())).build().unwrap();
    assert_eq!(stop(&sim, &trusting, "simulated-token").await.unwrap(), 200);
    assert!(!sim.calls()[0].http2);
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    let tls = Tls { names: vec!["gateway.example.com".to_owned()], ..Tls::default() };
    let sim = start(Config { tls: Some(tls), ..Config::default() });
    let ca = Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    let client = builder().tls_certs_only([ca]).build().unwrap();
    assert!(stop(&sim, &client, "simulated-token").await.unwrap_err().is_connect());
}

#[tokio::test]
async fn client_certificate_lets_in_whoever_shows_it() {
    let tls = Tls { client_certificate: true, ..Tls::default() };
    let sim = start(Config { tls: Some(tls), ..Config::default() });
    let ca = Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    let identity = sim.client_identity().unwrap();
    let pem = format!("{}{}", identity.certificate_pem, identity.key_pem);
    let known = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
    let known = builder().tls_certs_only([ca.clone()]).identity(known).build().unwrap();
    let nobody = builder().tls_certs_only([ca.clone()]).build().unwrap();
    let stranger = Authority::new("other").unwrap().client("stranger").unwrap();
    let pem = format!("{}{}", stranger.certificate_pem, stranger.key_pem);
    let stranger = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
    let stranger = builder().tls_certs_only([ca]).identity(stranger).build().unwrap();
    assert_eq!(stop(&sim, &known, "simulated-token").await.unwrap(), 200);
    assert!(stop(&sim, &nobody, "simulated-token").await.is_err());
    assert!(stop(&sim, &stranger, "simulated-token").await.is_err());
    assert_eq!(sim.calls().len(), 1);
}

#[tokio::test]
async fn cut_over_http2_breaks_the_connection() {
    let sim = start(Config { tls: Some(Tls::default()), ..Config::default() });
    let ca = Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    let client = builder().tls_certs_only([ca]).build().unwrap();
    sim.script(When::nth(1), Reply::natural().lost());
    assert!(stop(&sim, &client, "simulated-token").await.is_err());
    assert!(!sim.truth()[&614].running);
    assert_eq!(stop(&sim, &client, "simulated-token").await.unwrap(), 200);
    assert_eq!(sim.connections(), 2);
}
