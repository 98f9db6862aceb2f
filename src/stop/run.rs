//! One run that is not at rest: what it wants, how far its plans are, and what of that is written down.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::announce::{self, Announcement};
use super::base::{Base, stopped};
use super::gateways::End;
use super::intent::{DecidingField, History, Intent, Observed, StopState, decide_intent};
use super::obstacle::Obstacle;
use super::plan::{Plan, PlanState, all_settled, settled_in};
use super::queue::Waiter;
use super::record::{Facts, record};
use super::request::{Moment, Request, Source, Withdrawal};
use super::types::{Ask, CallId, GatewayKey, Key, Millis, Now, PlanId, RunId, Uid, Version};
use super::view::RunView;
use super::write::{Class, Write};
use crate::api::{ConditionStatus, Outcome, TestPlanRunStatus, Trigger};

/// A run that is not at rest.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    pub key: Key,
    pub uid: Uid,
    /// The newest version that was read or written, and what of it still matters.
    pub version: Version,
    pub base: Base,
    pub generation: i64,
    pub reconcile_annotation: Option<Box<str>>,
    pub deadline_seconds: i64,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// How many different plans the spec has; counted for as long as no stop is asked for.
    pub total: usize,
    /// The newest version that the watch has told: what it tells later is newer.
    pub heard: Version,
    /// The newest version that was read or written: anything older is an echo of the past.
    pub floor: Version,
    /// The list that was the latest when the floor was set.
    pub floor_list: u32,
    /// The list that last brought the run.
    pub list: u32,
    pub observed: Observed,
    pub request: Option<Request>,
    pub withdrawal: Option<Box<Withdrawal>>,
    /// Counts the requests of this record: a verdict counts only for the request that it was given for.
    pub ask: Ask,
    /// When the request was seen.
    pub since: Millis,
    pub plans: Vec<Plan>,
    /// Plans of the spec that the stop does not cover: they were added after it was complete.
    pub unasked: Box<[PlanId]>,
    /// The present request is told at once, since what status says of the one before could be taken for its end.
    pub tell_at_once: bool,
    /// Something was told that status does not say yet.
    pub dirty: bool,
    /// Verdicts that status does not say yet.
    pub unwritten: bool,
    /// The reason for waiting that status says; empty for none. None: nothing was written about this request.
    pub told: Option<&'static str>,
    pub last_write: Option<Millis>,
    pub write: Write,
    /// Writes in a row that did not succeed.
    pub write_failures: u8,
    pub timer: Option<Millis>,
    /// Its place in the queue of writes.
    pub place: Option<(Class, Millis)>,
}

/// What a look at a run asks of its gateway.
#[derive(Debug, Default)]
pub struct Errands {
    /// From the queue of the gateway that the run was for until now.
    pub withdraw: Option<(GatewayKey, Vec<PlanId>)>,
    pub offer: Vec<PlanId>,
    pub announcements: Vec<Announcement>,
}

/// How long a quick answer may take: until then nothing is written but the outcome.
const QUICK: Millis = Millis(1_000);
/// Least time between two writes of a part of the outcomes.
const PARTS: Millis = Millis(5_000);
/// How long a stop may take to be delivered where the run does not say.
const STOP_DEADLINE_SECONDS: i64 = 3600;

// === impl Run ===

impl Run {
    /// The record of a run as it was read, with what its status remembers.
    pub fn new(id: RunId, view: &RunView, source: Source, now: Now) -> (Self, Errands) {
        let version = view.version;
        let mut run = Self {
            id,
            key: view.key.clone(),
            uid: view.uid.clone(),
            version,
            base: Base::default(),
            generation: view.generation,
            reconcile_annotation: None,
            deadline_seconds: STOP_DEADLINE_SECONDS,
            created: view.created,
            total: 0,
            heard: version,
            floor: version,
            floor_list: 0,
            list: 0,
            observed: Observed::of_status(&view.status),
            request: Request::of_status(view, source, now),
            withdrawal: Withdrawal::of_status(view).map(Box::new),
            ask: Ask(0),
            since: now.mono,
            plans: Vec::new(),
            unasked: Box::default(),
            tell_at_once: false,
            dirty: false,
            unwritten: false,
            told: None,
            last_write: None,
            write: Write::Idle,
            write_failures: 0,
            timer: None,
            place: None,
        };
        run.plans = remembered_plans(view, &run.observed, source, now);
        let completed = view.status.stop.as_ref().is_some_and(|stop| stop.completion_time.is_some());
        let history = History {
            is_first: true,
            settled: completed && all_settled(&run.plans),
            generation: view.status.observed_generation,
            ..run.history()
        };
        let intent = decide_intent(view, &run.observed, history);
        let settled = history.settled;
        let mut errands = run.look(view, intent, settled, source, now);
        errands.offer = run.queued().collect();
        (run, errands)
    }

