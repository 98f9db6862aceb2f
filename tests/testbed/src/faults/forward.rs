//! The way of one request through the proxy.
//!
//! Request -> traffic -> rule -> callback -> server -> callback -> answer, piece by piece as it comes -> traffic.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::http::{request, response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio::sync::watch;

use super::rule::{Act, After, Break, Fault, Rules, Then, When};
use super::traffic::{Exchange, Outcome, Verb};
use crate::record::Record;
use crate::serve::{Body, Connection};

pub(crate) type Upstream = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The state that the requests share.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) upstream: Upstream,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) traffic: Record<Exchange>,
    pub(crate) rules: Mutex<Rules>,
    /// Told to the answers that are being handed on; later ones have not subscribed yet.
    pub(crate) breaks: watch::Sender<Option<Arc<BreakOpen>>>,
}

/// A break of answers that are already on their way.
#[derive(Debug)]
pub(crate) struct BreakOpen {
    pub(crate) when: When,
    pub(crate) how: Break,
}

/// An exchange under way; dropped before its end, it counts as abandoned.
#[derive(Debug)]
struct Entry {
    forwarder: Arc<Forwarder>,
    serial: usize,
    open: bool,
}

/// An answer being handed on.
struct Answer {
    body: Incoming,
    entry: Entry,
    exchange: Exchange,
    breaks: watch::Receiver<Option<Arc<BreakOpen>>>,
    /// Lines until it breaks, and how.
    limit: Option<(usize, Break)>,
    broken: Option<Break>,
}

// === impl Forwarder ===

impl Forwarder {
    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        // A test's closure that panicked in here has left nothing half done.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn serve(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
        connection: Connection,
    ) -> hyper::Response<Body> {
        let (head, body) = request.into_parts();
        // A client that goes away in the middle of its request has asked nothing.
        let Ok(body) = body.collect().await else { return connection.cut().await };
        let mut exchange = self.exchange(&head, body.to_bytes(), connection.serial);
        let (mut entry, fault) = {
            let mut rules = self.rules();
            let struck = rules.strike(&exchange);
            exchange.rule = struck.as_ref().map(|(rule, _)| *rule);
            let serial = self.traffic.push(exchange.clone());
            let entry = Entry { forwarder: self.clone(), serial, open: true };
            (entry, struck.map_or_else(Fault::none, |(_, fault)| fault))
        };
        let Fault { delay, before, act, after } = fault;
        if let Some(before) = before {
            let told = exchange.clone();
            if blocking(move || before(&told)).await != Some(Then::GoOn) {
                entry.close(Outcome::Broken);
                return connection.cut().await;
            }
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match act {
            Act::Hang => pending().await,
            Act::Cut => {
                entry.close(Outcome::Broken);
                connection.cut().await
            }
            Act::Reject { status, retry_after } => entry.made_up(rejection(status, retry_after)),
            Act::WatchError { status } => {
                let event = json!({"type": "ERROR", "object": status_object(status)});
                entry.made_up(json_response(200, format!("{event}\n")))
            }
            Act::Forward | Act::DropReply | Act::HangReply | Act::Break { .. } => {
                self.ask(head, exchange, entry, act, after, connection).await
            }
        }
    }

    /// Asks the server, and does with its answer what is to be done.
    async fn ask(
        self: Arc<Self>,
        head: request::Parts,
        mut exchange: Exchange,
        mut entry: Entry,
        act: Act,
        after: Option<Arc<After>>,
        connection: Connection,
    ) -> hyper::Response<Body> {
        let breaks = self.breaks.subscribe();
        let Ok((answered, body)) = self.forward(head, exchange.body.clone(), &entry).await else {
            // As the server fails, so does the proxy: a made-up 502 would be an answer that nobody gave.
            entry.close(Outcome::Broken);
            return connection.cut().await;
        };
        exchange.forwarded = true;
        exchange.status = Some(answered.status.as_u16());
        if let Some(after) = after {
            let told = exchange.clone();
            // A callback that panicked has said so, and the test goes on to its own end.
            let _ = blocking(move || after(&told)).await;
        }
        let limit = match act {
            Act::DropReply => {
                entry.close(Outcome::Broken);
                return connection.cut().await;
            }
            Act::HangReply => return pending().await,
            Act::Break { lines, how } => Some((lines, how)),
            _ => None,
        };
        Answer { body, entry, exchange, breaks, limit, broken: None }.response(answered)
    }

    fn exchange(&self, head: &request::Parts, body: Bytes, connection: u64) -> Exchange {
        let at = Instant::now();
        let (method, path) = (head.method.as_str(), head.uri.path());
        let query = head.uri.query().unwrap_or_default();
        Exchange {
            at,
            elapsed: self.traffic.elapsed(at),
            method: method.to_owned(),
            verb: Verb::of(method, path, query),
            path: path.to_owned(),
            query: query.to_owned(),
            body,
            authorized: head.headers.contains_key(header::AUTHORIZATION),
            connection,
            rule: None,
            forwarded: false,
            status: None,
            lines: 0,
            outcome: Outcome::Pending,
            ended: None,
        }
    }

    async fn forward(
        &self,
        head: request::Parts,
        body: Bytes,
        entry: &Entry,
    ) -> Result<(response::Parts, Incoming), Box<dyn std::error::Error + Send + Sync>> {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri =
            Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = head.method;
        *request.uri_mut() = uri.build()?;
        *request.headers_mut() = end_to_end(head.headers);
        request.headers_mut().remove(header::HOST);
        entry.update(|exchange| exchange.forwarded = true);
        let (head, body) = self.upstream.request(request).await?.into_parts();
        entry.update(|exchange| exchange.status = Some(head.status.as_u16()));
        Ok((head, body))
    }
}

