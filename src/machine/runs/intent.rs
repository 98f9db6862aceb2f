//! The intent of a run: whether its plans shall be stopped, from the object as it is now and the memory of what was
//! seen before.
//!
//! A pure function, which others call reconcile. A request is an *edge*: `spec.stopped` becoming true, the annotation
//! becoming another asking value, or a deadline that passes. An explicit no takes a stop back; a removal takes nothing
//! back, but it is seen, so that the same request after it is a new one. To tell edges from levels, the values that were
//! last seen are remembered, absence included. This memory is kept in `status.stop`, so that a restart neither repeats
//! nor forgets a request.
//!
//! The rules have the numbers of `docs/requests.md`, and each has tests by its number: `cargo test --lib rule_`.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{DeletionPolicy, Trigger};
use crate::machine::runs::deletion::{deletion_asks, deletion_begins};
use crate::machine::runs::meaning::{Meaning, asks, meaning};
use crate::machine::runs::observed::{Observed, StopState};
use crate::machine::view::{FieldSet, RunView, gateway_of};

/// Facts about a run's stop that are not in [`Observed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// The memory comes from the object's status: this process has no record of the run.
    pub is_first: bool,
    /// Every plan of the stop has its outcome.
    pub settled: bool,
    /// Some plans of the run were not stopped by it, and are not being stopped.
    pub has_failures: bool,
    /// The generation that was seen last.
    pub generation: Option<i64>,
    /// The time at which the stop was asked for, and the field manager that asked.
    pub requested: Option<Timestamp>,
    pub requested_by: Option<&'a str>,
    /// The field manager that took it back.
    pub withdrawn_by: Option<&'a str>,
    /// The present, by the API server's clock.
    pub now: Timestamp,
}

/// The intent of a run, and the way to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Intent {
    pub observed: Observed,
    /// There is a request that was not there before: every plan is asked for anew.
    pub is_new: bool,
    /// The field that asks anew or again.
    pub asked_by: Option<DecidingField>,
    /// The plans that the present stop has neither stopped nor is working on are asked for again (rules 3 and 4).
    pub retries: bool,
    /// The field that takes the stop back now.
    pub taken_back: Option<DecidingField>,
    /// Notices for people, who may have expected something else.
    pub notices: Vec<Notice>,
}

/// A field that decides on a stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecidingField {
    Stopped,
    Annotation,
    Retry,
    Cleanup,
    GatewayRef,
    Deadline,
    Deletion,
    DeletionPolicy,
}

/// A consequence that a person may not have expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// The annotation became empty, which asks for nothing and takes nothing back.
    EmptyAnnotation,
    /// The annotation became a no, but `spec.stopped` is true.
    NotWithdrawn,
    /// This field, which asked for the stop, was removed, which takes nothing back.
    Continues(DecidingField),
    /// Two field managers set `spec.stopped` in turn.
    Contested,
    /// The run came out of a backup, and the request that it carries counts as seen.
    Restored,
}

// === impl DecidingField ===

impl DecidingField {
    /// The field manager that last set this field (rule 20).
    pub fn set(self, view: &RunView) -> Option<&FieldSet> {
        match self {
            Self::Stopped => view.stopped_set.as_ref(),
            Self::Annotation => view.annotation_set.as_ref(),
            Self::Retry => view.retry_set.as_ref(),
            Self::Cleanup => view.cleanup_set.as_ref(),
            Self::GatewayRef => view.gateway_set.as_ref(),
            Self::Deadline => view.deadline_set.as_ref(),
            // Nothing in an object tells who has deleted it.
            Self::Deletion => None,
            Self::DeletionPolicy => view.policy_set.as_ref(),
        }
    }

    /// The source of a request that this field makes.
    fn trigger(self) -> Trigger {
        match self {
            Self::Stopped => Trigger::Spec,
            // Another gateway takes a stop back, and asks for none.
            Self::Annotation | Self::Retry | Self::GatewayRef => Trigger::Annotation,
            Self::Deadline => Trigger::Deadline,
            Self::Cleanup => Trigger::Cleanup,
            Self::Deletion | Self::DeletionPolicy => Trigger::Deletion,
        }
    }
}

/// Name of the gateway that a run is for.
pub fn gateway_name(view: &RunView) -> &str {
    gateway_of(&view.spec)
}

