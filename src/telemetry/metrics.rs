//! Counters, gauges and the one histogram.
//!
//! Labels come from closed enums only, so that no user can make the number of series grow; every series is there
//! from the start, so that a rate is zero and not absent.

use std::fmt::{self, Write};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{
    EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder, text,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::api::Outcome;
use crate::machine::{Answer, Body, Kind, Loss, WriteResult};

/// What is measured. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    calls: Family<Label<CallResult>, Counter>,
    call_duration: Histogram,
    plans_settled: Family<Label<Outcome>, Counter>,
    status_writes: Family<Label<WriteClass>, Counter>,
    watch_restarts: Family<Label<Kind>, Counter>,
    unreadable_objects: Family<Label<Kind>, Counter>,
    events_dropped: Counter,
    panics_contained: Counter,
    runs_active: Gauge,
    plans_queued: Gauge,
    calls_in_flight: Gauge,
    leader: Gauge,
    tasks: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("testinium");
        let r = &mut registry;
        let call_duration =
            Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
        let help = "Time from sending a call to the end of its answer, calls without an answer included";
        r.register_with_unit("gateway_call_duration", help, Unit::Seconds, call_duration.clone());
        let (events_dropped, panics_contained) = (Counter::default(), Counter::default());
        let (runs_active, plans_queued, calls_in_flight, leader, tasks) = Default::default();
        gauge(r, "runs_active", "Runs that are being stopped or wait for something", &runs_active);
        gauge(r, "plans_queued", "Plans that wait for a call to a gateway", &plans_queued);
        gauge(r, "gateway_calls_in_flight", "Calls to gateways that are not answered yet", &calls_in_flight);
        gauge(r, "leader", "1 if this replica acts, 0 if it stands by", &leader);
        gauge(r, "tasks", "Tasks of this process that have not ended", &tasks);
        r.register(
            "events_dropped",
            "Kubernetes events not sent because too many were waiting",
            events_dropped.clone(),
        );
        r.register(
            "panics_contained",
            "Panics that cost one run and not the process",
            panics_contained.clone(),
        );
        Self {
            calls: family(r, "gateway_calls", "Calls to gateways by how they ended", &CallResult::ALL),
            plans_settled: family(r, "plans_settled", "Plans by what became of them", &OUTCOMES),
            status_writes: family(r, "status_writes", "Status writes by how they ended", &WriteClass::ALL),
            watch_restarts: family(
                r,
                "watch_restarts",
                "Watches opened again after an error, by kind",
                &KINDS,
            ),
            unreadable_objects: family(
                r,
                "unreadable_objects",
                "Objects skipped as not decodable, by kind",
                &KINDS,
            ),
            call_duration,
            events_dropped,
            panics_contained,
            runs_active,
            plans_queued,
            calls_in_flight,
            leader,
            tasks,
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// A call to a gateway has ended.
    pub fn call_ended(&self, answer: &Answer, took: Duration) {
        self.calls.get_or_create(&Label(answer.into())).inc();
        self.call_duration.observe(took.as_secs_f64());
    }

    /// This became of a plan, and is about to be written.
    pub fn plan_settled(&self, outcome: Outcome) {
        self.plans_settled.get_or_create(&Label(outcome)).inc();
    }

    /// A status write has ended.
    pub fn status_written(&self, result: WriteResult) {
        self.status_writes.get_or_create(&Label(result.into())).inc();
    }

    /// A watch failed and is opened again.
    pub fn watch_restarted(&self, kind: Kind) {
        self.watch_restarts.get_or_create(&Label(kind)).inc();
    }

    /// An object was skipped because it could not be decoded.
    pub fn object_unreadable(&self, kind: Kind) {
        self.unreadable_objects.get_or_create(&Label(kind)).inc();
    }

    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub fn panic_contained(&self) {
        self.panics_contained.inc();
    }

    pub fn set_runs_active(&self, count: usize) {
        set(&self.runs_active, count);
    }

    pub fn set_plans_queued(&self, count: usize) {
        set(&self.plans_queued, count);
    }

    pub fn set_calls_in_flight(&self, count: usize) {
        set(&self.calls_in_flight, count);
    }

    pub fn set_tasks(&self, count: usize) {
        set(&self.tasks, count);
    }

    pub fn set_leader(&self, leads: bool) {
        set(&self.leader, usize::from(leads));
    }

    /// All of it in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// How a call to a gateway ended, as a label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CallResult {
    /// 2xx with the envelope that Testinium documents.
    Envelope,
    /// 2xx with something else.
    Unrecognised,
    Redirect,
    Unauthorized,
    Forbidden,
    /// 429.
    Throttled,
    /// Another 4xx.
    Refused,
    /// 5xx.
    ServerError,
    Timeout,
    Dns,
    Connect,
    Tls,
    Broken,
    AddressRefused,
}

impl CallResult {
    const ALL: [Self; 14] = [
        Self::Envelope,
        Self::Unrecognised,
        Self::Redirect,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Throttled,
        Self::Refused,
        Self::ServerError,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Broken,
        Self::AddressRefused,
    ];
}

impl From<&Answer> for CallResult {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Reply(reply) => match (reply.status, &reply.body) {
                (200..=299, Body::Envelope(_)) => Self::Envelope,
                (300..=399, _) => Self::Redirect,
                (401, _) => Self::Unauthorized,
                (403, _) => Self::Forbidden,
                (429, _) => Self::Throttled,
                (400..=499, _) => Self::Refused,
                (500..=599, _) => Self::ServerError,
                _ => Self::Unrecognised,
            },
            Answer::Lost(Loss::Timeout) => Self::Timeout,
            Answer::Lost(Loss::Dns) => Self::Dns,
            Answer::Lost(Loss::Connect) => Self::Connect,
            Answer::Lost(Loss::Tls) => Self::Tls,
            Answer::Lost(Loss::Broken) => Self::Broken,
            Answer::Lost(Loss::AddressRefused) => Self::AddressRefused,
        }
    }
}

