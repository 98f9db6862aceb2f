//! The conditions of a run: which hold in which situation, and their sentences.
//!
//! `Stopped` has the sentence that says what is. The others say in a few words of their own what that means for whoever
//! waits, so that nobody reads one sentence three times. No message holds a time that goes on, nor an error's changing
//! text; a number of calls is told in powers of two, so that it seldom changes.

use jiff::{SignedDuration, Timestamp};

use crate::api::{ConditionStatus, condition, reason};
use crate::machine::advice;
use crate::machine::condition_draft::ConditionDraft;
use crate::machine::ids::PlanId;
use crate::machine::runs::events;
use crate::machine::runs::observed::StopState;
use crate::machine::runs::plan::Plan;
use crate::machine::runs::status_input::StatusInput;
use crate::machine::runs::tally::{PlanTally, plans_by_name, was_or_were};
use crate::machine::time::in_words;

use ConditionStatus::{False, True, Unknown};

/// The conditions that hold.
pub fn conditions(input: &StatusInput<'_>, tally: &PlanTally) -> Vec<ConditionDraft> {
    match input.observed.stop {
        StopState::None if input.observed.is_restored() => {
            at_rest(reason::RESTORED, &events::restored(input.key))
        }
        StopState::None => {
            at_rest(reason::NOT_REQUESTED, &format!("no stop is asked for{}", stopped_at(input)))
        }
        StopState::Withdrawn(_) if tally.pending > 0 => being_taken_back(),
        StopState::Withdrawn(_) if input.plans.iter().any(Plan::is_withdrawn) => {
            at_rest(reason::WITHDRAWN, &withdrawn(input, tally))
        }
        StopState::Withdrawn(_) => at_rest(reason::NOT_REQUESTED, &ended_before(input, tally)),
        StopState::Asked(_) if tally.pending > 0 => under_way(input, tally),
        StopState::Asked(_) if !input.unasked.is_empty() => {
            at_rest(reason::NOT_REQUESTED, &added_since(input, tally))
        }
        StopState::Asked(_) if tally.bad() == 0 => succeeded(input, tally),
        StopState::Asked(_) => failed(input, tally),
    }
}

fn draft(
    type_: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: &str,
) -> ConditionDraft {
    ConditionDraft::new(type_, status, reason, message)
}

/// Nothing is asked for.
fn at_rest(word: &'static str, message: &str) -> Vec<ConditionDraft> {
    vec![
        draft(condition::READY, True, word, "there is nothing to do"),
        draft(condition::STOPPED, False, word, message),
    ]
}

fn being_taken_back() -> Vec<ConditionDraft> {
    let message = "the stop was taken back; a call that had already begun has not been answered yet";
    vec![
        draft(condition::READY, False, reason::PROGRESSING, "the stop is being taken back"),
        draft(condition::STOPPED, Unknown, reason::WITHDRAWN, message),
        draft(
            condition::RECONCILING,
            True,
            reason::PROGRESSING,
            "the operator waits for the gateway's answer",
        ),
    ]
}

/// Plans are still to be stopped.
fn under_way(input: &StatusInput<'_>, tally: &PlanTally) -> Vec<ConditionDraft> {
    let goes_on = match given_up_at(input) {
        Some(time) => format!("the operator goes on by itself until {} and then gives up", in_words(time)),
        None => "the operator goes on by itself".to_owned(),
    };
    match input.waiting {
        None => vec![
            draft(condition::READY, False, reason::PROGRESSING, "the stop is under way"),
            draft(condition::STOPPED, Unknown, reason::STOPPING, &being_stopped(input, tally)),
            draft(condition::RECONCILING, True, reason::PROGRESSING, &goes_on),
        ],
        Some(waiting) => vec![
            draft(
                condition::READY,
                False,
                reason::DEPENDENCY_NOT_READY,
                &format!("the stop waits for its gateway ({})", waiting.cause.reason.as_str()),
            ),
            draft(condition::STOPPED, Unknown, waiting.cause.reason.as_str(), &waiting.message),
            draft(condition::RECONCILING, True, reason::PROGRESSING_WITH_RETRY, &goes_on),
        ],
    }
}