/// Decides the intent of a run. `before` is the memory of this process, or else that of the object's status.
pub fn decide_intent(view: &RunView, before: &Observed, history: History<'_>) -> Intent {
    let mut intent = Intent { observed: observe(view, before), ..Intent::default() };
    let deletes = begin_deletion(view, &mut intent.observed, history.now);
    let deadline_passes = intent.observed.deadline.passes(history.now);
    let is_restored = is_restored(view, before, history);
    if deadline_passes || is_restored {
        intent.observed.deadline.spend();
    }
    if is_restored {
        // A stop that is under way in this very object goes on. Everything else comes from the backup (rule 15).
        let is_own = !history.is_first || is_of_this_object(view);
        if !is_own || history.settled {
            (intent.observed.stop, intent.observed.gateway) = (StopState::None, None);
            intent.observed.request = None;
        } else {
            take_back(view, before, &mut intent);
        }
        if intent.observed.is_restored() {
            intent.notices.push(Notice::Restored);
        }
        // No backup holds a deletion: it is of now.
        if deletes && !intent.observed.is_stop_requested() {
            ask(DecidingField::Deletion, view, before, &mut intent);
        }
        return intent;
    }
    let happens = Happens { deadline_passes, deletes };
    if let Some(field) = asked(view, before, history, happens) {
        let trigger = field.trigger();
        if trigger == Trigger::Spec && is_contested(view, before, history) {
            intent.notices.push(Notice::Contested);
        }
        ask(field, view, before, &mut intent);
        return intent;
    }
    // What asks for the rest alone, with no plan left to ask for, asks for nothing, and so does not outweigh a no.
    let again = asks_for_the_rest(view, before, happens);
    if again.is_some() && before.is_stop_requested() && history.has_failures {
        (intent.retries, intent.asked_by) = (true, again);
    } else {
        take_back(view, before, &mut intent);
    }
    let is_waited_for = intent.retries || (intent.observed.is_stop_requested() && !history.settled);
    if !is_waited_for {
        // It asks for nothing, and so it holds nothing up.
        intent.observed.deletion = before.deletion;
    }
    intent.notices.extend(notice(view, before, &intent, history));
    intent
}

/// The events of now that are no change of a field.
#[derive(Clone, Copy, Debug)]
struct Happens {
    deadline_passes: bool,
    deletes: bool,
}

/// Takes in that the object is being deleted, and yields whether that asks for a stop now.
fn begin_deletion(view: &RunView, observed: &mut Observed, now: Timestamp) -> bool {
    if !deletion_begins(view, observed.deletion) {
        return false;
    }
    observed.deletion = Some(now);
    deletion_asks(view)
}

/// Every plan is asked for anew, by this field.
fn ask(field: DecidingField, view: &RunView, before: &Observed, intent: &mut Intent) {
    (intent.asked_by, intent.is_new) = (Some(field), true);
    intent.observed.stop = StopState::Asked(field.trigger());
    intent.observed.gateway = Some(shared(&before.gateway, gateway_name(view)));
    intent.observed.request = intent.observed.annotation.clone().filter(|value| asks(value));
}

/// The fields as they are seen now; the stop is as it was.
fn observe(view: &RunView, before: &Observed) -> Observed {
    Observed {
        stopped: view.spec.stopped,
        annotation: view.stop_annotation.as_deref().map(|value| shared(&before.annotation, value)),
        retry: view.retry_annotation.as_deref().map(|value| shared(&before.retry, value)),
        cleanup: view.cleanup_annotation.as_deref().map(|value| shared(&before.cleanup, value)),
        restore: view.restored.as_deref().map(|value| shared(&before.restore, value)),
        deadline: before.deadline.seen_in(view),
        // A deletion is never undone. Where status tells of one, and the object of none, somebody else has written that.
        deletion: before.deletion.filter(|_| view.deleted.is_some()),
        stop: before.stop,
        request: before.request.clone(),
        gateway: before.gateway.clone(),
    }
}

/// A text, without a copy if it is the one that was there before.
fn shared(before: &Option<Arc<str>>, text: &str) -> Arc<str> {
    before.clone().filter(|before| **before == *text).unwrap_or_else(|| text.into())
}

/// The field that asks now and did not before (rules 3, 4, 8, 13). Asking outweighs taking back.
fn asked(view: &RunView, before: &Observed, history: History<'_>, happens: Happens) -> Option<DecidingField> {
    let stopped = view.spec.stopped == Some(true);
    if stopped && (before.stopped != Some(true) || was_flipped_unseen(view, history)) {
        return Some(DecidingField::Stopped);
    }
    if annotation_became(view, before) == Some(Meaning::Asks) {
        return Some(DecidingField::Annotation);
    }
    // What asks for the rest asks for every plan if there is no stop, or only one at another gateway.
    let stands = before.is_stop_requested() && !has_moved(view, before);
    asks_for_the_rest(view, before, happens).filter(|_| !stands)
}

/// The field that became one that asks for the plans which the present stop has not stopped (rules 3 and 4): a person's
/// retry, or automation.
fn asks_for_the_rest(view: &RunView, before: &Observed, happens: Happens) -> Option<DecidingField> {
    if retry_became(view, before) {
        return Some(DecidingField::Retry);
    }
    if happens.deletes {
        return Some(DecidingField::Deletion);
    }
    if happens.deadline_passes {
        return Some(DecidingField::Deadline);
    }
    let mark = view.cleanup_annotation.as_deref().filter(|mark| !mark.trim().is_empty());
    mark.filter(|mark| before.cleanup.as_deref() != Some(*mark)).map(|_| DecidingField::Cleanup)
}

/// Whether `stopped` went to false and back while no operator ran (rule 13): two generations or more were not seen, and
/// the owner of the field has written it since the stop was asked for.
fn was_flipped_unseen(view: &RunView, history: History<'_>) -> bool {
    let unseen = history.generation.map_or(0, |seen| view.generation.saturating_sub(seen));
    let set = view.stopped_set.as_ref().and_then(|set| set.time);
    history.settled && unseen >= 2 && history.requested.zip(set).is_some_and(|(asked, set)| set > asked)
}

