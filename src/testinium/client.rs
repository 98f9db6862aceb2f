//! One call: a request, and its reply or the reason for none.
//!
//! Bounded in time from the first connect to the last byte, and in size while it is read. Redirects are not
//! followed: the token would go wherever they point. Nothing is tried twice here but what hyper knows to be unsent
//! (a pooled connection that the gateway had closed).

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;
use url::Url;

use super::address::{AddressRefused, Guard};
use super::credential::Connection;
use super::redact::Secrets;
use super::wire;
use crate::aside;
use crate::machine::{Answer, Body, GatewayView, Loss, Millis, PlanId, Reply};
use crate::retry_after::retry_after;
use crate::text::chain;

/// The most of a body that is read. The envelope of a call with 1,000 complaints fits.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long connecting may take; a call with a shorter timeout ends before.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const COMPANY_ID: HeaderName = HeaderName::from_static("x-company-id");

/// A reply whose body was read to its end or to the bound. It may hold a token, so it can't be shown.
pub(super) struct Received {
    pub status: StatusCode,
    pub retry_after: Option<Millis>,
    /// None if it was longer than what is read.
    pub body: Option<Vec<u8>>,
}

/// Sends `POST <url>/stop/execution` with these plans.
///
/// `last_on_connection`: the next call shall go over a new connection. A connection may lead to one bad server among
/// several good ones for as long as it is open. HTTP/2 knows no such wish, and keeps its connection.
pub async fn post_stop(connection: &Connection, plans: &[PlanId], last_on_connection: bool) -> Answer {
    let request = stop_request(connection, plans, last_on_connection);
    match send(&connection.guard, &connection.stop_url, request).await {
        Ok(Received { status, retry_after, body }) => {
            let body = match body {
                Some(bytes) => read(connection, bytes, status.is_success()).await,
                None => Body::Other,
            };
            Answer::Reply(Reply { status: status.as_u16(), retry_after, body })
        }
        Err((loss, error)) => {
            let error = Secrets::new([connection.token.expose_secret()]).clean_error(&error);
            warn!(gateway = %connection.gateway, ?loss, error, "a call got no answer");
            Answer::Lost(loss)
        }
    }
}

/// What the body says, without the token. What can't be read says nothing.
async fn read(connection: &Connection, bytes: Vec<u8>, success: bool) -> Body {
    let token = connection.token.clone();
    // The worst text costs several times what a Secret of its length does: it is searched in a dozen readings.
    let size = bytes.len() * 4 + token.expose_secret().len();
    let read = move || wire::body(&bytes, success, &Secrets::new([token.expose_secret()]));
    aside::work(size, read).await.unwrap_or(Body::Other)
}

fn stop_request(connection: &Connection, plans: &[PlanId], last_on_connection: bool) -> RequestBuilder {
    let request = connection
        .http
        .post(connection.stop_url.clone())
        .timeout(connection.timeout)
        .headers(connection.headers.clone())
        .body(wire::request(plans));
    if last_on_connection { request.header(CONNECTION, "close") } else { request }
}

/// Where stops are sent.
pub(super) fn stop_url(view: &GatewayView) -> Result<Url, String> {
    let base = view.spec.url.trim_end_matches('/');
    checked_url("spec.url", &format!("{base}/stop/execution"), view)
}

/// A URL that a secret may be sent to.
pub(super) fn checked_url(field: &str, text: &str, view: &GatewayView) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{field} is not a URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if view.spec.allow_plain_http == Some(true) => {}
        "http" => return Err(format!("{field} must begin with https://, or allowPlainHTTP be true")),
        _ => return Err(format!("{field} must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{field} must not hold a user name or password: they belong into the Secret"));
    }
    Ok(url)
}

/// Where a URL leads, for the log: its query may hold what is nobody's business.
pub(super) fn place(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}

/// The headers of every stop: the token, the company if there is one, and the form of the body.
pub(super) fn stop_headers(view: &GatewayView, token: &SecretString) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(company) = company_id(view)? {
        headers.insert(COMPANY_ID, company);
    }
    let authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut authorization = authorization.map_err(|_| "the token can't be sent in a header".to_owned())?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Ok(headers)
}

pub(super) fn company_id(view: &GatewayView) -> Result<Option<HeaderValue>, String> {
    let text = view.spec.company_id.as_deref().filter(|text| !text.is_empty());
    text.map(|text| {
        HeaderValue::from_str(text).map_err(|_| "spec.companyID must be printable ASCII".to_owned())
    })
    .transpose()
}

