//! One run that is not at rest: what it wants, how far its plans are, and what of that is written down.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::base::Base;
use super::gateways::End;
use super::obstacle::Obstacle;
use super::queue::Waiter;
use super::record::{Facts, Plan, PlanState, Request, decided, last_answer, record, settled_in};
use super::types::{Ask, CallId, GatewayKey, Key, Millis, Now, PlanId, RunId, Uid, Version};
use super::verdict::Settled;
use super::view::RunView;
use super::wish::{Standing, Stop, Wish, wish};
use super::write::{Class, Write};
use crate::api::{Outcome, TestPlanRunStatus, Trigger};

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
    pub standing: Standing,
    pub request: Option<Request>,
    /// Counts the requests of this record: a verdict counts only for the request that it was given for.
    pub ask: Ask,
    /// When the request was seen.
    pub since: Millis,
    pub plans: Vec<Plan>,
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
    pub invalid_annotation: bool,
    /// Who has taken the stop back, as far as that is known.
    pub rearmed: Option<String>,
}

/// How long a quick answer may take: until then nothing is written but the outcome.
const QUICK: Millis = Millis(1_000);
/// Least time between two writes of a part of the outcomes.
const PARTS: Millis = Millis(5_000);
/// What is told of a plan that a call may have stopped without telling.
const NO_ANSWER: &str = "the stop was sent, but no answer came";
/// How long a stop may take to be delivered where the run does not say.
const STOP_DEADLINE_SECONDS: i64 = 3600;

// === impl Run ===

