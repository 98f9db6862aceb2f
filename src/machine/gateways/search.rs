//! The search for bad plans among the suspects of a gateway's queue.
//!
//! **R16.** Splitting finds the bad plans, and asks nothing that is known already. A group of which a call has told
//! that it holds a bad plan is halved. The first half is asked for, and the second half waits for the answer, at most a
//! second. If the first half is accepted, then the second half holds the bad plan, and is halved without being asked
//! for as a whole. If the first half is refused, then nothing is known of the second one: it joins the other plans of
//! which nothing is known. Of these a call takes the fewer, the more bad plans were found so far, so that about every
//! second call is accepted, which tells the most.
//! What is known only decides in which calls plans go. A plan is settled by an answer to a call with it, and by nothing
//! else; so a gateway that answers by chance costs calls, and never a wrong outcome.
//! A call without a verdict stays together as a group, with a strike; after three strikes, once the gateway has answered
//! other calls since the first of them, the group is to blame: it is split, and shuts the gate no more. A call that had
//! no answer in time counts three strikes at once, and its group is split into several parts, since each try costs the
//! whole time-out. A plan that is alone and to blame is asked for with growing pauses; that never settles it.
//! Tests: `one_bad_id_among_64_costs_at_most_13_calls`, `bad_ids_are_found_within_the_bound_of_group_testing`,
//! `the_other_half_of_an_accepted_one_is_halved_unasked`, `the_other_half_of_a_refused_one_joins_those_of_which_nothing_is_known`,
//! `the_other_half_waits_a_second_at_most`, `suspects_stay_together_and_apart_from_fresh_ones`,
//! `h11_withdrawn_or_deleted_during_a_split`, `h27_an_id_that_makes_the_gateway_fail`,
//! `h29_an_id_that_is_never_answered`, `a_sound_gateway_is_not_asked_more_often_than_the_bound`.

use crate::machine::call::Member;
use crate::machine::gateways::queue::{Position, Queue};
use crate::machine::gateways::suspects::{Search, SuspectHistory, Suspects};
use crate::machine::gateways::verdict::Parts;
use crate::machine::ids::PlanId;
use crate::machine::limits::HALF_WAITS;
use crate::machine::time::Millis;

// === impl Queue ===

impl Queue {
    /// Adds a group of plans that stay together, to be asked for once more. Plans without waiters are left out. Yields
    /// the group's number, unless it is empty.
    pub fn suspect(&mut self, members: Vec<Member>, history: SuspectHistory) -> Option<u32> {
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
        if plans.is_empty() {
            return None;
        }
        self.suspects.push_back(Suspects { serial, plans, history });
        Some(serial)
    }

    /// Adds a group that holds a bad plan, as two: the second half waits for the answer to the first one.
    pub fn halve(&mut self, mut members: Vec<Member>, history: SuspectHistory, now: Millis) {
        let second = members.split_off(Parts::Halves.size_of(members.len()).min(members.len()));
        let Some(first) = self.suspect(members, history) else {
            self.suspect(second, history);
            return;
        };
        let other_half = self.suspect(second, SuspectHistory { not_before: now + HALF_WAITS, ..history });
        if let Some(place) = self.place_of_group(first) {
            self.suspects[place].history.other_half = other_half;
        }
    }

    /// Takes in that a call was accepted: a group that waited for its answer holds the bad plan.
    pub fn accepted(&mut self, history: SuspectHistory, plans: usize, now: Millis) {
        self.search.count(plans, 0);
        let Some(mut group) = self.take_group(history.other_half) else { return };
        group.history.not_before = Millis(0);
        if let [_] = group.plans[..] {
            self.suspects.push_back(group);
            return;
        }
        let members = self.take_members(&group.plans, group.serial);
        self.halve(members, group.history, now);
    }

