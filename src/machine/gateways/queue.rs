//! The queue of one gateway: the plans that wait for a call, each with the runs that wait for it.
//!
//! A plan is *fresh*, or it belongs to a group of *suspects* (plans of a call that went wrong, which stay together and
//! are never mixed with fresh ones), or it is *in a call* right now, while a run waits for the next one.
//!
//! **R8.** An id is in one call at a time, and in the queue at most once, however many runs wait for it. The runs that
//! have asked before a call begins wait for its answer; a run that asks later waits for the next call.
//! Tests: `one_plan_of_two_runs_is_taken_once_for_both`,
//! `a_run_that_comes_while_a_plan_is_in_a_call_waits_for_the_next_call`,
//! `h09_recreated_under_the_same_name_with_a_call_in_flight`; the reference checks it as I2 at every call, and without
//! it the model finds a counterexample: `without_one_call_an_id_it_is_in_two`.
//!
//! **R10.** Namespaces take turns. A fresh call takes one plan of each namespace in turn, and in a namespace the oldest
//! goes first. Fresh plans and suspects take turns too, while both wait: a run full of bad ids can't hold up the
//! others.
//! Tests: `namespaces_take_turns_in_a_queue`, `plans_are_taken_in_the_order_in_which_they_came`,
//! `h21_one_id_behind_a_flood_of_another_namespace`, `h27_an_id_that_makes_the_gateway_fail`.

use std::collections::{BTreeMap, VecDeque};

use smallvec::smallvec;

use crate::machine::call::{Member, Waiter, Waiters};
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::suspects::{Search, SuspectHistory, Suspects};
use crate::machine::ids::{Lane, PlanId, RunId};
use crate::machine::time::Millis;

#[derive(Clone, Debug)]
pub(in crate::machine) struct Waiting {
    pub(in crate::machine) position: Position,
    pub(in crate::machine) waiters: Waiters,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum Position {
    /// The lane of the first run that waits, and when the plan came.
    Fresh(Lane, u64),
    Suspect(u32),
    InCall,
}

/// The queue of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    pub(in crate::machine) plans: BTreeMap<PlanId, Waiting>,
    /// The fresh plans, in order of arrival in each lane.
    pub(in crate::machine) fresh: FairQueue<Lane, (u64, PlanId)>,
    pub(in crate::machine) suspects: VecDeque<Suspects>,
    pub(in crate::machine) search: Search,
    pub(in crate::machine) serial: u64,
}

// === impl Queue ===

impl Queue {
    /// Adds a waiter to a plan. `away`: whether the plan is in a call right now.
    pub fn offer(&mut self, plan: PlanId, waiter: Waiter, away: bool) {
        if let Some(waiting) = self.plans.get_mut(&plan) {
            join(&mut waiting.waiters, waiter);
            return;
        }
        let member = Member { plan, waiters: smallvec![waiter] };
        if away { self.put(member, Position::InCall) } else { self.put_fresh(member) }
    }

    /// Strikes a run out of those that wait for a plan.
    pub fn withdraw(&mut self, plan: PlanId, run: RunId) {
        let Some(waiting) = self.plans.get_mut(&plan) else { return };
        if let Ok(place) = place_of(&waiting.waiters, run) {
            waiting.waiters.remove(place);
        }
        if waiting.waiters.is_empty() {
            let position = waiting.position;
            self.remove(plan);
            if let Position::Suspect(serial) = position {
                self.leave_group(plan, serial);
            }
        }
    }

    /// Takes in the end of the plan's call: the runs that have asked for it meanwhile wait for the next call, and so do
    /// those of `back`, if the plan is to be asked for again.
    pub fn call_ended(&mut self, plan: PlanId, back: Option<Member>) {
        let mut member = back.unwrap_or(Member { plan, waiters: Waiters::new() });
        self.gather(&mut member);
        self.put_fresh(member);
    }

    /// Up to `max` fresh plans, in the order in which they came.
    pub fn take_fresh(&mut self, max: usize) -> Vec<Member> {
        std::iter::from_fn(|| self.next_fresh()).take(max).collect()
    }

