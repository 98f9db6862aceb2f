//! The rules of requests once more, told in another way: for each object that the machine is shown, whether a stop
//! stands and whether it was asked for anew.
//!
//! The reference judges by this and calls nothing of the machine, so that a fault there can't hide itself.

use jiff::{SignedDuration, Timestamp};

use crate::api::{DeletionPolicy, TestPlanRunStatus, Trigger};
use crate::machine::RunView;

/// The requests of one run by the objects that were shown so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::machine) struct RequestReference {
    pub(in crate::machine) stopped: Option<bool>,
    pub(in crate::machine) annotation: Option<String>,
    pub(in crate::machine) retry: Option<String>,
    pub(in crate::machine) cleanup: Option<String>,
    /// The latest deadline that has passed.
    pub(in crate::machine) passed: Option<Timestamp>,
    /// The deletion of the object has asked, or had nothing to ask for while the stop was under way.
    pub(in crate::machine) deletion: bool,
    /// Name of the gateway at which a stop stands.
    pub(in crate::machine) stands_at: Option<String>,
    /// A deadline has asked for the stop that stands.
    pub(in crate::machine) by_deadline: bool,
    /// The deletion of the object has asked for it.
    pub(in crate::machine) by_deletion: bool,
}

/// The field that has asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum AskedBy {
    Stopped,
    Annotation,
    /// For all plans, since no stop stands here.
    Retry,
    /// In the same way.
    Deadline,
    /// In the same way.
    Cleanup,
    /// In the same way.
    Deletion,
    /// One of these four, for those that the present stop has not stopped.
    OfSome,
}

const NOES: [&str; 5] = ["false", "no", "off", "none", "0"];

// === impl RequestReference ===

impl RequestReference {
    /// The requests that an earlier process has left in the status.
    pub(in crate::machine) fn of_status(status: &TestPlanRunStatus) -> Self {
        let stop = status.stop.clone().unwrap_or_default();
        let stands = stop.trigger.is_some() && stop.withdrawn_time.is_none();
        Self {
            stopped: stop.observed_stopped,
            annotation: stop.observed_request,
            retry: stop.observed_retry,
            passed: stop.observed_deadline.map(|time| time.0),
            by_deadline: stands && stop.trigger == Some(Trigger::Deadline),
            by_deletion: stands && stop.trigger == Some(Trigger::Deletion),
            deletion: stop.observed_deletion.is_some(),
            cleanup: stop.observed_cleanup,
            stands_at: stop.gateway.filter(|_| stands).map(|gateway| gateway.name),
        }
    }

    pub(in crate::machine) fn stands(&self) -> bool {
        self.stands_at.is_some()
    }

    /// Shows the next state of the object. `unseen_flip`: the field went to false and back while nobody looked. `is_left`:
    /// the present stop has not stopped every plan, and is not about to. `is_pending`: some of its plans have no outcome
    /// yet. Yields which field asks for a stop that was not asked for before.
    pub(in crate::machine) fn show(
        &mut self,
        view: &RunView,
        unseen_flip: bool,
        (is_left, is_pending): (bool, bool),
        now: Timestamp,
    ) -> Option<AskedBy> {
        let stood_at = self.stands_at.clone();
        let asked_by = self.show_fields(view, unseen_flip, is_left, now);
        match asked_by {
            Some(AskedBy::OfSome) | None => {
                self.by_deadline &= self.stands_at == stood_at;
                self.by_deletion &= self.stands_at == stood_at;
            }
            Some(by) => {
                self.by_deadline = by == AskedBy::Deadline;
                self.by_deletion = by == AskedBy::Deletion;
            }
        }
        // What asks at the same time asks for it all.
        let waits = asked_by.is_some() || (is_pending && self.stands());
        self.deletion |= waits && is_held(view) && view.spec.deletion_policy == Some(DeletionPolicy::Stop);
        asked_by
    }