impl Run {
    /// The record of a run as it was read, with what its status remembers.
    pub fn new(id: RunId, view: &RunView, now: Now) -> (Self, Errands) {
        let standing = Standing::of_status(&view.status);
        let request = remembered(view);
        // What a withdrawn stop still waited for was in a call. Of a stop that holds, any plan may have been, if one was.
        let withdrawn = matches!(standing.stop, Stop::Rearmed(_));
        let sent = u8::from(view.status.stop.as_ref().and_then(|stop| stop.attempts).unwrap_or(0) > 0);
        let plans = view
            .status
            .plans
            .iter()
            .map(|plan| {
                let state = match settled_in(plan) {
                    Some(settled) => PlanState::Settled(settled),
                    None if withdrawn => PlanState::Settled(unanswered(Outcome::Unknown)),
                    None => PlanState::Queued,
                };
                Plan { id: PlanId(plan.id), sent, unsure: sent > 0, last: None, state }
            })
            .collect();
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
            total: 0,
            heard: version,
            floor: version,
            floor_list: 0,
            list: 0,
            standing,
            request,
            ask: Ask(0),
            since: now.mono,
            plans,
            dirty: false,
            unwritten: false,
            told: None,
            last_write: None,
            write: Write::Idle,
            write_failures: 0,
            timer: None,
            place: None,
        };
        let mut errands = run.look(view, now);
        errands.offer = run.queued().collect();
        (run, errands)
    }

    /// The object as it now is: its whole wish replaces the earlier one.
    pub fn see(&mut self, view: &RunView, now: Now) -> Errands {
        let before = (self.generation, self.standing.clone(), self.ask);
        let (dirty, said) = (self.dirty, std::mem::take(&mut self.base));
        self.version = view.version;
        let errands = self.look(view, now);
        // An echo, mostly of what was just written: who had nothing to say has nothing to say now.
        let is_known = self.base.is_same(&said)
            || matches!(&self.write, Write::InFlight(flight) if flight.next.is_same(&self.base));
        if is_known && before == (self.generation, self.standing.clone(), self.ask) {
            self.dirty = dirty;
        }
        errands
    }

    /// What is to be kept of a status of this run.
    pub fn base_of(&self, status: &TestPlanRunStatus) -> Base {
        Base::of(status, &self.standing, self.request.as_ref())
    }

    /// Keeps no copies of the names that its gateway has: thousands may wait for it.
    pub fn share_names(&mut self, gateway: &GatewayKey) {
        self.key.namespace = gateway.namespace.clone();
        self.standing.gateway = Some(gateway.name.clone());
    }

    fn look(&mut self, view: &RunView, now: Now) -> Errands {
        self.generation = view.generation;
        self.reconcile_annotation = view.reconcile_annotation.as_deref().map(Box::from);
        self.deadline_seconds = view.spec.stop_deadline_seconds.unwrap_or(STOP_DEADLINE_SECONDS);

        let Wish { standing, new, invalid_annotation } = wish(view, &self.standing);
        let rearmed =
            matches!(standing.stop, Stop::Rearmed(_)) && matches!(self.standing.stop, Stop::Asked(_));
        let rearmed =
            rearmed.then(|| view.stopped_set.as_ref().map(|set| set.manager.clone()).unwrap_or_default());
        let mut errands = Errands { invalid_annotation, rearmed, ..Errands::default() };
        let before = std::mem::replace(&mut self.standing, standing);
        if new {
            self.ask.0 += 1;
            self.since = now.mono;
            self.told = None;
            self.unwritten = false;
            self.request = Some(self.new_request(view, now));
        }
        let mut withdraw = Vec::new();
        match self.standing.stop {
            Stop::None => self.total = view.spec.plans.iter().collect::<BTreeSet<_>>().len(),
            Stop::Asked(_) => withdraw = self.plan_anew(&view.spec.plans, new, &mut errands.offer),
            Stop::Rearmed(_) => withdraw = self.withdraw_queued(),
        }
        if !withdraw.is_empty() {
            errands.withdraw = Some((before.gateway_key(&self.key), withdraw));
        }
        self.base = self.base_of(&view.status);
        self.dirty = true;
        errands
    }

    /// Where its plans are to be stopped.
    pub fn gateway(&self) -> GatewayKey {
        self.standing.gateway_key(&self.key)
    }

    /// The plans that wait for a call.
    pub fn queued(&self) -> impl Iterator<Item = PlanId> {
        self.plans.iter().filter(|plan| plan.state == PlanState::Queued).map(|plan| plan.id)
    }

    pub fn asks(&self) -> bool {
        matches!(self.standing.stop, Stop::Asked(_))
    }

    pub fn decided(&self) -> bool {
        decided(&self.plans)
    }

    /// From when on the stop is given up.
    pub fn deadline(&self) -> Timestamp {
        let asked = self.request.as_ref().map_or(Timestamp::MAX, |request| request.time);
        asked.checked_add(SignedDuration::from_secs(self.deadline_seconds)).unwrap_or(Timestamp::MAX)
    }

    /// Whether what came of the plan in this call is what the present request waits for.
    pub fn awaits(&self, waiter: &Waiter, plan: PlanId, call: CallId) -> bool {
        let is_in = |other: &Plan| other.id == plan && other.state == PlanState::InFlight(call);
        self.ask == waiter.ask && self.plans.iter().any(is_in)
    }

    /// The plan's call has begun or ended. Yields the outcome, if the plan has one now.
    pub fn land(&mut self, plan: PlanId, call: CallId, end: End, now: Now) -> Option<Outcome> {
        let (asks, expired) = (self.asks(), now.wall >= self.deadline());
        let plan = self.plan(plan)?;
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
            End::Unanswered(_) | End::Refused(_) if !asks => withdrawn(plan),
            End::Unanswered(_) | End::Refused(_) if expired => expired_plan(plan),
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

    /// Gives up what could not be delivered by the deadline. Yields what waits for a call no more.
    pub fn expire(&mut self, now: Now) -> Vec<PlanId> {
        if !self.asks() || now.wall < self.deadline() {
            return Vec::new();
        }
        let mut given_up = Vec::new();
        for plan in self.plans.iter_mut().filter(|plan| plan.state == PlanState::Queued) {
            plan.state = PlanState::Settled(expired_plan(plan));
            given_up.push(plan.id);
        }
        if !given_up.is_empty() {
            self.dirty = true;
            self.unwritten = true;
        }
        given_up
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
        if self.decided() {
            return self.dirty.then(|| (wait(Millis(0)), Class::Outcome));
        }
        let part = self.unwritten.then(|| self.last_write.unwrap_or(self.since) + PARTS);
        let situation = match self.told {
            None => Some(self.since + QUICK),
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
            standing: &self.standing,
            request: self.request.as_ref(),
            plans: &self.plans,
            obstacle,
            gateway_uid,
            plain: matches!(self.write, Write::Backoff { plain: true, .. }),
            now: now.wall,
        })
    }

    /// Nothing to send, nothing to write, and the own last write has been seen: all that matters is in the object.
    pub fn at_rest(&self) -> bool {
        self.decided() && !self.dirty && matches!(self.write, Write::Idle) && self.heard >= self.floor
    }

    fn plan(&mut self, id: PlanId) -> Option<&mut Plan> {
        self.plans.iter_mut().find(|plan| plan.id == id)
    }

    /// Every plan of the spec, in its order: with what is known of it, or queued, which is added to `offer`. Yields
    /// those that are to be waited for no more.
    fn plan_anew(&mut self, ids: &[i64], new: bool, offer: &mut Vec<PlanId>) -> Vec<PlanId> {
        let earlier = std::mem::take(&mut self.plans);
        let mut withdraw = Vec::new();
        let mut known = BTreeMap::new();
        if new {
            withdraw.extend(earlier.iter().map(|plan| plan.id));
        } else {
            known.extend(earlier.into_iter().map(|plan| (plan.id, plan)));
        }
        let mut taken = BTreeSet::new();
        self.plans.reserve_exact(ids.len());
        for id in ids.iter().copied().map(PlanId).filter(|id| taken.insert(*id)) {
            let plan = known.remove(&id).filter(|plan| !is_withdrawn(plan));
            if plan.is_none() {
                offer.push(id);
            }
            self.plans.push(plan.unwrap_or(Plan {
                id,
                sent: 0,
                unsure: false,
                last: None,
                state: PlanState::Queued,
            }));
        }
        withdraw.extend(known.into_keys());
        withdraw
    }

    fn withdraw_queued(&mut self) -> Vec<PlanId> {
        let mut withdraw = Vec::new();
        for plan in self.plans.iter_mut().filter(|plan| plan.state == PlanState::Queued) {
            withdraw.push(plan.id);
            plan.state = PlanState::Settled(withdrawn(plan));
            self.unwritten = true;
        }
        withdraw
    }

    fn new_request(&self, view: &RunView, now: Now) -> Request {
        let set = match self.standing.stop {
            Stop::Asked(Trigger::Annotation) => view.annotation_set.as_ref(),
            _ => view.stopped_set.as_ref(),
        };
        // A clock of the API server that runs ahead must not lengthen the deadline.
        let time = set.and_then(|set| set.time).map_or(now.wall, |time| time.min(now.wall));
        Request {
            time,
            requested_by: view.requested_by.as_deref().map(Box::from),
            field_manager: set.map(|set| set.manager.as_str().into()),
            reason: view.spec.reason.as_deref().map(Box::from),
        }
    }
}

