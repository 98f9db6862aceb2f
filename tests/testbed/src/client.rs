//! A client of the API server: JSON in, JSON out.
//!
//! For loops that ask thousands of times, where starting a `kubectl` each time would cost more than what it does. It
//! needs no runtime, blocks none, and can be shared by threads.
//!
//! Like `kubectl`, it asks again when the API server says `Retry-After`: for some moments after a definition was
//! installed, its collections answer 429.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use tokio::time::Instant;

use crate::Error;
use crate::pki;
use crate::serve::Background;

/// Talks to one API server, as its administrator. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    url: String,
    limit: Duration,
    background: Arc<Background>,
}

/// An answer of the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The object, or the Status that says what is wrong; null if it is no JSON.
    pub body: Value,
}

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Far above what any request takes, since nobody waits for more.
const LIMIT: Duration = Duration::from_secs(30);

// === impl Client ===

impl Client {
    pub(crate) fn new(url: &str, ca: &str, certificate: &str, key: &str) -> Result<Self, Error> {
        let tls = pki::client_config_as(ca, certificate, key)?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        let background =
            Background::start("api-client").map_err(Error::io("failed to start the client's thread"))?;
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { http, url: url.to_owned(), limit: LIMIT, background: Arc::new(background) })
    }

    /// The same client with another patience.
    #[must_use]
    pub fn patient_for(&self, limit: Duration) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Sends a request; whatever the answer says, it is one. It is sent again for as long as the API server asks for that
    /// and the patience lasts; then the last answer counts.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let request = format!("{method} {path}");
        let (http, limit) = (self.http.clone(), self.limit);
        let built = build(method, &format!("{}{path}", self.url), body);
        let (sender, receiver) = std::sync::mpsc::channel();
        self.background.handle().spawn(async move {
            let asked = async {
                let (request, deadline) = (built?, Instant::now() + limit);
                let mut last = None;
                loop {
                    let once = tokio::time::timeout_at(deadline, ask(&http, request.clone())).await;
                    let (answer, pause) = match (once, last) {
                        (Ok(answered), _) => answered?,
                        (Err(_), Some(last)) => return Ok(last),
                        (Err(elapsed), None) => return Err(elapsed.into()),
                    };
                    match pause.map(|pause| Instant::now() + pause) {
                        Some(next) if next < deadline => tokio::time::sleep_until(next).await,
                        _ => return Ok(answer),
                    }
                    last = Some(answer);
                }
            };
            let answer: Result<Answer, Cause> = asked.await;
            // The caller is waiting below.
            let _ = sender.send(answer);
        });
        match receiver.recv() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Unanswered { request, source }),
            Err(ended) => Err(Error::Unanswered { request, source: ended.into() }),
        }
    }

    /// The object at `path`; none if there is no such object.
    pub fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        let answer = self.send("GET", path, None)?;
        if answer.status == 404 { Ok(None) } else { answer.success("GET", path).map(Some) }
    }

    /// The items of the collection at `path`.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let list = self.send("GET", path, None)?.success("GET", path)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    pub fn create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.send("POST", path, Some(object))?.success("POST", path)
    }

    /// A JSON merge patch.
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value, Error> {
        self.send("PATCH", path, Some(patch))?.success("PATCH", path)
    }

    pub fn delete(&self, path: &str) -> Result<Value, Error> {
        self.send("DELETE", path, None)?.success("DELETE", path)
    }
}

/// What came of a request about an object that was there a moment ago, and need not be there now.
pub fn unless_gone(answer: Result<Value, Error>) -> Result<(), Error> {
    match answer {
        Err(Error::Refused { status: 404, .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// One answer, and for how long the API server wants to be left alone before it is asked again.
async fn ask(http: &Http, request: Request<Full<Bytes>>) -> Result<(Answer, Option<Duration>), Cause> {
    let response = http.request(request).await?;
    let (status, pause) = (response.status(), pause(response.status(), response.headers()));
    let bytes = response.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok((Answer { status: status.as_u16(), body }, pause))
}

/// The same answers that client-go takes for a request to come back.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let asks = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    let seconds = headers.get(RETRY_AFTER).filter(|_| asks)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn build(method: &str, url: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, Cause> {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(url).header(CONTENT_TYPE, content_type);
    Ok(request.body(Full::new(Bytes::from(body)))?)
}

// === impl Answer ===

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The mistake, in the API server's words.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn success(self, method: &str, path: &str) -> Result<Value, Error> {
        if self.is_success() {
            return Ok(self.body);
        }
        let (request, message) = (format!("{method} {path}"), self.message().to_owned());
        Err(Error::Refused { request, status: self.status, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{self, Fault, Proxy, When};
    use crate::pki::Authority;

    /// A server that has nothing, once it has answered so many requests with `fault`; and a client of it.
    fn server(times: usize, fault: Fault) -> (Proxy, Client) {
        let config = faults::Config { tls: true, ..faults::Config::new("http://127.0.0.1:9") };
        let proxy = Proxy::start(config).expect("a proxy starts");
        proxy.rule(When::next(times), fault);
        proxy.rule(When::always(), Fault::reject(404));
        let me =
            Authority::new("tests").and_then(|authority| authority.client("tester")).expect("a certificate");
        let ca = proxy.ca_pem().expect("it serves TLS").to_owned();
        let client = Client::new(&proxy.url(), &ca, &me.certificate_pem, &me.key_pem).expect("a client");
        (proxy, client)
    }

    fn statuses(proxy: &Proxy) -> Vec<Option<u16>> {
        proxy.traffic().iter().map(|exchange| exchange.status).collect()
    }

    #[test]
    fn it_asks_again_when_it_is_told_to() {
        for status in [429, 503] {
            let (proxy, client) = server(2, Fault::reject(status).retry_after(Duration::from_secs(1)));
            let answer = client.send("POST", "/api", Some(&Value::Null)).expect("it is answered");
            assert_eq!(answer.status, 404);
            assert_eq!(statuses(&proxy), [Some(status), Some(status), Some(404)]);
        }
    }

    #[test]
    fn it_does_not_ask_again_when_it_is_not_told_to_or_must_wait_longer_than_it_will() {
        let hour = Duration::from_secs(3600);
        let (conflict, refusal) =
            (Fault::reject(409).retry_after(hour), Fault::reject(429).retry_after(hour));
        for (status, fault) in [(500, Fault::reject(500)), (409, conflict), (429, refusal)] {
            let (proxy, client) = server(1, fault);
            assert_eq!(client.send("GET", "/api", None).expect("it is answered").status, status);
            assert_eq!(statuses(&proxy), [Some(status)]);
        }
    }
}