    /// Takes in that a call was refused: nothing is known of a group that waited for its answer. `history`: none if the
    /// call's plans were fresh.
    pub fn refused(&mut self, history: Option<SuspectHistory>, plans: usize) {
        match history {
            None if self.suspects.is_empty() => self.search = Search { first: plans, ..Search::default() },
            None => self.search.first = self.search.first.max(plans),
            Some(_) => self.search.count(0, usize::from(plans == 1)),
        }
        let Some(mut group) = self.take_group(history.and_then(|history| history.other_half)) else { return };
        group.history = SuspectHistory { pooled: true, not_before: Millis(0), ..group.history };
        let Some(pool) = self.suspects.iter_mut().find(|pool| pool.history == group.history) else {
            self.suspects.push_back(group);
            return;
        };
        for plan in &group.plans {
            if let Some(waiting) = self.plans.get_mut(plan) {
                waiting.position = Position::Suspect(pool.serial);
            }
        }
        pool.plans.append(&mut group.plans);
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
            let history = SuspectHistory { quarantined: true, ..group.history.of_blamed_part() };
            for plans in group.plans.chunks(history.parts.size_of(group.plans.len())) {
                let members = self.take_members(plans, group.serial);
                self.suspect(members, history);
            }
        }
    }

    /// Puts a plan that has tried a shut gate in vain back into its group, at the end.
    pub fn rejoin(&mut self, mut member: Member, history: SuspectHistory) {
        self.gather(&mut member);
        let Some(home) = history.home.and_then(|home| self.place_of_group(home)) else {
            self.suspect(vec![member], SuspectHistory { home: None, ..history });
            return;
        };
        let group = &mut self.suspects[home];
        if !member.waiters.is_empty() {
            group.plans.push(member.plan);
            let position = Position::Suspect(group.serial);
            self.put(member, position);
        }
    }

    /// Takes the first group of suspects whose time has come, with its history. Plans of which nothing is known need
    /// not stay together: as many are taken as promise the most, and the others let other groups go first.
    pub fn take_suspects(&mut self, max: usize, now: Millis) -> Option<(Vec<Member>, SuspectHistory)> {
        loop {
            let index = self.suspects.iter().position(|group| group.history.not_before <= now)?;
            let mut group = self.suspects.remove(index)?;
            let (serial, mut history) = (group.serial, group.history);
            let max = if history.pooled { max.min(self.search.draw()) } else { max };
            let rest = group.plans.split_off(group.plans.len().min(max));
            let members = self.take_members(&group.plans, serial);
            if !rest.is_empty() {
                let rest = Suspects { serial, plans: rest, history };
                history.other_half = None;
                if history.pooled { self.suspects.push_back(rest) } else { self.suspects.push_front(rest) }
            }
            if !members.is_empty() {
                return Some((members, history));
            }
        }
    }

    /// Takes the first plan of the first such group. The rest of the group goes to the back.
    pub(super) fn take_suspect(
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
                (history.home, history.other_half, history.pooled) = (Some(serial), None, false);
                self.suspects.push_back(group);
            }
            if let Some(member) = found {
                return Some((member, Some(history)));
            }
        }
        None
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

    /// Drops a plan from its group, and the group with its last one: an empty one would be waited for in vain.
    pub(super) fn leave_group(&mut self, plan: PlanId, serial: u32) {
        let Some(index) = self.place_of_group(serial) else { return };
        let group = &mut self.suspects[index];
        group.plans.retain(|other| *other != plan);
        if group.plans.is_empty() {
            self.suspects.remove(index);
        }
    }

    fn take_group(&mut self, serial: Option<u32>) -> Option<Suspects> {
        let place = self.place_of_group(serial?)?;
        self.suspects.remove(place)
    }

    fn place_of_group(&self, serial: u32) -> Option<usize> {
        self.suspects.iter().position(|group| group.serial == serial)
    }

    fn take_members(&mut self, plans: &[PlanId], serial: u32) -> Vec<Member> {
        plans.iter().filter_map(|plan| self.take_from(*plan, serial)).collect()
    }

    fn take_from(&mut self, plan: PlanId, serial: u32) -> Option<Member> {
        let waiting = self.plans.get(&plan)?;
        if waiting.position == Position::Suspect(serial) { self.remove(plan) } else { None }
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
