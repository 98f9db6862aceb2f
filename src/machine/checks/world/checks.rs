//! The invariants, each checked at the moment at which it could break.

use std::collections::BTreeSet;

use super::ghost::{Claim, is_settled};
use super::{Flight, World};
use crate::api::{Outcome, PlanStatus, TestPlanRunStatus};
use crate::machine::checks::fixtures::wall;
use crate::machine::{PlanId, RunView, Target};

// === impl World ===

impl World {
    /// Notes that an invariant is broken. The first one counts: what follows may follow from it.
    pub(in crate::machine) fn breach(&mut self, invariant: &'static str, text: String) {
        if self.breach.is_none() {
            self.breach = Some((invariant, text));
        }
    }

    pub(in crate::machine) fn check_call(&mut self, flight: &Flight) {
        let (plans, key) = (&flight.plans, &flight.gateway.key);
        let others: Vec<_> = self.calls.values().filter(|other| other.gateway.key == *key).collect();
        let shared = others.iter().any(|other| other.plans.iter().any(|plan| plans.contains(plan)));
        let limits = flight.gateway.spec.limits.clone().unwrap_or_default();
        let max = usize::try_from(limits.max_in_flight.unwrap_or(2)).unwrap_or(1);
        let batching = flight.gateway.spec.batching.clone().unwrap_or_default();
        let max_plans = usize::try_from(batching.max_plans.unwrap_or(100)).unwrap_or(1);
        let unique: BTreeSet<_> = plans.iter().collect();
        let in_flight = others.len();
        if shared {
            self.breach("I2", format!("{plans:?} while one of them is in another call"));
        }
        if in_flight >= max || plans.is_empty() || plans.len() > max_plans || unique.len() < plans.len() {
            self.breach("I3", format!("{plans:?} with {in_flight} calls under way"));
        }
        let told = self.ghost.gateways.get(key);
        if told
            .is_some_and(|told| told.view.uid != flight.gateway.uid || told.view.spec != flight.gateway.spec)
        {
            self.breach("I16", format!("{plans:?} by a connection of an earlier spec"));
        }
        for plan in plans {
            let claims: Vec<_> = flight.claims.iter().filter(|claim| claim.plan == *plan).collect();
            if claims.is_empty() {
                self.breach("I4", format!("nobody wants plan {plan}"));
            } else if claims.iter().all(|claim| self.ghost.is_late(claim, self.now, self.slack())) {
                self.breach("I4", format!("plan {plan} is sent after its deadline"));
            } else if claims.iter().all(|claim| self.is_at_server(claim)) {
                self.breach("I5", format!("plan {plan} is sent, and its outcome is written already"));
            } else if claims
                .iter()
                .all(|claim| self.is_at_server(claim) || self.ghost.answered.contains(*claim))
            {
                self.breach("I6", format!("plan {plan} is sent again without a cause"));
            }
        }
    }

    /// Whether the API server has the outcome that this request waits for.
    fn is_at_server(&self, claim: &Claim) -> bool {
        let run = self.server.runs.values().find(|run| run.uid == claim.uid);
        run.is_some_and(|run| is_settled(run, claim.plan)) && self.ghost.written.contains(claim)
    }

    /// The machine begins a write.
    pub(in crate::machine) fn check_write(
        &mut self,
        to: &Target,
        status: &TestPlanRunStatus,
        asks: &[Claim],
    ) {
        let writes = self.ops.values().filter(|op| !op.orphan && op.is_write()).count();
        let twice = self.ops.values().any(|op| !op.orphan && op.writes_run(&to.key, &to.uid));
        if twice || writes >= 24 {
            self.breach("I7", format!("a write of {} while {writes} are under way", to.key));
        }
        match self.ghost.known.get(&to.key) {
            Some(known) if known.view.uid != to.uid => self.breach("I7", "another object's uid".to_owned()),
            Some(known) if known.floor != to.version => {
                let (floor, version) = (known.floor.0, to.version.0);
                self.breach("I9", format!("a write on version {version}, and {floor} was known"));
            }
            Some(_) => {}
            None => self.breach("I7", format!("a write of {}, which is gone", to.key)),
        }
        self.check_outcomes(status, asks);
        self.check_expired(to, status);
    }

    /// Times in objects are whole seconds, and a list's age is told by a clock that may be wrong.
    fn slack(&self) -> u64 {
        1_000 + self.worst_skew
    }

    /// What a write gives up is not given up before its time.
    fn check_expired(&mut self, to: &Target, status: &TestPlanRunStatus) {
        let Some(known) = self.ghost.known.get(&to.key) else { return };
        let Some(asked) = known.requested else { return };
        let earliest = asked + jiff::SignedDuration::from_secs(known.shortest);
        let latest = wall(self.now + self.worst_skew);
        let is_new =
            |plan: &&PlanStatus| plan.outcome == Outcome::Expired && !known.given_up.contains(&plan.id);
        if let Some(plan) = status.plans.iter().find(is_new).filter(|_| latest < earliest) {
            self.breach("I4", format!("plan {} of {} is given up before its deadline", plan.id, to.key));
        }
    }

    /// What a write calls a success was one.
    fn check_outcomes(&mut self, status: &TestPlanRunStatus, asks: &[Claim]) {
        let good = |outcome| matches!(outcome, Outcome::Accepted | Outcome::NotRunning);
        for plan in status.plans.iter().filter(|plan| good(plan.outcome)) {
            let Some(claim) = asks.iter().find(|claim| claim.plan == plan.id) else { continue };
            if !self.ghost.granted.contains(&(claim.clone(), plan.outcome)) {
                self.breach("I1", format!("plan {} was never {:?}", plan.id, plan.outcome));
            }
        }
    }

    /// A write has changed what is at the API server.
    pub(in crate::machine) fn check_landed(
        &mut self,
        before: &RunView,
        after: &RunView,
        asks: &[Claim],
        orphan: bool,
    ) {
        if before.status == after.status {
            self.breach("I8", format!("a write of {} changes nothing", after.key));
        }
        // What an earlier term still writes may land after the list of this one.
        if orphan {
            return;
        }
        for claim in asks.iter().filter(|claim| is_settled(after, claim.plan)) {
            self.ghost.written.insert(claim.clone());
        }
    }

    /// A gate that is shut was shut by a call made since the gateway was last edited.
    pub(in crate::machine) fn check_gates(&mut self) {
        let shut = self.ghost.gateways.iter().find(|(key, known)| {
            let gateway = self.machine.gateways.get(key);
            !known.failed && gateway.is_some_and(|gateway| gateway.gate.failures() > 0)
        });
        if let Some((key, _)) = shut.map(|(key, known)| (key.clone(), known.round)) {
            self.breach("R14", format!("the gate of {key} was shut by a call of the past"));
        }
    }

    pub(in crate::machine) fn plan_ids(plans: &[PlanId]) -> Vec<i64> {
        plans.iter().map(|plan| plan.0).collect()
    }
}
