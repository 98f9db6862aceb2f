//! The whole status of a run, built from all that is known of it.
//!
//! A pure function. Given the status it made before and nothing new, it makes the same status again, times included,
//! so that comparing the two tells whether there is anything to write.

use std::ops::Deref;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{GatewayUsed, Outcome, PlanStatus, StopStatus, TestPlanRunStatus};
use crate::machine::limits::MESSAGES_MAX;
use crate::machine::runs::conditions::conditions;
use crate::machine::runs::meaning::asks;
use crate::machine::runs::observed::StopState;
use crate::machine::runs::plan::Plan;
use crate::machine::runs::status_input::StatusInput;
use crate::machine::runs::tally::PlanTally;
use crate::machine::time::whole_seconds;

/// The status of the run.
pub fn build_status(input: StatusInput<'_>) -> TestPlanRunStatus {
    let now = whole_seconds(input.now);
    let tally = PlanTally::of(input.plans.iter().map(Plan::outcome));
    let conditions = conditions(&input, &tally)
        .into_iter()
        .map(|draft| {
            // All of them speak of the generation that the status names, where `kubectl wait` looks for it as well. To
            // repeat it would cost the API server bytes at each step of each stop.
            draft.into_condition(|type_, status| input.memo.since(type_, status), None, &now)
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

/// The plans that are stopped, of all.
fn summary(input: &StatusInput<'_>, tally: &PlanTally) -> String {
    let total = match input.observed.stop {
        StopState::None => input.total,
        StopState::Asked(_) | StopState::Withdrawn(_) => input.plans.len() + input.unasked.len(),
    };
    format!("{}/{total}", tally.good())
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

fn stop(input: &StatusInput<'_>, tally: &PlanTally) -> Option<StopStatus> {
    let observed = input.observed;
    let memory = StopStatus {
        observed_stopped: observed.stopped,
        observed_request: text(&observed.annotation),
        observed_retry: text(&observed.retry),
        observed_cleanup: text(&observed.cleanup),
        observed_restore: text(&observed.restore),
        observed_deadline: observed.deadline.passed.map(whole_seconds),
        observed_deletion: observed.deletion.map(whole_seconds),
        deletion_skipped: input.deletion_skipped.map(str::to_owned),
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
        gateway: observed.gateway.as_deref().map(|name| GatewayUsed { name: name.to_owned() }),
        attempts: (attempts > 0).then_some(attempts),
        completion_time: if complete {
            completed_before.or_else(|| Some(whole_seconds(input.now)))
        } else {
            None
        },
        ttl_skipped: input
            .kept_for
            .filter(|_| complete && input.observed.is_stop_requested())
            .map(str::to_owned),
        withdrawn_time: input.withdrawal.map(|withdrawal| whole_seconds(withdrawal.time)),
        withdrawn_by: input.withdrawal.and_then(|withdrawal| text(&withdrawal.by)),
        request: text(&observed.request),
        last_handled_request: handled(
            observed.request.as_deref(),
            carried_over.and_then(|carried_over| carried_over.last_handled_request.as_deref()),
            input,
            complete,
        ),
        last_handled_retry: handled(
            observed.retry.as_deref().filter(|retry| asks(retry)),
            carried_over.and_then(|carried_over| carried_over.last_handled_retry.as_deref()),
            input,
            complete,
        ),
        ..memory
    })
}

/// The last annotation request that settled. One that is asked for again has not settled until it does so again
/// (rule 14).
fn handled(
    request: Option<&str>,
    before: Option<&str>,
    input: &StatusInput<'_>,
    complete: bool,
) -> Option<String> {
    let request = request.filter(|_| input.observed.is_stop_requested());
    let handled =
        if complete { request.or(before) } else { before.filter(|before| Some(*before) != request) };
    handled.map(str::to_owned)
}

fn text(carried_over: &Option<impl Deref<Target = str>>) -> Option<String> {
    carried_over.as_deref().map(str::to_owned)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
