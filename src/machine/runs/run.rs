//! One run that is not at rest: what it wants, how far its plans are, and what of that is written down.

use jiff::Timestamp;

use crate::api::{ConditionStatus, TestPlanRunStatus};
use crate::machine::ids::{GatewayKey, Key, Millis, Now, PlanId, RequestSeq, RunId, Uid, Version};
use crate::machine::outbox::write::{Urgency, Write};
use crate::machine::runs::events::{self, Announcement};
use crate::machine::runs::intent::{History, Intent, Observed, StopState, decide_intent};
use crate::machine::runs::memo::{StatusMemo, stopped};
use crate::machine::runs::plan::{Plan, all_settled, distinct, remembered_plans};
use crate::machine::runs::request::{Moment, Request, Source, Withdrawal};
use crate::machine::runs::status::{StatusInput, build_status};
use crate::machine::view::{FieldSet, RunView};
use crate::machine::wait_reason::{WaitReason, Waiting};

/// A run that is not at rest.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    pub key: Key,
    pub uid: Uid,
    /// The newest version that was read or written, and what of it still matters.
    pub version: Version,
    pub memo: StatusMemo,
    pub generation: i64,
    pub reconcile_annotation: Option<Box<str>>,
    pub deadline_seconds: i64,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// How many different plans the spec has; counted for as long as no stop is asked for.
    pub total: usize,
    /// The newest version that the watch has told: what it tells later is newer.
    pub watched_version: Version,
    /// The newest version that was read or written: anything older is an echo of the past.
    pub floor: Version,
    /// The list that was the latest when the floor was set.
    pub version_list: u32,
    /// The list that last brought the run.
    pub listed_in: u32,
    pub observed: Observed,
    pub request: Option<Request>,
    pub withdrawal: Option<Box<Withdrawal>>,
    /// Counts the requests of this record: a verdict counts only for the request that it was given for.
    pub request_seq: RequestSeq,
    /// When the request was seen.
    pub since: Millis,
    pub plans: Vec<Plan>,
    /// Plans of the spec that the stop does not cover: they were added after it was complete.
    pub unasked: Box<[PlanId]>,
    /// The present request is told at once, since what status says of the one before could be taken for its end.
    pub tell_at_once: bool,
    /// Plans were asked for since status has called the stop complete.
    pub reopened: bool,
    /// When status is to say what was seen meanwhile: another generation, another memory, a status that was wiped.
    pub refresh_at: Option<Millis>,
    /// Something was told that status does not say yet.
    pub dirty: bool,
    /// Verdicts that status does not say yet.
    pub unwritten: bool,
    /// Why the run waits as status says, if it does. None: nothing was written about this request.
    pub published: Option<Option<WaitReason>>,
    pub last_write: Option<Millis>,
    pub write: Write,
    /// Writes in a row that did not succeed.
    pub write_failures: u8,
    pub timer: Option<Millis>,
    /// Its place in the queue of writes.
    pub queue_position: Option<(Urgency, Millis)>,
}

/// What a look at a run asks of its gateway.
#[derive(Debug, Default)]
pub struct Demands {
    /// From the queue of the gateway that the run was for until now.
    pub withdraw: Option<(GatewayKey, Vec<PlanId>)>,
    pub offer: Vec<PlanId>,
    /// A stop is asked for anew.
    pub is_new: bool,
    pub announcements: Vec<Announcement>,
}

/// How long a quick answer may take: until then nothing is written but the outcome.
pub(in crate::machine) const QUICK: Millis = Millis(1_000);
/// Least time between two writes of a part of the outcomes.
const PARTS: Millis = Millis(5_000);
/// How long the end waits for a write that has failed: as long as any failure waits but a refusal.
const DRAIN_PATIENCE: Millis = Millis(30_000);
/// How long a stop may take to be delivered where the run does not say.
const STOP_DEADLINE_SECONDS: i64 = 3600;

// === impl Run ===

impl Run {
    /// The record of a run as it was read, with what its status remembers.
    pub fn new(id: RunId, view: &RunView, source: Source, now: Now) -> (Self, Demands) {
        let version = view.version;
        let mut run = Self {
            id,
            key: view.key.clone(),
            uid: view.uid.clone(),
            version,
            memo: StatusMemo::default(),
            generation: view.generation,
            reconcile_annotation: None,
            deadline_seconds: STOP_DEADLINE_SECONDS,
            created: view.created,
            total: 0,
            watched_version: version,
            floor: version,
            version_list: 0,
            listed_in: 0,
            observed: Observed::of_status(&view.status),
            request: Request::of_status(view, source, now),
            withdrawal: Withdrawal::of_status(view).map(Box::new),
            request_seq: RequestSeq(0),
            since: now.mono,
            plans: Vec::new(),
            unasked: Box::default(),
            tell_at_once: false,
            reopened: false,
            refresh_at: None,
            dirty: false,
            unwritten: false,
            published: None,
            last_write: None,
            write: Write::Idle,
            write_failures: 0,
            timer: None,
            queue_position: None,
        };
        run.plans = remembered_plans(view, &run.observed, source, now);
        let completed = view.status.stop.as_ref().is_some_and(|stop| stop.completion_time.is_some());
        let history = History {
            is_first: true,
            settled: completed && all_settled(&run.plans),
            has_failures: run.has_failures(view),
            generation: view.status.observed_generation,
            ..run.history()
        };
        let intent = decide_intent(view, &run.observed, history);
        let settled = history.settled;
        let mut demands = run.apply_intent(view, intent, settled, source, now);
        demands.offer = run.queued().collect();
        (run, demands)
    }