/// How long one call to this gateway may take.
pub(super) fn timeout(view: &GatewayView) -> Duration {
    let seconds = view.spec.timeout_seconds.unwrap_or(30).clamp(1, 300);
    Duration::from_secs(seconds.unsigned_abs())
}

/// Sends a request and reads its reply. What is said of a loss is for the log: it holds no secret, but addresses.
pub(super) async fn send(
    guard: &Guard,
    url: &Url,
    request: RequestBuilder,
) -> Result<Received, (Loss, String)> {
    guard.check(url).map_err(|refused| (Loss::AddressRefused, refused.to_string()))?;
    receive(request).await.map_err(|error| (loss(&error), chain(&error.without_url())))
}

async fn receive(request: RequestBuilder) -> reqwest::Result<Received> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers());
    let retry_after = retry_after(headers, SystemTime::now());
    let announced = response.content_length().unwrap_or(0);
    let mut body = Vec::new();
    if announced > BODY_BYTES_MAX as u64 {
        return Ok(Received { status, retry_after, body: None });
    }
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Ok(Received { status, retry_after, body: None });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received { status, retry_after, body: Some(body) })
}

/// Why no answer came.
fn loss(error: &reqwest::Error) -> Loss {
    let over_tls = error.url().is_some_and(|url| url.scheme() == "https");
    // The most telling cause first: a refused address also counts as a failed lookup, which counts as a failed
    // connection.
    if find(error, |_: &AddressRefused| true) {
        Loss::AddressRefused
    } else if find(error, |_: &rustls::Error| true) || (over_tls && refused_after_handshake(error)) {
        Loss::Tls
    } else if error.is_dns() {
        Loss::Dns
    } else if error.is_connect() {
        Loss::Connect
    } else if error.is_timeout() {
        Loss::Timeout
    } else {
        Loss::Broken
    }
}

/// Whether the server went away right after the handshake. In TLS 1.3 that is how it refuses a client's certificate:
/// the client has finished by then. Of its alert HTTP/2 keeps the text alone, if the request had begun at all.
fn refused_after_handshake(error: &reqwest::Error) -> bool {
    find(error, hyper::Error::is_canceled) || chain(error).contains("received fatal alert")
}