    fn show_fields(
        &mut self,
        view: &RunView,
        unseen_flip: bool,
        is_left: bool,
        now: Timestamp,
    ) -> Option<AskedBy> {
        let before = std::mem::replace(
            self,
            Self {
                stopped: view.spec.stopped,
                annotation: view.stop_annotation.clone(),
                retry: view.retry_annotation.clone(),
                cleanup: view.cleanup_annotation.clone(),
                ..self.clone()
            },
        );
        let gateway = gateway_of(view);
        // One that has passed before, or that is earlier than such a one, means nothing any more.
        let deadline =
            deadline_of(view).filter(|deadline| before.passed.is_none_or(|passed| passed < *deadline));
        let has_passed = deadline.is_some_and(|deadline| deadline <= now);
        if has_passed {
            self.passed = deadline;
        }
        let value = view.stop_annotation.as_deref().unwrap_or("").trim().to_lowercase();
        let is_other_value = view.stop_annotation.is_some() && before.annotation != self.annotation;
        let became_true = self.stopped == Some(true) && (before.stopped != Some(true) || unseen_flip);
        let became_a_request = is_other_value && !value.is_empty() && !NOES.contains(&value.as_str());
        if became_true || became_a_request {
            self.stands_at = Some(gateway);
            return Some(if became_true { AskedBy::Stopped } else { AskedBy::Annotation });
        }
        let retries = self.retry.is_some() && before.retry != self.retry;
        let is_cleaned = self.cleanup.is_some() && before.cleanup != self.cleanup;
        let asked_to_wait = is_held(view) && view.spec.deletion_policy == Some(DeletionPolicy::Stop);
        let deletes = asked_to_wait && !before.deletion && !ttl_is_over(view);
        let asks_by = match (retries, deletes, has_passed, is_cleaned) {
            (true, _, _, _) => Some(AskedBy::Retry),
            (_, true, _, _) => Some(AskedBy::Deletion),
            (_, _, true, _) => Some(AskedBy::Deadline),
            (_, _, _, true) => Some(AskedBy::Cleanup),
            (false, false, false, false) => None,
        };
        let stands_here = self.stands_at.as_ref() == Some(&gateway);
        if asks_by.is_some() && !stands_here {
            self.stands_at = Some(gateway);
            return asks_by;
        }
        if asks_by.is_some() && is_left {
            return Some(AskedBy::OfSome);
        }
        let became_false = self.stopped == Some(false) && before.stopped != Some(false);
        let became_a_no = is_other_value && NOES.contains(&value.as_str()) && self.stopped != Some(true);
        let moved = self.stands_at.as_ref().is_some_and(|at| *at != gateway);
        let raised = self.by_deadline && deadline.is_some() && !has_passed;
        let orphaned = self.by_deletion && view.spec.deletion_policy == Some(DeletionPolicy::Orphan);
        if became_false || became_a_no || moved || raised || orphaned {
            self.stands_at = None;
        }
        None
    }
}

/// The deadline of an object, in words of its documentation: so many seconds after its creation.
pub(in crate::machine) fn deadline_of(view: &RunView) -> Option<Timestamp> {
    Some(view.created? + SignedDuration::from_secs(view.spec.active_deadline_seconds?))
}

/// Whether an object is being deleted and has our finalizer, in words of its documentation.
pub(in crate::machine) fn is_held(view: &RunView) -> bool {
    view.deleted.is_some() && view.finalizers.iter().any(|name| name == "testinium.io/stop")
}

/// Whether the object of a run was to go by its TTL when its deletion began.
fn ttl_is_over(view: &RunView) -> bool {
    let stop = view.status.stop.clone().unwrap_or_default();
    let ttl = view.spec.ttl_seconds_after_finished.map(SignedDuration::from_secs);
    let completed = stop.completion_time.filter(|_| stop.withdrawn_time.is_none()).map(|time| time.0);
    let over = completed.zip(ttl).map(|(completed, ttl)| completed + ttl);
    let is_owned = view.marks.as_ref().is_none_or(|marks| !marks.names.is_empty());
    let keep = view.keep_until.as_ref().map(|until| until.parse::<Timestamp>());
    let is_past = |until: Timestamp| view.deleted.is_some_and(|deleted| until <= deleted);
    over.is_some_and(is_past) && !is_owned && keep.is_none_or(|until| until.is_ok_and(is_past))
}

/// The gateway that an object names.
fn gateway_of(view: &RunView) -> String {
    let named = view.spec.gateway_ref.clone().and_then(|gateway| gateway.name);
    named.unwrap_or_else(|| "default".to_owned())
}