    /// The object as it now is: its whole intent replaces the earlier one.
    pub fn observe(&mut self, view: &RunView, source: Source, now: Now) -> Demands {
        let before = (self.generation, self.observed.clone(), self.request_seq);
        let (dirty, said) = (self.dirty, std::mem::take(&mut self.memo));
        self.version = view.version;
        let history = History { has_failures: self.has_failures(view), ..self.history() };
        let (intent, settled) = (decide_intent(view, &self.observed, history), history.settled);
        let demands = self.apply_intent(view, intent, settled, source, now);
        // An echo, mostly of what was just written: a run that had nothing to say has nothing to say now.
        // While a write is in flight, only what it writes is its echo: the same as before may be that it was undone.
        let is_known = match &self.write {
            Write::InFlight(flight) => flight.next.is_same(&self.memo),
            Write::Idle | Write::Conflict { .. } | Write::Backoff { .. } => self.memo.is_same(&said),
        };
        if is_known && before == (self.generation, self.observed.clone(), self.request_seq) {
            self.dirty = dirty;
        } else {
            self.refresh_at.get_or_insert(now.mono + QUICK);
        }
        demands
    }

    /// What is known of the stop so far.
    fn history(&self) -> History<'_> {
        let request = self.request.as_ref();
        History {
            is_first: false,
            settled: all_settled(&self.plans),
            has_failures: false,
            generation: Some(self.generation),
            requested: request.map(|request| request.asked.time),
            requested_by: request.and_then(|request| request.field_manager.as_deref()),
            withdrawn_by: self.withdrawal.as_ref().and_then(|withdrawal| withdrawal.by.as_deref()),
        }
    }

    /// What is to be kept of a status of this run.
    pub fn memo_of(&self, status: &TestPlanRunStatus) -> StatusMemo {
        StatusMemo::of(status, &self.observed, self.request.as_ref())
    }

    /// Keeps no copies of the names that its gateway has: thousands may wait for it.
    pub fn share_names(&mut self, gateway: &GatewayKey) {
        self.key.namespace = gateway.namespace.clone();
        if self.observed.gateway.as_deref() == Some(&*gateway.name) {
            self.observed.gateway = Some(gateway.name.clone());
        }
    }

    /// Takes the intent of a look over. `settled`: the stop before it was complete.
    fn apply_intent(
        &mut self,
        view: &RunView,
        intent: Intent,
        settled: bool,
        source: Source,
        now: Now,
    ) -> Demands {
        self.generation = view.generation;
        self.reconcile_annotation = view.reconcile_annotation.as_deref().map(Box::from);
        self.deadline_seconds = view.spec.stop_deadline_seconds.unwrap_or(STOP_DEADLINE_SECONDS);

        let Intent { observed, is_new, asked_by, retries, taken_back, notices } = intent;
        let mut demands = Demands { is_new: is_new || retries, ..Demands::default() };
        let before = std::mem::replace(&mut self.observed, observed);
        let earlier_withdrawal = self.withdrawal.clone();
        let withdraw = match self.observed.stop {
            StopState::None => {
                self.total = distinct(&view.spec.plans).count();
                (self.request, self.withdrawal, self.unasked) = (None, None, Box::default());
                std::mem::take(&mut self.plans).into_iter().map(|plan| plan.id).collect()
            }
            StopState::Asked(_) if is_new => {
                self.begin_request(asked_by.and_then(|field| field.set(view)), view, source, now);
                self.ask_anew(&view.spec.plans, &mut demands.offer)
            }
            StopState::Asked(_) => {
                let again = retries.then(|| {
                    let set = view.retry_set.as_ref().and_then(|set| set.time);
                    Moment::of_field(set, view, source, now)
                });
                let asks_for_added = self.observed.stopped == Some(true) || !settled;
                let added = asks_for_added.then(|| self.added_later(view, source, now));
                // What was added since has not been stopped either.
                let added = again.map(Some).or(added);
                let removed = self.ask_on(&view.spec.plans, added, &mut demands.offer);
                again.into_iter().for_each(|asked| self.ask_again(asked, &mut demands.offer));
                removed
            }
            StopState::Withdrawn(_) => {
                self.unasked = Box::default();
                self.withdraw_queued()
            }
        };
        if !demands.offer.is_empty() {
            // What is to be done again is told, as that of a new request.
            (self.since, self.published) = (now.mono, None);
            self.reopened |= !is_new;
        }
        if !withdraw.is_empty() {
            demands.withdraw = Some((before.gateway_key(&self.key), withdraw));
        }
        if let Some(field) = taken_back {
            self.withdrawal = Some(Box::new(Withdrawal::new(field.set(view), now)));
            let announcement = events::taken_back(field, view);
            // Whoever takes back what is complete knows that it is; but a controller may undo what a person wants to keep.
            let is_told = !settled || announcement.warning;
            demands.announcements.extend(Some(announcement).filter(|_| is_told));
        }
        let notices = notices
            .into_iter()
            .filter_map(|notice| events::notice(notice, view, self, earlier_withdrawal.as_deref()));
        demands.announcements.extend(notices);
        self.memo = self.memo_of(&view.status);
        self.dirty = true;
        demands
    }

    fn begin_request(&mut self, set: Option<&FieldSet>, view: &RunView, source: Source, now: Now) {
        let stop = view.status.stop.as_ref();
        let handled = stop.and_then(|stop| stop.last_handled_request.as_deref());
        // Whoever waits for the end of this request must not see the end of an earlier one (rule 14).
        self.tell_at_once = stopped(&view.status)
            .is_some_and(|stopped| stopped.status == ConditionStatus::True)
            || (handled.is_some() && handled == self.observed.request.as_deref());
        self.request_seq.0 += 1;
        self.since = now.mono;
        (self.published, self.refresh_at) = (None, None);
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

    pub fn is_stop_requested(&self) -> bool {
        self.observed.is_stop_requested()
    }

    /// Where its plans are to be stopped.
    pub fn gateway(&self) -> GatewayKey {
        self.observed.gateway_key(&self.key)
    }

    /// When a status write falls due, and how urgent it is. `stands_until`: when a changed reason for waiting will have
    /// stood long enough.
    pub fn due(&self, waits: Option<WaitReason>, stands_until: Millis) -> Option<(Millis, Urgency)> {
        let at = match &self.write {
            Write::InFlight(_) | Write::Conflict { .. } => return None,
            Write::Backoff { until, .. } => Some(*until),
            Write::Idle => None,
        };
        let wait = |due: Millis| at.map_or(due, |at| at.max(due));
        if self.all_settled() {
            return self.dirty.then(|| (wait(Millis(0)), Urgency::Outcome));
        }
        let part = self.unwritten.then(|| self.last_write.unwrap_or(self.since) + PARTS);
        let situation = match self.published {
            None => Some(self.since + if self.tell_at_once { Millis(0) } else { QUICK }),
            Some(told) if told != waits => Some(stands_until),
            Some(_) => None,
        };
        let announce = self.refresh_at.filter(|_| self.published.is_some());
        let due = [part, situation, announce].into_iter().flatten().min()?;
        // Whatever makes it due, it tells of outcomes if there are any.
        Some((wait(due), if self.unwritten { Urgency::Outcome } else { Urgency::Situation }))
    }

    /// The status as it should be.
    pub fn status(
        &self,
        waiting: Option<&Waiting>,
        gateway_uid: Option<&Uid>,
        now: Now,
    ) -> TestPlanRunStatus {
        build_status(StatusInput {
            generation: self.generation,
            total: self.total,
            memo: &self.memo,
            key: &self.key,
            created: self.created,
            observed: &self.observed,
            request: self.request.as_ref(),
            withdrawal: self.withdrawal.as_deref(),
            plans: &self.plans,
            unasked: &self.unasked,
            waiting,
            gateway_uid,
            reopened: self.reopened,
            without_messages: matches!(self.write, Write::Backoff { without_messages: true, .. }),
            now: now.wall,
        })
    }

    /// Whether the end waits for this run's outcome to be written. A write that was refused is tried again so late that
    /// the next process, which knows no outcome, rather sends the plans once more.
    pub fn holds_up_drain(&self, now: Millis) -> bool {
        let is_late = matches!(self.write, Write::Backoff { until, .. } if until > now + DRAIN_PATIENCE);
        self.unwritten && !is_late
    }

    /// Nothing to send, nothing to write, and the own last write has been seen: all that matters is in the object.
    pub fn at_rest(&self) -> bool {
        self.all_settled()
            && !self.dirty
            && matches!(self.write, Write::Idle)
            && self.watched_version >= self.floor
    }
}
