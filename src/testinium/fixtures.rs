//! Helpers that the tests of this module share.

use std::net::TcpListener;
use std::process::Command;

use secrecy::SecretString;
use testinium_testbed::simulator::{Config, Simulator};

use super::{Connection, CredentialData, Network, connect};
use crate::api::{Auth, BearerToken, PasswordGrant, SecretKeyRef, SecretRef, TestiniumGatewaySpec};
use crate::machine::{GatewayKey, GatewayView, Version};

/// A gateway with a bearer token that allows plain http and times out soon.
pub(crate) fn view(url: &str) -> GatewayView {
    let secret_ref = SecretKeyRef { name: "token".into(), key: None };
    GatewayView {
        key: GatewayKey::new("qa", "default"),
        uid: "uid".into(),
        version: Version(1),
        generation: 1,
        reconcile_annotation: None,
        spec: TestiniumGatewaySpec {
            url: url.into(),
            allow_plain_http: Some(true),
            auth: Auth { bearer_token: Some(BearerToken { secret_ref }), password: None },
            company_id: None,
            tls: None,
            batching: None,
            limits: None,
            timeout_seconds: Some(10),
            retry: None,
            suspend: None,
        },
        status: Default::default(),
    }
}

/// A gateway like that, but with a login.
pub(crate) fn login_view(url: &str, token_url: &str) -> GatewayView {
    let mut view = view(url);
    let secret_ref = SecretRef { name: "login".into() };
    let grant = PasswordGrant { token_url: token_url.into(), secret_ref, scope: Some("read write".into()) };
    view.spec.auth = Auth { bearer_token: None, password: Some(grant) };
    view
}

pub(crate) fn secret(text: &str) -> Option<SecretString> {
    Some(SecretString::from(text))
}

pub(crate) fn bearer(token: &str) -> CredentialData {
    CredentialData { token: secret(token), ..CredentialData::default() }
}

/// A network in which the simulator's address is allowed.
pub(crate) fn network() -> Network {
    let allowed = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("both are networks"));
    Network::new(allowed.into(), Vec::new())
}

pub(crate) fn simulator(config: Config) -> Simulator {
    Simulator::start(config).expect("the simulator starts on a free port")
}

pub(crate) async fn connected(view: &GatewayView, data: CredentialData) -> Connection {
    connect(view, data, None, &network()).await.expect("the test's data is usable").0
}

/// A listener of the test's own, and its port.
pub(crate) fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// Whether this is the process in which the test `name` sees these environment variables. In any other process, runs
/// that one: a process can't change its environment safely while other threads read it.
pub(crate) fn is_child(name: &str, environment: &[(&str, &str)]) -> bool {
    if std::env::var("TESTINIUM_TEST_CHILD").as_deref() == Ok(name) {
        return true;
    }
    let program = std::env::current_exe().expect("the test's own program is known");
    let output = Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env("TESTINIUM_TEST_CHILD", name)
        .envs(environment.iter().copied())
        .output()
        .expect("the test's own program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
