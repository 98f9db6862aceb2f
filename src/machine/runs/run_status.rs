//! The status of a run: the moment at which it is due, its content, and the result of writing it.
//!
//! **R20.** A status falls due only if it would change the object. At once if every plan has its outcome or was
//! withdrawn, and then with the urgency of an outcome if it tells one; `BETWEEN_PARTS` after the last write for a part
//! of the outcomes; `QUICK_ANSWER` after the request for a situation (on its way, or waiting), or at once if status
//! still tells the success of an earlier request; and a *changed* cause for waiting once it has stood for
//! `REASON_SETTLES`. So an outage that comes and goes costs a run two writes.
//! Tests: `when_a_status_is_due`, `a_part_of_the_outcomes_waits_for_the_rest_for_a_while`,
//! `a_gateway_that_is_down_costs_two_writes_however_long_it_lasts`,
//! `rule_14_a_request_over_an_earlier_success_is_told_at_once`; the reference checks at every write that it changes the
//! object (I8).
//!
//! **R21.** A write is known by its reply. It brings the new version, and unless something newer was seen, the written
//! status counts as read: the next write need not wait for the echo. A write that changes nothing has no echo at all,
//! so the machine never waits for an event; it compares versions.
//! Tests: `h06_own_echo`, `h16_answer_while_the_situation_is_written`, `h24_write_timed_out_but_landed`,
//! `a_status_that_is_wiped_before_its_write_is_acknowledged_is_written_again`.

use std::sync::Arc;

use crate::api::TestPlanRunStatus;
use crate::machine::input::WriteResult;
use crate::machine::limits::{BETWEEN_PARTS, QUICK_ANSWER};
use crate::machine::runs::events::{self, Announcement};
use crate::machine::runs::request::Moment;
use crate::machine::runs::run::{Due, Run};
use crate::machine::runs::statement::Statement;
use crate::machine::runs::status::build_status;
use crate::machine::runs::status_input::StatusInput;
use crate::machine::time::{Millis, Now};
use crate::machine::wait_reason::{Cause, Waiting};

// === impl Run ===

impl Run {
    /// The moment from which on the status is to be written, if it is to be. `waits`: the cause for which the run waits.
    /// `settles_at`: the moment at which its reason will have stood long enough, and the one for its words.
    pub fn status_due(&self, waits: Option<Cause>, settles_at: (Millis, Millis)) -> Option<(Millis, Due)> {
        if self.statement.is_some() {
            return None;
        }
        if self.all_settled() {
            // Without an outcome in it, such as the first status of a new run, it waits behind those that have one.
            let due = if self.unwritten { Due::Outcome } else { Due::Situation };
            return self.dirty.then_some((Millis(0), due));
        }
        let part = self.unwritten.then(|| self.tried_at.unwrap_or(self.since) + BETWEEN_PARTS);
        let situation = match self.published {
            None => Some(self.since + if self.tell_at_once { Millis(0) } else { QUICK_ANSWER }),
            Some(published) => match (published, waits) {
                (None, None) => None,
                (Some(told), Some(present)) if told.says_the_same_as(present) => None,
                (Some(told), Some(present)) if told.reason == present.reason => Some(settles_at.1),
                _ => Some(settles_at.0),
            },
        };
        let refresh = self.refresh_at.filter(|_| self.published.is_some());
        let due = [part, situation, refresh].into_iter().flatten().min()?;
        // The status tells of outcomes if there are any, whatever has made it due.
        Some((due, if self.unwritten { Due::Outcome } else { Due::Situation }))
    }

