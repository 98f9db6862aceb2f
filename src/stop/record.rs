//! How a run is written down: its whole status, from what is known of it.
//!
//! A pure function. Given the status it made before and nothing new, it makes the same status again, times included,
//! so that comparing the two tells whether there is anything to write. For that reason no message holds a counter of
//! attempts, a time still running, or an error's changing text.

use std::borrow::Cow;
use std::ops::Deref;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::answer::Gist;
use super::base::Base;
use super::claim::Claim;
use super::obstacle::Obstacle;
use super::types::{CallId, PlanId, Uid};
use super::verdict::{Detail, Settled};
use super::wish::{Standing, Stop, can_ask};
use crate::api::{
    ConditionStatus, GatewayUsed, Outcome, PlanStatus, StopStatus, TestPlanRunStatus, condition, reason,
};

/// A plan of a run, and how far its stop is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    pub id: PlanId,
    /// Calls that it has been in since the stop was asked for, as far as this term knows.
    pub sent: u8,
    /// One of these calls may have stopped it without telling.
    pub unsure: bool,
    /// The last bad answer to one of them.
    pub last: Option<Gist>,
    pub state: PlanState,
}

/// How far the stop of a plan is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlanState {
    /// Waits for a call.
    Queued,
    /// Waits for the answer to this call.
    InFlight(CallId),
    Settled(Settled),
}

/// A request for a stop, as status tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub time: Timestamp,
    pub requested_by: Option<Box<str>>,
    pub field_manager: Option<Box<str>>,
    pub reason: Option<Box<str>>,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub generation: i64,
    /// How many different plans the spec has, where no stop was asked for.
    pub total: usize,
    /// The status as it was last read or written.
    pub base: &'a Base,
    pub standing: &'a Standing,
    pub request: Option<&'a Request>,
    pub plans: &'a [Plan],
    pub obstacle: Option<&'a Obstacle>,
    pub gateway_uid: Option<&'a Uid>,
    /// Leave the gateway's words out: the API server refused the status with them.
    pub plain: bool,
    pub now: Timestamp,
}

/// Most plans whose outcome comes with the gateway's words; keeps a thousand plans under 100 KiB.
const MESSAGES_MAX: usize = 50;

/// Whether every plan has its outcome.
pub fn decided(plans: &[Plan]) -> bool {
    plans.iter().all(|plan| matches!(plan.state, PlanState::Settled(_)))
}

/// The status of the run.
pub fn record(facts: Facts<'_>) -> TestPlanRunStatus {
    let now = seconds(facts.now);
    let tally = Tally::of(facts.plans);
    let conditions = conditions(&facts, &tally)
        .into_iter()
        .map(|claim| {
            claim.into_condition(|type_, status| facts.base.since(type_, status), facts.generation, &now)
        })
        .collect();
    TestPlanRunStatus {
        observed_generation: Some(facts.generation),
        start_time: facts.base.start_time.map(Time).or(Some(now)),
        summary: Some(summary(&facts, &tally)),
        plans: plans(&facts),
        stop: stop(&facts, &tally),
        conditions,
    }
}

/// Kubernetes writes times in whole seconds; a finer one would never equal itself once read back.
pub fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The outcome that a status tells of a plan; none while it is pending or was withdrawn.
pub fn settled_in(status: &PlanStatus) -> Option<Settled> {
    let detail = status.reason.as_ref().map(|reason| {
        Box::new(Detail { reason: Cow::Owned(reason.clone()), message: status.message.clone() })
    });
    match status.outcome {
        Outcome::Pending => None,
        outcome => Some(Settled { outcome, detail }),
    }
}

fn summary(facts: &Facts<'_>, tally: &Tally) -> String {
    let total = match facts.standing.stop {
        Stop::None => facts.total,
        Stop::Asked(_) | Stop::Rearmed(_) => facts.plans.len(),
    };
    format!("{}/{total}", tally.settled())
}

