//! The invariants, each checked at the moment at which it could break.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reference::answers::Shown;
use super::reference::requests::is_held;
use super::reference::{Claim, documented, is_settled};
use super::{World, WorldCall};
use crate::api::{DeletionPolicy, Outcome, PlanStatus, TestPlanRunStatus};
use crate::machine::checks::fixtures::wall;
use crate::machine::gateways::gate::Gate;
use crate::machine::limits::WRITES_MAX;
use crate::machine::{
    CredentialRead, GatewayKey, GatewayView, Input, Marks, ObjectKey, ObjectView, PlanId, RunView, Target,
    WriteBody,
};

/// Reasons for which a gate may move.
#[derive(Debug)]
pub(in crate::machine) struct GateCauses {
    shown: Option<Shown>,
    /// The gateway that was edited, or that has another credential.
    edited: Option<GatewayKey>,
}

// === impl World ===

impl World {
    /// Notes that an invariant is broken. The first one counts: what follows may follow from it.
    pub(in crate::machine) fn violation(&mut self, invariant: &'static str, text: String) {
        if self.violation.is_none() {
            self.violation = Some((invariant, text));
        }
    }

    pub(in crate::machine) fn check_call(&mut self, call: &WorldCall) {
        let (plans, key) = (&call.plans, &call.gateway.key);
        let others: Vec<_> = self.calls.values().filter(|other| other.gateway.key == *key).collect();
        let shared = others.iter().any(|other| other.plans.iter().any(|plan| plans.contains(plan)));
        let limits = call.gateway.spec.limits.clone().unwrap_or_default();
        let max = usize::try_from(limits.max_in_flight.unwrap_or(documented::MAX_IN_FLIGHT)).unwrap_or(1);
        let batching = call.gateway.spec.batching.clone().unwrap_or_default();
        let max_plans = usize::try_from(batching.max_plans.unwrap_or(documented::MAX_PLANS)).unwrap_or(1);
        let unique: BTreeSet<_> = plans.iter().collect();
        let in_flight = others.len();
        if shared {
            self.violation("I2", format!("{plans:?} while one of them is in another call"));
        }
        if in_flight >= max || plans.is_empty() || plans.len() > max_plans || unique.len() < plans.len() {
            self.violation("I3", format!("{plans:?} with {in_flight} calls under way"));
        }
        let site = |call: &WorldCall| url::Url::parse(&call.gateway.spec.url).map(|url| url.origin()).ok();
        let at_site = self.calls.values().filter(|other| site(other) == site(call));
        let of_namespace =
            at_site.clone().filter(|other| other.gateway.key.namespace == key.namespace).count();
        if at_site.count() >= documented::ORIGIN_MAX_IN_FLIGHT && of_namespace > 0 {
            self.violation("I3", format!("{plans:?} although all slots of its origin are taken"));
        }
        let told = self.reference.gateways.get(key);
        if told.is_some_and(|told| told.view.uid != call.gateway.uid || told.view.spec != call.gateway.spec) {
            self.violation("I16", format!("{plans:?} by a connection of an earlier spec"));
        }
        for plan in plans {
            let claims: Vec<_> = call.claims.iter().filter(|claim| claim.plan == *plan).collect();
            if claims.is_empty() {
                self.violation("I4", format!("nobody wants plan {plan}"));
            } else if claims.iter().all(|claim| self.reference.is_late(claim, self.now, self.slack())) {
                self.violation("I4", format!("plan {plan} is sent after its deadline"));
            } else if claims.iter().all(|claim| self.is_at_server(claim)) {
                self.violation("I5", format!("plan {plan} is sent, and its outcome is written already"));
            } else if claims
                .iter()
                .all(|claim| self.is_at_server(claim) || self.reference.answered.contains(*claim))
            {
                self.violation("I6", format!("plan {plan} is sent again without a cause"));
            }
        }
    }

