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
use crate::machine::gateways::verdict::Parts;
use crate::machine::ids::{Lane, PlanId, RunId};
use crate::machine::limits::STRIKES;
use crate::machine::time::Millis;

/// The history of a group of suspects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SuspectHistory {
    /// The number of bad answers to the group. For a plan that is alone and to blame: how often it was sent since.
    pub strikes: u8,
    /// The latest call that had begun when the first strike fell. Only the answer to a later call shows that the
    /// gateway has served others meanwhile: an earlier call may have been served before the trouble began.
    pub begun_before_strike: u32,
    /// Whether the group is to blame: the gateway has answered others while this group failed three times.
    pub quarantined: bool,
    /// The number of its calls in a row that were forbidden in Testinium's form, and the latest call when the first one
    /// was. They are counted by themselves: a group that is to blame for another failure is not forbidden by that.
    pub forbidden: u8,
    pub begun_before_forbidden: u32,
    /// The parts that it is split into then.
    pub parts: Parts,
    /// The group that a plan which tries a shut gate was taken from, if the rest of the group is still there.
    pub home: Option<u32>,
    /// The moment before which it is not sent.
    pub not_before: Millis,
}

// === impl SuspectHistory ===

impl SuspectHistory {
    /// Whether the group is to blame: it has failed often enough, and the gateway has answered others since it first
    /// did. `served`: the latest call with a good answer.
    pub fn is_to_blame(&self, served: u32) -> bool {
        self.strikes >= STRIKES && served > self.begun_before_strike
    }

    /// The same for calls that were forbidden.
    pub fn is_forbidden(&self, served: u32) -> bool {
        self.forbidden >= STRIKES && served > self.begun_before_forbidden
    }