// === impl Entry ===

impl Entry {
    fn update(&self, change: impl FnOnce(&mut Exchange)) {
        self.forwarder.traffic.update(self.serial, change);
    }

    fn close(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.open, false) {
            let ended = self.forwarder.traffic.elapsed(Instant::now());
            self.update(|exchange| {
                exchange.outcome = outcome;
                exchange.ended = Some(ended);
            });
        }
    }

    fn made_up(&mut self, response: hyper::Response<Body>) -> hyper::Response<Body> {
        self.update(|exchange| exchange.status = Some(response.status().as_u16()));
        self.close(Outcome::Complete);
        response
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(Outcome::Abandoned);
    }
}

// === impl Answer ===

impl Answer {
    fn response(mut self, head: response::Parts) -> hyper::Response<Body> {
        let mut headers = end_to_end(head.headers);
        if self.limit.is_some() {
            // The answer may end before that.
            headers.remove(header::CONTENT_LENGTH);
        }
        if self.body.is_end_stream() {
            self.entry.close(Outcome::Complete);
        }
        let frames = stream::unfold(self, async |mut answer| Some((answer.next().await?, answer)));
        let mut response = hyper::Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        response
    }

    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        loop {
            if self.limit.is_some_and(|(lines, _)| lines == 0) {
                self.broken = self.limit.map(|(_, how)| how);
            }
            if let Some(how) = self.broken {
                return self.broken_off(how).await;
            }
            tokio::select! {
                // Nothing is handed on after an order to break.
                biased;
                Ok(()) = self.breaks.changed() => {
                    let order = self.breaks.borrow_and_update().clone();
                    self.broken = order.filter(|order| order.when.matches(&self.exchange)).map(|order| order.how);
                }
                frame = self.body.frame() => return self.frame(frame),
            }
        }
    }

    fn frame(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<io::Result<Frame<Bytes>>> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.entry.close(Outcome::Broken);
                return Some(Err(io::Error::other(error)));
            }
            None => {
                self.entry.close(Outcome::Complete);
                return None;
            }
        };
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Some(Ok(trailers)),
        };
        let (bytes, lines) = self.cut_to_limit(bytes);
        if let Some((left, _)) = &mut self.limit {
            *left -= lines;
        }
        self.entry.update(|exchange| exchange.lines += lines);
        // Where the length is known, nobody asks for the end.
        if self.body.is_end_stream() && self.limit.is_none() {
            self.entry.close(Outcome::Complete);
        }
        Some(Ok(Frame::data(bytes)))
    }

    /// The part of `bytes` that may pass, and the lines that end in it.
    fn cut_to_limit(&self, bytes: Bytes) -> (Bytes, usize) {
        let most = self.limit.map_or(usize::MAX, |(lines, _)| lines);
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
        let ends: Vec<usize> = ends.take(most).collect();
        let length = if ends.len() == most { ends.last().copied().unwrap_or(0) } else { bytes.len() };
        (bytes.slice(..length), ends.len())
    }

    async fn broken_off(&mut self, how: Break) -> Option<io::Result<Frame<Bytes>>> {
        match how {
            Break::Freeze => pending().await,
            Break::End => {
                self.entry.close(Outcome::Complete);
                None
            }
            Break::Cut => {
                // The bytes so far leave when the body has nothing to give for once; else the break overtakes them.
                tokio::task::yield_now().await;
                self.entry.close(Outcome::Broken);
                Some(Err(io::Error::other("broken off by a rule")))
            }
        }
    }
}

/// Without the headers that are about one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [header::CONNECTION, header::EXPECT, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];
    for name in always.into_iter().chain([HeaderName::from_static("keep-alive")]).chain(named) {
        headers.remove(name);
    }
    headers
}

fn rejection(status: u16, retry_after: Option<Duration>) -> hyper::Response<Body> {
    let mut response = json_response(status, status_object(status).to_string());
    if let Some(delay) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, delay.as_secs().into());
    }
    response
}

fn json_response(status: u16, body: String) -> hyper::Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = hyper::Response::new(body);
    // Only a number outside 100..=999 is refused, and a test with such a rule sees this 500.
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The object with which an API server explains a failure.
fn status_object(status: u16) -> serde_json::Value {
    let reason = match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("refused by a rule of the fault proxy with {status}"),
        "reason": reason,
        "code": status,
    })
}

/// Runs a callback where it may block; none if it panicked.
async fn blocking<T: Send + 'static>(callback: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(callback).await.ok()
}