    /// Whether the API server has the outcome that this request waits for.
    fn is_at_server(&self, claim: &Claim) -> bool {
        let run = self.server.runs.values().find(|run| run.uid == claim.uid);
        run.is_some_and(|run| is_settled(run, claim.plan)) && self.reference.written.contains(claim)
    }

    /// The machine begins a write.
    pub(in crate::machine) fn check_write(
        &mut self,
        to: &Target,
        status: &TestPlanRunStatus,
        asks: &[Claim],
    ) {
        let writes = self.ops.values().filter(|op| !op.orphan && op.is_write()).count();
        let twice = self.ops.values().any(|op| !op.orphan && op.writes(to));
        if twice || writes >= WRITES_MAX {
            self.violation("I7", format!("a write of {} while {writes} are under way", to.key));
        }
        match self.reference.known.get(&*to.key) {
            Some(known) if known.view.uid != to.uid => {
                self.violation("I7", "another object's uid".to_owned())
            }
            Some(known) if known.floor != to.version => {
                let (floor, version) = (known.floor.0, to.version.0);
                self.violation("I9", format!("a write on version {version}, and {floor} was known"));
            }
            Some(_) => {}
            None => self.violation("I7", format!("a write of {}, which is gone", to.key)),
        }
        self.check_outcomes(status, asks);
        self.check_expired(to, status);
        self.check_deadline(to, status);
    }

    /// A write tells the latest deadline that has passed, or a process that comes later would have it ask once more.
    fn check_deadline(&mut self, to: &Target, status: &TestPlanRunStatus) {
        let told = status.stop.as_ref().and_then(|stop| stop.observed_deadline.as_ref()).map(|time| time.0);
        let passed = self.reference.known.get(&*to.key).and_then(|known| known.requests.passed);
        if told < passed {
            self.violation("I5", format!("{passed:?} of {} has passed, and {told:?} is told", to.key));
        }
    }

    /// Times in objects are whole seconds, and a list's age is told by a clock that may be wrong.
    fn slack(&self) -> u64 {
        1_000 + self.worst_skew
    }

    /// A plan that a write gives up is not given up before its time.
    fn check_expired(&mut self, to: &Target, status: &TestPlanRunStatus) {
        let Some(known) = self.reference.known.get(&*to.key) else { return };
        let Some(asked) = known.requested else { return };
        let earliest = asked + jiff::SignedDuration::from_secs(known.shortest);
        // A deletion that can't wait gives up as well.
        if is_held(&known.view) {
            return;
        }
        let latest = wall(self.now + self.worst_skew);
        let is_new =
            |plan: &&PlanStatus| plan.outcome == Outcome::Expired && !known.given_up.contains(&plan.id);
        if let Some(plan) = status.plans.iter().find(is_new).filter(|_| latest < earliest) {
            self.violation("I4", format!("plan {} of {} is given up before its deadline", plan.id, to.key));
        }
    }

    /// An object is deleted once its TTL is over, by what was last told of it, and never one that a tool would create
    /// again, or of whose plans an outcome is missing.
    pub(in crate::machine) fn check_deletion(&mut self, to: &Target) {
        let Some(known) = self.reference.known.get(&*to.key) else {
            return self.violation("I17", format!("{} is deleted, and is gone", to.key));
        };
        let (view, latest) = (&known.view, wall(self.now + self.worst_skew));
        let is_newest = view.uid == to.uid && view.version == to.version;
        if view.spec.ttl_seconds_after_finished.is_none() {
            // A rule deletes it, whose tests judge that. Its stop is complete in any case.
            let is_complete = view.status.stop.as_ref().is_some_and(|stop| stop.completion_time.is_some());
            if !is_newest || !is_complete {
                self.violation("I17", format!("{} is deleted by a rule before its end: {view:?}", to.key));
            }
            return;
        }
        let stop = view.status.stop.clone().unwrap_or_default();
        let ttl = view.spec.ttl_seconds_after_finished.map(jiff::SignedDuration::from_secs);
        let over = stop.completion_time.as_ref().zip(ttl).map(|(completed, ttl)| completed.0 + ttl);
        let keep = view.keep_until.as_ref().map(|time| time.parse::<jiff::Timestamp>());
        let is_kept = keep.is_some_and(|until| until.is_err() || until.is_ok_and(|until| until > latest));
        let stands = stop.trigger.is_some() && stop.withdrawn_time.is_none();
        let has_outcomes = view.spec.plans.iter().all(|plan| is_settled(view, *plan));
        let is_owned = view.marks.as_ref().is_none_or(|marks| **marks != Marks::default());
        if !is_newest || !stands || !has_outcomes || over.is_none_or(|over| over > latest) {
            self.violation("I17", format!("{} is deleted before its time: {view:?}", to.key));
        } else if is_kept || is_owned || view.deleted.is_some() {
            self.violation("I17", format!("{} is deleted although something keeps it: {view:?}", to.key));
        }
    }

