//! The record of every request, in the order in which they arrived.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/stop/execution` of the gateway.
    Stop,
    /// `/Testinium.RestApi/oauth/token`.
    Token,
    /// `/Testinium.RestApi/api/plans/{id}/checkIsRunning`.
    CheckIsRunning,
    /// `/Testinium.RestApi/api/plans/{id}/stop`, the stop of version 1.16.
    StopOne,
    /// The other origin, where redirects point and nobody has any business.
    Elsewhere,
    /// No endpoint of the API.
    Unknown,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not answered yet.
    Pending,
    /// Answered with this status.
    Status(u16),
    /// The simulator broke the connection instead.
    Dropped,
    /// The client went away first, or the simulator was taken down.
    Abandoned,
}

/// One request. `Debug` and `Display` show no credentials.
#[derive(Clone)]
pub struct Request {
    /// When its head had arrived.
    pub at: Instant,
    /// The same, since the simulator's start.
    pub elapsed: Duration,
    /// Where it went.
    pub endpoint: Endpoint,
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Which connection of its listener it came over, counted from 0.
    pub connection: u64,
    /// Whether it came over HTTP/2.
    pub http2: bool,
    /// The header as presented.
    pub authorization: Option<String>,
    /// Whether a stop or question carried a token that was valid on arrival; for a login, the client's credential.
    pub authorized: bool,
    /// `Content-Type` as presented.
    pub content_type: Option<String>,
    /// `X-Company-Id` as presented.
    pub company_id: Option<String>,
    /// The ids it names, as far as they could be read.
    pub plans: Vec<i64>,
    /// The body as received.
    pub body: Bytes,
    /// What came of it.
    pub answer: Answer,
}

/// The requests that were waited for did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("failed to see the requests waited for within {limit:?}; seen instead: {seen:#?}")]
pub struct LimitPassed {
    limit: Duration,
    seen: Vec<Request>,
}

pub(crate) struct Log {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    forgotten: usize,
    in_flight: usize,
    in_flight_max: usize,
    observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&Request) + Send + Sync;

/// A request that is being answered; dropped without an answer, it counts as abandoned.
pub(crate) struct Entry {
    log: Arc<Log>,
    serial: usize,
    endpoint: Endpoint,
    open: bool,
}

// === impl Log ===

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
            version: watch::channel(0).0,
        }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn open(self: &Arc<Self>, request: Request) -> Entry {
        let mut state = self.lock();
        if request.endpoint == Endpoint::Stop {
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
        }
        let serial = state.forgotten + state.requests.len();
        let endpoint = request.endpoint;
        state.requests.push(request);
        self.announce(state);
        Entry { log: self.clone(), serial, endpoint, open: true }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub(crate) fn in_flight_max(&self) -> usize {
        self.lock().in_flight_max
    }

    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        state.forgotten += state.requests.len();
        state.requests.clear();
        state.in_flight_max = state.in_flight;
        self.announce(state);
    }

    pub(crate) fn observe(&self, observer: Arc<Observer>) {
        self.lock().observer = Some(observer);
    }

    pub(crate) async fn wait_for(
        &self,
        wanted: impl Fn(&[Request]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Request>, LimitPassed> {
        let mut changes = self.version.subscribe();
        let seen = async {
            loop {
                changes.mark_unchanged();
                if let Some(requests) = self.requests_if(&wanted) {
                    return requests;
                }
                // The sender lives as long as `self`.
                let _ = changes.changed().await;
            }
        };
        match tokio::time::timeout(limit, seen).await {
            Ok(requests) => Ok(requests),
            Err(_) => Err(LimitPassed { limit, seen: self.requests() }),
        }
    }

    pub(crate) fn wait_for_blocking(
        &self,
        wanted: impl Fn(&[Request]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Request>, LimitPassed> {
        let unwanted = |state: &mut State| !wanted(&state.requests);
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, unwanted)
            .unwrap_or_else(PoisonError::into_inner);
        let seen = state.requests.clone();
        drop(state);
        if wanted(&seen) { Ok(seen) } else { Err(LimitPassed { limit, seen }) }
    }

    fn requests_if(&self, wanted: impl Fn(&[Request]) -> bool) -> Option<Vec<Request>> {
        let state = self.lock();
        wanted(&state.requests).then(|| state.requests.clone())
    }

    fn close(&self, serial: usize, endpoint: Endpoint, answer: Answer) {
        let mut state = self.lock();
        if endpoint == Endpoint::Stop {
            state.in_flight -= 1;
        }
        let index = serial.checked_sub(state.forgotten);
        let Some(request) = index.and_then(|index| state.requests.get_mut(index)) else { return };
        request.answer = answer;
        let request = request.clone();
        let observer = state.observer.clone();
        self.announce(state);
        if let Some(observer) = observer {
            observer(&request);
        }
    }

    fn announce(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A predicate that panicked in a test has left nothing half done in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entry ===

impl Entry {
    /// Notes what came of the request. To be called before the client can know, so that a client that keeps to a
    /// limit is never seen exceeding it.
    pub(crate) fn close(&mut self, answer: Answer) {
        if std::mem::replace(&mut self.open, false) {
            self.log.close(self.serial, self.endpoint, answer);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(Answer::Abandoned);
    }
}

// === impl Request ===

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elapsed, method, path, plans, answer, authorized, authorization, .. } = self;
        let credential = match (authorized, authorization) {
            (true, _) => "valid credential",
            (false, Some(_)) => "invalid credential",
            (false, None) => "no credential",
        };
        write!(f, "{:>9.3}s {method} {path} {plans:?} ({credential}) -> ", elapsed.as_secs_f64())?;
        match answer {
            Answer::Pending => write!(f, "pending"),
            Answer::Status(status) => write!(f, "{status}"),
            Answer::Dropped => write!(f, "dropped"),
            Answer::Abandoned => write!(f, "abandoned"),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl others ===

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("requests", &self.lock().requests).finish_non_exhaustive()
    }
}