fn plans(facts: &Facts<'_>) -> Vec<PlanStatus> {
    let mut messages = 0;
    facts
        .plans
        .iter()
        .map(|plan| {
            let PlanState::Settled(settled) = &plan.state else {
                let message = plan.last.map(last_answer);
                messages += usize::from(message.is_some());
                let message = message.filter(|_| !facts.plain && messages <= MESSAGES_MAX);
                return PlanStatus { id: plan.id.0, outcome: Outcome::Pending, reason: None, message };
            };
            let (reason, mut message) = match &settled.detail {
                Some(detail) => (Some(detail.reason.to_string()), detail.message.clone()),
                None => (None, None),
            };
            messages += usize::from(message.is_some());
            if facts.plain || messages > MESSAGES_MAX {
                message = None;
            }
            PlanStatus { id: plan.id.0, outcome: settled.outcome, reason, message }
        })
        .collect()
}

/// What the gateway answered last, for whoever asks what a plan waits for.
pub(super) fn last_answer(gist: Gist) -> String {
    format!("the gateway's last answer: {gist}")
}

fn stop(facts: &Facts<'_>, tally: &Tally) -> Option<StopStatus> {
    let kept = facts.base.kept.as_deref();
    let standing = facts.standing;
    let trigger = match standing.stop {
        Stop::Asked(trigger) | Stop::Rearmed(trigger) => trigger,
        Stop::None if standing.stopped || standing.request.is_some() => {
            return Some(StopStatus {
                observed_stopped: Some(standing.stopped),
                observed_request: text(&standing.request),
                ..StopStatus::default()
            });
        }
        Stop::None => return None,
    };
    let complete = tally.pending == 0;
    let completed_before = kept.and_then(|kept| kept.completion_time).map(Time);
    let handled_now =
        standing.request.as_deref().filter(|value| complete && asked(standing) && can_ask(value));
    let handled_before = kept.and_then(|kept| kept.last_handled_request.as_deref());
    let sent = facts.plans.iter().map(|plan| i64::from(plan.sent)).max().unwrap_or(0);
    let attempts = sent.max(kept.map_or(0, |kept| kept.attempts));
    Some(StopStatus {
        trigger: Some(trigger),
        request_time: facts.request.map(|request| seconds(request.time)),
        requested_by: facts.request.and_then(|request| text(&request.requested_by)),
        field_manager: facts.request.and_then(|request| text(&request.field_manager)),
        reason: facts.request.and_then(|request| text(&request.reason)),
        gateway: Some(gateway(facts, complete)),
        attempts: (attempts > 0).then_some(attempts),
        completion_time: if complete { completed_before.or_else(|| Some(seconds(facts.now))) } else { None },
        observed_stopped: Some(standing.stopped),
        observed_request: text(&standing.request),
        last_handled_request: handled_now.or(handled_before).map(str::to_owned),
    })
}

fn text(kept: &Option<impl Deref<Target = str>>) -> Option<String> {
    kept.as_deref().map(str::to_owned)
}

fn asked(standing: &Standing) -> bool {
    matches!(standing.stop, Stop::Asked(_))
}

/// A stop that is complete went to the object that it went to, whatever has that name now.
fn gateway(facts: &Facts<'_>, complete: bool) -> GatewayUsed {
    let before = facts.base.kept.as_ref().and_then(|kept| kept.gateway_uid.as_deref());
    let present = facts.gateway_uid.map(|uid| &**uid);
    let uid = if complete { before.or(present) } else { present.or(before) };
    GatewayUsed {
        kind: "TestiniumGateway".to_owned(),
        name: facts.standing.gateway.as_deref().unwrap_or_default().to_owned(),
        uid: uid.map(str::to_owned),
    }
}

/// Plans by outcome.
#[derive(Debug, Default)]
struct Tally {
    pending: usize,
    accepted: usize,
    not_running: usize,
    rejected: usize,
    unknown: usize,
    expired: usize,
    withdrawn: usize,
}

impl Tally {
    fn of(plans: &[Plan]) -> Self {
        let mut tally = Self::default();
        for plan in plans {
            let outcome = match &plan.state {
                PlanState::Queued | PlanState::InFlight(_) => Outcome::Pending,
                PlanState::Settled(settled) => settled.outcome,
            };
            *match outcome {
                Outcome::Pending => &mut tally.pending,
                Outcome::Accepted => &mut tally.accepted,
                Outcome::NotRunning => &mut tally.not_running,
                Outcome::Rejected => &mut tally.rejected,
                Outcome::Unknown => &mut tally.unknown,
                Outcome::Expired => &mut tally.expired,
                Outcome::Withdrawn => &mut tally.withdrawn,
            } += 1;
        }
        tally
    }