    /// The finalizer is put on where the object asks for it, and taken off an object that is being deleted only once it
    /// tells the outcome of every plan that was asked for.
    pub(in crate::machine) fn check_finalizers(&mut self, to: &Target, finalizers: &[String]) {
        let Some(known) = self.reference.known.get(&*to.key) else {
            return self.violation("I18", format!("a finalizer of {}, which is gone", to.key));
        };
        let (view, requests) = (&known.view, &known.requests);
        let policy = view.spec.deletion_policy;
        let is_put_on = finalizers.iter().any(|name| name == "testinium.io/stop");
        let told = self.server.run_of(&to.key).filter(|run| run.uid == to.uid);
        let listed = |plan| told.and_then(|run| run.status.plans.iter().find(|told| told.id == plan));
        let mut asks = self.reference.asks_of(&to.uid).into_iter();
        let is_told = asks.all(|ask| {
            // A plan that was added later may have come after the end of the stop, and a process that has died may have
            // given up, which it told.
            let is_later = view.plans_set >= view.deleted && listed(ask.plan).is_none();
            let is_given_up = listed(ask.plan).is_some_and(|told| told.outcome == Outcome::Expired);
            let is_written = self.reference.written.contains(&ask) || is_given_up;
            is_written || !view.spec.plans.contains(&ask.plan) || is_later
        });
        let held_for = view.deleted.map(|deleted| wall(self.now + self.worst_skew).duration_since(deleted));
        let is_over = held_for.is_some_and(|held| held.as_secs() >= documented::HOLDS_FOR_SECONDS);
        let is_waited_for = is_held(view) && requests.stands() && !is_over;
        let wrong = match is_put_on {
            true if policy != Some(DeletionPolicy::Stop) || view.deleted.is_some() => "is put on in vain",
            false if view.deleted.is_none() && policy == Some(DeletionPolicy::Stop) => "is taken off in vain",
            false if is_waited_for && policy == Some(DeletionPolicy::Stop) && !is_told => "goes too early",
            true | false => return,
        };
        self.violation("I18", format!("the finalizer of {} {wrong}: {view:?}", to.key));
    }

