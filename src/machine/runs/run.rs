//! One run that is not at rest: its intent, the progress of its plans, and how much of that its status already says.
//!
//! **R7.** Requests are numbered. [`RequestSeq`] grows with each new request of a record, so that a verdict can be told
//! to be of an earlier one (R15). Across terms there is no number: the memory in `status.stop` tells a request that was
//! handled from a new one. Plans that are added under the same request are asked for alone. A withdrawal makes plans
//! that wait for a call Withdrawn at once, and waits for plans in a call. The rules of requests themselves, 1 to 21,
//! are those of `docs/requests.md`; [`intent`](super::intent) keeps them.
//! Tests: `what_an_observation_asks_for`, `h03_conflict_because_the_user_added_an_id`,
//! `h05_false_and_true_again_while_no_operator_ran`,
//! `rule_09_what_was_in_flight_gets_its_answer_and_the_rest_is_withdrawn`.

use jiff::Timestamp;

use crate::api::{ConditionStatus, TestPlanRunStatus, reason};
use crate::machine::effect::{Event, Target};
use crate::machine::ids::{GatewayKey, Lane, ObjectKey, PlanId, RequestSeq, RunKey, Uid, Version};
use crate::machine::limits::{QUICK_ANSWER, STOP_DEADLINE_SECONDS};
use crate::machine::runs::deletion::Finalizer;
use crate::machine::runs::events::{self, Announcement};
use crate::machine::runs::intent::{DecidingField, History, Intent, decide_intent, gateway_name};
use crate::machine::runs::memo::{StatusMemo, stopped};
use crate::machine::runs::observed::{Observed, StopState};
use crate::machine::runs::plan::{all_settled, distinct, remembered_plans};
use crate::machine::runs::plan_list::PlanList;
use crate::machine::runs::request::{Moment, Request, Source, Withdrawal};
use crate::machine::runs::statement::Statement;
use crate::machine::time::{Millis, Now};
use crate::machine::view::RunView;
use crate::machine::wait_reason::{Cause, WaitReason};

/// A run that is not at rest.
#[derive(Clone, Debug)]
pub struct Run {
    pub key: RunKey,
    pub uid: Uid,
    /// The newest version that was read or written, and the memo of its status. Anything older is an echo of the past.
    pub version: Version,
    pub memo: StatusMemo,
    pub generation: i64,
    pub reconcile_annotation: Option<Box<str>>,
    pub deadline_seconds: i64,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    /// The number of different plans in the spec; counted for as long as no stop is asked for.
    pub total: usize,
    /// The newest version that the watch has told. All that it tells later is newer.
    pub watched_version: Version,
    /// The list that was the latest when that version became known.
    pub version_list: u32,
    /// The list that last brought the run.
    pub listed_in: u32,
    pub observed: Observed,
    pub request: Option<Request>,
    pub withdrawal: Option<Box<Withdrawal>>,
    /// The number of the present request: a verdict counts only for the request that it was given for.
    pub request_seq: RequestSeq,
    /// The moment at which the request was seen.
    pub since: Millis,
    pub plans: PlanList,
    /// Plans of the spec that the stop does not cover: they were added after it was complete.
    pub unasked: Box<[PlanId]>,
    /// The present request is written to status at once, since the end of the earlier request, which status still
    /// tells, could be taken for the end of this one.
    pub tell_at_once: bool,
    /// Plans were asked for since status has called the stop complete.
    pub reopened: bool,
    /// The moment at which status is to tell of a change seen meanwhile: another generation, other fields that ask, a
    /// status that was wiped.
    pub refresh_at: Option<Millis>,
    /// The status may have to say something else than it does.
    pub dirty: bool,
    /// Verdicts that status does not say yet.
    pub unwritten: bool,
    /// The cause for waiting that status tells. None: nothing was written about this request yet.
    pub published: Option<Option<Cause>>,
    /// The status that is on its way to the API server.
    pub statement: Option<Box<Statement>>,
    /// A status whose write has ended without a reply that tells whether it was carried out.
    pub unconfirmed: Option<Box<Statement>>,
    /// An event has told of a bad answer to a plan of this request.
    pub answer_told: bool,
    /// The moment at which the last write of its status ended.
    pub tried_at: Option<Millis>,
    /// The next moment at which the run acts by itself.
    pub timer: Option<Millis>,
    /// The time of day at which its object is to be read again although nothing changes: its deadline, or the end of its
    /// TTL.
    pub due: Option<Timestamp>,
    /// The time from which on its object may be deleted, if its stop is complete and was not taken back.
    pub ends_at: Option<Timestamp>,
    /// What keeps its object from being deleted after its TTL.
    pub kept_for: Option<Box<str>>,
    /// Its finalizer, and whether its deletion waits.
    pub finalizer: Finalizer,
    /// Its object is asked to be deleted, and was not seen since.
    pub deletion_asked: bool,
    /// An event has told that the API server refuses to delete it.
    pub refusal_told: bool,
    /// The lane in which its plans wait for a call: one a namespace.
    pub lane: Lane,
    /// The bytes of memory that are counted for it.
    pub held: usize,
    /// There was no room for it: it is set aside once status tells of its request.
    pub lacks_room: bool,
}