/// Takes the stop back if something says so.
fn take_back(view: &RunView, before: &Observed, intent: &mut Intent) {
    if let StopState::Asked(trigger) = before.stop {
        // A deadline that is to come after one has asked was raised into the future.
        let is_raised = trigger == Trigger::Deadline && intent.observed.deadline.to_come().is_some();
        let is_orphaned =
            trigger == Trigger::Deletion && view.spec.deletion_policy == Some(DeletionPolicy::Orphan);
        intent.taken_back =
            taken_back(view, before, is_raised).or(is_orphaned.then_some(DecidingField::DeletionPolicy));
        if intent.taken_back.is_some() {
            intent.observed.stop = StopState::Withdrawn(trigger);
        }
    }
}

/// The field that takes the stop back (rule 6). `is_raised`: the deadline that asked for it is another one now.
fn taken_back(view: &RunView, before: &Observed, is_raised: bool) -> Option<DecidingField> {
    let stopped = view.spec.stopped;
    if stopped == Some(false) && before.stopped != Some(false) {
        return Some(DecidingField::Stopped);
    }
    if annotation_became(view, before) == Some(Meaning::No) && stopped != Some(true) {
        return Some(DecidingField::Annotation);
    }
    if is_raised {
        return Some(DecidingField::Deadline);
    }
    has_moved(view, before).then_some(DecidingField::GatewayRef)
}

/// Whether the run is now for another gateway than its stop.
fn has_moved(view: &RunView, before: &Observed) -> bool {
    before.gateway.as_deref().is_some_and(|before| before != gateway_name(view))
}

/// The notice of an observation that asks for nothing.
fn notice(view: &RunView, before: &Observed, intent: &Intent, history: History<'_>) -> Option<Notice> {
    let became = annotation_became(view, before);
    let stands = intent.observed.is_stop_requested();
    let stopped = view.spec.stopped == Some(true);
    let emptied = before.annotation.as_deref().is_some_and(asks) && became == Some(Meaning::Empty);
    let removed = before.annotation.as_deref().is_some_and(asks) && view.stop_annotation.is_none();
    let field_removed = before.stopped == Some(true) && view.spec.stopped.is_none();
    match became {
        Some(Meaning::No) if stands && stopped => Some(Notice::NotWithdrawn),
        _ if stands && !stopped && (emptied || removed) => Some(Notice::Continues(DecidingField::Annotation)),
        _ if stands && !stopped && field_removed => Some(Notice::Continues(DecidingField::Stopped)),
        _ if stands && !stopped && deadline_removed(view, before, history) => {
            Some(Notice::Continues(DecidingField::Deadline))
        }
        Some(Meaning::Empty) => Some(Notice::EmptyAnnotation),
        Some(Meaning::Asks | Meaning::No) | None => None,
    }
}

/// Whether the deadline that asked for the stop was removed. Status does not tell whether the spec named one when it was
/// last seen; but a spec without one is told of once if it is a generation that nobody saw.
fn deadline_removed(view: &RunView, before: &Observed, history: History<'_>) -> bool {
    let was_named = before.deadline.named.is_some()
        || (history.is_first && history.generation.is_some_and(|seen| seen < view.generation));
    before.stop == StopState::Asked(Trigger::Deadline)
        && was_named
        && view.spec.active_deadline_seconds.is_none()
}

/// The meaning of the annotation, if its value is another one than before.
fn annotation_became(view: &RunView, before: &Observed) -> Option<Meaning> {
    let value = view.stop_annotation.as_deref()?;
    (before.annotation.as_deref() != Some(value)).then(|| meaning(value))
}

/// Whether the annotation that asks again has another asking value than before.
fn retry_became(view: &RunView, before: &Observed) -> bool {
    view.retry_annotation
        .as_deref()
        .is_some_and(|value| before.retry.as_deref() != Some(value) && asks(value))
}

/// Whether the field manager that asks now had asked before, and another one has taken the stop back meanwhile (rule
/// 21).
fn is_contested(view: &RunView, before: &Observed, history: History<'_>) -> bool {
    let by = view.stopped_set.as_ref().map(|set| set.manager.as_str());
    matches!(before.stop, StopState::Withdrawn(Trigger::Spec))
        && by.is_some()
        && by == history.requested_by
        && history.withdrawn_by.is_some_and(|other| by != Some(other))
}

/// Whether the run has come out of a backup since it was last seen (rule 15).
fn is_restored(view: &RunView, before: &Observed, history: History<'_>) -> bool {
    let is_new_label = view.restored.is_some() && view.restored.as_deref() != before.restore.as_deref();
    is_new_label || (view.restored.is_some() && history.is_first && !is_of_this_object(view))
}

/// Whether the status was written for this object, rather than for the one that was backed up.
fn is_of_this_object(view: &RunView) -> bool {
    let started = view.status.start_time.as_ref().map(|time| time.0);
    started.is_some() && (view.created.is_none() || started == view.created)
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
