//! The whole status of a run, built from all that is known of it.
//!
//! A pure function. Given the status it made before and nothing new, it makes the same status again, times included,
//! so that comparing the two tells whether there is anything to write. For that reason no message holds a counter of
//! attempts, a time still running, or an error's changing text.

use std::ops::Deref;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    ConditionStatus, GatewayUsed, Outcome, PlanStatus, StopStatus, TestPlanRunStatus, condition, reason,
};
use crate::machine::condition_draft::ConditionDraft;
use crate::machine::ids::{PlanId, RunKey, Uid};
use crate::machine::limits::{MESSAGES_MAX, NAMED_IDS_MAX};
use crate::machine::runs::advice;
use crate::machine::runs::events;
use crate::machine::runs::intent::{Observed, StopState};
use crate::machine::runs::memo::StatusMemo;
use crate::machine::runs::plan::Plan;
use crate::machine::runs::request::{Request, Withdrawal};
use crate::machine::time::whole_seconds;
use crate::machine::wait_reason::Waiting;

/// All that is known of a run.
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    pub generation: i64,
    /// The number of different plans in the spec, where no stop was asked for.
    pub total: usize,
    /// The memo of the status that was last read or written.
    pub memo: &'a StatusMemo,
    pub key: &'a RunKey,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    pub observed: &'a Observed,
    pub request: Option<&'a Request>,
    pub withdrawal: Option<&'a Withdrawal>,
    pub plans: &'a [Plan],
    /// Plans of the spec that the stop does not cover.
    pub unasked: &'a [PlanId],
    pub waiting: Option<&'a Waiting>,
    pub gateway_uid: Option<&'a Uid>,
    /// Plans were asked for since the stop was complete, so that it is complete once more.
    pub reopened: bool,
    /// The gateway's words are left out: the API server refused the status with them.
    pub without_messages: bool,
    pub now: Timestamp,
}

/// The status of the run.
pub fn build_status(input: StatusInput<'_>) -> TestPlanRunStatus {
    let now = whole_seconds(input.now);
    let tally = Tally::of(input.plans);
    let conditions = conditions(&input, &tally)
        .into_iter()
        .map(|draft| {
            draft.into_condition(|type_, status| input.memo.since(type_, status), input.generation, &now)
        })
        .chain(input.memo.foreign.iter().cloned())
        .collect();
    TestPlanRunStatus {
        observed_generation: Some(input.generation),
        // A run begins when it is declared, whether an operator was there or not.
        start_time: input.created.or(input.memo.start_time).map(whole_seconds).or(Some(now)),
        summary: Some(summary(&input, &tally)),
        plans: plans(&input),
        stop: stop(&input, &tally),
        conditions,
    }
}

fn summary(input: &StatusInput<'_>, tally: &Tally) -> String {
    let total = match input.observed.stop {
        StopState::None => input.total,
        StopState::Asked(_) | StopState::Withdrawn(_) => input.plans.len() + input.unasked.len(),
    };
    format!("{}/{total}", tally.settled())
}

fn plans(input: &StatusInput<'_>) -> Vec<PlanStatus> {
    let mut messages = 0;
    input
        .plans
        .iter()
        .map(|plan| {
            let (outcome, detail) = (plan.outcome(), plan.detail());
            let message = match outcome {
                Outcome::Pending => plan.last_answer(),
                _ => detail.and_then(|detail| detail.message.clone()),
            };
            messages += usize::from(message.is_some());
            PlanStatus {
                id: plan.id.0,
                outcome,
                reason: detail.map(|detail| detail.reason.to_string()),
                message: message.filter(|_| !input.without_messages && messages <= MESSAGES_MAX),
                request_time: plan.asked.as_ref().map(|asked| whole_seconds(asked.time)),
            }
        })
        .collect()
}

