//! Events of a run: the announcements that it makes, and their words.

use crate::api::{EventReason, TestPlanRunStatus, reason};
use crate::machine::advice;
use crate::machine::answer::Gist;
use crate::machine::effect::Event;
use crate::machine::ids::{ObjectKey, PlanId, RunKey, Uid};
use crate::machine::runs::deadline::Deadlines;
use crate::machine::runs::intent::{DecidingField, Notice, gateway_name};
use crate::machine::runs::meaning::{Meaning, meaning};
use crate::machine::runs::memo::stopped;
use crate::machine::runs::request::{Moment, Withdrawal};
use crate::machine::runs::tally::{PlanTally, plans_by_name};
use crate::machine::time::in_words;
use crate::machine::view::RunView;
use crate::machine::wait_reason::WaitReason;

/// An event before it is known which object it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    pub warning: bool,
    pub reason: EventReason,
    pub message: String,
    /// The reason that a person has given for the stop.
    pub given: Option<String>,
    /// If it tells of the end of a stop: the moment at which that was asked for.
    pub asked: Option<Moment>,
}

// === impl Announcement ===

impl Announcement {
    fn normal(reason: EventReason, message: String) -> Self {
        Self { warning: false, reason, message, given: None, asked: None }
    }

    fn warning(reason: EventReason, message: String) -> Self {
        Self { warning: true, reason, message, given: None, asked: None }
    }

    pub fn about(self, about: ObjectKey, uid: Uid) -> Event {
        let Self { warning, reason, message, given, asked: _ } = self;
        Event { about, uid, warning, reason, message, given }
    }
}

/// The announcement of an object that can't be read.
pub fn unreadable(text: String) -> Announcement {
    Announcement::warning(EventReason::Unreadable, text)
}

pub fn status_refused() -> Announcement {
    let message = "the API server refuses the status of this run; the operator tries it again";
    Announcement::warning(EventReason::StatusRefused, message.to_owned())
}

/// The announcement of a stop that was taken back. If a controller did it, the person who had asked for the stop wants
/// to know which one, and which command lasts.
pub fn taken_back(field: DecidingField, view: &RunView) -> Announcement {
    let by = field.set(view).map_or("", |set| set.manager.as_str());
    let is_person = ["", "testinium"].contains(&by) || by.starts_with("kubectl");
    let by_whom = if by.is_empty() { String::new() } else { format!(" by \"{by}\"") };
    let again = advice::stop_again(&view.key);
    match field {
        DecidingField::Stopped if is_person => Announcement::normal(
            EventReason::StopWithdrawn,
            format!("the stop was taken back: spec.stopped was set to false{by_whom}"),
        ),
        DecidingField::Annotation | DecidingField::Retry | DecidingField::Cleanup if is_person => {
            Announcement::normal(
                EventReason::StopWithdrawn,
                format!("the stop was taken back: the annotation testinium.io/stop was set to a no{by_whom}"),
            )
        }
        DecidingField::Stopped => Announcement::warning(
            EventReason::StopReverted,
            format!(
                "\"{by}\" has set spec.stopped to false; to stop the plans in a way that lasts, run: {again}"
            ),
        ),
        DecidingField::Annotation | DecidingField::Retry | DecidingField::Cleanup => Announcement::warning(
            EventReason::StopReverted,
            format!(
                "\"{by}\" has set the annotation testinium.io/stop to a no; to stop the plans after all, run: {again}"
            ),
        ),
        // The stop was asked for by no person who would want it back.
        DecidingField::Deadline => Announcement::normal(
            EventReason::StopWithdrawn,
            format!(
                "the stop was taken back: spec.activeDeadlineSeconds was raised to a deadline in the future{by_whom}"
            ),
        ),
        DecidingField::Deletion | DecidingField::DeletionPolicy => Announcement::normal(
            EventReason::StopWithdrawn,
            format!(
                "the stop was taken back: spec.deletionPolicy was set to Orphan{by_whom}, and the run goes at once"
            ),
        ),
        DecidingField::GatewayRef => Announcement::warning(
            EventReason::StopWithdrawn,
            format!(
                "spec.gatewayRef was set to gateway \"{}\"{by_whom}, which ends the stop; to stop the plans there, run: \
                 {again}",
                gateway_name(view)
            ),
        ),
    }
}

/// The announcement that a deadline has passed and asks for these plans.
pub fn deadline_passed(deadlines: Deadlines, plans: &[PlanId]) -> Option<Announcement> {
    let deadline = in_words(deadlines.named?);
    let message =
        format!("the run's deadline, {deadline}, has passed; to be stopped: {}", plans_by_name(plans));
    Some(Announcement::normal(EventReason::DeadlinePassed, message))
}

/// The announcement that the deletion of a run waits until these plans are stopped.
pub fn stops_before_deletion(plans: &[PlanId]) -> Announcement {
    let message = format!(
        "the run is being deleted, and spec.deletionPolicy is Stop; to be stopped before: {}",
        plans_by_name(plans)
    );
    Announcement::normal(EventReason::StopBeforeDeletion, message)
}

/// The announcement that the deletion policy of a run is not in effect.
pub fn deletion_skipped(why: &str) -> Announcement {
    let message = format!(
        "spec.deletionPolicy Stop is not in effect: {why}; if the run is deleted, its plans go on: stop them first"
    );
    Announcement::warning(EventReason::DeletionSkipped, message)
}

