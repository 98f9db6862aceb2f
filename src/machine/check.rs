//! Assertions across the three owners, after every input. Debug builds make them, and so does every test.

use crate::machine::Machine;
use crate::machine::call::Waiter;
use crate::machine::gateways::Gateways;
use crate::machine::ids::RunId;
use crate::machine::outbox::{EntryKey, WriteState};
use crate::machine::runs::plan::PlanState;
use crate::machine::runs::run::Run;

/// More runs or gateways than this are not checked after each input: it would make large tests quadratic.
const CHECKED_MAX: usize = 64;

// === impl Machine ===

impl Machine {
    pub(super) fn check(&self) {
        assert!(
            self.demands.is_empty() && self.cleanup_demands.is_empty(),
            "every demand is met before the next input"
        );
        let Gateways { touched, unpublished, origins, .. } = &self.gateways;
        assert!(
            touched.is_empty() && unpublished.is_empty(),
            "{touched:?} {unpublished:?} wait to be looked at"
        );
        let is_allowed = self.gateways.may_call.is_empty() || origins.touched.is_empty();
        assert!(is_allowed, "{:?} wait to be served", origins.touched);
        if self.runs.count() > CHECKED_MAX || self.gateways.iter().count() > CHECKED_MAX {
            return;
        }
        if !self.gateways.guards.all_on() {
            return;
        }
        let held: usize = self.runs.iter().map(|(_, run)| run.held).sum();
        assert_eq!(self.runs.room.taken(), held + self.runs.aside.kept(), "the room is counted");
        let waiting: usize = self.runs.iter().map(|(id, run)| self.check_plans(id, run)).sum();
        self.check_queues(waiting);
        self.runs.iter().for_each(|(id, run)| self.check_writes(id, run));
    }

    /// The run alone decides which of its plans wait, and the queue follows: each plan that waits for a call is queued
    /// at the run's gateway for its present request, and each one in a call is known to be there. Yields how many wait.
    fn check_plans(&self, id: RunId, run: &Run) -> usize {
        let mut waiting = 0;
        let key = run.gateway();
        let gateway = self.gateways.get(&key);
        let waiter = Waiter { run: id, request_seq: run.request_seq, lane: run.lane };
        for plan in run.plans.iter() {
            match plan.state {
                PlanState::Queued => {
                    waiting += 1;
                    let is_queued = gateway.is_some_and(|gateway| gateway.queue.holds(plan.id, waiter));
                    assert!(is_queued, "plan {} of {} waits, and is not queued at {key}", plan.id, run.key);
                    assert!(run.is_stop_requested(), "plan {} of {} waits for no stop", plan.id, run.key);
                }
                PlanState::InFlight(call) => {
                    let known = gateway.and_then(|gateway| gateway.in_flight.get(&plan.id)).copied();
                    assert_eq!(known, Some(call), "plan {} of {} is in this call", plan.id, run.key);
                }
                PlanState::Settled(_) => {}
            }
        }
        waiting
    }

    /// No plan is lost in a queue, and no run stands in a queue for a plan that it does not wait for.
    fn check_queues(&self, waiting: usize) {
        let (mut queued, mut waiters) = (0, 0);
        for gateway in self.gateways.iter() {
            let is_in_call = |plan| gateway.in_flight.contains_key(&plan);
            assert!(
                gateway.queue.is_consistent(is_in_call),
                "a plan is lost in the queue of {}",
                gateway.key
            );
            queued += gateway.queue.len();
            waiters += gateway.queue.waiters().count();
            let settings = gateway.settings.as_ref().filter(|_| gateway.is_member());
            let origin = settings.and_then(|settings| self.gateways.origins.get(&settings.origin));
            let is_member = origin.is_some_and(|origin| origin.members.contains(&gateway.key));
            assert_eq!(is_member, gateway.is_member(), "{} belongs to its origin", gateway.key);
            for run in &gateway.deleting {
                assert_eq!(self.gateways.deleting.get(run), Some(&gateway.key), "{run:?} is deleted here");
                assert!(self.runs.get(*run).is_some(), "the deletion of {run:?}, which is forgotten, waits");
            }
        }
        assert_eq!(waiters, waiting, "each waiter of a queue is a plan that waits");
        assert_eq!(queued, self.gateways.queued(), "the plans that wait are counted");
    }

    /// A run whose status is being written has a write under way, and a run at rest is forgotten.
    fn check_writes(&self, id: RunId, run: &Run) {
        let key = EntryKey::Run(id);
        let state = self.outbox.entries.get(&key).map_or(WriteState::Idle, |entry| entry.state);
        let is_writing = matches!(state, WriteState::InFlight(_));
        if run.statement.is_some() {
            assert!(is_writing, "the status of {} is said and not written", run.key);
        }
        let waits = self.runs.parked.by_key.contains_key(&run.key);
        assert_eq!(waits, run.due.is_some(), "{} is read when its deadline has come", run.key);
        assert!(!run.at_rest() || !self.outbox.is_idle(&key), "{} is at rest and is not forgotten", run.key);
    }
}