/// What the operator is about, and which plans have had a bad answer although the gateway is well.
fn being_stopped(input: &StatusInput<'_>, tally: &PlanTally) -> String {
    let gateway = gateway(input);
    let bad: Vec<_> = input.plans.iter().filter(|plan| !plan.is_settled() && plan.last.is_some()).collect();
    let Some(gist) = bad.first().and_then(|plan| plan.last) else {
        let of = input.plans.len();
        return format!("gateway \"{gateway}\" is asked to stop {} of {of} plans", tally.pending);
    };
    let ids: Vec<_> = bad.iter().map(|plan| plan.id).collect();
    let calls = bad.iter().map(|plan| plan.attempts).max().unwrap_or(1).max(1);
    let times = match 1_u8 << calls.ilog2() {
        1 => "once".to_owned(),
        times => format!("at least {times} times"),
    };
    let verb = was_or_were(&ids);
    format!(
        "gateway \"{gateway}\" gave no good answer for {}, which {verb} asked for {times}; the last answer was: {gist}; \
         the pauses between two calls grow, up to spec.retry.maxDelaySeconds of the gateway",
        plans_by_name(&ids)
    )
}

/// The moment at which the last plan that is not stopped is given up.
fn given_up_at(input: &StatusInput<'_>) -> Option<Timestamp> {
    let asked = |plan: &Plan| plan.asked_at(input.request).map(|asked| asked.time);
    let last = input.plans.iter().filter(|plan| !plan.is_settled()).filter_map(asked).max()?;
    last.checked_add(SignedDuration::from_secs(input.deadline_seconds)).ok()
}

fn succeeded(input: &StatusInput<'_>, tally: &PlanTally) -> Vec<ConditionDraft> {
    let word = if tally.accepted > 0 { reason::ACCEPTED } else { reason::NOT_RUNNING };
    let message = format!("gateway \"{}\" answered: {}", gateway(input), tally.text());
    vec![
        draft(condition::READY, True, reason::SUCCEEDED, "the stop is complete"),
        draft(condition::STOPPED, True, word, &message),
    ]
}

fn failed(input: &StatusInput<'_>, tally: &PlanTally) -> Vec<ConditionDraft> {
    let word = match tally {
        _ if tally.good() > 0 => reason::PARTIALLY_STOPPED,
        _ if tally.expired == tally.bad() => reason::EXPIRED,
        _ => reason::FAILED,
    };
    let ids: Vec<PlanId> =
        input.plans.iter().filter(|plan| plan.was_not_stopped()).map(|plan| plan.id).collect();
    let verb = was_or_were(&ids);
    let message = format!(
        "{} {verb} not stopped at gateway \"{}\" ({}); status.plans says why; to ask again for what was not stopped, \
         run: {}",
        plans_by_name(&ids),
        gateway(input),
        tally.text(),
        advice::retry(input.key)
    );
    let stalled =
        "the operator does not try again by itself; the condition Stopped says what was not stopped";
    vec![
        draft(
            condition::READY,
            False,
            reason::FAILED,
            "the stop has ended, and the run is not stopped as a whole",
        ),
        draft(condition::STOPPED, False, word, &message),
        draft(condition::STALLED, True, word, stalled),
    ]
}

fn withdrawn(input: &StatusInput<'_>, tally: &PlanTally) -> String {
    format!("the stop{} was taken back; its plans: {}{}", asked_at(input), tally.text(), stopped_at(input))
}

fn ended_before(input: &StatusInput<'_>, tally: &PlanTally) -> String {
    format!(
        "no stop is asked for any more; the stop{} had ended before it was taken back: {}{}",
        asked_at(input),
        tally.text(),
        stopped_at(input)
    )
}

fn added_since(input: &StatusInput<'_>, tally: &PlanTally) -> String {
    let verb = was_or_were(input.unasked);
    format!(
        "{} {verb} added after the stop{} was complete, and nobody has asked to stop what was added; the earlier plans: \
         {}; to stop all of them, run: {}",
        plans_by_name(input.unasked),
        asked_at(input),
        tally.text(),
        advice::stop_again(input.key)
    )
}

/// The deadline at which a run at rest will be stopped. It changes with the spec alone, and so costs no write of its own.
fn stopped_at(input: &StatusInput<'_>) -> String {
    let deadline = input.observed.deadline.to_come();
    deadline.map_or_else(String::new, |deadline| {
        format!("; the run's deadline stops it at {}", in_words(deadline))
    })
}

fn asked_at(input: &StatusInput<'_>) -> String {
    input
        .request
        .map_or_else(String::new, |request| format!(" asked for at {}", in_words(request.asked.time)))
}

fn gateway<'a>(input: &StatusInput<'a>) -> &'a str {
    input.observed.gateway.as_deref().unwrap_or_default()
}