/// The announcement of a notice; none if it does not matter for these plans. `unsent`: the number of plans that wait
/// for a call. `earlier`: the withdrawal of the stop before.
pub fn notice(
    notice: Notice,
    view: &RunView,
    unsent: usize,
    earlier: Option<&Withdrawal>,
) -> Option<Announcement> {
    let key = &view.key;
    let again = advice::stop_again(key);
    match notice {
        Notice::EmptyAnnotation => Some(Announcement::warning(
            EventReason::InvalidAnnotation,
            format!(
                "the annotation testinium.io/stop is empty, which asks for nothing; to stop the plans, run: {again}"
            ),
        )),
        Notice::NotWithdrawn => Some(Announcement::warning(
            EventReason::StopNotWithdrawn,
            format!(
                "the annotation testinium.io/stop says no, but spec.stopped is true, so the stop stands; to take it \
                 back, run: {}",
                advice::unset_stopped(key)
            ),
        )),
        Notice::Continues(_) if unsent == 0 => None,
        Notice::Continues(field) => Some(Announcement::warning(
            EventReason::StopContinues,
            format!(
                "{} was removed, which takes nothing back: {unsent} plans are still to be stopped; to end the stop, \
                 run: {}",
                match field {
                    DecidingField::Stopped => "spec.stopped",
                    DecidingField::Deadline => "spec.activeDeadlineSeconds",
                    DecidingField::Annotation
                    | DecidingField::Retry
                    | DecidingField::Cleanup
                    | DecidingField::GatewayRef
                    | DecidingField::Deletion
                    | DecidingField::DeletionPolicy => "the annotation testinium.io/stop",
                },
                // A no that is there already would be no other value.
                if view.stop_annotation.as_deref().is_some_and(|value| meaning(value) == Meaning::No) {
                    advice::unset_stopped(key)
                } else {
                    advice::take_back(key)
                }
            ),
        )),
        Notice::Contested => Some(Announcement::warning(
            EventReason::StopContested,
            format!(
                "field managers set spec.stopped in turn: \"{}\" has set it to true again after \"{}\" had set it to \
                 false; let one of them own the field; to stop the plans by annotation, run: {again}",
                view.stopped_set.as_ref().map_or("", |set| set.manager.as_str()),
                earlier.and_then(|earlier| earlier.by.as_deref()).unwrap_or_default()
            ),
        )),
        Notice::Restored => Some(Announcement::warning(EventReason::Restored, restored(key))),
    }
}

/// The words about a run that carries a request which counts as seen.
pub fn restored(run: &RunKey) -> String {
    format!(
        "the run was restored from a backup, so the stop or deadline that it carries is of the past and is not repeated; \
         to stop its plans now, run: {}",
        advice::stop_again(run)
    )
}

/// The announcement of a status that says something for the first time: what has happened. The status has the whole
/// sentence of what is. `waits`: the reason for which the run waits, if it does.
pub fn transition(status: &TestPlanRunStatus, waits: Option<WaitReason>) -> Option<Announcement> {
    let word = stopped(status)?.reason.as_str();
    let stop = status.stop.as_ref()?;
    let gateway = stop.gateway.as_ref().map_or("", |gateway| gateway.name.as_str());
    let ended = || {
        let tally = PlanTally::of(status.plans.iter().map(|plan| plan.outcome));
        // A user is told of only where the name is believed.
        let user = stop.requested_by.as_deref();
        let asked_by = user.map(|user| format!(", asked for by \"{user}\",")).unwrap_or_default();
        format!("the stop at gateway \"{gateway}\"{asked_by} has ended: {}", tally.text())
    };
    let announcement = match word {
        reason::ACCEPTED => Announcement::normal(EventReason::StopAccepted, ended()),
        reason::NOT_RUNNING => Announcement::normal(EventReason::StopNotNeeded, ended()),
        reason::PARTIALLY_STOPPED => Announcement::warning(EventReason::PartiallyStopped, ended()),
        reason::EXPIRED => Announcement::warning(EventReason::StopExpired, ended()),
        reason::FAILED => Announcement::warning(EventReason::StopFailed, ended()),
        waiting if waits.is_some_and(|waits| waits.as_str() == waiting) => Announcement::warning(
            EventReason::GatewayUnavailable,
            format!("the stop waits for gateway \"{gateway}\": {waiting}"),
        ),
        _ => return None,
    };
    Some(Announcement { given: stop.reason.clone(), ..announcement })
}

/// The announcement that a run is not deleted after its TTL.
pub fn ttl_skipped(run: &RunKey, kept_for: &str) -> Announcement {
    Announcement::warning(
        EventReason::TTLSkipped,
        format!(
            "spec.ttlSecondsAfterFinished does not delete the run because of {kept_for}; delete it where it is declared, \
             or by: kubectl delete testplanrun {} -n {}",
            run.name, run.namespace
        ),
    )
}

pub fn deletion_refused() -> Announcement {
    let message = "the API server refuses to delete the run after spec.ttlSecondsAfterFinished; the operator tries it \
                   again every five minutes";
    Announcement::warning(EventReason::DeletionRefused, message.to_owned())
}

/// The announcement that a plan is asked for again although its gateway is well.
pub fn asked_again(plan: PlanId, gist: Gist, gateway: &str) -> Announcement {
    Announcement::warning(
        EventReason::PlanAskedAgain,
        format!(
            "the answer of gateway \"{gateway}\" for plan {plan} was: {gist}; the operator asks for it again"
        ),
    )
}

/// The announcement that the object of a run is gone while its stop was under way.
pub fn deleted(tally: &PlanTally) -> Announcement {
    Announcement::warning(
        EventReason::StopAbandoned,
        format!(
            "the run was deleted before its stop had ended, and what was not sent is not stopped: {}",
            tally.text()
        ),
    )
}
