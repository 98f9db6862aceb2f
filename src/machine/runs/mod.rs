//! Runs: the intent of each, the progress of its plans, and the content of its status.
//!
//! [`Runs`] owns the records of runs that are not at rest, and knows no other part of the machine: it asks the others
//! by returning [`Demand`]s. A run at rest has no record; a run that only waits for its deadline is parked, and one that
//! waits for room in memory is set aside.
//!
//! **R15.** A verdict counts for one request. The progress of a call reaches a run only if the plan is still in that
//! very call and the run's request is still the one that the call was made for: a call that began before a request
//! can't fulfil it. If the stop was withdrawn meanwhile and the call ends without a verdict, the plan is Unknown
//! ("sent, but no answer came") where the call may have stopped it, and Withdrawn where it has surely stopped nothing.
//! Tests: `the_progress_of_a_call_reaches_the_request_that_it_was_made_for_alone`,
//! `h04_asked_for_again_while_the_call_is_in_flight`, `h10_one_of_two_runs_withdraws_in_flight`,
//! `what_has_surely_stopped_nothing_is_told_apart`, `a_verdict_that_is_held_crosses_a_new_request`; without it the
//! model finds a counterexample: `without_asks_an_old_verdict_fulfils_a_new_request`.

pub mod census;
mod conditions;
pub mod deadline;
pub mod deletion;
pub mod demand;
pub mod events;
pub mod intent;
mod meaning;
pub mod memo;
mod observe;
pub mod observed;
pub mod parked;
pub mod plan;
pub mod plan_list;
pub mod request;
pub mod room;
pub mod run;
mod run_object;
mod run_plans;
mod run_status;
pub mod statement;
pub mod status;
pub mod status_input;
mod tally;
mod ttl;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::deletion::LetGo;
pub use self::demand::Demand;
pub use self::parked::Parked;
use self::room::{Room, SetAside};
use self::run::Run;
use crate::api::Outcome;
use crate::machine::call::{CallProgress, Progress, Waiter};
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, Lane, PlanId, RunId, RunKey};
use crate::machine::list::Lists;
use crate::machine::time::{Millis, Now};
use crate::machine::timers::Timers;

/// All runs that are not at rest.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    pub(in crate::machine) by_id: BTreeMap<RunId, Box<Run>>,
    pub(in crate::machine) by_key: BTreeMap<RunKey, RunId>,
    pub(in crate::machine) parked: Parked,
    pub(in crate::machine) aside: SetAside,
    pub(in crate::machine) room: Room,
    /// Those without room of their own of whose requests status tells since the last turn: empty between two inputs.
    pub(in crate::machine) told: BTreeSet<RunId>,
    /// The next moment of each run: its status is due, or a plan that waits for a call is given up.
    pub(in crate::machine) timers: Timers<RunId>,
    pub(in crate::machine) lanes: BTreeMap<Arc<str>, Lane>,
    pub(in crate::machine) lists: Lists,
    pub(in crate::machine) guards: Guards,
    pub(in crate::machine) next_id: u64,
    pub(in crate::machine) next_lane: u32,
    /// Whether finalizers may be put on; none while that is not known.
    pub(in crate::machine) may_put_finalizers: Option<bool>,
}

// === impl Runs ===

impl Runs {
    /// `bytes`: the most that records may take.
    pub fn new(bytes: usize) -> Self {
        Self { room: Room::of(bytes), ..Self::default() }
    }

    pub fn get(&self, id: RunId) -> Option<&Run> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    pub fn id_of(&self, key: &RunKey) -> Option<RunId> {
        self.by_key.get(key).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (RunId, &Run)> {
        self.by_id.iter().map(|(id, run)| (*id, run.as_ref()))
    }

    /// The number of runs that are not at rest.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Whether a run asks again for a plan whose call has ended without a verdict. The run decides, and the queue
    /// follows: the plans that a run waits for are its fact alone.
    pub fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool {
        self.get(waiter.run).is_some_and(|run| run.goes_on(waiter, plan, call, now))
    }

    /// The next moment at which a run has to act by itself.
    pub fn wake_at(&self) -> Option<Millis> {
        [self.timers.wake_at(), self.parked.wake_at(), self.aside.wake_at()].into_iter().flatten().min()
    }

    // === progress of plans ===

    /// Calls have begun or ended for plans of runs.
    pub fn apply_progress(&mut self, all: Vec<CallProgress>, now: Now, demands: &mut Vec<Demand>) {
        let mut touched = BTreeSet::new();
        for CallProgress { waiter, plan, call, progress } in all {
            let Some(run) = self.by_id.get_mut(&waiter.run) else { continue };
            let is_expected = match &progress {
                Progress::Began => run.request_seq == waiter.request_seq,
                Progress::Settled(_) | Progress::Unanswered(_) | Progress::Refused(_) => {
                    run.expects(&waiter, plan, call) || !self.guards.is_on(Guard::PresentRequest)
                }
            };
            if !is_expected {
                continue;
            }
            demands.extend(run.apply_progress(plan, call, progress, now).map(Demand::Settled));
            touched.insert(waiter.run);
        }
        demands.extend(touched.into_iter().map(Demand::Reschedule));
    }

    /// Gives up the plans whose stop has taken too long, and asks for the runs whose deadline has come.
    pub fn run_timers(&mut self, now: Now, demands: &mut Vec<Demand>) {
        while let Some(id) = self.timers.next_due(now.mono) {
            let Some(run) = self.by_id.get_mut(&id) else { continue };
            run.timer = None;
            let plans = run.expire(now);
            if !plans.is_empty() {
                demands.extend(plans.iter().map(|_| Demand::Settled(Outcome::Expired)));
                demands.push(Demand::Withdraw { gateway: run.gateway(), plans, run: id });
            }
            run.look_at_overdue(now.mono);
            if run.has_waited_in_vain(now.mono) {
                self.let_go(id, LetGo::TimeOver, demands);
            }
            demands.push(Demand::Reschedule(id));
        }
        demands.extend(self.parked.run_timers(now).into_iter().map(Demand::Read));
        self.aside.run_timers(now.mono);
    }

    /// The deletion of a run waits no longer: what is left of its plans is given up.
    pub fn let_go(&mut self, id: RunId, why: LetGo, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        let is_first = !run.finalizer.gave_up;
        let (given_up, plans) = run.let_go(why == LetGo::NothingToSend);
        if !plans.is_empty() {
            demands.push(Demand::Withdraw { gateway: run.gateway(), plans, run: id });
        }
        demands.extend(given_up.into_iter().map(Demand::Settled));
        demands.extend(is_first.then_some(Demand::LetGo(why)));
        // It uses no gateway any more.
        demands.extend(run.all_settled().then_some(Demand::Deleting(id, None)));
    }

    /// It is known now whether finalizers may be put on.
    pub fn rights_known(&mut self, may_put: bool, demands: &mut Vec<Demand>) {
        self.may_put_finalizers = Some(may_put);
        for (id, run) in &mut self.by_id {
            run.finalizer.may_put = Some(may_put);
            if run.finalizer.is_wanted {
                run.dirty |= run.finalizer.skipped().is_some();
                demands.push(Demand::Reschedule(*id));
            }
        }
    }

    /// Sets the timer of a run: for the next of its plans that is given up, or for its status, whichever is sooner.
    pub fn arm(&mut self, id: RunId, status_at: Option<Millis>) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        let at = [run.next_deadline(), run.deletion_at(), status_at].into_iter().flatten().min();
        self.timers.set(&id, &mut run.timer, at);
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
