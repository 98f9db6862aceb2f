//! The memo of a run's status: the little that is kept once the status has been read or written. It is enough to build
//! the next status from, and to know whether that one says anything new.
//!
//! Ten thousand runs may be waiting for a gateway that is down, and a status in memory is several times its JSON.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Condition, ConditionStatus, PlanStatus, StopStatus, TestPlanRunStatus, Trigger, condition};
use crate::machine::condition_draft::foreign;
use crate::machine::runs::observed::{Observed, StopState};
use crate::machine::runs::request::Request;
use crate::machine::time::whole_seconds;

/// The memo of a status.
#[derive(Clone, Debug, Default)]
pub struct StatusMemo {
    pub start_time: Option<Timestamp>,
    /// The values that the next status takes over; none if there are none, as for a new request.
    pub carried_over: Option<Box<CarriedOver>>,
    /// Conditions of types that others have put there: they stay.
    pub foreign: Box<[Condition]>,
    /// The status says what keeps the object from being deleted.
    pub is_kept: bool,
    /// The status says why the deletion policy is not in effect.
    pub is_deletion_skipped: bool,
    since: Box<[TransitionTime]>,
    /// Digest of `status.stop` and of the reason of the condition Stopped: if it changes, an event may tell of it.
    announce: u64,
    /// Digest of the whole status. Two statuses of one run have the same digest by chance once in 2^64 times.
    digest: u64,
    /// The status itself. The model tells states apart by it, and every comparison of digests is checked against it.
    #[cfg(test)]
    pub(in crate::machine) whole: Box<TestPlanRunStatus>,
}

/// The part of `status.stop` that goes on into the next status.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CarriedOver {
    pub last_handled_request: Option<Box<str>>,
    pub last_handled_retry: Option<Box<str>>,
    /// The other fields are of the present request, and default if the status tells of another one.
    pub attempts: i64,
    pub completion_time: Option<Timestamp>,
}

/// The time since which a condition has had its present status.
#[derive(Clone, Debug)]
struct TransitionTime {
    /// Its place in [`TYPES`].
    type_: u8,
    status: ConditionStatus,
    time: Timestamp,
}

const TYPES: [&str; 4] = condition::OWN;

// === impl StatusMemo ===

impl StatusMemo {
    /// The memo of a status. `observed` and `request` belong to the run as it now is; the status may be about an
    /// earlier request.
    pub fn of(status: &TestPlanRunStatus, observed: &Observed, request: Option<&Request>) -> Self {
        let carried_over =
            status.stop.as_ref().map(|stop| CarriedOver::of(stop, observed, request)).unwrap_or_default();
        let (announce, digest) = digests(status);
        Self {
            start_time: when(&status.start_time),
            carried_over: (carried_over != CarriedOver::default()).then(|| Box::new(carried_over)),
            foreign: foreign(&status.conditions).cloned().collect(),
            is_kept: status.stop.as_ref().is_some_and(|stop| stop.ttl_skipped.is_some()),
            is_deletion_skipped: status.stop.as_ref().is_some_and(|stop| stop.deletion_skipped.is_some()),
            since: status.conditions.iter().filter_map(TransitionTime::of).collect(),
            announce,
            digest,
            #[cfg(test)]
            whole: Box::new(in_order(status.clone())),
        }
    }

    /// Whether both are of the same status.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = self.digest == other.digest;
        #[cfg(test)]
        assert_eq!(same, self.whole == other.whole, "a digest tells what a comparison does");
        same
    }

    /// The time since which a condition of this type has had this status; none if that is new.
    pub fn since(&self, type_: &str, status: ConditionStatus) -> Option<Timestamp> {
        let is_this =
            |since: &&TransitionTime| TYPES[usize::from(since.type_)] == type_ && since.status == status;
        self.since.iter().find(is_this).map(|since| since.time)
    }

    /// Whether the next status tells of another request or end, or of another reason of the condition Stopped.
    pub fn is_transition(&self, next: &Self) -> bool {
        let is_transition = self.announce != next.announce;
        #[cfg(test)]
        assert_eq!(
            is_transition,
            announced(&self.whole) != announced(&next.whole),
            "a digest tells what a comparison does"
        );
        is_transition
    }
}

// === impl CarriedOver ===

