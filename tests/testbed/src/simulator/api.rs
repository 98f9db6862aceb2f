//! The published API: which request is answered how.
//!
//! Request -> endpoint -> log -> script, else checks -> plans -> reply -> log.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Version};
use serde::Deserialize;
use serde_json::json;

use super::config::Config;
use super::log::{Answer, Endpoint, Entry, Log, Request};
use super::login::{Tokens, media_type};
use super::plans::{Judgement, Plans, Rules};
use super::reply::{Content, Fate, Message, Reply};
use super::script::Scripts;
use crate::serve::{Body, Connection};

/// The origins the simulator serves, each on a port of its own as at a real site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Gateway,
    RestApi,
    Elsewhere,
}

/// The state behind the ports.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) config: Config,
    pub(crate) log: Arc<Log>,
    pub(crate) elsewhere: Arc<Log>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) plans: Plans,
    pub(crate) tokens: Tokens,
    pub(crate) scripts: Scripts,
    pub(crate) latency: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopRequest {
    plans: Vec<i64>,
}

/// A request taken apart.
struct Call {
    method: Method,
    endpoint: Endpoint,
    /// The id in the path.
    plan: Option<i64>,
    headers: HeaderMap,
    /// The body; none if it was larger than the gateway takes.
    body: Option<Bytes>,
}

// === impl Api ===

