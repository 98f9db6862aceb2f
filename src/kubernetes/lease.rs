//! The Lease: of several replicas, the one that holds it acts.
//!
//! The rules and figures are those of client-go's elector. A Lease lasts 15 s from when its record was last *seen* to
//! change, by the clock of the replica that looks, since clocks of two nodes can't be compared. The holder renews it
//! every 2 s and stops acting 10 s after its last successful renewal was *sent*. The 5 s between keep two replicas from
//! acting at once. Every write carries a resourceVersion, so of two that want the Lease one gets it. Every request has
//! a time limit, and one that hangs changes nothing about when the holder stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Resource};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};

use super::failure::{Failure, find};
use crate::telemetry::{Health, Metrics};
use crate::text::error_line;

/// The life of a Lease, from when its record was last seen to change.
const LEASE: Duration = Duration::from_secs(15);
/// The time after which the holder stops acting, from when its last successful renewal was sent.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two renewals, whether they succeed or not. It never grows, unlike a backoff: the deadline above leaves
/// time for two tries, and a third one late is as good as none.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// Time between two looks at a Lease that another replica holds. They are more frequent than its renewals, so that a
/// Lease that is given back is taken within a second.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The least time between two warnings: causes may alternate.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);
/// Two tries have to fit between two renewals and the deadline.
const LIMIT: Duration = Duration::from_secs(4);

/// The answer to whether this process may act. Clones share it; asking costs nothing.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// Milliseconds after the start until which the Lease is surely held.
    until: Arc<AtomicU64>,
    changed: Arc<Notify>,
}

/// Keeps the Lease, or waits for it.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
    health: Health,
    metrics: Metrics,
    seen: Option<Seen>,
    /// A record of ours was sent and may be the present one, even if the answer never came.
    may_hold: bool,
}

/// The record as it was last seen to change.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    at: Instant,
}

/// The next step about a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// The Lease is ours, or nobody's: write it.
    Write,
    Wait,
}

/// A record of ours that is to be written.
enum Draft {
    Create(Lease),
    Replace(Lease),
}

// === impl Fence ===

impl Fence {
    /// A fence that holds for ever, for a single replica without an election.
    pub fn open() -> Self {
        let fence = Self::shut();
        fence.until.store(u64::MAX, Ordering::SeqCst);
        fence
    }

    fn shut() -> Self {
        Self { start: Instant::now(), until: Arc::default(), changed: Arc::default() }
    }

    /// Tells whether the Lease is held at this moment, by this process's own clock.
    pub fn holds(&self) -> bool {
        self.elapsed() < self.until.load(Ordering::SeqCst)
    }

