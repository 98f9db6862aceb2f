//! The plans of a run: asking for them, the progress of their calls, and giving them up.

use std::collections::BTreeMap;

use crate::api::Outcome;
use crate::machine::call::{Progress, Waiter};
use crate::machine::ids::{CallId, PlanId};
use crate::machine::limits::QUICK_ANSWER;
use crate::machine::runs::plan::{Plan, PlanState, all_settled, distinct};
use crate::machine::runs::request::Moment;
use crate::machine::runs::run::Run;
use crate::machine::time::{Millis, Now};
use crate::machine::view::RunView;

// === impl Run ===

impl Run {
    /// The plans that wait for a call.
    pub fn queued(&self) -> impl Iterator<Item = PlanId> {
        self.plans.iter().filter(|plan| plan.is_queued()).map(|plan| plan.id)
    }

    pub fn all_settled(&self) -> bool {
        all_settled(&self.plans)
    }

    /// The moment at which the stop of a plan was asked for.
    pub fn asked_of(&self, plan: &Plan) -> Option<Moment> {
        plan.asked_at(self.request.as_ref())
    }

    /// The moment from which on the stop of a plan is given up.
    fn deadline_of(&self, plan: &Plan) -> Millis {
        self.asked_of(plan).map_or(Millis(u64::MAX), |asked| asked.deadline(self.deadline_seconds))
    }

    /// The moment at which the next plan that waits for a call is given up.
    pub fn next_deadline(&self) -> Option<Millis> {
        if !self.is_stop_requested() {
            return None;
        }
        self.plans.iter().filter(|plan| plan.is_queued()).map(|plan| self.deadline_of(plan)).min()
    }

    /// Whether the present request waits for the result of this plan in this call.
    pub fn expects(&self, waiter: &Waiter, plan: PlanId, call: CallId) -> bool {
        self.in_call(waiter, plan, call).is_some()
    }

    /// Whether a plan whose call has ended without a verdict is to be asked for again.
    pub fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool {
        self.in_call(waiter, plan, call).is_some_and(|plan| self.is_worth_another_call(plan, now))
    }

    fn in_call(&self, waiter: &Waiter, plan: PlanId, call: CallId) -> Option<&Plan> {
        let plan = self.plans.find(plan)?;
        (plan.state == PlanState::InFlight(call) && self.request_seq == waiter.request_seq).then_some(plan)
    }

    fn is_worth_another_call(&self, plan: &Plan, now: Now) -> bool {
        self.is_stop_requested() && now.mono < self.deadline_of(plan) && self.finalizer.has_time(now.mono)
    }

    /// Takes in that the plan's call has begun or ended. Yields the outcome, if the plan has one now.
    pub fn apply_progress(&mut self, plan: PlanId, call: CallId, end: Progress, now: Now) -> Option<Outcome> {
        let asks = self.is_stop_requested();
        let index = self.plans.position(plan)?;
        let goes_on = self.is_worth_another_call(&self.plans[index], now);
        let has_time = self.finalizer.has_time(now.mono);
        let is_told_as_under_way = self.published == Some(None);
        let plan = &mut self.plans[index];
        // From the first bad answer on status names it, and how often the plan was asked for: at the first, second,
        // fourth and eighth time, and so on.
        let is_bad = matches!(end, Progress::Unanswered(Some(_)) | Progress::Refused(Some(_)));
        let is_worth_telling =
            plan.last.is_none() || (is_told_as_under_way && plan.attempts.is_power_of_two());
        if is_bad && is_worth_telling {
            self.refresh_at.get_or_insert(now.mono + QUICK_ANSWER);
        }
        plan.maybe_stopped |= matches!(end, Progress::Unanswered(_));
        if let Progress::Unanswered(Some(gist)) | Progress::Refused(Some(gist)) = end {
            plan.last = Some(gist);
        }
        let settled = match end {
            Progress::Began => {
                plan.state = PlanState::InFlight(call);
                plan.attempts = plan.attempts.saturating_add(1);
                return None;
            }
            Progress::Settled(settled) => settled,
            Progress::Unanswered(_) | Progress::Refused(_) if !asks => plan.withdrawn(),
            Progress::Unanswered(_) | Progress::Refused(_) if !has_time => plan.let_go(),
            Progress::Unanswered(_) | Progress::Refused(_) if !goes_on => plan.expired(),
            Progress::Unanswered(_) | Progress::Refused(_) => {
                plan.state = PlanState::Queued;
                return None;
            }
        };
        let outcome = settled.outcome;
        plan.state = PlanState::Settled(settled);
        self.dirty = true;
        self.unwritten = true;
        Some(outcome)
    }

