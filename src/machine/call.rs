//! Vocabulary of calls to a gateway: their plans, the runs that wait for each plan, and the progress that a call
//! brings.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::api::{Outcome, PlanReason};
use crate::machine::answer::Gist;
use crate::machine::ids::{CallId, Lane, PlanId, RequestSeq, RunId};

/// A run that waits for a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiter {
    pub run: RunId,
    pub request_seq: RequestSeq,
    /// The lane of the run's namespace.
    pub lane: Lane,
}

/// The runs that wait for one plan. Nearly always it is one run.
pub type Waiters = SmallVec<[Waiter; 1]>;

/// A plan in a call, with the runs that wait for its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub plan: PlanId,
    /// The runs that have asked for the plan before the call began.
    pub waiters: Waiters,
}

/// The progress that a call brings to one plan of one run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallProgress {
    pub waiter: Waiter,
    pub plan: PlanId,
    pub call: CallId,
    pub progress: Progress,
}

/// A step of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its call has begun.
    Began,
    /// Its call has settled it.
    Settled(Settled),
    /// Its call has ended without a verdict on it, and may have stopped it. A run that still wants it waits for the
    /// next call. It carries the gateway's answer, if that counts against the plan.
    Unanswered(Option<Gist>),
    /// The same, but its call has surely stopped nothing.
    Refused(Option<Gist>),
}

/// The end of one plan's stop, as far as a call can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    pub outcome: Outcome,
    /// Boxed because the plans of an ordinary run have none.
    pub detail: Option<Box<Detail>>,
}

/// The reason of an outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Detail {
    /// The word of a [`PlanReason`], or one that another version of the operator has written.
    pub reason: Cow<'static, str>,
    pub message: Option<String>,
}

// === impl Settled ===

impl Settled {
    pub fn plain(outcome: Outcome) -> Self {
        Self { outcome, detail: None }
    }

    pub fn because(outcome: Outcome, reason: PlanReason, message: Option<String>) -> Self {
        let reason = Cow::Borrowed(reason.as_str());
        Self { outcome, detail: Some(Box::new(Detail { reason, message })) }
    }
}
