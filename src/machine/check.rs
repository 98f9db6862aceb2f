//! What must hold between the parts of the machine after every input. Debug builds check it, so that every test does.

use crate::machine::Machine;
use crate::machine::gateways::queue::Waiter;
use crate::machine::runs::plan::PlanState;

/// More runs than this are not checked after each input: it would make large tests quadratic.
const RUNS_MAX: usize = 64;

// === impl Machine ===

impl Machine {
    /// The run alone decides who waits, and the queue follows: each plan that waits for a call is queued at the run's
    /// gateway for its present request, each one in a call is known to be there, and nobody else is queued.
    pub(super) fn check(&self) {
        if self.runs.len() > RUNS_MAX || !self.gateways.guards.all_on() {
            return;
        }
        let mut waiting = 0;
        for (id, run) in &self.runs {
            let key = run.gateway();
            let gateway = self.gateways.get(&key);
            let waiter = Waiter { run: *id, request_seq: run.request_seq };
            for plan in &run.plans {
                match &plan.state {
                    PlanState::Queued => {
                        waiting += 1;
                        let is_queued = gateway.is_some_and(|gateway| gateway.queue.holds(plan.id, waiter));
                        assert!(
                            is_queued,
                            "plan {} of {} waits, and is not queued at {key}",
                            plan.id, run.key
                        );
                        assert!(
                            run.is_stop_requested(),
                            "plan {} of {} waits, and no stop is asked for",
                            plan.id,
                            run.key
                        );
                    }
                    PlanState::InFlight(call) => {
                        let known = gateway.and_then(|gateway| gateway.in_flight.get(&plan.id));
                        assert_eq!(known, Some(call), "plan {} of {} is in this call", plan.id, run.key);
                    }
                    PlanState::Settled(_) => {}
                }
            }
        }
        for gateway in self.gateways.iter() {
            let is_away = |plan| gateway.in_flight.contains_key(&plan);
            assert!(gateway.queue.is_consistent(is_away), "a plan is lost in the queue of {}", gateway.key);
        }
        let queued: usize = self.gateways.iter().map(|gateway| gateway.queue.waiters().count()).sum();
        assert_eq!(queued, waiting, "each waiter of a queue is a plan that waits");
    }
}