/// How a status write ended, as a label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum WriteClass {
    Done,
    Conflict,
    Gone,
    Refused,
    Failed,
}

impl WriteClass {
    const ALL: [Self; 5] = [Self::Done, Self::Conflict, Self::Gone, Self::Refused, Self::Failed];
}

impl From<WriteResult> for WriteClass {
    fn from(result: WriteResult) -> Self {
        match result {
            WriteResult::Done(_) => Self::Done,
            WriteResult::Conflict => Self::Conflict,
            WriteResult::Gone => Self::Gone,
            WriteResult::Refused(_) => Self::Refused,
            WriteResult::Failed { .. } => Self::Failed,
        }
    }
}

const KINDS: [Kind; 2] = [Kind::Runs, Kind::Gateways];

const OUTCOMES: [Outcome; 6] = [
    Outcome::Accepted,
    Outcome::NotRunning,
    Outcome::Rejected,
    Outcome::Unknown,
    Outcome::Expired,
    Outcome::Withdrawn,
];

/// The one label of a family; its value is the variant's name.
#[derive(Clone, Debug, PartialEq)]
struct Label<T>(T);

/// Names the label after what its enum says.
trait Labelled: fmt::Debug + Copy + Eq {
    const NAME: &'static str;
}

impl Labelled for CallResult {
    const NAME: &'static str = "result";
}
impl Labelled for WriteClass {
    const NAME: &'static str = "result";
}
impl Labelled for Outcome {
    const NAME: &'static str = "outcome";
}
impl Labelled for Kind {
    const NAME: &'static str = "kind";
}

impl<T: Labelled> Eq for Label<T> {}

impl<T: Labelled> Hash for Label<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.0).hash(state);
    }
}

impl<T: Labelled> EncodeLabelSet for Label<T> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        EncodeLabelSet::encode(&[(T::NAME, Value(self.0))], encoder)
    }
}