/// Whether such an error is among the causes. An io::Error hides the one that it was made of from `source`.
fn find<E: Error + 'static>(error: &(dyn Error + 'static), is_it: impl Fn(&E) -> bool + Copy) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.downcast_ref::<E>().is_some_and(is_it) || inner.is_some_and(|inner| find(inner, is_it)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What all clients have in common.
pub(super) fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("testinium-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        // A call that times out leaves its HTTP/2 connection in the pool; without pings the next call would be put
        // onto the same dead one.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use serde_json::json;
    use testinium_testbed::simulator::{Config, ErrorShape, Nature, Reply as Scripted, Tls, When};

    use super::super::fixtures::{bearer, connected, is_child, listener, network, secret, simulator, view};
    use super::super::{ConnectError, Material, connect};
    use super::*;
    use crate::api::{CaRef, SecretRef};
    use crate::machine::Envelope;

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
        let config =
            Config { base_path: "/api".into(), company_id: Some("acme".into()), ..Config::default() };
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
            ("dropped", Scripted::dropped(), Answer::Lost(Loss::Broken)),
            ("truncated", Scripted::success().truncated(10), Answer::Lost(Loss::Broken)),
        ] {
            simulator.script(When::always(), scripted);
            assert_eq!(post_stop(&connection, &[PlanId(614)], false).await, expected, "{name}");
            simulator.clear_scripts();
        }
        assert!(simulator.elsewhere().is_empty(), "redirects are not followed");
    }

    #[tokio::test]
    async fn complaints_name_their_plan_in_every_shape() {
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
                let plans: Vec<_> = envelope.errors.iter().map(|complaint| complaint.plan).collect();
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
                Answer::Lost(Loss::Timeout),
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
            ("nobody listens", format!("http://127.0.0.1:{port}"), Loss::Connect),
            ("no such name", format!("http://{}.invalid", "x".repeat(64)), Loss::Dns),
            ("not HTTP", format!("http://127.0.0.1:{not_http}"), Loss::Broken),
            ("not TLS", format!("https://127.0.0.1:{not_http}"), Loss::Tls),
        ] {
            let view = view(&url);
            let material = Material { ca_pem: ca.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
            let connection = connected(&view, material).await;
            assert_eq!(post_stop(&connection, &[PlanId(1)], false).await, Answer::Lost(expected), "{name}");
        }
    }

    #[tokio::test]
    async fn inner_addresses_are_not_called() {
        let simulator = simulator(Config::default());
        let port = simulator.url().rsplit(':').next().expect("it has a port").to_owned();
        let network = super::super::Network::new(Vec::new(), Vec::new());
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let view = view(&format!("http://{host}:{port}"));
            let (connection, _) = connect(&view, bearer(TOKEN), None, &network).await.expect("it is usable");
            let answer = post_stop(&connection, &[PlanId(1)], false).await;
            assert_eq!(answer, Answer::Lost(Loss::AddressRefused), "{host}");
        }
        assert_eq!(simulator.connections(), 0);
    }

    #[tokio::test]
    async fn tls_trusts_whom_it_shall() {
        let own = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
        let other = simulator(Config { tls: Some(Tls::default()), ..Config::default() });
        let wrong_name = Tls { names: vec!["gateway.example.com".into()], ..Tls::default() };
        let wrong_name = simulator(Config { tls: Some(wrong_name), ..Config::default() });
        let with_ca = |ca: Option<&str>| Material { ca_pem: ca.map(str::to_owned), ..bearer(TOKEN) };
        for (name, server, ca, expected) in [
            ("its CA", &own, own.ca_pem(), clean()),
            ("another CA", &own, other.ca_pem(), Answer::Lost(Loss::Tls)),
            ("another name", &wrong_name, wrong_name.ca_pem(), Answer::Lost(Loss::Tls)),
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
            let anonymous = || Material { ca_pem: server.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
            let connection = connected(&view, anonymous()).await;
            let mut answers = Vec::new();
            // Now and then the connection is gone before the server's reason is read.
            while answers.len() < 10 && answers.last() != Some(&Answer::Lost(Loss::Tls)) {
                answers.push(post_stop(&connection, &[PlanId(1)], false).await);
            }
            assert_eq!(answers.last(), Some(&Answer::Lost(Loss::Tls)), "HTTP/2 {http2}: {answers:?}");
            assert!(server.calls().is_empty(), "HTTP/2 {http2}");

            let identity = server.client_identity().expect("TLS is on");
            let material = Material {
                client_cert_pem: Some(identity.certificate_pem.clone()),
                client_key_pem: secret(&identity.key_pem),
                ..anonymous()
            };
            let connection = connected(&view, material).await;
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
        const NAME: &str = "testinium::client::tests::proxies_of_the_environment_are_used";
        let (listener, port) = listener();
        let proxy = format!("http://localhost:{port}");
        let answering = std::thread::spawn(move || {
            // One for plain http, which the proxy answers itself, one for https, for which it opens no tunnel.
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
            let material = || Material { ca_pem: ca.ca_pem().map(str::to_owned), ..bearer(TOKEN) };
            let view_of = |scheme: &str| view(&format!("{scheme}://gateway.example.com"));
            let plain = view_of("http");
            assert_eq!(post_stop(&connected(&plain, material()).await, &[PlanId(1)], false).await, clean());
            let secure = view_of("https");
            let lost = post_stop(&connected(&secure, material()).await, &[PlanId(1)], false).await;
            assert_eq!(lost, Answer::Lost(Loss::Connect));
            let inside = view("http://169.254.169.254");
            let lost = post_stop(&connected(&inside, material()).await, &[PlanId(1)], false).await;
            assert_eq!(lost, Answer::Lost(Loss::AddressRefused), "an address is refused behind a proxy too");
        });
    }

    #[test]
    fn an_image_without_ca_certificates_says_so() {
        const NAME: &str = "testinium::client::tests::an_image_without_ca_certificates_says_so";
        if !is_child(NAME, &[("SSL_CERT_FILE", "/nonexistent/ca.crt"), ("SSL_CERT_DIR", "/nonexistent")]) {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let network = network();
            let secure = view("https://gateway.example.com");
            let error = connect(&secure, bearer(TOKEN), None, &network).await.expect_err("nobody is trusted");
            assert!(
                matches!(&error, ConnectError::Invalid(why) if why.contains("spec.tls.caRef")),
                "{error:?}"
            );
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
        let connect = |material| runtime.block_on(connect(&view, material, None, &network()));
        for material in [bearer(TOKEN), Material { ca_pem: Some(String::new()), ..bearer(TOKEN) }] {
            assert!(matches!(connect(material), Err(ConnectError::Invalid(_))));
        }
    }
}
