//! One cleanup rule: when it is to run, and what its status says.
//!
//! A schedule fires for the latest scheduled time that has passed, so that times which were missed run once. The memory of
//! it is in status, so a restart neither repeats nor forgets a time; one that was under way goes on under the same mark.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{CleanupRun, ConditionStatus, EventReason, TestPlanCleanupStatus, condition, reason};
use crate::machine::cleanups::firing::{Counts, Firing, Step};
use crate::machine::cleanups::rule::Rule;
use crate::machine::cleanups::schedule::{Schedule, ScheduleError};
use crate::machine::condition_draft::{ConditionDraft, conditions_of};
use crate::machine::effect::{Event, Target};
use crate::machine::ids::ObjectKey;
use crate::machine::limits::{BETWEEN_CLEANUP_PARTS, BETWEEN_CLEANUP_WRITES, CLOCK_CHECK, QUICK_ANSWER};
use crate::machine::time::{Millis, Now, whole_seconds};
use crate::machine::view::CleanupView;

/// A cleanup rule.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// The object, with the status at the API server, as far as it is known.
    pub view: CleanupView,
    pub rule: Rule,
    /// What the next status shall say, but for its conditions.
    pub memory: TestPlanCleanupStatus,
    /// The status that is being written.
    pub writing: Option<TestPlanCleanupStatus>,
    /// The moment at which the last write ended.
    pub wrote_at: Option<Millis>,
    pub firing: Option<Firing>,
    /// Scheduled times up to this one are none of this rule: it was not there yet, or had another schedule.
    counts_from: Timestamp,
    /// The next scheduled time.
    pub next: Option<Timestamp>,
    /// The moment at which the status falls due.
    pub status_at: Option<Millis>,
    pub timer: Option<Millis>,
    /// The list that last brought it, and the latest one when its version became known.
    pub listed_in: u32,
    pub version_list: u32,
}

// === impl Cleanup ===

impl Cleanup {
    /// The record of a rule that was not known.
    pub fn new(view: CleanupView, now: Now) -> Self {
        let mut memory = view.status.clone();
        // What a backup carries was asked for in another time.
        if view.restored.is_some() && memory.observed_run_now.is_none() && memory.last_run.is_none() {
            memory.observed_run_now = view.run_now.clone();
        }
        Self {
            rule: Rule::of(&view.spec),
            counts_from: view.created.unwrap_or(now.wall),
            view,
            memory,
            writing: None,
            wrote_at: None,
            firing: None,
            next: None,
            status_at: None,
            timer: None,
            listed_in: 0,
            version_list: 0,
        }
    }

    /// Takes in the object as it now is. Yields a firing that an edit ends.
    pub fn observe(&mut self, view: CleanupView, now: Now) -> Option<Firing> {
        let before = std::mem::replace(&mut self.view, view);
        if before.spec == self.view.spec {
            return None;
        }
        self.rule = Rule::of(&self.view.spec);
        let is_other = (&before.spec.schedule, &before.spec.time_zone)
            != (&self.view.spec.schedule, &self.view.spec.time_zone);
        if is_other {
            self.counts_from = now.wall;
            // In status, so that another leader does not make up for times of before the edit.
            self.memory.skipped_until = Some(whole_seconds(now.wall));
        }
        let ended = self.firing.take();
        if let Some(firing) = &ended {
            self.told(firing, Some("the rule was edited meanwhile".to_owned()), Some(now));
        }
        ended
    }

    /// Decides whether it is to run now. Yields an event, if there is one to tell.
    pub fn consider(&mut self, now: Now) -> Option<Event> {
        if self.firing.is_some() {
            return None;
        }
        self.next = None;
        let schedule = self.rule.schedule.clone().ok()?;
        let due = self.due_now(&schedule, now);
        let from = self.from();
        self.next = schedule.next(from.max(now.wall));
        match due {
            Due::Resumed(time, deleted) => self.begin(time, deleted, now),
            Due::Now => {
                self.memory.observed_run_now = self.view.run_now.clone();
                self.begin(self.time_of_now(now), 0, now);
            }
            Due::Scheduled(time) => {
                self.memory.last_schedule_time = Some(Time(time));
                self.begin(time, 0, now);
            }
            Due::Skipped(time) => self.memory.skipped_until = Some(whole_seconds(time)),
            Due::Missed(time, first) => {
                self.memory.skipped_until = Some(whole_seconds(time));
                return Some(self.missed(first));
            }
            Due::Nothing => {}
        }
        None
    }

