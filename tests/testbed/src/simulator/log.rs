//! The record of every request, in the order in which they arrived.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use crate::record::Record;

/// The endpoint that a request went to.
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

/// The end of a request.
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
    /// That time, counted from the simulator's start.
    pub elapsed: Duration,
    /// The endpoint that it went to.
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
    /// Its end.
    pub answer: Answer,
}

/// The record, and the stop calls in flight.
pub(crate) struct Log {
    pub(crate) record: Record<Request>,
    flight: Mutex<Flight>,
}

#[derive(Default)]
struct Flight {
    now: usize,
    max: usize,
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
        Self { record: Record::new(), flight: Mutex::default() }
    }

    pub(crate) fn open(self: &Arc<Self>, request: Request) -> Entry {
        let endpoint = request.endpoint;
        if endpoint == Endpoint::Stop {
            let mut flight = self.flight();
            flight.now += 1;
            flight.max = flight.max.max(flight.now);
        }
        let serial = self.record.push(request);
        Entry { log: self.clone(), serial, endpoint, open: true }
    }

    pub(crate) fn in_flight_max(&self) -> usize {
        self.flight().max
    }

    pub(crate) fn forget(&self) {
        self.record.forget();
        let mut flight = self.flight();
        flight.max = flight.now;
    }

    pub(crate) fn observe(&self, observer: Arc<Observer>) {
        self.flight().observer = Some(observer);
    }

    fn close(&self, serial: usize, endpoint: Endpoint, answer: Answer) {
        let observer = {
            let mut flight = self.flight();
            if endpoint == Endpoint::Stop {
                flight.now -= 1;
            }
            flight.observer.clone()
        };
        let request = self.record.update(serial, |request| request.answer = answer);
        if let (Some(observer), Some(request)) = (observer, request) {
            observer(&request);
        }
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        // Nothing in here can be left half done.
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
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
        f.debug_struct("Log").field("record", &self.record).finish_non_exhaustive()
    }
}
