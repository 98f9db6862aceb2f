//! A client of the API server: JSON in, JSON out.
//!
//! For loops that ask thousands of times, where starting a `kubectl` each time would cost more than what it does. It
//! needs no runtime, blocks none, and can be shared by threads.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::Error;
use crate::pki;
use crate::serve::Background;

/// Talks to one API server, as its administrator. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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

    /// Sends a request; whatever the answer says, it is one.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let request = format!("{method} {path}");
        let (http, limit) = (self.http.clone(), self.limit);
        let built = build(method, &format!("{}{path}", self.url), body);
        let (sender, receiver) = std::sync::mpsc::channel();
        self.background.handle().spawn(async move {
            let asked = async {
                let response = http.request(built?).await?;
                let status = response.status().as_u16();
                let bytes = response.into_body().collect().await?.to_bytes();
                Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
            };
            let answer = match tokio::time::timeout(limit, asked).await {
                Ok(answer) => answer,
                Err(passed) => Err(Cause::from(passed)),
            };
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