fn stop(input: &StatusInput<'_>, tally: &Tally) -> Option<StopStatus> {
    let observed = input.observed;
    let memory = StopStatus {
        observed_stopped: observed.stopped,
        observed_request: text(&observed.annotation),
        observed_retry: text(&observed.retry),
        observed_restore: text(&observed.restore),
        ..StopStatus::default()
    };
    let (StopState::Asked(trigger) | StopState::Withdrawn(trigger)) = observed.stop else {
        return (memory != StopStatus::default()).then_some(memory);
    };
    let carried_over = input.memo.carried_over.as_deref();
    let complete = tally.pending == 0;
    let completed_before = carried_over
        .and_then(|carried_over| carried_over.completion_time)
        .filter(|_| !input.reopened)
        .map(Time);
    let sent = input.plans.iter().map(|plan| i64::from(plan.attempts)).max().unwrap_or(0);
    let attempts = sent.max(carried_over.map_or(0, |carried_over| carried_over.attempts));
    Some(StopStatus {
        trigger: Some(trigger),
        request_time: input.request.map(|request| whole_seconds(request.asked.time)),
        requested_by: input.request.and_then(|request| text(&request.requested_by)),
        field_manager: input.request.and_then(|request| text(&request.field_manager)),
        reason: input.request.and_then(|request| text(&request.reason)),
        gateway: Some(gateway(input, complete)),
        attempts: (attempts > 0).then_some(attempts),
        completion_time: if complete {
            completed_before.or_else(|| Some(whole_seconds(input.now)))
        } else {
            None
        },
        withdrawn_time: input.withdrawal.map(|withdrawal| whole_seconds(withdrawal.time)),
        withdrawn_by: input.withdrawal.and_then(|withdrawal| text(&withdrawal.by)),
        request: text(&observed.request),
        last_handled_request: last_handled_request(input, complete),
        ..memory
    })
}

/// The last annotation request that settled. One that is asked for again has not settled until it does so again
/// (rule 14).
fn last_handled_request(input: &StatusInput<'_>, complete: bool) -> Option<String> {
    let request = input.observed.request.as_deref().filter(|_| input.observed.is_stop_requested());
    let before = input
        .memo
        .carried_over
        .as_deref()
        .and_then(|carried_over| carried_over.last_handled_request.as_deref());
    let handled =
        if complete { request.or(before) } else { before.filter(|before| Some(*before) != request) };
    handled.map(str::to_owned)
}

fn text(carried_over: &Option<impl Deref<Target = str>>) -> Option<String> {
    carried_over.as_deref().map(str::to_owned)
}

/// The gateway of the stop. A complete stop keeps the object that it was sent to, even if another one has that name
/// now.
fn gateway(input: &StatusInput<'_>, complete: bool) -> GatewayUsed {
    let before =
        input.memo.carried_over.as_ref().and_then(|carried_over| carried_over.gateway_uid.as_deref());
    let present = input.gateway_uid.map(|uid| &**uid);
    let uid = if complete { before.or(present) } else { present.or(before) };
    GatewayUsed {
        kind: "TestiniumGateway".to_owned(),
        name: input.observed.gateway.as_deref().unwrap_or_default().to_owned(),
        uid: uid.map(str::to_owned),
    }
}