/// The subject of a status that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    Outcome,
    Situation,
}

/// The consequences of an observation of a run.
#[derive(Debug, Default)]
pub struct Consequences {
    /// Plans that the run does not wait for any more, with the gateway that the run was for until now.
    pub withdraw: Option<(GatewayKey, Vec<PlanId>)>,
    pub offer: Vec<PlanId>,
    /// A stop is asked for anew.
    pub is_new: bool,
    pub announcements: Vec<Announcement>,
}

// === impl Run ===

impl Run {
    /// The record of a run as it was read, with what its status remembers.
    pub fn new(view: &RunView, lane: Lane, source: Source, now: Now) -> (Self, Consequences) {
        let version = view.version;
        let mut run = Self {
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
            version_list: 0,
            listed_in: 0,
            observed: Observed::of_status(&view.status),
            request: Request::of_status(view, source, now),
            withdrawal: Withdrawal::of_status(view).map(Box::new),
            request_seq: RequestSeq(0),
            since: now.mono,
            plans: PlanList::default(),
            unasked: Box::default(),
            tell_at_once: false,
            reopened: false,
            refresh_at: None,
            dirty: false,
            unwritten: false,
            published: None,
            statement: None,
            unconfirmed: None,
            answer_told: false,
            tried_at: None,
            timer: None,
            due: None,
            ends_at: None,
            kept_for: None,
            finalizer: Finalizer::default(),
            deletion_asked: false,
            refusal_told: false,
            lane,
            held: 0,
            lacks_room: false,
        };
        if run.observed.stop != StopState::None {
            // A stop of which status does not tell the gateway is at that of the spec: its plans are plans of that site.
            run.observed.gateway.get_or_insert_with(|| gateway_name(view).into());
        }
        run.plans = remembered_plans(view, &run.observed, source, now).into();
        let completed = view.status.stop.as_ref().is_some_and(|stop| stop.completion_time.is_some());
        let history = History {
            is_first: true,
            settled: completed && all_settled(&run.plans),
            has_failures: run.has_failures(view),
            generation: view.status.observed_generation,
            ..run.history(now)
        };
        let intent = decide_intent(view, &run.observed, history);
        let settled = history.settled;
        run.published = run.already_told(view, now);
        let mut consequences = run.apply_intent(view, intent, settled, source, now);
        consequences.offer = run.queued().collect();
        (run, consequences)
    }

    /// What status already tells of the stop: the reason for which it waits. A restart changes nothing of that, so it is
    /// told anew only when something else is known. None if the status is of another generation, or tells of no stop
    /// that is under way, or if other fields ask than it remembers.
    fn already_told(&self, view: &RunView, now: Now) -> Option<Option<Cause>> {
        let is_of_now = view.status.observed_generation == Some(view.generation)
            && self.observed.has_seen(view, now.wall)
            && !all_settled(&self.plans);
        let stopped = stopped(&view.status).filter(|stopped| stopped.status == ConditionStatus::Unknown)?;
        let waits = match stopped.reason.as_str() {
            reason::STOPPING => None,
            word => Some(Cause::of_reason(WaitReason::of_word(word)?)),
        };
        is_of_now.then_some(waits)
    }

