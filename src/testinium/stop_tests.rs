//! Tests of one call against a scripted gateway: the request that is sent, and how each reply and each failure is
//! sorted.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use serde_json::json;
use testinium_testbed::simulator::{Config, ErrorShape, Nature, Reply as Scripted, Tls, When};

use super::super::fixtures::{bearer, connected, is_child, listener, network, secret, simulator, view};
use super::super::http::BODY_BYTES_MAX;
use super::super::{ConnectError, CredentialData, Network, connect};
use super::*;
use crate::api::{CaRef, SecretRef};
use crate::machine::{Envelope, Millis, NoAnswer};

const TOKEN: &str = "simulated-token";

fn clean() -> Answer {
    let body = Body::Envelope(Envelope::default());
    Answer::Reply(Reply { status: 200, retry_after: None, body })
}

fn reply(status: u16, body: Body) -> Answer {
    Answer::Reply(Reply { status, retry_after: None, body })
}

#[tokio::test]
async fn a_stop_is_as_published() {
    let config = Config { base_path: "/api".into(), company_id: Some("acme".into()), ..Config::default() };
    let simulator = simulator(config);
    let mut view = view(&format!("{}//", simulator.url()));
    view.spec.company_id = Some("acme".into());
    let connection = connected(&view, bearer(TOKEN)).await;
    for _ in 0..2 {
        simulator.plans([614, 615], Nature::Running);
        assert_eq!(post_stop(&connection, &[PlanId(614), PlanId(615)], false).await, clean());
    }

    let calls = simulator.calls();
    let call = calls.last().expect("two calls were made");
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/stop/execution"));
    assert_eq!(call.authorization.as_deref(), Some("Bearer simulated-token"));
    assert_eq!(call.content_type.as_deref(), Some("application/json"));
    assert_eq!(call.company_id.as_deref(), Some("acme"));
    assert_eq!(call.body, r#"{"plans":[614,615]}"#);
    assert_eq!(simulator.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn replies_are_sorted() {
    let simulator = simulator(Config::default());
    let view = view(&simulator.url());
    let connection = connected(&view, bearer(TOKEN)).await;
    let elsewhere = simulator.elsewhere_url();
    for (name, scripted, expected) in [
        ("success", Scripted::success(), clean()),
        ("html", Scripted::html(502), reply(502, Body::Other)),
        ("empty", Scripted::empty(200), reply(200, Body::Other)),
        ("redirect", Scripted::redirect(307, &elsewhere), reply(307, Body::Other)),
        ("huge, announced", Scripted::huge(1 << 30), reply(200, Body::Other)),
        ("as large as is read", Scripted::raw(200, padded(BODY_BYTES_MAX)), clean()),
        ("too large", Scripted::raw(200, padded(BODY_BYTES_MAX + 1)), reply(200, Body::Other)),
        (
            "too large, in pieces",
            Scripted::raw(200, padded(BODY_BYTES_MAX + 1)).dripping(10_000, Duration::ZERO),
            reply(200, Body::Other),
        ),
        ("slow but whole", Scripted::success().dripping(8, Duration::from_millis(1)), clean()),
        ("dropped", Scripted::dropped(), Answer::Lost(NoAnswer::Broken)),
        ("truncated", Scripted::success().truncated(10), Answer::Lost(NoAnswer::Broken)),
    ] {
        simulator.script(When::always(), scripted);
        assert_eq!(post_stop(&connection, &[PlanId(614)], false).await, expected, "{name}");
        simulator.clear_scripts();
    }
    assert!(simulator.elsewhere().is_empty(), "redirects are not followed");
}

#[tokio::test]
async fn reported_errors_name_their_plan_in_every_shape() {
    let simulator = simulator(Config::default());
    let view = view(&simulator.url());
    let connection = connected(&view, bearer(TOKEN)).await;
    for shape in [ErrorShape::Text, ErrorShape::Texts, ErrorShape::Objects, ErrorShape::Map] {
        for (named, expected) in [(true, Some(PlanId(614))), (false, None)] {
            let fault = (614, "NOT_AVAILABLE", "the action is not available");
            simulator.script(When::next(1), Scripted::faults(shape, named, &[fault]));
            let answer = post_stop(&connection, &[PlanId(614), PlanId(615)], false).await;
            let Answer::Reply(Reply { body: Body::Envelope(envelope), .. }) = &answer else {
                panic!("{shape:?}: {answer:?}");
            };
            let plans: Vec<_> = envelope.errors.iter().map(|error| error.plan).collect();
            assert_eq!(plans, [expected], "{shape:?}: {answer:?}");
        }
    }
}

fn padded(length: usize) -> Vec<u8> {
    let mut body = br#"{"data": null, "errors": null}"#.to_vec();
    body.resize(length, b' ');
    body
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_is_slow() {
    let simulator = simulator(Config::default());
    let mut view = view(&simulator.url());
    view.spec.timeout_seconds = Some(1);
    let connection = connected(&view, bearer(TOKEN)).await;
    for (name, scripted) in [
        ("no reply", Scripted::never()),
        ("a body in drops", Scripted::success().dripping(1, Duration::from_millis(100))),
    ] {
        simulator.script(When::next(1), scripted);
        assert_eq!(
            post_stop(&connection, &[PlanId(1)], false).await,
            Answer::Lost(NoAnswer::Timeout),
            "{name}"
        );
    }
}

#[tokio::test]
async fn losses_say_where_it_failed() {
    let (closed, port) = listener();
    drop(closed);
    let (open, not_http) = listener();
    std::thread::spawn(move || {
        for stream in open.incoming().flatten() {
            // The request is read first: to close with it unread would be a reset, which is another failure.
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let _ = (&stream).write_all(b"SSH-2.0-OpenSSH_9.6\r\n");
        }
    });
    let ca = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
    for (name, url, expected) in [
        ("nobody listens", format!("http://127.0.0.1:{port}"), NoAnswer::Connect),
        ("no such name", format!("http://{}.invalid", "x".repeat(64)), NoAnswer::Dns),
        ("not HTTP", format!("http://127.0.0.1:{not_http}"), NoAnswer::Broken),
        ("not TLS", format!("https://127.0.0.1:{not_http}"), NoAnswer::Tls),
    ] {
        let view = view(&url);
        let data = CredentialData { ca_pem: ca.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
        let connection = connected(&view, data).await;
        assert_eq!(post_stop(&connection, &[PlanId(1)], false).await, Answer::Lost(expected), "{name}");
    }
}

#[tokio::test]
async fn inner_addresses_are_not_called() {
    let simulator = simulator(Config::default());
    let port = simulator.url().rsplit(':').next().expect("it has a port").to_owned();
    let network = Network::new(Vec::new(), Vec::new());
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let view = view(&format!("http://{host}:{port}"));
        let (connection, _) = connect(&view, bearer(TOKEN), None, &network).await.expect("it is usable");
        let answer = post_stop(&connection, &[PlanId(1)], false).await;
        assert_eq!(answer, Answer::Lost(NoAnswer::AddressRefused), "{host}");
    }
    assert_eq!(simulator.connections(), 0);
}

#[tokio::test]
async fn tls_trusts_whom_it_shall() {
    let own = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
    let other = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
    let wrong_name = Tls { names: vec!["gateway.example.com".into()], ..Tls::default() };
    let wrong_name = simulator(Config { tls: Some(wrong_name), ..Config::default() });
    let with_ca = |ca: Option<&str>| CredentialData { ca_pem: ca.map(str::to_owned), ..bearer(TOKEN) };
    for (name, server, ca, expected) in [
        ("its CA", &own, own.ca_pem(), clean()),
        ("another CA", &own, other.ca_pem(), Answer::Lost(NoAnswer::Tls)),
        ("another name", &wrong_name, wrong_name.ca_pem(), Answer::Lost(NoAnswer::Tls)),
    ] {
        let view = view(&server.url());
        let connection = connected(&view, with_ca(ca)).await;
        assert_eq!(post_stop(&connection, &[PlanId(1)], false).await, expected, "{name}");
    }
    assert!(own.calls().iter().all(|call| call.http2), "HTTP/2 where it is offered");
}

#[tokio::test]
async fn clients_show_their_certificate() {
    for http2 in [false, true] {
        let tls = Tls { client_certificate: true, http2, ..Tls::default() };
        let server = simulator(Config { tls: Some(tls), ..Config::default() });
        let view = view(&server.url());
        let anonymous = || CredentialData { ca_pem: server.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
        let connection = connected(&view, anonymous()).await;
        let mut answers = Vec::new();
        // The connection is gone now and then before the server's reason is read.
        while answers.len() < 10 && answers.last() != Some(&Answer::Lost(NoAnswer::Tls)) {
            answers.push(post_stop(&connection, &[PlanId(1)], false).await);
        }
        assert_eq!(answers.last(), Some(&Answer::Lost(NoAnswer::Tls)), "HTTP/2 {http2}: {answers:?}");
        assert!(server.calls().is_empty(), "HTTP/2 {http2}");

        let identity = server.client_identity().expect("TLS is on");
        let data = CredentialData {
            client_cert_pem: Some(identity.certificate_pem.clone()),
            client_key_pem: secret(&identity.key_pem),
            ..anonymous()
        };
        let connection = connected(&view, data).await;
        assert_eq!(post_stop(&connection, &[PlanId(1)], false).await, clean(), "HTTP/2 {http2}");
    }
}

#[tokio::test]
async fn no_secret_is_in_what_comes_back() {
    let simulator = simulator(Config { token: "mark-5ecret-t0ken".into(), ..Config::default() });
    let view = view(&simulator.url());
    let connection = connected(&view, bearer("mark-5ecret-t0ken\n")).await;
    simulator.script(When::always(), Scripted::errors(json!(["not valid: Bearer mark-5ecret-t0ken"])));
    let answer = format!("{:?}", post_stop(&connection, &[PlanId(1)], false).await);
    assert!(answer.contains("not valid: Bearer [redacted]"), "{answer}");
    assert!(!format!("{connection:?}").contains("5ecret"));
}

#[tokio::test]
async fn the_last_call_on_a_connection_closes_it() {
    let simulator = simulator(Config::default());
    let connection = connected(&view(&simulator.url()), bearer(TOKEN)).await;
    for (last_on_connection, connections) in [(true, 1), (false, 2), (false, 2)] {
        simulator.plans([614], Nature::Running);
        assert_eq!(post_stop(&connection, &[PlanId(614)], last_on_connection).await, clean());
        assert_eq!(simulator.connections(), connections);
    }
}

#[tokio::test]
async fn retry_after_comes_with_the_reply() {
    let simulator = simulator(Config::default());
    let view = view(&simulator.url());
    let connection = connected(&view, bearer(TOKEN)).await;
    simulator.script(When::always(), Scripted::html(503).retry_after(Duration::from_secs(7)));
    let expected = Reply { status: 503, retry_after: Some(Millis(7000)), body: Body::Other };
    assert_eq!(post_stop(&connection, &[PlanId(1)], false).await, Answer::Reply(expected));
}

/// The proxy is on loopback under a name, which is refused for gateways alone.
#[test]
fn proxies_of_the_environment_are_used() {
    const NAME: &str = "testinium::stop::tests::proxies_of_the_environment_are_used";
    let (listener, port) = listener();
    let proxy = format!("http://localhost:{port}");
    let answering = std::thread::spawn(move || {
        // The first connection is for plain http, which the proxy answers itself; the second is for https, for which it
        // opens no tunnel.
        let envelope = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\nConnection: close\r\n\r\n{\"data\":null,\"errors\":null}";
        let no_tunnel = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        [envelope, no_tunnel].map(|answer| {
            let (mut stream, _) = listener.accept().expect("the child connects");
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            stream.write_all(answer.as_bytes()).expect("the child reads");
            head.join("\n")
        })
    });
    let environment = [("HTTP_PROXY", &*proxy), ("HTTPS_PROXY", &proxy), ("NO_PROXY", "127.0.0.1")];
    if !is_child(NAME, &environment) {
        let [plain, tunnel] = answering.join().expect("both came");
        assert!(plain.starts_with("POST http://gateway.example.com/stop/execution "), "{plain}");
        assert!(tunnel.starts_with("CONNECT gateway.example.com:443 "), "{tunnel}");
        assert!(!tunnel.contains(TOKEN), "{tunnel}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let ca = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
        let data = || CredentialData { ca_pem: ca.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
        let view_of = |scheme: &str| view(&format!("{scheme}://gateway.example.com"));
        let plain = view_of("http");
        assert_eq!(post_stop(&connected(&plain, data()).await, &[PlanId(1)], false).await, clean());
        let secure = view_of("https");
        let lost = post_stop(&connected(&secure, data()).await, &[PlanId(1)], false).await;
        assert_eq!(lost, Answer::Lost(NoAnswer::Connect));
        let inside = view("http://169.254.169.254");
        let lost = post_stop(&connected(&inside, data()).await, &[PlanId(1)], false).await;
        assert_eq!(lost, Answer::Lost(NoAnswer::AddressRefused), "an address is refused behind a proxy too");
    });
}

/// NO_PROXY excepts the very host that the proxy is on: nothing but the request tells the two apart.
#[test]
fn a_gateway_on_the_proxys_own_host_is_refused_as_any_other_is() {
    const NAME: &str = "testinium::stop::tests::a_gateway_on_the_proxys_own_host_is_refused_as_any_other_is";
    if !is_child(NAME, &[("HTTP_PROXY", "http://localhost:3128"), ("NO_PROXY", "localhost")]) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let simulator = simulator(Config::default());
        let network = Network::new(Vec::new(), Vec::new());
        let url = simulator.url().replace("127.0.0.1", "localhost");
        let (connection, _) =
            connect(&view(&url), bearer(TOKEN), None, &network).await.expect("the test's data is usable");
        let lost = post_stop(&connection, &[PlanId(1)], false).await;
        assert_eq!(lost, Answer::Lost(NoAnswer::AddressRefused));
        assert!(simulator.requests().is_empty());
    });
}

#[test]
fn an_image_without_ca_certificates_says_so() {
    const NAME: &str = "testinium::stop::tests::an_image_without_ca_certificates_says_so";
    if !is_child(NAME, &[("SSL_CERT_FILE", "/nonexistent/ca.crt"), ("SSL_CERT_DIR", "/nonexistent")]) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let network = network();
        let secure = view("https://gateway.example.com");
        let error = connect(&secure, bearer(TOKEN), None, &network).await.expect_err("nobody is trusted");
        assert!(matches!(&error, ConnectError::Invalid(why) if why.contains("spec.tls.caRef")), "{error:?}");
        let plain = view("http://gateway.example.com");
        connect(&plain, bearer(TOKEN), None, &network).await.expect("plain http needs none");
    });
}

#[test]
fn references_to_nothing_are_not_the_system() {
    let mut view = view("https://gateway.example.com");
    view.spec.tls = Some(crate::api::Tls {
        ca_ref: Some(CaRef { kind: None, name: "ca".into(), key: None }),
        client_certificate_ref: Some(SecretRef { name: "client".into() }),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let connect = |data| runtime.block_on(connect(&view, data, None, &network()));
    for data in [bearer(TOKEN), CredentialData { ca_pem: Some(String::new()), ..bearer(TOKEN) }] {
        assert!(matches!(connect(data), Err(ConnectError::Invalid(_))));
    }
}