    /// Waits until the Lease is held.
    pub async fn acquired(&self) {
        loop {
            let changed = self.changed.notified();
            if self.holds() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the Lease is not held any more.
    pub async fn lost(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.holds() {
                return;
            }
            let until = self.until.load(Ordering::SeqCst);
            match self.start.checked_add(Duration::from_millis(until)) {
                Some(at) if until != u64::MAX => {
                    // It may be renewed meanwhile, or given up.
                    let _ = timeout_at(at.into(), changed).await;
                }
                _ => changed.await,
            }
        }
    }

    fn renewed(&self, sent: Instant) {
        let until = sent.saturating_duration_since(self.start) + RENEW_DEADLINE;
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn give_up(&self) {
        self.until.store(0, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Elector ===

impl Elector {
    /// `identity` is never used by another process, nor by a later one of the same name.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        name: &str,
        identity: String,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        health.stands_for_lease();
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            fence: Fence::shut(),
            health,
            metrics,
            seen: None,
            may_hold: false,
        }
    }

    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Takes the Lease as soon as it can be had, and keeps it, until `release` completes; then gives it back.
    pub async fn run(mut self, release: impl Future<Output = ()>) {
        let mut failure = None;
        tokio::pin!(release);
        loop {
            let looked = tokio::select! {
                biased;
                () = &mut release => break,
                looked = self.look() => looked,
            };
            // A write is never cut short: it could land after the Lease was given back.
            let result = match looked {
                Ok(Some(draft)) => self.write(draft).await,
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            self.tell(result, &mut failure);
            tokio::select! {
                biased;
                () = &mut release => break,
                () = sleep(if self.fence.holds() { RENEW_PERIOD } else { LOOK_PERIOD }) => {}
            }
        }
        self.release().await;
    }

    /// Says how a look at the Lease has ended: in the log at the beginning of a failure, when its cause has changed, and
    /// at its end. `told`: the failure that was logged last, and when.
    fn tell(&self, result: Result<(), String>, told: &mut Option<(String, Instant)>) {
        let now = Instant::now();
        match result {
            Ok(()) => {
                self.health.lease_handled(now);
                if told.take().is_some() {
                    tracing::info!(lease = self.name, "the Lease can be read and written again");
                }
            }
            Err(why) => {
                self.health.lease_failed(&why);
                self.metrics.lease_failed();
                let is_news = |(before, at): &(String, Instant)| {
                    *before != why && now.saturating_duration_since(*at) > BETWEEN_WARNINGS
                };
                if told.as_ref().is_none_or(is_news) {
                    tracing::warn!(lease = self.name, why, "failed to take or renew the Lease");
                    *told = Some((why, now));
                }
            }
        }
    }

    /// Reads the record. Yields what is to be written, if the Lease is ours to take or to keep.
    async fn look(&mut self) -> Result<Option<Draft>, String> {
        let found = timeout(LIMIT, self.api.get_opt(&self.name)).await.map_err(|_| "no answer in time")?;
        let found = found.map_err(|error| error_line(&error))?;
        let now = Instant::now();
        let Some(lease) = found else {
            return Ok(Some(Draft::Create(record(&self.name, &self.identity, None))));
        };
        if self
            .seen
            .as_ref()
            .is_none_or(|seen| seen.lease.metadata.resource_version != lease.metadata.resource_version)
        {
            self.seen = Some(Seen { lease, at: now });
        }
        let Some(seen) = &self.seen else { return Ok(None) };
        match decide(&seen.lease, now.saturating_duration_since(seen.at), &self.identity) {
            Step::Wait => {
                self.may_hold = false;
                self.fence.give_up();
                Ok(None)
            }
            Step::Write => Ok(Some(Draft::Replace(record(&self.name, &self.identity, Some(&seen.lease))))),
        }
    }

    async fn write(&mut self, draft: Draft) -> Result<(), String> {
        self.may_hold = true;
        let (sent, params) = (Instant::now(), PostParams::default());
        let written = match &draft {
            Draft::Create(lease) => timeout(LIMIT, self.api.create(&params, lease)).await,
            Draft::Replace(lease) => timeout(LIMIT, self.api.replace(&self.name, &params, lease)).await,
        };
        self.written(written, sent)
    }

    fn written(
        &mut self,
        answer: Result<kube::Result<Lease>, tokio::time::error::Elapsed>,
        sent: Instant,
    ) -> Result<(), String> {
        match answer {
            Ok(Ok(lease)) => {
                self.seen = Some(Seen { lease, at: sent });
                if !self.fence.holds() {
                    tracing::info!(lease = self.name, "holding the Lease");
                }
                self.fence.renewed(sent);
                Ok(())
            }
            // Another replica was faster. The next look shows its record.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(()),
            Ok(Err(error)) => Err(error_line(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Gives the Lease back, so that another needs not wait for it to run out. It is read again, since a renewal may
    /// have landed whose answer never came.
    async fn release(self) {
        self.fence.give_up();
        if !self.may_hold {
            return;
        }
        match timeout(LIMIT, self.give_back()).await {
            Ok(Ok(true)) => tracing::info!(lease = self.name, "gave the Lease back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, why = error_line(&error), "failed to give the Lease back")
            }
            Err(_) => tracing::warn!(lease = self.name, "failed to give the Lease back in time"),
        }
    }

    /// Yields whether it was ours to give.
    async fn give_back(&self) -> kube::Result<bool> {
        loop {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(false) };
            let Some(spec) = lease.spec.as_mut() else { return Ok(false) };
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(false);
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            match self.api.replace(&self.name, &PostParams::default(), &lease).await {
                // A renewal has landed in between.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                replaced => return replaced.map(|_| true),
            }
        }
    }
}

/// The holder of a Lease: an empty name if nobody holds it, none if there is no such Lease.
pub async fn lease_holder(
    client: &kube::Client,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, Failure> {
    let path = Lease::url_path(&(), Some(namespace));
    let lease = find::<Lease>(client, path, "Lease", name, LIMIT).await?;
    Ok(lease.map(|lease| lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()))
}

/// The record that says that the Lease is `identity`'s.
fn record(name: &str, identity: &str, before: Option<&Lease>) -> Lease {
    let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let ours = spec.holder_identity.as_deref() == Some(identity);
    let now = MicroTime(Timestamp::now());
    let changes_hands = i32::from(before.is_some() && !ours);
    // Whoever may write the record may have written any number.
    let transitions = spec.lease_transitions.unwrap_or(0).max(0).saturating_add(changes_hands);
    let metadata = before
        .map(|lease| lease.metadata.clone())
        .unwrap_or_else(|| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() });
    Lease {
        metadata,
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if ours { spec.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }),
    }
}

/// Decides whether the record is ours to write. `unchanged`: for how long nobody has changed it, as seen from here.
fn decide(lease: &Lease, unchanged: Duration, identity: &str) -> Step {
    let Some(spec) = &lease.spec else { return Step::Write };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let lasts = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    if holder.is_empty() || holder == identity || unchanged > lasts { Step::Write } else { Step::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>, seconds: Option<i32>) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_ours_or_nobodys_or_has_run_out() {
        let rows = [
            ("ours", held_by(Some("me"), Some(15)), 3, Step::Write),
            ("another's", held_by(Some("other"), Some(15)), 15, Step::Wait),
            ("another's, run out", held_by(Some("other"), Some(15)), 16, Step::Write),
            ("another's, shorter", held_by(Some("other"), Some(1)), 2, Step::Write),
            ("given back", held_by(Some(""), Some(1)), 0, Step::Write),
            ("of nobody", held_by(None, None), 0, Step::Write),
            ("empty", Lease::default(), 0, Step::Write),
        ];
        for (name, lease, unchanged, expected) in rows {
            assert_eq!(decide(&lease, Duration::from_secs(unchanged), "me"), expected, "{name}");
        }
    }

    #[test]
    fn the_holder_stops_before_another_can_start() {
        assert!(RENEW_DEADLINE + LIMIT < LEASE, "a renewal under way at the deadline must not overlap");
        assert!(RENEW_PERIOD + 2 * LIMIT <= RENEW_DEADLINE, "one request that hangs must not cost the Lease");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_that_is_shut_holds_nothing_until_it_is_renewed() {
        let fence = Fence::shut();
        assert!(!fence.holds());
        fence.lost().await;
        fence.renewed(Instant::now());
        assert!(fence.holds());
        fence.acquired().await;
        fence.give_up();
        assert!(!fence.holds());
        assert!(Fence::open().holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_that_is_given_up_wakes_who_waits_for_its_loss_at_once() {
        let fence = Fence::shut();
        fence.renewed(Instant::now());
        let waiting = tokio::spawn({
            let fence = fence.clone();
            async move { fence.lost().await }
        });
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        fence.give_up();
        waiting.await.expect("the task ends");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_record_counts_its_transitions_up_to_the_last_number_that_there_is() {
        let after = |transitions| {
            let mut before = held_by(Some("other"), Some(15));
            before.spec.as_mut().expect("it has one").lease_transitions = transitions;
            record("lease", "me", Some(&before)).spec.and_then(|spec| spec.lease_transitions)
        };
        let rows = [(None, 1), (Some(1), 2), (Some(i32::MAX), i32::MAX), (Some(-5), 1)];
        for (before, expected) in rows {
            assert_eq!(after(before), Some(expected), "after {before:?}");
        }
    }
}