    fn due_now(&mut self, schedule: &Schedule, now: Now) -> Due {
        let is_as_before = self.memory.observed_generation == Some(self.view.generation);
        if let Some(run) = self.memory.last_run.as_mut().filter(|run| run.completion_time.is_none()) {
            match run.time.as_ref().filter(|_| is_as_before) {
                Some(time) => return Due::Resumed(time.0, run.deleted),
                // An edit ends what was under way, also while no operator looks.
                None => run.completion_time = Some(whole_seconds(now.wall)),
            }
        }
        if self.view.run_now != self.memory.observed_run_now {
            if self.view.run_now.as_deref().is_some_and(|value| !value.trim().is_empty()) {
                return Due::Now;
            }
            self.memory.observed_run_now = self.view.run_now.clone();
        }
        let from = self.from();
        let latest = now.wall.checked_sub(self.rule.starting_deadline).unwrap_or(Timestamp::MIN);
        if let Some(time) = schedule.last_within(from.max(latest), now.wall) {
            return if self.rule.is_suspended { Due::Skipped(time) } else { Due::Scheduled(time) };
        }
        match schedule.next(from).filter(|first| *first <= latest) {
            Some(_) if self.rule.is_suspended => Due::Skipped(latest),
            Some(first) => Due::Missed(latest, first),
            None => Due::Nothing,
        }
    }

    /// The time of a firing that a person asks for. Two of them have two times, and so two marks.
    fn time_of_now(&self, now: Now) -> Timestamp {
        let (time, second) = (whole_seconds(now.wall).0, SignedDuration::from_secs(1));
        let last = self.memory.last_run.as_ref().and_then(|run| run.time.as_ref()).map(|last| last.0);
        let is_close = |last: &Timestamp| *last >= time && last.duration_since(time) < second * 60;
        last.filter(is_close).and_then(|last| last.checked_add(second).ok()).unwrap_or(time)
    }

    /// The time after which scheduled times count.
    fn from(&self) -> Timestamp {
        let of = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let known = [of(&self.memory.last_schedule_time), of(&self.memory.skipped_until)];
        known.into_iter().flatten().fold(self.counts_from, Timestamp::max)
    }

    fn begin(&mut self, time: Timestamp, deleted: i64, now: Now) {
        let firing = Firing::new(&self.view.key.name, time, &self.rule, deleted, now.mono);
        self.told(&firing, None, None);
        self.firing = Some(firing);
    }

    /// Lets the status tell of a firing. `ended`: it is over.
    pub fn told(&mut self, firing: &Firing, why: Option<String>, ended: Option<Now>) {
        let Counts { matched, stopped, deleted, spared, failed } = firing.counts;
        self.memory.last_run = Some(CleanupRun {
            time: Some(whole_seconds(firing.time)),
            completion_time: ended.map(|now| whole_seconds(now.wall)),
            dry_run: self.rule.is_dry.then_some(true),
            matched,
            stopped,
            deleted,
            spared,
            failed,
            names: firing.names.clone(),
            spared_names: firing.spared_names.clone(),
            message: why.or_else(|| firing.why.clone()),
        });
    }

    // === its status ===

    /// The status as it should be.
    pub fn status(&self, now: Now) -> TestPlanCleanupStatus {
        let (generation, time) = (self.view.generation, whole_seconds(now.wall));
        let before = &self.view.status.conditions;
        TestPlanCleanupStatus {
            observed_generation: Some(generation),
            next_schedule_time: self.next.filter(|_| !self.rule.is_suspended).map(Time),
            conditions: conditions_of(self.conditions(), before, generation, &time),
            ..self.memory.clone()
        }
    }