/// The request that a status tells of.
fn remembered(view: &RunView) -> Option<Request> {
    let stop = view.status.stop.as_ref().filter(|stop| stop.trigger.is_some())?;
    Some(Request {
        time: stop.request_time.as_ref().map(|time| time.0)?,
        requested_by: stop.requested_by.as_deref().map(Box::from),
        field_manager: stop.field_manager.as_deref().map(Box::from),
        reason: stop.reason.as_deref().map(Box::from),
    })
}

fn is_withdrawn(plan: &Plan) -> bool {
    matches!(&plan.state, PlanState::Settled(settled) if settled.outcome == Outcome::Withdrawn)
}

/// What is told of a plan whose stop is not wanted any more.
fn withdrawn(plan: &Plan) -> Settled {
    if plan.unsure { unanswered(Outcome::Unknown) } else { Settled::plain(Outcome::Withdrawn) }
}

/// What is told of a plan whose stop was not delivered by its deadline.
fn expired_plan(plan: &Plan) -> Settled {
    let last = plan.last.map_or_else(String::new, |gist| format!("; {}", last_answer(gist)));
    let (reason, message) = match plan.unsure {
        true => ("NoAnswer", NO_ANSWER),
        false => ("DeadlineExceeded", "the stop could not be delivered before its deadline"),
    };
    Settled::because(Outcome::Expired, reason, Some(format!("{message}{last}")))
}

fn unanswered(outcome: Outcome) -> Settled {
    Settled::because(outcome, "NoAnswer", Some(NO_ANSWER.to_owned()))
}