    /// A success that a write tells was one.
    fn check_outcomes(&mut self, status: &TestPlanRunStatus, asks: &[Claim]) {
        let good = |outcome| matches!(outcome, Outcome::Accepted | Outcome::NotRunning);
        for plan in status.plans.iter().filter(|plan| good(plan.outcome)) {
            let Some(claim) = asks.iter().find(|claim| claim.plan == plan.id) else { continue };
            if !self.reference.granted.contains(&(claim.clone(), plan.outcome)) {
                self.violation("I1", format!("plan {} was never {:?}", plan.id, plan.outcome));
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
            self.violation("I8", format!("a write of {} changes nothing", after.key));
        }
        // A write of an earlier term may land after the list of this one.
        if orphan {
            return;
        }
        for claim in asks.iter().filter(|claim| is_settled(after, claim.plan)) {
            self.reference.written.insert(claim.clone());
        }
    }

    /// A write of a gateway's status is about to land. What changes nothing is not written.
    pub(in crate::machine) fn check_gateway_write(&mut self, to: &Target, body: &WriteBody) {
        let (ObjectKey::Gateway(key), WriteBody::GatewayStatus(status)) = (&to.key, body) else { return };
        let lands = |view: &&Arc<GatewayView>| view.uid == to.uid && view.version == to.version;
        if self.server.gateways.get(key).filter(lands).is_some_and(|view| view.status == **status) {
            self.violation("I8", format!("a write of {key} changes nothing"));
        }
    }

    /// A gate that is shut was shut by a call made since the gateway was last edited.
    pub(in crate::machine) fn check_gates(&mut self) {
        let shut = self.reference.gateways.iter().find(|(key, known)| {
            let gateway = self.machine.gateways.get(key);
            !known.failed && gateway.is_some_and(|gateway| gateway.gate.failures() > 0)
        });
        if let Some((key, _)) = shut.map(|(key, known)| (key.clone(), known.round)) {
            self.violation("R14", format!("the gate of {key} was shut by a call of the past"));
        }
    }

    /// Whether each gate is shut, and the failures of each credential in a row.
    pub(in crate::machine) fn gates(&self) -> Vec<(GatewayKey, bool, u8)> {
        let gateways = self.machine.gateways.iter();
        gateways
            .map(|gateway| (gateway.key.clone(), gateway.gate != Gate::Open, gateway.credential.failures))
            .collect()
    }

    /// The reasons that an input gives for a gate to move. An answer of a former address gives none.
    pub(in crate::machine) fn causes(&mut self, input: &Input) -> GateCauses {
        let shown = self.reference.shown.take();
        let edited = match input {
            Input::Seen(ObjectView::Gateway(view)) => Some(view.key.clone()),
            Input::Credential(key, _, CredentialRead::Have { .. }) => Some(key.clone()),
            _ => None,
        };
        GateCauses { shown, edited }
    }

    /// A gate opens only by an answer that may open it, another credential, or an edit. Failures of a credential are
    /// forgotten by a proof that it was accepted, and by nothing else.
    pub(in crate::machine) fn check_moves(&mut self, before: &[(GatewayKey, bool, u8)], causes: &GateCauses) {
        for (key, was_shut, failures) in before {
            let Some(gateway) = self.machine.gateways.get(key) else { continue };
            // A gateway whose object is gone is forgotten as soon as nothing waits for it, and begins anew.
            if gateway.view.is_none() {
                continue;
            }
            let (is_open, left) = (gateway.gate == Gate::Open, gateway.credential.failures);
            let is_in_use = |shown: &&Shown| shown.credential == gateway.credential.epoch;
            let shown = causes.shown.as_ref().filter(|shown| shown.gateway == *key);
            let is_proven = shown.filter(is_in_use).is_some_and(|shown| shown.is_proof);
            let may_open = causes.edited.as_ref() == Some(key) || shown.is_some_and(|shown| shown.may_open);
            if *was_shut && is_open && !may_open {
                self.violation("R18", format!("the gate of {key} opens for no reason"));
            } else if left < *failures && !is_proven {
                self.violation(
                    "R17",
                    format!("failures of the credential of {key} are forgotten without a proof"),
                );
            } else if left > 0 && is_proven {
                self.violation("R17", format!("the credential of {key} is proven and counts as failed"));
            }
        }
    }

    /// Nothing holds up a deletion once everything is settled.
    pub(in crate::machine) fn held_up(&self) -> Option<String> {
        let held = self.server.runs.values().find(|run| is_held(run));
        held.map(|run| format!("L5: the deletion of {} is held up: {run:?}", run.key))
    }

    pub(in crate::machine) fn plan_ids(plans: &[PlanId]) -> Vec<i64> {
        plans.iter().map(|plan| plan.0).collect()
    }
}