/// The numbers of plans by outcome.
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
            *match plan.outcome() {
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

    /// Such as "2 accepted, 1 rejected"; "none" if the plans of the stop were all removed from the run.
    fn text(&self) -> String {
        let parts = [
            (self.pending, "pending"),
            (self.accepted, "accepted"),
            (self.not_running, "not running"),
            (self.rejected, "rejected"),
            (self.unknown, "unknown"),
            (self.expired, "expired"),
            (self.withdrawn, "taken back before they were sent"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

fn conditions(input: &StatusInput<'_>, tally: &Tally) -> Vec<ConditionDraft> {
    use ConditionStatus::{False, True, Unknown};
    let drafts = |rows: &[(&'static str, ConditionStatus, &'static str)], message: &str| {
        rows.iter()
            .map(|(type_, status, reason)| ConditionDraft::new(type_, *status, reason, message))
            .collect()
    };
    let (ready, stopped, reconciling, stalled) =
        (condition::READY, condition::STOPPED, condition::RECONCILING, condition::STALLED);
    let at_rest = |word, message: &str| drafts(&[(ready, True, word), (stopped, False, word)], message);
    let gateway = input.observed.gateway.as_deref().unwrap_or_default();
    match input.observed.stop {
        StopState::None if input.observed.is_restored() => {
            at_rest(reason::RESTORED, &events::restored(input.key))
        }
        StopState::None => at_rest(reason::NOT_REQUESTED, "no stop is asked for"),
        StopState::Withdrawn(_) if tally.pending > 0 => drafts(
            &[
                (ready, False, reason::PROGRESSING),
                (stopped, Unknown, reason::WITHDRAWN),
                (reconciling, True, reason::PROGRESSING),
            ],
            "the stop was taken back; a call that had already begun has not been answered yet",
        ),
        StopState::Withdrawn(_) if input.plans.iter().any(Plan::is_withdrawn) => {
            at_rest(reason::WITHDRAWN, &withdrawn(input, tally))
        }
        StopState::Withdrawn(_) => at_rest(reason::NOT_REQUESTED, &ended_before(input, tally)),
        StopState::Asked(_) if tally.pending > 0 => match input.waiting {
            None => drafts(
                &[
                    (ready, False, reason::PROGRESSING),
                    (stopped, Unknown, reason::STOPPING),
                    (reconciling, True, reason::PROGRESSING),
                ],
                &format!("the plans are being stopped at gateway \"{gateway}\""),
            ),
            Some(waiting) => drafts(
                &[
                    (ready, False, reason::DEPENDENCY_NOT_READY),
                    (stopped, Unknown, waiting.reason.as_str()),
                    (reconciling, True, reason::PROGRESSING_WITH_RETRY),
                ],
                &waiting.message,
            ),
        },
        StopState::Asked(_) if !input.unasked.is_empty() => {
            at_rest(reason::NOT_REQUESTED, &added_since(input, tally))
        }
        StopState::Asked(_) if tally.bad() == 0 => {
            let word = if tally.accepted > 0 { reason::ACCEPTED } else { reason::NOT_RUNNING };
            let message = format!("at gateway \"{gateway}\": {}", tally.text());
            drafts(&[(ready, True, reason::SUCCEEDED), (stopped, True, word)], &message)
        }
        StopState::Asked(_) => {
            let word = match tally {
                _ if tally.good() > 0 => reason::PARTIALLY_STOPPED,
                _ if tally.expired == tally.bad() => reason::EXPIRED,
                _ => reason::FAILED,
            };
            let message = format!(
                "at gateway \"{gateway}\": {}; status.plans says why; to ask again for what was not stopped, run: {}",
                tally.text(),
                advice::retry(input.key)
            );
            drafts(&[(ready, False, reason::FAILED), (stopped, False, word), (stalled, True, word)], &message)
        }
    }
}

fn withdrawn(input: &StatusInput<'_>, tally: &Tally) -> String {
    format!("the stop{} was taken back; its plans: {}", asked_at(input), tally.text())
}

fn ended_before(input: &StatusInput<'_>, tally: &Tally) -> String {
    format!(
        "no stop is asked for any more; the stop{} had ended before it was taken back: {}",
        asked_at(input),
        tally.text()
    )
}

fn added_since(input: &StatusInput<'_>, tally: &Tally) -> String {
    let ids: Vec<_> = input.unasked.iter().take(NAMED_IDS_MAX).map(ToString::to_string).collect();
    let more = match input.unasked.len().saturating_sub(NAMED_IDS_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "plans {}{more} were added after the stop{} was complete, and no stop is asked for them; the earlier plans: \
         {}; to stop all of them, run: {}",
        ids.join(", "),
        asked_at(input),
        tally.text(),
        advice::stop_again(input.key)
    )
}

fn asked_at(input: &StatusInput<'_>) -> String {
    input.request.map_or_else(String::new, |request| {
        format!(" asked for at {}", request.asked.time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
