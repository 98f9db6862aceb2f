//! Counters, gauges and histograms.
//!
//! Every series is there from the start, so that a rate is zero and not absent. docs/metrics.md describes each metric;
//! a test compares that page with what is served.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{CallResult, Counters, Gauges, WriteClass, count, count_many, counters, gauges, set_all};
use super::logging::lines_dropped;
use crate::api::{EventReason, Outcome};
use crate::machine::{Answer, Census, CleanupResult, Kind, LetGo, Millis, WaitReason, WriteResult};

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    calls: Counters<CallResult>,
    call_duration: Histogram,
    plans_settled: Counters<Outcome>,
    stops_ended: Counters<EventReason>,
    stop_duration: Histogram,
    cleanup_runs: Counters<CleanupResult>,
    deletions_given_up: Counters<LetGo>,
    status_writes: Counters<WriteClass>,
    watch_restarts: Counters<Kind>,
    unreadable_objects: Counters<Kind>,
    events_dropped: Counter,
    panics_contained: Counter,
    log_lines_dropped: Counter,
    lease_failures: Counter,
    runs_active: Gauge,
    runs_set_aside: Gauge,
    runs_waiting: Gauges<WaitReason>,
    oldest_stop: Gauge<f64, AtomicU64>,
    plans_queued: Gauge,
    calls_in_flight: Gauge,
    leader: Gauge,
    tasks: Gauge,
}