    /// Counts one more bad answer. `forbids`: it was a 403 in Testinium's form. `begun`: the latest call that has
    /// begun.
    pub fn strike(&mut self, strikes: u8, forbids: bool, begun: u32) {
        if self.strikes == 0 {
            self.begun_before_strike = begun;
            self.parts = Parts::Halves;
        }
        self.strikes = self.strikes.saturating_add(strikes);
        if strikes >= STRIKES {
            self.parts = Parts::Several;
        }
        if !forbids {
            self.forbidden = 0;
        } else {
            if self.forbidden == 0 {
                self.begun_before_forbidden = begun;
            }
            self.forbidden = self.forbidden.saturating_add(1);
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::machine) struct Suspects {
    pub(in crate::machine) serial: u32,
    pub(in crate::machine) plans: Vec<PlanId>,
    pub(in crate::machine) history: SuspectHistory,
}

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

    /// Adds a group of plans that stay together, to be asked for once more. Plans without waiters are left out.
    pub fn suspect(&mut self, members: Vec<Member>, history: SuspectHistory) {
        self.serial += 1;
        let serial = self.serial as u32;
        let mut plans = Vec::with_capacity(members.len());
        for mut member in members {
            self.gather(&mut member);
            if !member.waiters.is_empty() {
                plans.push(member.plan);
                self.put(member, Position::Suspect(serial));
            }
        }
        if !plans.is_empty() {
            self.suspects.push_back(Suspects { serial, plans, history });
        }
    }

    /// Blames groups, since the gateway has answered others: those whose call had no answer in time are to blame, and
    /// are split at once. To ask for them as a whole once more would take as long again. Other failures cost no time:
    /// they may have been the gateway's, and only the next one will tell.
    pub fn blame(&mut self, served: u32) {
        let is_to_blame = |group: &Suspects| {
            let SuspectHistory { quarantined, parts, .. } = group.history;
            !quarantined && parts == Parts::Several && group.history.is_to_blame(served)
        };
        if !self.suspects.iter().any(is_to_blame) {
            return;
        }
        for group in std::mem::take(&mut self.suspects) {
            if !is_to_blame(&group) {
                self.suspects.push_back(group);
                continue;
            }
            let history = SuspectHistory { quarantined: true, strikes: 0, ..group.history };
            for plans in group.plans.chunks(history.parts.size_of(group.plans.len())) {
                let members = plans.iter().filter_map(|plan| self.take_from(*plan, group.serial)).collect();
                self.suspect(members, history);
            }
        }
    }

    /// Puts a plan that has tried a shut gate in vain back into its group, at the end.
    pub fn rejoin(&mut self, mut member: Member, history: SuspectHistory) {
        self.gather(&mut member);
        let home = self.suspects.iter_mut().find(|group| Some(group.serial) == history.home);
        let Some(group) = home else {
            return self.suspect(vec![member], SuspectHistory { home: None, ..history });
        };
        if !member.waiters.is_empty() {
            group.plans.push(member.plan);
            let position = Position::Suspect(group.serial);
            self.put(member, position);
        }
    }

    /// Up to `max` fresh plans, in the order in which they came.
    pub fn take_fresh(&mut self, max: usize) -> Vec<Member> {
        std::iter::from_fn(|| self.next_fresh()).take(max).collect()
    }

    /// Takes the first group of suspects whose time has come, with its history.
    pub fn take_suspects(&mut self, max: usize, now: Millis) -> Option<(Vec<Member>, SuspectHistory)> {
        loop {
            let index = self.suspects.iter().position(|group| group.history.not_before <= now)?;
            let mut group = self.suspects.remove(index)?;
            let rest = group.plans.split_off(group.plans.len().min(max));
            let (serial, history) = (group.serial, group.history);
            let members: Vec<_> =
                group.plans.into_iter().filter_map(|plan| self.take_from(plan, serial)).collect();
            if !rest.is_empty() {
                self.suspects.push_front(Suspects { serial, plans: rest, history });
            }
            if !members.is_empty() {
                return Some((members, history));
            }
        }
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

    /// Takes the first plan of the first such group. The rest of the group goes to the back.
    fn take_suspect(
        &mut self,
        which: impl Fn(&SuspectHistory) -> bool,
    ) -> Option<(Member, Option<SuspectHistory>)> {
        while let Some(index) = self.suspects.iter().position(|group| which(&group.history)) {
            let mut group = self.suspects.remove(index)?;
            let (serial, mut history) = (group.serial, group.history);
            let mut found = None;
            while found.is_none() && !group.plans.is_empty() {
                let plan = group.plans.remove(0);
                found = self.take_from(plan, serial);
            }
            if !group.plans.is_empty() {
                history.home = Some(serial);
                self.suspects.push_back(group);
            }
            if let Some(member) = found {
                return Some((member, Some(history)));
            }
        }
        None
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

    /// The moment at which the first group of suspects may be sent, if there is one.
    pub fn suspects_at(&self) -> Option<Millis> {
        let mut at = self.suspects.iter().map(|group| group.history.not_before);
        // Nearly all may be sent at once, so the first one mostly ends the search.
        match at.next()? {
            Millis(0) => Some(Millis(0)),
            first => Some(at.fold(first, Millis::min)),
        }
    }

    /// Whether no plan could be put into a call.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.suspects.is_empty()
    }

    /// Drops a plan from its group, and the group with its last one: an empty one would be waited for in vain.
    fn leave_group(&mut self, plan: PlanId, serial: u32) {
        let Some(index) = self.suspects.iter().position(|group| group.serial == serial) else { return };
        let group = &mut self.suspects[index];
        group.plans.retain(|other| *other != plan);
        if group.plans.is_empty() {
            self.suspects.remove(index);
        }
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

    fn take_from(&mut self, plan: PlanId, serial: u32) -> Option<Member> {
        let waiting = self.plans.get(&plan)?;
        if waiting.position == Position::Suspect(serial) { self.remove(plan) } else { None }
    }

    fn put_fresh(&mut self, member: Member) {
        let Some(lane) = member.waiters.first().map(|waiter| waiter.lane) else { return };
        self.serial += 1;
        let order = self.serial;
        self.fresh.put(&lane, (order, member.plan));
        self.put(member, Position::Fresh(lane, order));
    }

    fn put(&mut self, member: Member, position: Position) {
        let waiting = Waiting { position, waiters: member.waiters };
        let earlier = self.plans.insert(member.plan, waiting);
        debug_assert!(earlier.is_none(), "plan {} is queued twice", member.plan);
    }

    /// Adds to a member the runs that have asked for its plan while that was in a call.
    fn gather(&mut self, member: &mut Member) {
        if let Some(waiting) = self.plans.remove(&member.plan) {
            waiting.waiters.into_iter().for_each(|waiter| join(&mut member.waiters, waiter));
        }
    }

    /// Takes a plan out, wherever it is. A group of suspects keeps its number, which no longer leads here.
    fn remove(&mut self, plan: PlanId) -> Option<Member> {
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