    /// The object as it now is: its whole intent replaces the earlier one.
    pub fn see(&mut self, view: &RunView, source: Source, now: Now) -> Errands {
        let before = (self.generation, self.observed.clone(), self.ask);
        let (dirty, said) = (self.dirty, std::mem::take(&mut self.base));
        self.version = view.version;
        let history = self.history();
        let (intent, settled) = (decide_intent(view, &self.observed, history), history.settled);
        let errands = self.look(view, intent, settled, source, now);
        // An echo, mostly of what was just written: a run that had nothing to say has nothing to say now.
        let is_known = self.base.is_same(&said)
            || matches!(&self.write, Write::InFlight(flight) if flight.next.is_same(&self.base));
        if is_known && before == (self.generation, self.observed.clone(), self.ask) {
            self.dirty = dirty;
        }
        errands
    }

    /// What is known of the stop so far.
    fn history(&self) -> History<'_> {
        let request = self.request.as_ref();
        History {
            is_first: false,
            settled: all_settled(&self.plans),
            generation: Some(self.generation),
            requested: request.map(|request| request.asked.time),
            requested_by: request.and_then(|request| request.field_manager.as_deref()),
            withdrawn_by: self.withdrawal.as_ref().and_then(|withdrawal| withdrawal.by.as_deref()),
        }
    }

    /// What is to be kept of a status of this run.
    pub fn base_of(&self, status: &TestPlanRunStatus) -> Base {
        Base::of(status, &self.observed, self.request.as_ref())
    }

    /// Keeps no copies of the names that its gateway has: thousands may wait for it.
    pub fn share_names(&mut self, gateway: &GatewayKey) {
        self.key.namespace = gateway.namespace.clone();
        if self.observed.gateway.as_deref() == Some(&*gateway.name) {
            self.observed.gateway = Some(gateway.name.clone());
        }
    }

    /// Takes the intent of a look over. `settled`: the stop before it was complete.
    fn look(&mut self, view: &RunView, intent: Intent, settled: bool, source: Source, now: Now) -> Errands {
        self.generation = view.generation;
        self.reconcile_annotation = view.reconcile_annotation.as_deref().map(Box::from);
        self.deadline_seconds = view.spec.stop_deadline_seconds.unwrap_or(STOP_DEADLINE_SECONDS);

        let Intent { observed, is_new, taken_back, notices } = intent;
        let mut errands = Errands::default();
        let before = std::mem::replace(&mut self.observed, observed);
        let withdraw = match self.observed.stop {
            StopState::None => {
                self.total = view.spec.plans.iter().collect::<BTreeSet<_>>().len();
                (self.request, self.withdrawal, self.unasked) = (None, None, Box::default());
                std::mem::take(&mut self.plans).into_iter().map(|plan| plan.id).collect()
            }
            StopState::Asked(trigger) if is_new => {
                self.begin_request(trigger, view, source, now);
                self.ask_anew(&view.spec.plans, &mut errands.offer)
            }
            StopState::Asked(_) => {
                let asks_for_added = self.observed.stopped == Some(true) || !settled;
                let added = asks_for_added.then(|| self.added_later(view, source, now));
                self.ask_on(&view.spec.plans, added, &mut errands.offer)
            }
            StopState::Withdrawn(_) => {
                self.unasked = Box::default();
                self.withdraw_queued()
            }
        };
        if !withdraw.is_empty() {
            errands.withdraw = Some((before.gateway_key(&self.key), withdraw));
        }
        if let Some(field) = taken_back {
            self.withdrawal = Some(Box::new(Withdrawal::new(field.set(view), now)));
            let is_told = !settled || field == DecidingField::GatewayRef;
            errands.announcements.extend(is_told.then(|| announce::taken_back(field, view)));
        }
        let notices = notices.into_iter().filter_map(|notice| announce::notice(notice, view, self));
        errands.announcements.extend(notices);
        self.base = self.base_of(&view.status);
        self.dirty = true;
        errands
    }

    fn begin_request(&mut self, trigger: Trigger, view: &RunView, source: Source, now: Now) {
        let set = match trigger {
            Trigger::Spec => view.stopped_set.as_ref(),
            Trigger::Annotation => view.annotation_set.as_ref(),
        };
        let stop = view.status.stop.as_ref();
        let handled = stop.and_then(|stop| stop.last_handled_request.as_deref());
        // Whoever waits for the end of this request must not see the end of an earlier one (rule 14).
        self.tell_at_once = stopped(&view.status)
            .is_some_and(|stopped| stopped.status == ConditionStatus::True)
            || (handled.is_some() && handled == self.observed.request.as_deref());
        self.ask.0 += 1;
        self.since = now.mono;
        self.told = None;
        self.unwritten = false;
        self.request = Some(Request::new(set, view, source, now));
        self.withdrawal = None;
    }

    /// When plans that were added to the spec since were asked for; none if that is no later than the stop itself.
    fn added_later(&self, view: &RunView, source: Source, now: Now) -> Option<Moment> {
        let added = Moment::of_field(view.plans_set, view, source, now);
        let asked = self.request.as_ref()?.asked;
        (added.mono > asked.mono).then_some(added)
    }

    /// Where its plans are to be stopped.
    pub fn gateway(&self) -> GatewayKey {
        self.observed.gateway_key(&self.key)
    }

    /// The plans that wait for a call.
    pub fn queued(&self) -> impl Iterator<Item = PlanId> {
        self.plans.iter().filter(|plan| plan.is_queued()).map(|plan| plan.id)
    }

    pub fn asks(&self) -> bool {
        self.observed.asks()
    }

    pub fn all_settled(&self) -> bool {
        all_settled(&self.plans)
    }

    /// From when on the stop of a plan is given up.
    fn deadline_of(&self, plan: &Plan) -> Millis {
        let asked = plan.asked.as_deref().copied().or(self.request.as_ref().map(|request| request.asked));
        asked.map_or(Millis(u64::MAX), |asked| asked.deadline(self.deadline_seconds))
    }

    /// When the next plan that waits for a call is given up.
    pub fn next_deadline(&self) -> Option<Millis> {
        if !self.asks() {
            return None;
        }
        self.plans.iter().filter(|plan| plan.is_queued()).map(|plan| self.deadline_of(plan)).min()
    }

    /// Whether what came of the plan in this call is what the present request waits for.
    pub fn awaits(&self, waiter: &Waiter, plan: PlanId, call: CallId) -> bool {
        self.in_call(waiter, plan, call).is_some()
    }

    /// Whether a plan whose call has ended without a verdict is to be asked for again.
    pub fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool {
        self.in_call(waiter, plan, call).is_some_and(|plan| self.is_worth_another_call(plan, now))
    }

    fn in_call(&self, waiter: &Waiter, plan: PlanId, call: CallId) -> Option<&Plan> {
        let is_in = |other: &&Plan| other.id == plan && other.state == PlanState::InFlight(call);
        self.plans.iter().find(is_in).filter(|_| self.ask == waiter.ask)
    }

    fn is_worth_another_call(&self, plan: &Plan, now: Now) -> bool {
        self.asks() && now.mono < self.deadline_of(plan)
    }

    /// The plan's call has begun or ended. Yields the outcome, if the plan has one now.
    pub fn land(&mut self, plan: PlanId, call: CallId, end: End, now: Now) -> Option<Outcome> {
        let asks = self.asks();
        let index = self.plans.iter().position(|other| other.id == plan)?;
        let goes_on = self.is_worth_another_call(&self.plans[index], now);
        let plan = &mut self.plans[index];
        plan.unsure |= matches!(end, End::Unanswered(_));
        if let End::Unanswered(Some(gist)) | End::Refused(Some(gist)) = end {
            plan.last = Some(gist);
        }
        let settled = match end {
            End::Began => {
                plan.state = PlanState::InFlight(call);
                plan.sent = plan.sent.saturating_add(1);
                return None;
            }
            End::Settled(settled) => settled,
            End::Unanswered(_) | End::Refused(_) if !asks => plan.withdrawn(),
            End::Unanswered(_) | End::Refused(_) if !goes_on => plan.expired(),
            End::Unanswered(_) | End::Refused(_) => {
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

    /// Gives up what could not be delivered by its deadline. Yields the plans that wait for a call no more.
    pub fn expire(&mut self, now: Now) -> Vec<PlanId> {
        if self.next_deadline().is_none_or(|at| at > now.mono) {
            return Vec::new();
        }
        let late: Vec<_> = self
            .plans
            .iter()
            .filter(|plan| plan.is_queued() && self.deadline_of(plan) <= now.mono)
            .map(|plan| plan.id)
            .collect();
        for plan in self.plans.iter_mut().filter(|plan| late.contains(&plan.id)) {
            plan.state = PlanState::Settled(plan.expired());
        }
        self.dirty = true;
        self.unwritten = true;
        late
    }

    /// When a status write falls due, and how urgent it is. `stands_until`: when a changed reason for waiting will have
    /// stood long enough.
    pub fn due(&self, obstacle: &'static str, stands_until: Millis) -> Option<(Millis, Class)> {
        let at = match &self.write {
            Write::InFlight(_) | Write::Conflict { .. } => return None,
            Write::Backoff { until, .. } => Some(*until),
            Write::Idle => None,
        };
        let wait = |due: Millis| at.map_or(due, |at| at.max(due));
        if self.all_settled() {
            return self.dirty.then(|| (wait(Millis(0)), Class::Outcome));
        }
        let part = self.unwritten.then(|| self.last_write.unwrap_or(self.since) + PARTS);
        let situation = match self.told {
            None => Some(self.since + if self.tell_at_once { Millis(0) } else { QUICK }),
            Some(told) if told != obstacle => Some(stands_until),
            Some(_) => None,
        };
        let due = [part, situation].into_iter().flatten().min()?;
        // Whatever makes it due, it tells of outcomes if there are any.
        Some((wait(due), if self.unwritten { Class::Outcome } else { Class::Situation }))
    }

    /// The status as it should be.
    pub fn status(
        &self,
        obstacle: Option<&Obstacle>,
        gateway_uid: Option<&Uid>,
        now: Now,
    ) -> TestPlanRunStatus {
        record(Facts {
            generation: self.generation,
            total: self.total,
            base: &self.base,
            key: &self.key,
            created: self.created,
            observed: &self.observed,
            request: self.request.as_ref(),
            withdrawal: self.withdrawal.as_deref(),
            plans: &self.plans,
            unasked: &self.unasked,
            obstacle,
            gateway_uid,
            plain: matches!(self.write, Write::Backoff { plain: true, .. }),
            now: now.wall,
        })
    }

    /// Nothing to send, nothing to write, and the own last write has been seen: all that matters is in the object.
    pub fn at_rest(&self) -> bool {
        self.all_settled() && !self.dirty && matches!(self.write, Write::Idle) && self.heard >= self.floor
    }

    /// Asks for every plan of the spec, in its order. Yields those that were waited for until now.
    fn ask_anew(&mut self, ids: &[i64], offer: &mut Vec<PlanId>) -> Vec<PlanId> {
        let withdraw = self.plans.iter().map(|plan| plan.id).collect();
        self.unasked = Box::default();
        offer.extend(distinct(ids));
        self.plans = offer.iter().map(|id| Plan::queued(*id, None)).collect();
        withdraw
    }

    /// Goes on with the stop that stands: with what is known of each plan of the spec, in its order. Plans that were
    /// added to the spec are asked for too if `added` says since when (rule 10). Yields the plans that were removed.
    fn ask_on(&mut self, ids: &[i64], added: Option<Option<Moment>>, offer: &mut Vec<PlanId>) -> Vec<PlanId> {
        let earlier = std::mem::take(&mut self.plans);
        let mut known: BTreeMap<_, _> = earlier.into_iter().map(|plan| (plan.id, plan)).collect();
        let mut unasked = Vec::new();
        self.plans.reserve_exact(ids.len());
        for id in distinct(ids) {
            match (known.remove(&id), added) {
                (Some(plan), _) => self.plans.push(plan),
                (None, Some(asked)) => {
                    offer.push(id);
                    self.plans.push(Plan::queued(id, asked));
                }
                (None, None) => unasked.push(id),
            }
        }
        self.unasked = unasked.into();
        known.into_keys().collect()
    }

    fn withdraw_queued(&mut self) -> Vec<PlanId> {
        let mut withdraw = Vec::new();
        for plan in self.plans.iter_mut().filter(|plan| plan.is_queued()) {
            withdraw.push(plan.id);
            plan.state = PlanState::Settled(plan.withdrawn());
            self.unwritten = true;
        }
        withdraw
    }
}

/// The plans of a spec in its order, each once.
fn distinct(ids: &[i64]) -> impl Iterator<Item = PlanId> {
    let mut taken = BTreeSet::new();
    ids.iter().copied().map(PlanId).filter(move |id| taken.insert(*id))
}

/// How far a status says that the plans of its stop are. Without a stop it says nothing, whatever it lists: the right
/// to write a status is no right to stop a plan.
fn remembered_plans(view: &RunView, observed: &Observed, source: Source, now: Now) -> Vec<Plan> {
    if observed.stop == StopState::None {
        return Vec::new();
    }
    // Of a stop that holds, any plan may have been in a call, if one was.
    let sent = u8::from(view.status.stop.as_ref().and_then(|stop| stop.attempts).unwrap_or(0) > 0);
    let remembered = |status: &crate::api::PlanStatus| {
        let asked = status.request_time.as_ref().map(|time| Moment::at(time.0, view, source, now));
        let mut plan = Plan { sent, unsure: sent > 0, ..Plan::queued(PlanId(status.id), asked) };
        match settled_in(status) {
            Some(settled) => plan.state = PlanState::Settled(settled),
            // What a withdrawn stop still waited for was in a call.
            None if !observed.asks() => {
                plan.unsure = true;
                plan.state = PlanState::Settled(plan.withdrawn());
            }
            None => {}
        }
        plan
    };
    view.status.plans.iter().map(remembered).collect()
}