    /// Takes in the object as it now is: its whole intent replaces the earlier one.
    pub fn observe(&mut self, view: &RunView, source: Source, now: Now) -> Consequences {
        let before = (self.generation, self.observed.clone(), self.request_seq);
        let (dirty, said) = (self.dirty, std::mem::take(&mut self.memo));
        self.version = view.version;
        let history = History { has_failures: self.has_failures(view), ..self.history(now) };
        let (intent, settled) = (decide_intent(view, &self.observed, history), history.settled);
        let mut consequences = self.apply_intent(view, intent, settled, source, now);
        consequences.announcements.extend(self.confirm());
        // An echo, mostly of the own last write: a run that had nothing to write has nothing to write now. While a
        // write is in flight, only an object with the status that it writes is its echo; one with the status from
        // before may come from somebody who has undone the write.
        let expected = self.statement.as_ref().map_or(&said, |statement| &statement.memo);
        let is_known = self.memo.is_same(expected);
        let is_contradicted = self.finalizer.is_on && self.finalizer.is_refusal_told;
        if is_known
            && !is_contradicted
            && before == (self.generation, self.observed.clone(), self.request_seq)
        {
            self.dirty = dirty;
        } else {
            self.refresh_at.get_or_insert(now.mono + QUICK_ANSWER);
        }
        consequences
    }