    /// Takes one plan to try a shut gate with (R18): a suspect or, if `fresh_next`, a fresh plan first. Quarantined
    /// plans try when their time has come.
    pub fn take_probe(&mut self, fresh_next: bool, now: Millis) -> Option<(Member, Option<SuspectHistory>)> {
        let fresh = |queue: &mut Self| queue.next_fresh().map(|member| (member, None));
        let suspect = |queue: &mut Self| {
            queue.take_suspect(|history| !history.quarantined || history.not_before <= now)
        };
        if fresh_next { fresh(self).or_else(|| suspect(self)) } else { suspect(self).or_else(|| fresh(self)) }
    }

    /// The number of plans that a run waits for.
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    pub fn contains(&self, plan: PlanId) -> bool {
        self.plans.contains_key(&plan)
    }

    /// Number of fresh plans.
    pub fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    /// Whether no plan could be put into a call.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.suspects.is_empty()
    }

    /// Whether this waiter is among those of a plan.
    pub fn holds(&self, plan: PlanId, waiter: Waiter) -> bool {
        let waiting = self.plans.get(&plan);
        let place = waiting.and_then(|waiting| {
            place_of(&waiting.waiters, waiter.run).ok().map(|place| waiting.waiters[place])
        });
        place == Some(waiter)
    }

    /// Whether every plan is found at its own position: a plan that can't be found would wait for ever.
    #[cfg(debug_assertions)]
    pub fn is_consistent(&self, is_away: impl Fn(PlanId) -> bool) -> bool {
        self.plans.iter().all(|(plan, waiting)| match waiting.position {
            Position::Fresh(lane, order) => self.fresh.contains(&lane, &(order, *plan)),
            Position::Suspect(serial) => {
                self.suspects.iter().any(|group| group.serial == serial && group.plans.contains(plan))
            }
            Position::InCall => is_away(*plan),
        })
    }

    /// The runs that wait here, one for each plan that it waits for.
    pub fn waiters(&self) -> impl Iterator<Item = RunId> {
        self.plans.values().flat_map(|waiting| waiting.waiters.iter().map(|waiter| waiter.run))
    }

    fn next_fresh(&mut self) -> Option<Member> {
        let (_, plan) = self.fresh.next()?;
        self.remove(plan)
    }

    fn put_fresh(&mut self, member: Member) {
        let Some(lane) = member.waiters.first().map(|waiter| waiter.lane) else { return };
        self.serial += 1;
        let order = self.serial;
        self.fresh.put(&lane, (order, member.plan));
        self.put(member, Position::Fresh(lane, order));
    }

    pub(super) fn put(&mut self, member: Member, position: Position) {
        let waiting = Waiting { position, waiters: member.waiters };
        let earlier = self.plans.insert(member.plan, waiting);
        debug_assert!(earlier.is_none(), "plan {} is queued twice", member.plan);
    }

    /// Adds to a member the runs that have asked for its plan while that was in a call.
    pub(super) fn gather(&mut self, member: &mut Member) {
        if let Some(waiting) = self.plans.remove(&member.plan) {
            waiting.waiters.into_iter().for_each(|waiter| join(&mut member.waiters, waiter));
        }
    }

    /// Takes a plan out, wherever it is. A group of suspects keeps its number, which no longer leads here.
    pub(super) fn remove(&mut self, plan: PlanId) -> Option<Member> {
        let waiting = self.plans.remove(&plan)?;
        if let Position::Fresh(lane, order) = waiting.position {
            self.fresh.remove(&lane, &(order, plan));
        }
        Some(Member { plan, waiters: waiting.waiters })
    }
}

/// Adds a waiter. A run waits once for a plan, with its latest request. Waiters stand in the order of their runs, so that
/// one is found quickly among the thousands that may share a plan.
fn join(waiters: &mut Waiters, waiter: Waiter) {
    match place_of(waiters, waiter.run) {
        Ok(place) if waiters[place].request_seq >= waiter.request_seq => {}
        Ok(place) => waiters[place] = waiter,
        Err(place) => waiters.insert(place, waiter),
    }
}

/// The place of a run among waiters, or where it would be.
fn place_of(waiters: &Waiters, run: RunId) -> Result<usize, usize> {
    waiters.binary_search_by_key(&run, |waiter| waiter.run)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