    fn settled(&self) -> usize {
        self.good() + self.bad() + self.withdrawn
    }

    fn good(&self) -> usize {
        self.accepted + self.not_running
    }

    fn bad(&self) -> usize {
        self.rejected + self.unknown + self.expired
    }

    /// Such as "2 accepted, 1 rejected".
    fn text(&self) -> String {
        let parts = [
            (self.pending, "pending"),
            (self.accepted, "accepted"),
            (self.not_running, "not running"),
            (self.rejected, "rejected"),
            (self.unknown, "unknown"),
            (self.expired, "expired"),
            (self.withdrawn, "withdrawn before they were sent"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        parts.join(", ")
    }
}

fn conditions(facts: &Facts<'_>, tally: &Tally) -> Vec<Claim> {
    use ConditionStatus::{False, True, Unknown};
    let claims = |rows: &[(&'static str, ConditionStatus, &'static str)], message: &str| {
        rows.iter().map(|(type_, status, reason)| Claim::new(type_, *status, reason, message)).collect()
    };
    let (ready, stopped, reconciling, stalled) =
        (condition::READY, condition::STOPPED, condition::RECONCILING, condition::STALLED);
    let gateway = facts.standing.gateway.as_deref().unwrap_or_default();
    match facts.standing.stop {
        Stop::None => {
            let message = if facts.standing.stopped || facts.standing.request.as_deref().is_some_and(can_ask)
            {
                "the run was restored from a backup, so the stop that it carries is not repeated; change the \
                 annotation testinium.io/stop to stop it"
            } else {
                "no stop is asked for"
            };
            claims(&[(ready, True, reason::NOT_REQUESTED), (stopped, False, reason::NOT_REQUESTED)], message)
        }
        Stop::Rearmed(_) if tally.pending == 0 => claims(
            &[(ready, True, reason::REARMED), (stopped, False, reason::REARMED)],
            &rearmed(facts, tally),
        ),
        // The reason is what a restart tells a withdrawn stop by: one that was asked for would be sent again.
        Stop::Rearmed(_) => claims(
            &[
                (ready, False, reason::PROGRESSING),
                (stopped, Unknown, reason::REARMED),
                (reconciling, True, reason::PROGRESSING),
            ],
            "the stop is withdrawn; a call that had already begun has not been answered yet",
        ),
        Stop::Asked(_) if tally.pending > 0 => match facts.obstacle {
            None => claims(
                &[
                    (ready, False, reason::PROGRESSING),
                    (stopped, Unknown, reason::STOPPING),
                    (reconciling, True, reason::PROGRESSING),
                ],
                &format!("the plans are being stopped at gateway \"{gateway}\""),
            ),
            Some(obstacle) => claims(
                &[
                    (ready, False, reason::DEPENDENCY_NOT_READY),
                    (stopped, Unknown, obstacle.reason),
                    (reconciling, True, reason::PROGRESSING_WITH_RETRY),
                ],
                &obstacle.message,
            ),
        },
        Stop::Asked(_) if tally.bad() == 0 => {
            let word = if tally.accepted > 0 { reason::ACCEPTED } else { reason::NOT_RUNNING };
            let message = format!("at gateway \"{gateway}\": {}", tally.text());
            claims(&[(ready, True, reason::SUCCEEDED), (stopped, True, word)], &message)
        }
        Stop::Asked(_) => {
            let word = match tally {
                _ if tally.good() > 0 => reason::PARTIALLY_STOPPED,
                _ if tally.expired == tally.bad() => reason::EXPIRED,
                _ => reason::FAILED,
            };
            let message = format!(
                "at gateway \"{gateway}\": {}; status.plans says why; to try again, change the annotation \
                 testinium.io/stop",
                tally.text()
            );
            claims(&[(ready, False, reason::FAILED), (stopped, False, word), (stalled, True, word)], &message)
        }
    }
}

fn rearmed(facts: &Facts<'_>, tally: &Tally) -> String {
    let when = facts.request.map_or_else(String::new, |request| {
        format!(" asked for at {}", request.time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    });
    format!("the stop{when} was withdrawn; what became of its plans: {}", tally.text())
}
