//! One plan of a run, and how far its stop is.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::{Outcome, PlanReason, PlanStatus};
use crate::machine::answer::Gist;
use crate::machine::call::{Detail, Settled};
use crate::machine::ids::{CallId, PlanId};
use crate::machine::runs::observed::{Observed, StopState};
use crate::machine::runs::request::{Moment, Request, Source};
use crate::machine::time::Now;
use crate::machine::view::RunView;

/// A plan of a run, and how far its stop is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    pub id: PlanId,
    /// Calls that it has been in since the stop was asked for, as far as this term knows.
    pub attempts: u8,
    /// One of these calls may have stopped it without telling.
    pub maybe_stopped: bool,
    /// The last bad answer to one of them.
    pub last: Option<Gist>,
    pub state: PlanState,
    /// The moment at which its stop was asked for, if that was later than the stop of the run. Hardly any plan has one.
    pub asked: Option<Box<Moment>>,
}

/// The progress of the stop of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlanState {
    /// Waits for a call.
    Queued,
    /// Waits for the answer to this call.
    InFlight(CallId),
    Settled(Settled),
}

/// The message of a plan that was sent and not answered.
const SENT_UNANSWERED: &str = "the stop was sent, but no answer came";

const LAST_ANSWER: &str = "the gateway's last answer: ";

// === impl Plan ===

impl Plan {
    /// A plan that waits for its first call.
    pub fn queued(id: PlanId, asked: Option<Moment>) -> Self {
        Self {
            id,
            attempts: 0,
            maybe_stopped: false,
            last: None,
            state: PlanState::Queued,
            asked: asked.map(Box::new),
        }
    }

    pub fn is_queued(&self) -> bool {
        self.state == PlanState::Queued
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.state, PlanState::Settled(_))
    }

    /// The moment at which its stop was asked for. `request`: the request of the run.
    pub fn asked_at(&self, request: Option<&Request>) -> Option<Moment> {
        self.asked.as_deref().copied().or(request.map(|request| request.asked))
    }

    /// Its outcome, as status tells it.
    pub fn outcome(&self) -> Outcome {
        match &self.state {
            PlanState::Queued | PlanState::InFlight(_) => Outcome::Pending,
            PlanState::Settled(settled) => settled.outcome,
        }
    }

    /// The reason of its outcome, if there is more to say.
    pub fn detail(&self) -> Option<&Detail> {
        match &self.state {
            PlanState::Queued | PlanState::InFlight(_) => None,
            PlanState::Settled(settled) => settled.detail.as_deref(),
        }
    }

    /// Whether its stop has ended without success.
    pub fn was_not_stopped(&self) -> bool {
        match self.outcome() {
            Outcome::Rejected | Outcome::Unknown | Outcome::Expired | Outcome::Withdrawn => true,
            Outcome::Pending | Outcome::Accepted | Outcome::NotRunning => false,
        }
    }

    /// Whether its stop was taken back before its outcome could be known (rule 9).
    pub fn is_withdrawn(&self) -> bool {
        match self.outcome() {
            Outcome::Withdrawn => true,
            Outcome::Unknown => {
                self.detail().is_some_and(|detail| detail.reason == PlanReason::NoAnswer.as_str())
            }
            Outcome::Pending
            | Outcome::Accepted
            | Outcome::NotRunning
            | Outcome::Rejected
            | Outcome::Expired => false,
        }
    }

    /// The outcome of a plan whose stop is not wanted any more.
    pub fn withdrawn(&self) -> Settled {
        if self.maybe_stopped { unanswered() } else { Settled::plain(Outcome::Withdrawn) }
    }

    /// The outcome of a plan whose stop was not delivered by its deadline.
    pub fn expired(&self) -> Settled {
        self.given_up(PlanReason::DeadlineExceeded, "the stop could not be delivered before its deadline")
    }

    /// The outcome of a plan whose run is being deleted and could not wait until it was stopped.
    pub fn let_go(&self) -> Settled {
        self.given_up(PlanReason::ObjectDeleted, "the run is being deleted, and the stop could not be sent")
    }

    /// `unsent`: the message, unless the stop may have been sent.
    fn given_up(&self, reason: PlanReason, unsent: &str) -> Settled {
        let (reason, message) = match self.maybe_stopped {
            true => (PlanReason::NoAnswer, SENT_UNANSWERED),
            false => (reason, unsent),
        };
        let last = self.last_answer().map_or_else(String::new, |last| format!("; {last}"));
        Settled::because(Outcome::Expired, reason, Some(format!("{message}{last}")))
    }

    /// The gateway's last answer in words, if that was no good answer.
    pub fn last_answer(&self) -> Option<String> {
        self.last.map(|gist| format!("{LAST_ANSWER}{gist}"))
    }
}

/// Whether every plan has its outcome.
pub fn all_settled(plans: &[Plan]) -> bool {
    plans.iter().all(Plan::is_settled)
}

/// The outcome that a status tells of a plan; none while it is pending.
pub fn settled_in(status: &PlanStatus) -> Option<Settled> {
    let detail = status.reason.as_ref().map(|reason| {
        Box::new(Detail { reason: Cow::Owned(reason.clone()), message: status.message.clone() })
    });
    match status.outcome {
        Outcome::Pending => None,
        outcome => Some(Settled { outcome, detail }),
    }
}

/// The last bad answer that a status tells of a plan that is still to be stopped.
fn last_answer_in(status: &PlanStatus) -> Option<Gist> {
    Gist::of_words(status.message.as_deref()?.strip_prefix(LAST_ANSWER)?)
}

/// The plans of a spec in its order, each once.
pub(in crate::machine) fn distinct(ids: &[i64]) -> impl Iterator<Item = PlanId> {
    let mut taken = BTreeSet::new();
    ids.iter().copied().map(PlanId).filter(move |id| taken.insert(*id))
}

/// The plans of a stop as a status remembers them. Without a stop there are none, whatever the status lists: the right
/// to write a status is no right to stop a plan.
pub(in crate::machine) fn remembered_plans(
    view: &RunView,
    observed: &Observed,
    source: Source,
    now: Now,
) -> Vec<Plan> {
    if observed.stop == StopState::None {
        return Vec::new();
    }
    // If the stop has made a call, any of its plans may have been in it.
    let attempts = u8::from(view.status.stop.as_ref().and_then(|stop| stop.attempts).unwrap_or(0) > 0);
    let remembered = |status: &PlanStatus| {
        let asked = status.request_time.as_ref().map(|time| Moment::at(time.0, view, source, now));
        let mut plan =
            Plan { attempts, maybe_stopped: attempts > 0, ..Plan::queued(PlanId(status.id), asked) };
        match settled_in(status) {
            Some(settled) => plan.state = PlanState::Settled(settled),
            // A plan that a withdrawn stop still waited for was in a call.
            None if !observed.is_stop_requested() => {
                plan.maybe_stopped = true;
                plan.state = PlanState::Settled(plan.withdrawn());
            }
            None => plan.last = last_answer_in(status),
        }
        plan
    };
    view.status.plans.iter().map(remembered).collect()
}

fn unanswered() -> Settled {
    Settled::because(Outcome::Unknown, PlanReason::NoAnswer, Some(SENT_UNANSWERED.to_owned()))
}
