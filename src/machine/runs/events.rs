//! Events of a run: the announcements that it makes, and their words.

use crate::api::{EventReason, TestPlanRunStatus, reason};
use crate::machine::effect::Event;
use crate::machine::ids::{ObjectKey, RunKey, Uid};
use crate::machine::runs::advice;
use crate::machine::runs::intent::{DecidingField, Meaning, Notice, gateway_name, meaning};
use crate::machine::runs::memo::stopped;
use crate::machine::runs::request::Withdrawal;
use crate::machine::view::RunView;
use crate::machine::wait_reason::WaitReason;

/// An event before it is known which object it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    pub warning: bool,
    pub reason: EventReason,
    pub message: String,
}

// === impl Announcement ===

impl Announcement {
    fn normal(reason: EventReason, message: String) -> Self {
        Self { warning: false, reason, message }
    }

    fn warning(reason: EventReason, message: String) -> Self {
        Self { warning: true, reason, message }
    }

    pub fn about(self, about: ObjectKey, uid: Uid) -> Event {
        let Self { warning, reason, message } = self;
        Event { about, uid, warning, reason, message }
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
    let again = advice::stop_again(&view.key);
    match field {
        DecidingField::Stopped if is_person => Announcement::normal(
            EventReason::StopWithdrawn,
            "the stop was taken back: spec.stopped was set to false".to_owned(),
        ),
        DecidingField::Annotation | DecidingField::Retry if is_person => Announcement::normal(
            EventReason::StopWithdrawn,
            "the stop was taken back: the annotation testinium.io/stop was set to a no".to_owned(),
        ),
        DecidingField::Stopped => Announcement::warning(
            EventReason::StopReverted,
            format!(
                "\"{by}\" has set spec.stopped to false; to stop the plans in a way that lasts, run: {again}"
            ),
        ),
        DecidingField::Annotation | DecidingField::Retry => Announcement::warning(
            EventReason::StopReverted,
            format!(
                "\"{by}\" has set the annotation testinium.io/stop to a no; to stop the plans after all, run: {again}"
            ),
        ),
        DecidingField::GatewayRef => Announcement::warning(
            EventReason::StopWithdrawn,
            format!(
                "spec.gatewayRef now names gateway \"{}\", which ends the stop; to stop the plans there, run: {again}",
                gateway_name(view)
            ),
        ),
    }
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
        Notice::Continues if unsent == 0 => None,
        Notice::Continues => Some(Announcement::warning(
            EventReason::StopContinues,
            format!(
                "what asked for the stop was removed, which takes nothing back: {unsent} plans are still to be \
                 stopped; to end the stop, run: {}",
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
                 false; let one of them own the field, or stop the plans by annotation: {again}",
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
        "the run was restored from a backup, so the stop that it carries is of the past and is not repeated; to stop \
         its plans now, run: {}",
        advice::stop_again(run)
    )
}

/// The announcement of a status that says something for the first time, while its stop is asked for. `waits`: the
/// reason for which the run waits, if it does.
pub fn transition(
    status: &TestPlanRunStatus,
    all_settled: bool,
    waits: Option<WaitReason>,
) -> Option<Announcement> {
    let stopped = stopped(status)?;
    let message = stopped.message.clone();
    Some(match stopped.reason.as_str() {
        _ if !all_settled && waits.is_none() => return None,
        _ if !all_settled => Announcement::warning(EventReason::GatewayUnavailable, message),
        reason::NOT_REQUESTED => return None,
        reason::ACCEPTED | reason::NOT_RUNNING => Announcement::normal(EventReason::StopAccepted, message),
        reason::PARTIALLY_STOPPED => Announcement::warning(EventReason::PartiallyStopped, message),
        reason::EXPIRED => Announcement::warning(EventReason::StopExpired, message),
        _ => Announcement::warning(EventReason::StopFailed, message),
    })
}