/// Seconds: from a quick answer up to the longest time that a stop waits by default.
const STOP_DURATION_BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// Seconds: from an answer of the same network up to the longest time that a gateway can be given.
const CALL_DURATION_BUCKETS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            calls: counters(),
            call_duration: Histogram::new(CALL_DURATION_BUCKETS),
            plans_settled: counters(),
            stops_ended: counters(),
            stop_duration: Histogram::new(STOP_DURATION_BUCKETS),
            cleanup_runs: counters(),
            deletions_given_up: counters(),
            status_writes: counters(),
            watch_restarts: counters(),
            unreadable_objects: counters(),
            events_dropped: Counter::default(),
            panics_contained: Counter::default(),
            log_lines_dropped: lines_dropped(),
            lease_failures: Counter::default(),
            runs_active: Gauge::default(),
            runs_set_aside: Gauge::default(),
            runs_waiting: gauges(),
            oldest_stop: Gauge::default(),
            plans_queued: Gauge::default(),
            calls_in_flight: Gauge::default(),
            leader: Gauge::default(),
            tasks: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    /// A call to a gateway has ended.
    pub fn call_ended(&self, answer: &Answer, took: Duration) {
        count(&self.calls, answer.into());
        self.call_duration.observe(took.as_secs_f64());
    }

    /// A plan is settled, and the outcome is about to be written.
    pub fn plan_settled(&self, outcome: Outcome) {
        count(&self.plans_settled, outcome);
    }

    /// A stop has ended, and its status tells it.
    pub fn stop_ended(&self, end: EventReason, took: Millis) {
        count(&self.stops_ended, end);
        self.stop_duration.observe(seconds(took));
    }

    /// Cleanup rules have done this to so many runs.
    pub fn cleaned(&self, result: CleanupResult, runs: u64) {
        count_many(&self.cleanup_runs, result, runs);
    }

    /// The deletion of a run waits no longer although plans are left to be stopped.
    pub fn let_go(&self, why: LetGo) {
        count(&self.deletions_given_up, why);
    }

    /// The Lease could not be read, taken or renewed.
    pub fn lease_failed(&self) {
        self.lease_failures.inc();
    }

    /// The runs that wait.
    pub fn set_census(&self, census: &Census) {
        set_all(&self.runs_waiting, |reason| census.waiting.get(&reason).copied().unwrap_or(0));
        self.oldest_stop.set(census.oldest.map_or(0.0, seconds));
    }

    /// This replica does nothing any more, or not yet.
    pub fn stand_by(&self) {
        self.set_census(&Census::default());
        for gauge in [&self.runs_active, &self.runs_set_aside, &self.plans_queued, &self.calls_in_flight] {
            set(gauge, 0);
        }
    }

    /// A status write has ended.
    pub fn status_written(&self, result: WriteResult) {
        count(&self.status_writes, result.into());
    }

    /// A watch failed and is opened again.
    pub fn watch_restarted(&self, kind: Kind) {
        count(&self.watch_restarts, kind);
    }

    /// An object was skipped because it could not be decoded.
    pub fn object_unreadable(&self, kind: Kind) {
        count(&self.unreadable_objects, kind);
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

    pub fn set_runs_set_aside(&self, count: usize) {
        set(&self.runs_set_aside, count);
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

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Gives each metric its name and its description. The library ends a description with a full stop, and the name of
    /// a counter with `_total`.
    fn register(&self) -> Registry {
        let Self {
            registry: _,
            calls,
            call_duration,
            plans_settled,
            stops_ended,
            stop_duration,
            cleanup_runs,
            deletions_given_up,
            status_writes,
            watch_restarts,
            unreadable_objects,
            events_dropped,
            panics_contained,
            log_lines_dropped,
            lease_failures,
            runs_active,
            runs_set_aside,
            runs_waiting,
            oldest_stop,
            plans_queued,
            calls_in_flight,
            leader,
            tasks,
        } = self;
        let mut r = Registry::with_prefix("testinium");
        r.register("plans_settled", "Plans that were settled, by outcome", plans_settled.clone());
        r.register(
            "stops_ended",
            "Stops that have ended, by how they ended, once their status tells it",
            stops_ended.clone(),
        );
        r.register_with_unit(
            "stop_duration",
            "Time from the request for a stop to the status that tells its end",
            Unit::Seconds,
            stop_duration.clone(),
        );
        r.register(
            "cleanup_runs",
            "Runs that cleanup rules have stopped, deleted, spared or failed to write",
            cleanup_runs.clone(),
        );
        r.register(
            "deletions_given_up",
            "Deletions of runs that waited for a stop and went on although plans were left to be stopped",
            deletions_given_up.clone(),
        );
        r.register("plans_queued", "Plans that wait for a call to a gateway", plans_queued.clone());
        r.register("runs_active", "Runs that are being stopped or wait for something", runs_active.clone());
        r.register("runs_set_aside", "Runs that wait for room in memory", runs_set_aside.clone());
        r.register("runs_waiting", "Runs whose status tells that they wait, by reason", runs_waiting.clone());
        r.register_with_unit(
            "oldest_stop",
            "Time since the oldest stop that has not ended was asked for",
            Unit::Seconds,
            oldest_stop.clone(),
        );
        r.register("gateway_calls", "Calls to gateways that have ended, by how they ended", calls.clone());
        r.register_with_unit(
            "gateway_call_duration",
            "Time from sending a call to the end of its answer, calls without an answer included",
            Unit::Seconds,
            call_duration.clone(),
        );
        r.register(
            "gateway_calls_in_flight",
            "Calls to gateways that are not answered yet",
            calls_in_flight.clone(),
        );
        r.register(
            "status_writes",
            "Status writes that have ended, by how they ended",
            status_writes.clone(),
        );
        r.register(
            "watch_restarts",
            "Watches that were opened again after an error, by kind",
            watch_restarts.clone(),
        );
        r.register(
            "unreadable_objects",
            "Objects that were skipped because they could not be decoded, by kind",
            unreadable_objects.clone(),
        );
        r.register(
            "events_dropped",
            "Kubernetes events that were not sent because too many were waiting",
            events_dropped.clone(),
        );
        r.register(
            "lease_failures",
            "Times that the Lease could not be read, taken or renewed",
            lease_failures.clone(),
        );
        r.register("leader", "1 if this replica acts, 0 if it stands by", leader.clone());
        r.register(
            "panics_contained",
            "Panics that cost one run or one request and not the process",
            panics_contained.clone(),
        );
        r.register(
            "log_lines_dropped",
            "Lines of the log that were dropped because nobody read it",
            log_lines_dropped.clone(),
        );
        r.register("tasks", "Tasks of this process that have not ended", tasks.clone());
        r
    }
}

fn seconds(time: Millis) -> f64 {
    Duration::from_millis(time.0).as_secs_f64()
}

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{NoAnswer, Version};

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
        metrics.call_ended(&Answer::Lost(NoAnswer::Timeout), Duration::from_secs(30));
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
    fn a_standby_shows_nothing_of_its_last_term() {
        let metrics = Metrics::default();
        let before = metrics.encode().expect("metrics can be encoded");
        metrics.set_runs_active(3);
        metrics.set_plans_queued(5);
        metrics.set_census(&Census {
            waiting: [(WaitReason::Unreachable, 3)].into(),
            oldest: Some(Millis(61_500)),
        });
        let text = metrics.encode().expect("metrics can be encoded");
        let unreachable = "testinium_runs_waiting{reason=\"Unreachable\"}";
        assert_eq!(line(&text, unreachable), format!("{unreachable} 3"));
        assert_eq!(line(&text, "testinium_oldest_stop_seconds "), "testinium_oldest_stop_seconds 61.5");
        metrics.stand_by();
        assert_eq!(metrics.encode().expect("metrics can be encoded"), before);
    }

    #[test]
    fn gauges_show_the_last_value() {
        let metrics = Metrics::default();
        metrics.set_leader(true);
        metrics.set_plans_queued(7);
        metrics.set_runs_active(3);
        metrics.set_runs_set_aside(4);
        metrics.set_calls_in_flight(2);
        metrics.set_tasks(9);
        metrics.set_plans_queued(5);
        let text = metrics.encode().expect("metrics can be encoded");
        assert_eq!(line(&text, "testinium_leader "), "testinium_leader 1");
        assert_eq!(line(&text, "testinium_plans_queued "), "testinium_plans_queued 5");
        assert_eq!(line(&text, "testinium_runs_active "), "testinium_runs_active 3");
        assert_eq!(line(&text, "testinium_runs_set_aside "), "testinium_runs_set_aside 4");
        assert_eq!(line(&text, "testinium_gateway_calls_in_flight "), "testinium_gateway_calls_in_flight 2");
        assert_eq!(line(&text, "testinium_tasks "), "testinium_tasks 9");
    }
}
