//! What becomes of one run that a rule has selected.
//!
//! The first objection wins. A run is stopped only where nothing says that it, or another run that is spared, needs its
//! plans; and it is deleted only if every plan was stopped and nobody would create it again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{CleanupAction, Outcome};
use crate::machine::cleanups::rule::Rule;
use crate::machine::ownership::{kept_until, recreated_by};
use crate::machine::view::Candidate;

/// What becomes of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It was created too late for this time, or is being deleted.
    NotMatched,
    /// There is nothing to do: it is stopped, is being stopped, or can't be deleted yet.
    Nothing,
    /// It carries the mark of this very time.
    Marked,
    Stop,
    Delete,
    Spare(Spared),
}

/// The reason for which a run is left alone although there was something to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spared {
    Kept,
    SharesPlan,
    CreatedAgain,
    Unreadable,
}

/// The plans of runs that are spared, by the names of their gateways.
#[derive(Clone, Debug, Default)]
pub struct SparedPlans {
    by_gateway: BTreeMap<Box<str>, BTreeSet<i64>>,
    count: usize,
}

/// How far the stop of a run is, as its object tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stop {
    /// Some plan was neither stopped nor is being stopped.
    Open,
    UnderWay,
    /// Every plan was stopped.
    Complete,
}

// === impl Spared ===

impl Spared {
    pub fn text(self) -> &'static str {
        match self {
            Self::Kept => "testinium.io/keep-until",
            Self::SharesPlan => "shares a plan with a run that is spared",
            Self::CreatedAgain => "would be created again by what owns it",
            Self::Unreadable => "can't be read",
        }
    }
}

// === impl SparedPlans ===

impl SparedPlans {
    /// Adds the plans of a run.
    pub fn add(&mut self, run: &Candidate) {
        let plans = self.by_gateway.entry(run.gateway().into()).or_default();
        self.count += run.spec.plans.iter().filter(|plan| plans.insert(**plan)).count();
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn shares(&self, run: &Candidate) -> bool {
        let plans = self.by_gateway.get(run.gateway());
        plans.is_some_and(|plans| run.spec.plans.iter().any(|plan| plans.contains(plan)))
    }
}

/// Whether the plans of a run must go on, whatever other run covers them, too: it is too young, or is to be kept, and was
/// not stopped.
pub fn needs_its_plans(run: &Candidate, rule: &Rule, time: Timestamp) -> bool {
    (!is_old(run, rule, time) || is_kept(run, time)) && stop_of(run) != Stop::Complete
}

/// Decides on a run at a scheduled time. `mark`: the mark of that time.
pub fn judge(run: &Candidate, rule: &Rule, time: Timestamp, mark: &str, spared: &SparedPlans) -> Fate {
    if run.is_being_deleted || !is_old(run, rule, time) {
        return Fate::NotMatched;
    }
    if run.mark.as_deref() == Some(mark) {
        return Fate::Marked;
    }
    let deletes = match (rule.action, stop_of(run)) {
        (CleanupAction::Delete | CleanupAction::StopThenDelete, Stop::Complete) => true,
        (CleanupAction::Stop | CleanupAction::StopThenDelete, Stop::Open) => false,
        (CleanupAction::Stop, Stop::Complete | Stop::UnderWay)
        | (CleanupAction::StopThenDelete, Stop::UnderWay)
        | (CleanupAction::Delete, Stop::Open | Stop::UnderWay) => return Fate::Nothing,
    };
    if is_kept(run, time) {
        return Fate::Spare(Spared::Kept);
    }
    match deletes {
        true if recreated_by(&run.marks).is_some() => Fate::Spare(Spared::CreatedAgain),
        true => Fate::Delete,
        false if spared.shares(run) => Fate::Spare(Spared::SharesPlan),
        false => Fate::Stop,
    }
}

fn is_old(run: &Candidate, rule: &Rule, time: Timestamp) -> bool {
    run.created.is_some_and(|created| time.duration_since(created) >= rule.older_than)
}

/// A time that can't be read keeps the run: somebody wanted to.
fn is_kept(run: &Candidate, time: Timestamp) -> bool {
    let until = run.keep_until.as_deref().map(kept_until);
    until.is_some_and(|until| until.is_none_or(|until| until > time))
}

fn stop_of(run: &Candidate) -> Stop {
    let is_current = run.status.observed_generation == Some(run.generation);
    let stop = run.status.stop.as_ref().filter(|stop| stop.trigger.is_some());
    let stop = stop.filter(|stop| stop.withdrawn_time.is_none());
    let stop = stop.filter(|stop| stop.gateway.as_ref().is_none_or(|gateway| gateway.name == run.gateway()));
    let outcomes: BTreeMap<_, _> = run.status.plans.iter().map(|plan| (plan.id, plan.outcome)).collect();
    let all = |wanted: fn(Outcome) -> bool| {
        run.spec.plans.iter().all(|id| outcomes.get(id).is_some_and(|outcome| wanted(*outcome)))
    };
    let is_asked = run.spec.stopped == Some(true) && !is_current;
    match stop {
        // Somebody has asked, or has taken back, and status does not tell of it yet.
        Some(_) | None if !has_seen_annotations(run) => Stop::UnderWay,
        Some(stop) if stop.completion_time.is_some() && is_current && all(is_stopped) => Stop::Complete,
        Some(_) if all(|outcome| is_stopped(outcome) || outcome == Outcome::Pending) => Stop::UnderWay,
        // Status does not tell of the request yet.
        Some(_) | None if is_asked => Stop::UnderWay,
        Some(_) | None => Stop::Open,
    }
}

/// Whether status tells of the annotations as they are now. They change no generation.
fn has_seen_annotations(run: &Candidate) -> bool {
    let observed = run.status.stop.as_ref();
    let request = observed.and_then(|stop| stop.observed_request.as_deref());
    let retry = observed.and_then(|stop| stop.observed_retry.as_deref());
    request == run.stop_annotation.as_deref() && retry == run.retry_annotation.as_deref()
}

fn is_stopped(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Accepted | Outcome::NotRunning => true,
        Outcome::Pending | Outcome::Rejected | Outcome::Unknown | Outcome::Expired | Outcome::Withdrawn => {
            false
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
