//! Steps by name for scenarios, a time in which everything goes well until all is settled, and what must be true then.

use std::collections::BTreeSet;

use super::*;
use crate::api::{PlanStatus, condition, reason};

/// Rounds until everything is settled; far more than any retry needs.
const ROUNDS: usize = 2_000;

// === impl World ===

impl World {
    /// A settled world for a scenario.
    pub(in crate::machine) fn of(runs: &[(&str, &[i64])]) -> Self {
        Self::settled(runs, Options { quiet_gateways: true, ..Options::default() })
    }

    /// A settled world in which Secrets are read as slowly as runs are.
    pub(in crate::machine) fn with_slow_secrets(runs: &[(&str, &[i64])]) -> Self {
        Self::settled(runs, Options { quiet_gateways: true, slow_secrets: true, ..Options::default() })
    }

    pub(in crate::machine) fn run(&self, name: &str) -> &RunView {
        self.server.runs.get(&run_key(name)).expect("there is such a run")
    }

    /// An edit that the machine is told of later.
    pub(in crate::machine) fn edit_unseen(&mut self, name: &str, change: impl FnOnce(&mut RunView)) {
        self.server.wall = wall(self.now);
        self.server.edit_run(&run_key(name), change);
    }

    /// An edit that the machine is told of at once.
    pub(in crate::machine) fn edit(&mut self, name: &str, change: impl FnOnce(&mut RunView)) {
        self.edit_unseen(name, change);
        self.hear(Kind::Runs);
    }

    pub(in crate::machine) fn stop(&mut self, name: &str) {
        self.edit(name, |run| run.spec.stopped = Some(true));
    }

    pub(in crate::machine) fn withdraw(&mut self, name: &str) {
        self.edit(name, |run| run.spec.stopped = Some(false));
    }

    /// Deletes a run and makes it again under the same name.
    pub(in crate::machine) fn recreate_unseen(&mut self, name: &str, change: impl FnOnce(&mut RunView)) {
        let old = self.run(name).clone();
        self.server.wall = wall(self.now);
        self.server.delete_run(&old.key);
        let mut new = fixtures::run(&old.key.namespace, &old.key.name, old.spec.plans.clone());
        new.uid = format!("{}-again", old.uid).into();
        change(&mut new);
        self.server.put_run(new);
    }

    pub(in crate::machine) fn edit_gateway(&mut self, name: &str, change: impl FnOnce(&mut GatewayView)) {
        self.server.edit_gateway(&gateway_key(name), change);
        self.hear(Kind::Gateways);
    }

    /// All events of a kind arrive.
    pub(in crate::machine) fn hear(&mut self, kind: Kind) {
        while self.watch(kind).has_more(&self.server) {
            self.deliver(kind);
        }
    }

    pub(in crate::machine) fn hear_all(&mut self) {
        self.hear(Kind::Gateways);
        self.hear(Kind::Runs);
    }

    /// The oldest call ends.
    pub(in crate::machine) fn answered(&mut self, how: How) {
        let call = *self.calls.keys().next().expect("a call is under way");
        self.answer(call, how);
    }

    /// The plans of the calls under way, the oldest first.
    pub(in crate::machine) fn under_way(&self) -> Vec<&[i64]> {
        self.calls.values().map(|call| call.plans.as_slice()).collect()
    }

    /// The oldest request to the API server, such as a write.
    pub(in crate::machine) fn request(&self) -> u64 {
        *self.ops.keys().next().expect("a request is under way")
    }

    /// Every write lands and its reply comes, before its event.
    pub(in crate::machine) fn write_all(&mut self) {
        while let Some(id) = self.ops.keys().next().copied() {
            self.reply(id);
        }
    }

    /// Every write lands and its reply comes; requests of other sorts hang.
    pub(in crate::machine) fn write_statuses(&mut self) {
        let writes: Vec<_> = self.ops.iter().filter(|(_, op)| op.is_write()).map(|(id, _)| *id).collect();
        writes.into_iter().for_each(|id| self.reply(id));
    }

    /// Time passes, timer by timer; nothing else happens.
    pub(in crate::machine) fn pass(&mut self, millis: u64) {
        self.pass_with(millis, |_| ());
    }

    /// Everything that is under way ends well, and every event arrives, but no time passes.
    pub(in crate::machine) fn flow(&mut self, how: How) {
        for _ in 0..ROUNDS {
            self.write_all();
            self.hear_all();
            let calls: Vec<_> = self.calls.keys().copied().collect();
            calls.iter().for_each(|call| self.answer(*call, how));
            if calls.is_empty() && self.ops.is_empty() {
                return;
            }
        }
        panic!("the machine does not come to rest");
    }

