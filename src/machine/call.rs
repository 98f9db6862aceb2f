//! Calls to a gateway: which plans one has, who waits for each, and what it has meant for them.

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

/// Nearly always it is one run.
pub type Waiters = SmallVec<[Waiter; 1]>;

/// A plan on its way: in a call, with those who wait for its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub plan: PlanId,
    /// The runs whose turn it is when the plan is served.
    pub waiters: Waiters,
}

/// What a call has meant for one plan of one run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallProgress {
    pub waiter: Waiter,
    pub plan: PlanId,
    pub call: CallId,
    pub progress: Progress,
}

/// How far a plan has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its call has begun.
    Began,
    /// Its call has settled it.
    Settled(Settled),
    /// Its call has ended without a verdict on it, and may have stopped it. A run that still wants it waits for the
    /// next call. With the gateway's answer, if that counts against the plan.
    Unanswered(Option<Gist>),
    /// The same, but its call has surely stopped nothing.
    Refused(Option<Gist>),
}

/// What became of one plan, as far as a call can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    pub outcome: Outcome,
    /// Boxed because the plans of an ordinary run have none.
    pub detail: Option<Box<Detail>>,
}

/// Why an outcome is what it is.
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