impl Api {
    pub(crate) fn new(config: Config) -> Self {
        let rules = Rules {
            default_nature: config.default_nature,
            unknown: config.unknown,
            not_running: config.not_running,
            stops_the_others: config.stops_the_others,
        };
        let state = State {
            plans: Plans::new(rules),
            tokens: Tokens::new(config.login.clone(), config.token.clone(), config.token_refusal),
            scripts: Scripts::default(),
            latency: config.latency,
        };
        Self { config, log: Arc::new(Log::new()), elsewhere: Arc::new(Log::new()), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A test's closure that panicked in here has left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn serve(
        self: Arc<Self>,
        site: Site,
        request: hyper::Request<Incoming>,
        connection: Connection,
    ) -> hyper::Response<Body> {
        let at = Instant::now();
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (endpoint, plan) = self.endpoint(site, head.uri.path());
        let body = match Limited::new(body, BODY_MAX).collect().await {
            Ok(body) => Some(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => None,
            // The client went away in the middle of its request, which therefore never was one.
            Err(_) => return connection.cut().await,
        };
        let http2 = head.version == Version::HTTP_2;
        let call = Call { method: head.method, endpoint, plan, headers: head.headers, body };
        let log = if site == Site::Elsewhere { &self.elsewhere } else { &self.log };

        let (mut entry, mut reply, delay) = {
            let mut state = self.state();
            let record = call.record(&state.tokens, path, at, log.record.elapsed(at));
            let record = Request { connection: connection.serial, http2, ..record };
            let mut reply = state.scripts.reply(&record);
            if let Some(quote) = reply.quote {
                reply.message = quote.reply(&record).message;
            }
            let natural = |state: &mut State| self.natural(state, &call, &record, at);
            match (reply.message.is_none(), reply.acts) {
                (true, true) => reply.message = natural(&mut state).message,
                (true, false) => reply.message = Reply::success().message,
                (false, true) => drop(state.plans.stop(&record.plans, at)),
                (false, false) => {}
            }
            let delay = state.latency + reply.delay;
            (log.open(record), reply, delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(hold) = &reply.hold {
            hold.released().await;
        }
        match (reply.fate, reply.message.take()) {
            (Fate::Arrives, Some(message)) => deliver(message, entry),
            (Fate::Never, _) => std::future::pending().await,
            (Fate::Dropped, _) | (Fate::Arrives, None) => {
                entry.close(Answer::Dropped);
                connection.cut().await
            }
        }
    }

    /// The endpoint at `path`, and the plan in the path.
    fn endpoint(&self, site: Site, path: &str) -> (Endpoint, Option<i64>) {
        match site {
            Site::Elsewhere => (Endpoint::Elsewhere, None),
            Site::Gateway => match path.strip_prefix(self.config.base_path.as_str()) {
                Some("/stop/execution") => (Endpoint::Stop, None),
                _ => (Endpoint::Unknown, None),
            },
            Site::RestApi => match path.strip_prefix("/Testinium.RestApi") {
                Some("/oauth/token") => (Endpoint::Token, None),
                Some(path) => plan_endpoint(path).unwrap_or((Endpoint::Unknown, None)),
                None => (Endpoint::Unknown, None),
            },
        }
    }

    /// The answer of the gateway when nothing is scripted.
    fn natural(&self, state: &mut State, call: &Call, record: &Request, now: Instant) -> Reply {
        let (method, endpoint) = (&call.method, call.endpoint);
        let allowed = match endpoint {
            Endpoint::Unknown | Endpoint::Elsewhere => {
                let foreign = self.config.unknown_path.map(|foreign| foreign.reply(&record.path));
                return foreign.unwrap_or_else(|| Reply::refusal(404));
            }
            Endpoint::Stop | Endpoint::Token => Method::POST,
            Endpoint::CheckIsRunning | Endpoint::StopOne => Method::GET,
        };
        if *method != allowed {
            return Reply::method_not_allowed(allowed.as_str());
        }
        let Some(body) = &call.body else { return Reply::refusal(413) };
        if endpoint == Endpoint::Token {
            return state.tokens.answer(&call.headers, body, now);
        }
        if !record.authorized {
            return state.tokens.refused(&record.path);
        }
        match endpoint {
            Endpoint::CheckIsRunning => check_is_running(&state.plans, call.plan, now),
            Endpoint::StopOne => stop_one(&mut state.plans, call.plan, now),
            _ => self.stop(&mut state.plans, record, now),
        }
    }

    fn stop(&self, plans: &mut Plans, record: &Request, now: Instant) -> Reply {
        let content_type = record.content_type.as_deref().unwrap_or_default();
        let company_wrong = self.config.company_id.is_some() && self.config.company_id != record.company_id;
        if media_type(content_type) != "application/json" || company_wrong {
            return Reply::refusal(400);
        }
        let Ok(StopRequest { plans: ids }) = serde_json::from_slice(&record.body) else {
            return Reply::refusal(400);
        };
        if ids.is_empty() || self.config.max_plans.is_some_and(|most| ids.len() > most) {
            return Reply::refusal(400);
        }
        Reply::judged(&plans.stop(&ids, now), self.config.error_shape, self.config.errors_name_plans)
    }
}

// === impl Call ===

impl Call {
    fn record(&self, tokens: &Tokens, path: String, at: Instant, elapsed: Duration) -> Request {
        let header =
            |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let authorization = header(AUTHORIZATION.as_str());
        let authorized = match self.endpoint {
            Endpoint::Token => tokens.client_authorized(authorization.as_deref()),
            _ => tokens.authorized(authorization.as_deref(), at),
        };
        let body = self.body.clone().unwrap_or_default();
        let plans = match self.plan {
            Some(plan) => vec![plan],
            None => {
                serde_json::from_slice::<StopRequest>(&body).map(|request| request.plans).unwrap_or_default()
            }
        };
        Request {
            at,
            elapsed,
            endpoint: self.endpoint,
            method: self.method.to_string(),
            path,
            connection: 0,
            http2: false,
            authorization,
            authorized,
            content_type: header(CONTENT_TYPE.as_str()),
            company_id: header("x-company-id"),
            plans,
            body,
            answer: Answer::Pending,
        }
    }
}

fn plan_endpoint(path: &str) -> Option<(Endpoint, Option<i64>)> {
    let (id, verb) = path.strip_prefix("/api/plans/")?.split_once('/')?;
    let id = id.parse().ok()?;
    match verb {
        "checkIsRunning" => Some((Endpoint::CheckIsRunning, Some(id))),
        "stop" => Some((Endpoint::StopOne, Some(id))),
        _ => None,
    }
}

fn check_is_running(plans: &Plans, plan: Option<i64>, now: Instant) -> Reply {
    match plan.and_then(|plan| plans.runs(plan, now)) {
        Some(running) => Reply::json(200, &json!({"status": "SUCCESS", "running": running})),
        None => Reply::refusal(404),
    }
}

/// The stop of version 1.16, whose answer has a status in words and no envelope.
fn stop_one(plans: &mut Plans, plan: Option<i64>, now: Instant) -> Reply {
    let Some(plan) = plan.filter(|plan| plans.runs(*plan, now).is_some()) else { return Reply::refusal(404) };
    match plans.stop(&[plan], now) {
        Judgement::Done { faults, .. } if faults.is_empty() => {
            Reply::json(200, &json!({"status": "SUCCESS", "message": "The plan is being stopped"}))
        }
        Judgement::Done { .. } => Reply::not_available(),
        Judgement::Refused { fault, .. } if fault.code == "NOT_AVAILABLE" => Reply::not_available(),
        Judgement::Refused { status, .. } => Reply::refusal(status),
    }
}

fn deliver(message: Message, mut entry: Entry) -> hyper::Response<Body> {
    let Message { status, headers, content } = message;
    let answer = Answer::Status(status.as_u16());
    let body = match content {
        Content::Whole(bytes) => {
            entry.close(answer);
            Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
        }
        Content::Truncated(bytes) => {
            entry.close(Answer::Dropped);
            // The bytes so far leave when the body has nothing to give for once; else the break would overtake them.
            let broken = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("scripted to break off"))
            });
            streamed(stream::iter([Ok(bytes)]).chain(broken))
        }
        Content::Dripping { bytes, chunk, pause } => dripping(bytes, chunk, pause, entry, answer),
        Content::Filler(length) => {
            entry.close(answer);
            filler(length)
        }
    };
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The call is over with its last byte, so the entry travels with the body.
fn dripping(bytes: Bytes, chunk: usize, pause: Duration, entry: Entry, answer: Answer) -> Body {
    streamed(stream::unfold((bytes, entry), move |(mut bytes, mut entry)| async move {
        if bytes.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = bytes.split_to(chunk.min(bytes.len()));
        if bytes.is_empty() {
            entry.close(answer);
        }
        Some((Ok(piece), (bytes, entry)))
    }))
}

/// One valid envelope of `length` bytes or a little more, never held as a whole.
fn filler(length: u64) -> Body {
    const HEAD: &[u8] = b"{\"data\":\"";
    const TAIL: &[u8] = b"\",\"errors\":null}";
    const PIECE: &[u8] = &[b'x'; 16 * 1024];
    let filling = length.saturating_sub((HEAD.len() + TAIL.len()) as u64);
    let middle = stream::unfold(filling, |left| async move {
        let piece = left.min(PIECE.len() as u64);
        (piece > 0).then(|| (Bytes::from_static(&PIECE[..piece as usize]), left - piece))
    });
    let ends = |bytes| stream::iter([Bytes::from_static(bytes)]);
    streamed(ends(HEAD).chain(middle).chain(ends(TAIL)).map(Ok))
}

fn streamed(bytes: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    BodyExt::boxed_unsync(StreamBody::new(bytes.map(|bytes| bytes.map(Frame::data))))
}

/// The room for a list of ten thousand 64-bit ids, and more.
const BODY_MAX: usize = 1024 * 1024;