    /// The history of the stop so far.
    fn history(&self, now: Now) -> History<'_> {
        let request = self.request.as_ref();
        History {
            is_first: false,
            settled: all_settled(&self.plans),
            has_failures: false,
            generation: Some(self.generation),
            requested: request.map(|request| request.asked.time),
            requested_by: request.and_then(|request| request.field_manager.as_deref()),
            withdrawn_by: self.withdrawal.as_ref().and_then(|withdrawal| withdrawal.by.as_deref()),
            now: now.wall,
        }
    }

    /// The memo of a status of this run.
    pub fn memo_of(&self, status: &TestPlanRunStatus) -> StatusMemo {
        StatusMemo::of(status, &self.observed, self.request.as_ref())
    }

    /// Keeps no copies of the names that another run of its namespace has: thousands may wait.
    pub fn share_names(&mut self, other: &Self) {
        self.key = RunKey::new(other.key.namespace.clone(), self.key.name.clone());
        if self.observed.gateway == other.observed.gateway {
            self.observed.gateway = other.observed.gateway.clone();
        }
    }

    /// Takes over the intent of an observation. `settled`: the stop before it was complete.
    fn apply_intent(
        &mut self,
        view: &RunView,
        intent: Intent,
        settled: bool,
        source: Source,
        now: Now,
    ) -> Consequences {
        self.generation = view.generation;
        self.reconcile_annotation = view.reconcile_annotation.as_deref().map(Box::from);
        self.deadline_seconds = view.spec.stop_deadline_seconds.unwrap_or(STOP_DEADLINE_SECONDS);

        let Intent { observed, is_new, asked_by, retries, taken_back, notices } = intent;
        let before = std::mem::replace(&mut self.observed, observed);
        // A deletion that waits is worth a try as well, even for plans that are asked for already.
        let begins_to_wait = before.deletion.is_none() && self.observed.deletion.is_some();
        let mut consequences =
            Consequences { is_new: is_new || retries || begins_to_wait, ..Consequences::default() };
        self.due = self.observed.deadline.to_come();
        let earlier_withdrawal = self.withdrawal.clone();
        let withdraw = match self.observed.stop {
            StopState::None => {
                self.total = distinct(&view.spec.plans).count();
                (self.request, self.withdrawal, self.unasked) = (None, None, Box::default());
                std::mem::take(&mut self.plans).into_iter().map(|plan| plan.id).collect()
            }
            StopState::Asked(_) if is_new => {
                self.begin_request(asked_by, view, source, now);
                self.ask_anew(&view.spec.plans, &mut consequences.offer)
            }
            StopState::Asked(_) => {
                let again = retries.then(|| Moment::asked_by(asked_by, view, source, now));
                let asks_for_added = self.observed.stopped == Some(true) || !settled;
                let added = asks_for_added.then(|| self.added_later(view, source, now));
                // Plans that were added since have not been stopped either.
                let added = again.map(Some).or(added);
                let removed = self.ask_on(&view.spec.plans, added, &mut consequences.offer);
                again.into_iter().for_each(|asked| self.ask_again(asked, &mut consequences.offer));
                removed
            }
            StopState::Withdrawn(_) => {
                self.unasked = Box::default();
                self.withdraw_queued()
            }
        };
        let handled = view.status.stop.as_ref().and_then(|stop| stop.last_handled_retry.as_deref());
        // A script that waits for the end of this retry must not see the end of an earlier one (rule 14).
        let is_retry = retries && asked_by == Some(DecidingField::Retry);
        self.tell_at_once |= is_retry && handled.is_some() && handled == self.observed.retry.as_deref();
        if !consequences.offer.is_empty() {
            self.finalizer.gave_up = false;
            // Plans that are asked for again are told of like those of a new request.
            (self.since, self.published) = (now.mono, None);
            self.reopened |= !is_new;
        }
        if !withdraw.is_empty() {
            consequences.withdraw = Some((before.gateway_key(&self.key), withdraw));
        }
        if let Some(field) = taken_back {
            self.withdrawal = Some(Box::new(Withdrawal::new(field.set(view), now)));
            let announcement = events::taken_back(field, view);
            // A person who takes back a complete stop knows that it is complete; but a controller may undo a stop that
            // a person wants to keep.
            let is_told = !settled || announcement.warning;
            consequences.announcements.extend(Some(announcement).filter(|_| is_told));
        }
        if asked_by == Some(DecidingField::Deadline) {
            let passed = events::deadline_passed(self.observed.deadline, &consequences.offer);
            consequences.announcements.extend(passed);
        }
        if asked_by == Some(DecidingField::Deletion) {
            consequences.announcements.push(events::stops_before_deletion(&consequences.offer));
        }
        let unsent = self.queued().count();
        let notices = notices
            .into_iter()
            .filter_map(|notice| events::notice(notice, view, unsent, earlier_withdrawal.as_deref()));
        consequences.announcements.extend(notices);
        self.memo = self.memo_of(&view.status);
        self.dirty = true;
        self.look_at_object(view, now);
        consequences
    }

    fn begin_request(&mut self, asked_by: Option<DecidingField>, view: &RunView, source: Source, now: Now) {
        let stop = view.status.stop.as_ref();
        let handled = stop.and_then(|stop| stop.last_handled_request.as_deref());
        // A script that waits for the end of this request must not see the end of an earlier one (rule 14).
        self.tell_at_once = stopped(&view.status)
            .is_some_and(|stopped| stopped.status == ConditionStatus::True)
            || (handled.is_some() && handled == self.observed.request.as_deref());
        self.request_seq.0 += 1;
        self.since = now.mono;
        (self.published, self.refresh_at) = (None, None);
        (self.unwritten, self.answer_told) = (false, false);
        self.request = Some(Request::new(asked_by, view, source, now));
        self.withdrawal = None;
    }

    /// The moment at which plans that were added to the spec were asked for; none if that is no later than the stop
    /// itself.
    fn added_later(&self, view: &RunView, source: Source, now: Now) -> Option<Moment> {
        let added = Moment::of_field(view.plans_set, view, source, now);
        let asked = self.request.as_ref()?.asked;
        (added.mono > asked.mono).then_some(added)
    }

    pub fn is_stop_requested(&self) -> bool {
        self.observed.is_stop_requested()
    }

    /// The gateway at which its plans are to be stopped.
    pub fn gateway(&self) -> GatewayKey {
        self.observed.gateway_key(&self.key)
    }

    /// An announcement about this run.
    pub fn event(&self, announcement: Announcement) -> Event {
        announcement.about(ObjectKey::Run(self.key.clone()), self.uid.clone())
    }

    /// The object, as it was last known.
    pub fn target(&self) -> Target {
        Target { key: ObjectKey::Run(self.key.clone()), uid: self.uid.clone(), version: self.version }
    }

    /// Whether a run without room of its own can be set aside: it waits for a call, and its object tells all that a
    /// reading of it must find.
    pub fn may_be_set_aside(&self) -> bool {
        let is_told = self.published.is_some() && self.statement.is_none() && !self.unwritten;
        let has_seen_own_write = self.watched_version >= self.version;
        let (queued, settled) =
            (self.queued().count(), self.plans.iter().filter(|plan| plan.is_settled()).count());
        self.lacks_room && is_told && has_seen_own_write && queued > 0 && queued + settled == self.plans.len()
    }

    /// Whether nothing is left to send or to write and the own last write has been seen, so that all that matters is in
    /// the object (R6).
    pub fn at_rest(&self) -> bool {
        let is_changing = self.deletion_asked || self.finalizer_change().is_some();
        let is_idle = self.is_written() && !is_changing && !self.finalizer.waits_for_rights();
        is_idle && self.watched_version >= self.version
    }

    /// Whether nothing is left to send, or to write into the status.
    pub(in crate::machine) fn is_written(&self) -> bool {
        self.all_settled() && !self.dirty && self.statement.is_none()
    }
}