    /// Time passes while everything goes well, but for how the gateway answers.
    pub(in crate::machine) fn live(&mut self, millis: u64, how: How) {
        self.pass_with(millis, |world| world.flow(how));
    }

    /// Time passes, timer by timer, and this happens before each of them.
    fn pass_with(&mut self, millis: u64, mut happens: impl FnMut(&mut Self)) {
        let end = self.now + millis;
        for _ in 0..ROUNDS * 10 {
            happens(self);
            match self.machine.wake_at() {
                Some(at) if at.0 <= end => self.tick(),
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    /// Faults have ended: time passes until nothing is left to do.
    pub(in crate::machine) fn run_until_settled(&mut self) {
        for _ in 0..ROUNDS {
            self.flow(How::ByNature);
            if self.machine.active() == 0 && self.machine.wake_at().is_none() {
                return;
            }
            self.tick();
        }
    }

    pub(in crate::machine) fn outcomes(&self, name: &str) -> Vec<Outcome> {
        self.run(name).status.plans.iter().map(|plan| plan.outcome).collect()
    }

    /// The reason of the condition Stopped.
    pub(in crate::machine) fn stopped(&self, name: &str) -> &str {
        stopped(self.run(name))
    }

    /// L1, L2: every plan that is wanted has the outcome of its nature in status, and nothing is left to do. Yields
    /// what is wrong.
    pub(in crate::machine) fn unsettled(&self) -> Option<String> {
        for run in self.server.runs.values() {
            if run.status.observed_generation != Some(run.generation) {
                return Some(format!("L1: the status of {} is of an earlier generation", run.key));
            }
            if let Some(wrong) = self.wrong_request(run) {
                return Some(wrong);
            }
            if [reason::NOT_REQUESTED, reason::WITHDRAWN].contains(&stopped(run)) {
                continue;
            }
            let told: BTreeSet<_> = run.status.plans.iter().map(|plan| plan.id).collect();
            if told != run.spec.plans.iter().copied().collect() {
                return Some(format!("L1: the status of {} speaks of {told:?}", run.key));
            }
            // Its deletion may have waited for long enough.
            let given_up = |outcome| outcome == Outcome::Expired && run.deleted.is_some();
            let is_right =
                |plan: &&PlanStatus| self.is_right(plan.id, plan.outcome) || given_up(plan.outcome);
            let wrong = run.status.plans.iter().find(|plan| !is_right(plan));
            if let Some(plan) = wrong {
                return Some(format!("L1: plan {} of {} is {:?}", plan.id, run.key, plan.outcome));
            }
        }
        if let Some(held) = self.held_up() {
            return Some(held);
        }
        (self.machine.active() > 0).then(|| format!("L2: {} runs are not at rest", self.machine.active()))
    }

    /// A status that contradicts the requests of the objects that the machine was shown, as a text.
    fn wrong_request(&self, run: &RunView) -> Option<String> {
        let known = self.reference.known.get(&run.key)?;
        let reason = stopped(run);
        let listed = |plan: &i64| run.status.plans.iter().any(|other| other.id == *plan);
        let wrong = match known.requests.stands() {
            true if reason == reason::WITHDRAWN => "a stop that stands is withdrawn",
            // Plans that were added after the stop of an event was complete are not asked for.
            true if reason == reason::NOT_REQUESTED && run.spec.stopped == Some(true) => {
                "a stop that stands is lost"
            }
            true if reason == reason::NOT_REQUESTED && run.spec.plans.iter().all(listed) => {
                "a stop that stands is lost"
            }
            false if ![reason::WITHDRAWN, reason::NOT_REQUESTED].contains(&reason) => {
                "a stop that nobody asks for stands"
            }
            true | false => return None,
        };
        Some(format!("L1: {}: {wrong}", run.key))
    }

    /// A plan that was stopped may have finished since, and one whose run has a short deadline may have expired.
    fn is_right(&self, plan: i64, outcome: Outcome) -> bool {
        let expected = self.fake_gateway.expected(plan);
        if outcome == Outcome::Expired && self.options.expires {
            return true;
        }
        outcome == expected || (expected == Outcome::NotRunning && outcome == Outcome::Accepted)
    }
}

fn stopped(run: &RunView) -> &str {
    let stopped = run.status.conditions.iter().find(|other| other.type_ == condition::STOPPED);
    stopped.map_or("", |stopped| &stopped.reason)
}