    /// The status as it should be.
    pub fn status(&self, waiting: Option<&Waiting>, without_messages: bool, now: Now) -> TestPlanRunStatus {
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
            reopened: self.reopened,
            without_messages,
            deadline_seconds: self.deadline_seconds,
            kept_for: self.kept_for.as_deref(),
            deletion_skipped: self.finalizer.skipped(),
            now: now.wall,
        })
    }

    /// Begins to write a status, if it differs from the one that is there.
    pub fn state(
        &mut self,
        status: TestPlanRunStatus,
        cause: Option<Cause>,
    ) -> Option<Arc<TestPlanRunStatus>> {
        let has_outcomes = std::mem::take(&mut self.unwritten);
        self.dirty = false;
        self.refresh_at = None;
        let memo = self.memo_of(&status);
        if self.memo.is_same(&memo) {
            // Such as after a write whose reply was lost: the echo shows that it had been carried out.
            self.published = Some(cause);
            return None;
        }
        let is_news = self.memo.is_transition(&memo) && self.is_stop_requested();
        let mut transition =
            is_news.then(|| events::transition(&status, cause.map(|cause| cause.reason))).flatten();
        let bad_answer =
            if transition.is_none() && cause.is_none() { self.bad_answer_to_tell() } else { None };
        let is_complete = status.stop.as_ref().is_some_and(|stop| stop.completion_time.is_some());
        if let Some(transition) = transition.as_mut().filter(|_| is_complete) {
            // Plans that were added or retried were asked for later than the stop.
            let asked = self.plans.iter().filter_map(|plan| self.asked_of(plan));
            transition.asked = asked.reduce(Moment::max);
        }
        let skipped = self.kept_for.as_deref().filter(|_| memo.is_kept && !self.memo.is_kept);
        let skipped = skipped.map(|kept_for| events::ttl_skipped(&self.key, kept_for));
        let is_first = memo.is_deletion_skipped && !self.memo.is_deletion_skipped;
        let not_held = self.finalizer.skipped().filter(|_| is_first).map(events::deletion_skipped);
        self.statement = Some(Box::new(Statement {
            request_seq: self.request_seq,
            memo,
            cause,
            has_outcomes,
            closes_again: is_complete && std::mem::take(&mut self.reopened),
            tells_bad_answer: bad_answer.is_some(),
            announcements: transition.or(bad_answer).into_iter().chain(skipped).chain(not_held).collect(),
        }));
        Some(Arc::new(status))
    }

    /// Takes in the result of a write. `list`: the latest list of runs. Yields the announcements to make.
    pub fn stated(&mut self, result: WriteResult, list: u32, now: Now) -> Vec<Announcement> {
        let Some(statement) = self.statement.take() else { return Vec::new() };
        self.tried_at = Some(now.mono);
        let WriteResult::Done(version) = result else {
            self.dirty = true;
            self.unwritten |= statement.has_outcomes;
            self.reopened |= statement.closes_again;
            self.refresh_at.get_or_insert(now.mono);
            self.unconfirmed = Some(statement);
            // Its echo may have come before the reply was lost.
            return self.confirm();
        };
        self.unconfirmed = None;
        self.version_list = list;
        if self.request_seq == statement.request_seq {
            self.published = Some(statement.cause);
        }
        self.answer_told |= statement.tells_bad_answer;
        let Statement { memo, announcements, .. } = *statement;
        if self.version < version {
            (self.version, self.memo) = (version, memo);
        }
        announcements
    }

    /// The announcements of a write whose reply was lost, once the object shows that it was carried out.
    pub fn confirm(&mut self) -> Vec<Announcement> {
        let confirmed = self.unconfirmed.take_if(|statement| statement.memo.is_same(&self.memo));
        let Some(statement) = confirmed else { return Vec::new() };
        self.answer_told |= statement.tells_bad_answer;
        if statement.closes_again {
            self.reopened = false;
        }
        statement.announcements
    }

    /// The announcement of the first bad answer to a plan of this request that is asked again while its gateway is well.
    fn bad_answer_to_tell(&self) -> Option<Announcement> {
        if self.answer_told || !self.is_stop_requested() {
            return None;
        }
        let plan = self.plans.iter().find(|plan| !plan.is_settled() && plan.last.is_some())?;
        Some(events::asked_again(plan.id, plan.last?, self.observed.gateway.as_deref().unwrap_or_default()))
    }
}