    /// Gives up the plans whose stop could not be delivered by their deadline, and yields them.
    pub fn expire(&mut self, now: Now) -> Vec<PlanId> {
        if self.next_deadline().is_none_or(|at| at > now.mono) {
            return Vec::new();
        }
        let is_late = |plan: &Plan| plan.is_queued() && self.deadline_of(plan) <= now.mono;
        let late: Vec<_> = self.plans.iter().filter(|plan| is_late(plan)).map(|plan| plan.id).collect();
        for place in late.iter().filter_map(|id| self.plans.position(*id)).collect::<Vec<_>>() {
            let plan = &mut self.plans[place];
            plan.state = PlanState::Settled(plan.expired());
        }
        self.dirty = true;
        self.unwritten = true;
        late
    }

    /// Whether plans of the spec were not stopped, and are not being stopped.
    pub(in crate::machine) fn has_failures(&self, view: &RunView) -> bool {
        let is_left = |id: &i64| self.plans.find(PlanId(*id)).is_none_or(Plan::was_not_stopped);
        view.spec.plans.iter().any(is_left)
    }

    /// Asks for every plan of the spec, in its order. Yields the plans that the run had until now.
    pub(in crate::machine) fn ask_anew(&mut self, ids: &[i64], offer: &mut Vec<PlanId>) -> Vec<PlanId> {
        let withdraw = self.plans.iter().map(|plan| plan.id).collect();
        self.unasked = Box::default();
        offer.extend(distinct(ids));
        self.plans = offer.iter().map(|id| Plan::queued(*id, None)).collect();
        withdraw
    }

    /// Goes on with the present stop, with all that is known of each plan of the spec, in its order. Plans that were
    /// added to the spec are asked for too if `added` says since when (rule 10). Yields the plans that were removed.
    pub(in crate::machine) fn ask_on(
        &mut self,
        ids: &[i64],
        added: Option<Option<Moment>>,
        offer: &mut Vec<PlanId>,
    ) -> Vec<PlanId> {
        let earlier = std::mem::take(&mut self.plans);
        let mut known: BTreeMap<_, _> = earlier.into_iter().map(|plan| (plan.id, plan)).collect();
        let mut unasked = Vec::new();
        let mut plans = Vec::with_capacity(ids.len());
        for id in distinct(ids) {
            match (known.remove(&id), added) {
                (Some(plan), _) => plans.push(plan),
                (None, Some(asked)) => {
                    offer.push(id);
                    plans.push(Plan::queued(id, asked));
                }
                (None, None) => unasked.push(id),
            }
        }
        self.plans = plans.into();
        self.unasked = unasked.into();
        known.into_keys().collect()
    }

    /// Asks again for the plans that have their outcome and were not stopped.
    pub(in crate::machine) fn ask_again(&mut self, asked: Moment, offer: &mut Vec<PlanId>) {
        for plan in self.plans.iter_mut().filter(|plan| plan.was_not_stopped()) {
            *plan = Plan::queued(plan.id, Some(asked));
            offer.push(plan.id);
        }
    }

    pub(in crate::machine) fn withdraw_queued(&mut self) -> Vec<PlanId> {
        let mut withdraw = Vec::new();
        for plan in self.plans.iter_mut().filter(|plan| plan.is_queued()) {
            withdraw.push(plan.id);
            plan.state = PlanState::Settled(plan.withdrawn());
            self.unwritten = true;
        }
        withdraw
    }
}