impl CarriedOver {
    fn of(stop: &StopStatus, observed: &Observed, request: Option<&Request>) -> Self {
        let last_handled_request = stop.last_handled_request.as_deref().map(Box::from);
        let last_handled_retry = stop.last_handled_retry.as_deref().map(Box::from);
        let trigger = match observed.stop {
            StopState::Asked(trigger) | StopState::Withdrawn(trigger) => Some(trigger),
            StopState::None => None,
        };
        let time = request.map(|request| whole_seconds(request.asked.time));
        if trigger.is_none() || stop.trigger != trigger || stop.request_time != time {
            return Self { last_handled_request, last_handled_retry, ..Self::default() };
        }
        Self {
            last_handled_request,
            last_handled_retry,
            attempts: stop.attempts.unwrap_or(0),
            completion_time: when(&stop.completion_time),
        }
    }
}

// === impl TransitionTime ===

impl TransitionTime {
    fn of(condition: &Condition) -> Option<Self> {
        let (type_, _) = (0..).zip(TYPES).find(|(_, type_)| *type_ == condition.type_)?;
        Some(Self { type_, status: condition.status, time: condition.last_transition_time.0 })
    }
}

/// The same status, with its conditions in an order that does not depend on who has put them there.
#[cfg(test)]
fn in_order(mut status: TestPlanRunStatus) -> TestPlanRunStatus {
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    status
}

/// The condition that scripts wait for.
pub fn stopped(status: &TestPlanRunStatus) -> Option<&Condition> {
    status.conditions.iter().find(|other| other.type_ == condition::STOPPED)
}

/// What an event tells of: the request, its end, and the reason of the condition Stopped. Other fields of the stop are
/// memory, a change of which is nothing new.
fn announced(status: &TestPlanRunStatus) -> (Option<Trigger>, [Option<Timestamp>; 3], Option<&str>) {
    let stop = status.stop.as_ref();
    let time = |time: fn(&StopStatus) -> &Option<Time>| stop.and_then(|stop| when(time(stop)));
    let times = [
        time(|stop| &stop.request_time),
        time(|stop| &stop.completion_time),
        time(|stop| &stop.withdrawn_time),
    ];
    let reason = stopped(status).map(|stopped| stopped.reason.as_str());
    (stop.and_then(|stop| stop.trigger), times, reason)
}

/// The digests of a status: the one that announces, and that of the whole. Every field is named here, so that a field
/// that is added later can't be forgotten.
fn digests(status: &TestPlanRunStatus) -> (u64, u64) {
    let TestPlanRunStatus { observed_generation, start_time, summary, plans, stop, conditions } = status;
    let mut hash = DefaultHasher::new();
    announced(status).hash(&mut hash);
    let announce = hash.finish();
    stop.is_some().hash(&mut hash);
    if let Some(stop) = stop {
        hash_stop(stop, &mut hash);
    }
    (observed_generation, when(start_time), summary, plans.len(), conditions.len()).hash(&mut hash);
    for plan in plans {
        let PlanStatus { id, outcome, reason, message, request_time } = plan;
        (id, outcome, reason, message, when(request_time)).hash(&mut hash);
    }
    // A manager that applies a condition of its own may change their order, which says nothing.
    let mut conditions: Vec<_> = conditions.iter().collect();
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    for condition in conditions {
        let Condition { type_, status, observed_generation, last_transition_time, reason, message } =
            condition;
        (type_, status, observed_generation, last_transition_time.0, reason, message).hash(&mut hash);
    }
    (announce, hash.finish())
}

fn hash_stop(stop: &StopStatus, hash: &mut DefaultHasher) {
    let StopStatus {
        trigger,
        request_time,
        requested_by,
        field_manager,
        reason,
        gateway,
        attempts,
        completion_time,
        withdrawn_time,
        withdrawn_by,
        observed_stopped,
        observed_request,
        observed_retry,
        observed_cleanup,
        observed_restore,
        observed_deadline,
        observed_deletion,
        deletion_skipped,
        ttl_skipped,
        request,
        last_handled_request,
        last_handled_retry,
    } = stop;
    (trigger, when(request_time), requested_by, field_manager, reason, gateway).hash(hash);
    (attempts, when(completion_time), when(withdrawn_time), withdrawn_by).hash(hash);
    (observed_stopped, observed_request, observed_retry, observed_cleanup, observed_restore).hash(hash);
    (when(observed_deletion), deletion_skipped).hash(hash);
    (when(observed_deadline), ttl_skipped, request, last_handled_request, last_handled_retry).hash(hash);
}

fn when(time: &Option<Time>) -> Option<Timestamp> {
    time.as_ref().map(|time| time.0)
}