/// A variant's name as the value of a label.
struct Value<T>(T);

impl<T: fmt::Debug> EncodeLabelValue for Value<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{:?}", self.0)
    }
}

fn family<T: Labelled + Send + Sync + 'static>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    all: &[T],
) -> Family<Label<T>, Counter> {
    let family = Family::<Label<T>, Counter>::default();
    for value in all {
        // Creates the series at zero.
        drop(family.get_or_create(&Label(*value)));
    }
    registry.register(name, help, family.clone());
    family
}

fn gauge(registry: &mut Registry, name: &str, help: &str, gauge: &Gauge) {
    registry.register(name, help, gauge.clone());
}

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Reply, Version};

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"))
    }

    #[test]
    fn every_series_is_there_from_the_start_and_stays_the_only_one() {
        let metrics = Metrics::default();
        let before = metrics.encode().expect("metrics can be encoded");
        assert!(before.ends_with("# EOF\n"));
        metrics.plan_settled(Outcome::Accepted);
        metrics.status_written(WriteResult::Done(Version(1)));
        metrics.status_written(WriteResult::Conflict);
        metrics.watch_restarted(Kind::Runs);
        metrics.object_unreadable(Kind::Gateways);
        metrics.call_ended(&Answer::Lost(Loss::Timeout), Duration::from_secs(30));
        let after = metrics.encode().expect("metrics can be encoded");
        assert_eq!(before.lines().count(), after.lines().count(), "{after}");
        for (series, value) in [
            ("testinium_plans_settled_total{outcome=\"Accepted\"}", "1"),
            ("testinium_plans_settled_total{outcome=\"Rejected\"}", "0"),
            ("testinium_status_writes_total{result=\"Done\"}", "1"),
            ("testinium_status_writes_total{result=\"Conflict\"}", "1"),
            ("testinium_watch_restarts_total{kind=\"Runs\"}", "1"),
            ("testinium_unreadable_objects_total{kind=\"Gateways\"}", "1"),
            ("testinium_gateway_calls_total{result=\"Timeout\"}", "1"),
            ("testinium_gateway_call_duration_seconds_count", "1"),
            ("testinium_events_dropped_total", "0"),
        ] {
            assert_eq!(line(&after, series), format!("{series} {value}"));
        }
    }

    #[test]
    fn gauges_show_the_last_value() {
        let metrics = Metrics::default();
        metrics.set_leader(true);
        metrics.set_plans_queued(7);
        metrics.set_runs_active(3);
        metrics.set_calls_in_flight(2);
        metrics.set_tasks(9);
        metrics.set_plans_queued(5);
        let text = metrics.encode().expect("metrics can be encoded");
        assert_eq!(line(&text, "testinium_leader "), "testinium_leader 1");
        assert_eq!(line(&text, "testinium_plans_queued "), "testinium_plans_queued 5");
        assert_eq!(line(&text, "testinium_runs_active "), "testinium_runs_active 3");
        assert_eq!(line(&text, "testinium_gateway_calls_in_flight "), "testinium_gateway_calls_in_flight 2");
        assert_eq!(line(&text, "testinium_tasks "), "testinium_tasks 9");
    }

    #[test]
    fn answers_have_their_class() {
        let reply =
            |status, body| CallResult::from(&Answer::Reply(Reply { status, retry_after: None, body }));
        let envelope = || Body::Envelope(Default::default());
        assert_eq!(reply(200, envelope()), CallResult::Envelope);
        for (status, class) in [
            (200, CallResult::Unrecognised),
            (302, CallResult::Redirect),
            (400, CallResult::Refused),
            (401, CallResult::Unauthorized),
            (403, CallResult::Forbidden),
            (429, CallResult::Throttled),
            (503, CallResult::ServerError),
            (700, CallResult::Unrecognised),
        ] {
            assert_eq!(reply(status, Body::Other), class, "{status}");
        }
        assert_eq!(reply(500, envelope()), CallResult::ServerError);
    }
}