    /// The moment from which on the status is to be written, if it is to be.
    pub fn status_due(&self, now: Now) -> Option<Millis> {
        if self.writing.is_some() || self.status(now) == self.view.status {
            return None;
        }
        let after = |pause: Millis| self.wrote_at.map_or(Millis(0), |at| at + pause);
        Some(match &self.firing {
            Some(firing) => (firing.began + QUICK_ANSWER).max(after(BETWEEN_CLEANUP_PARTS)),
            None => after(BETWEEN_CLEANUP_WRITES),
        })
    }

    fn conditions(&self) -> Vec<ConditionDraft> {
        let draft = |type_, status, (reason, message): (&'static str, &str)| {
            ConditionDraft::new(type_, status, reason, message)
        };
        let ready = |status, said| vec![draft(condition::READY, status, said)];
        let invalid = match &self.rule.schedule {
            Ok(_) if self.next.is_none() && self.firing.is_none() => {
                let why = "the schedule never comes: no date of the next five years fits it";
                Some((reason::INVALID_SCHEDULE, why))
            }
            Ok(_) => None,
            Err(ScheduleError::Invalid(why)) => Some((reason::INVALID_SCHEDULE, why.as_str())),
            Err(ScheduleError::UnknownTimeZone(why)) => Some((reason::UNKNOWN_TIME_ZONE, why.as_str())),
        };
        if let Some(said) = invalid {
            return [condition::READY, condition::STALLED]
                .into_iter()
                .zip([ConditionStatus::False, ConditionStatus::True])
                .map(|(type_, status)| draft(type_, status, said))
                .collect();
        }
        let failed = self.memory.last_run.as_ref().filter(|run| run.failed > 0);
        if let Some(run) = failed.filter(|_| !self.rule.is_suspended) {
            let why = run.message.as_deref().unwrap_or("some runs could not be written");
            return ready(ConditionStatus::False, (reason::FAILED, why));
        }
        if self.rule.is_suspended {
            let why = "spec.suspend holds it: schedules that fire meanwhile are skipped";
            return ready(ConditionStatus::True, (reason::SUSPENDED, why));
        }
        ready(ConditionStatus::True, (reason::SCHEDULED, "it runs at the times of its schedule"))
    }

    // === moments ===

    /// The moment at which it acts by itself.
    pub fn wake_at(&self, now: Now) -> Option<Millis> {
        let acts = match self.firing.as_ref().map(|firing| firing.step) {
            Some(Step::Resting(until)) => Some(until),
            Some(Step::Ready | Step::Listing(_) | Step::Writing | Step::Done) => None,
            None => self.next.map(|next| now.look_for(next.as_millisecond(), CLOCK_CHECK)),
        };
        [acts, self.status_at].into_iter().flatten().min()
    }

    // === words ===

    pub fn target(&self) -> Target {
        let CleanupView { key, uid, version, .. } = &self.view;
        Target { key: ObjectKey::Cleanup(key.clone()), uid: uid.clone(), version: *version }
    }

    /// An event about the rule that warns.
    pub fn warning(&self, reason: EventReason, message: String) -> Event {
        let CleanupView { key, uid, .. } = &self.view;
        let about = ObjectKey::Cleanup(key.clone());
        Event { about, uid: uid.clone(), warning: true, reason, message, given: None }
    }

    fn missed(&self, first: Timestamp) -> Event {
        self.warning(
            EventReason::ScheduleMissed,
            format!(
                "the schedule of {first} was missed by more than {} s (spec.startingDeadlineSeconds) and is skipped; to \
                 run it now, set another value of the annotation testinium.io/run-now",
                self.rule.starting_deadline.as_secs()
            ),
        )
    }
}

/// What a rule is to do now.
enum Due {
    Nothing,
    /// An earlier leader has begun it, and deleted so many runs.
    Resumed(Timestamp, i64),
    /// A person has asked for it.
    Now,
    Scheduled(Timestamp),
    /// The schedule has fired while it was suspended.
    Skipped(Timestamp),
    /// Scheduled times up to the first of these were missed; the second was the first of them.
    Missed(Timestamp, Timestamp),
}
