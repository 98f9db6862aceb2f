//! Writes to the Kubernetes API: those that wait for a slot, their order, and the pause after one that failed.
//!
//! ```text
//!            due, a slot is free                    written
//!   Idle ------------------------> InFlight -----------------------> Idle
//!                                   |    |    \
//!                        a conflict |    |     refused, or failed
//!                                   v    |      \
//!      Idle <--- newer object -- Conflict |       +--> Backoff --- its time has come ---> InFlight
//! ```
//!
//! An entry belongs to one object, or to a run that a cleanup rule writes: that run need have no record, its entry ends
//! with the first try, and the rule lists it again if need be. So its mark may cross its status, and one of them meets a
//! conflict. The owner of the object makes the body of a status; other bodies (finalizers, annotations, the deletion of
//! the object) are kept here until they have been written.
//!
//! **R19.** Slots and order. An object has one write under way at a time, and all objects together have `WRITES_MAX`.
//! Outcomes go before statuses of gateways, and these before mere situations; within each, namespaces take turns, and
//! the oldest of a namespace goes first. The body of a status is made when its slot is free, so that it tells all that
//! is known by then; it names the uid and the newest version known. Every write to an object passes through here, and a
//! change that must follow the outcome, such as the removal of a finalizer, waits until the status is written.
//! Tests: `no_more_writes_than_slots_and_one_of_an_object`, `outcomes_go_first_and_gateways_before_situations`,
//! `a_change_goes_before_the_status_or_after_it`, `one_outcome_behind_a_flood_of_another_namespace`,
//! `h16_answer_while_the_situation_is_written`; the reference checks it as I7 at every write.
//!
//! **R22.** Writes that fail. After a conflict (409) the write waits for a newer object; if the watch has already
//! brought it, the write begins at once, and after `CONFLICT_READ` the object is read by itself, one reading at a time.
//! After the reading the write is tried again in any case: if nothing is newer, the conflict was none. A 404 counts as
//! a conflict, since only the watch ends a run (R5). A time-out, 429 or 5xx is tried again on the same version after a
//! growing pause; if the first try had been carried out after all, the second one ends as a conflict, and the object
//! shows our own status.
//! Tests: `what_follows_from_a_write`, `a_newer_object_ends_a_conflict_and_any_sight_of_it_ends_a_pause`,
//! `a_conflict_ends_when_the_object_was_read`, `h02_conflict_because_the_user_withdrew`,
//! `h03_conflict_because_the_user_added_an_id`, `h24_write_timed_out_but_landed`, `conflict_that_nothing_explains`,
//! `a_write_that_finds_nothing_leaves_it_to_the_watch`, `one_404_to_a_status_write_loses_no_outcome`.
//!
//! **R23.** Writes that are refused. A status that is refused for its content (400, 413, 422) or for want of a right
//! (403) is written once more at once, without the gateway's messages, which alone can be wrong with it. After that a
//! missing right is tried like any failure, since it may come back within seconds, and any other refusal every
//! `REFUSED_WRITE_PAUSE`; both at once when the object changes. Such a write takes no slot while it waits, and the
//! first refusal is told by a warning event. The outcomes stay with the run, so no plan is sent again in this term.
//! Tests: `h17_write_refused_for_ever`,
//! `a_second_refusal_waits_for_five_minutes_and_one_for_want_of_a_right_for_seconds`,
//! `a_right_that_was_missing_for_some_seconds_delays_an_outcome_by_seconds`,
//! `a_write_that_failed_and_is_then_refused_is_tried_without_messages_at_once`.

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::entry::{Change, Entry, EntryKey, InFlight, Next, Order, Urgency, What, WriteState};
use crate::machine::backoff::Backoff;
use crate::machine::effect::FinalizerChange;
use crate::machine::fair_queue::FairQueue;
use crate::machine::ids::{Version, WriteSerial};
use crate::machine::input::WriteResult;
use crate::machine::limits::{
    CONFLICT_READ, REFUSED_WRITE_PAUSE, WRITE_RETRY_FIRST, WRITE_RETRY_MAX, WRITES_MAX,
};
use crate::machine::time::Millis;
use crate::machine::timers::Timers;

/// All writes that wait or are under way.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    pub(in crate::machine) entries: BTreeMap<EntryKey, Entry>,
    /// The entries whose time has come.
    pub(in crate::machine) due: BTreeMap<Urgency, FairQueue<Arc<str>, (Millis, EntryKey)>>,
    pub(in crate::machine) timers: Timers<EntryKey>,
    /// The writes under way. Each takes a slot, even if its object is forgotten meanwhile.
    pub(in crate::machine) in_flight: BTreeMap<WriteSerial, InFlight>,
    pub(in crate::machine) next_serial: u64,
}

/// An entry whose timer has run out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fired {
    /// Its status may be due.
    Due(EntryKey),
    /// Its conflict has lasted too long: nothing newer has come by the watch.
    Conflict(EntryKey),
}

const RETRY: Backoff = Backoff { initial: WRITE_RETRY_FIRST, max: WRITE_RETRY_MAX };

// === impl Outbox ===

impl Outbox {
    /// Says from when on the status of an object is to be written, if it is, and how urgent that is. If the status is
    /// not due yet, nothing of it is kept here: the caller is told at which moment to say it again.
    pub fn schedule(
        &mut self,
        key: &EntryKey,
        namespace: &Arc<str>,
        status: Option<(Millis, Urgency)>,
        now: Millis,
    ) -> Option<Millis> {
        let later = status.map(|(at, _)| at).filter(|at| *at > now);
        let entry = match self.entries.get_mut(key) {
            Some(entry) => entry,
            None if status.is_none() || later.is_some() => return later,
            None => self.entries.entry(key.clone()).or_insert_with(|| Entry::new(namespace.clone())),
        };
        entry.status = status.filter(|_| later.is_none());
        self.arrange(key, now);
        later
    }

    /// Adds a write of another part of the object than its status.
    pub fn request(&mut self, key: &EntryKey, namespace: &Arc<str>, change: Change, now: Millis) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(namespace.clone()));
        entry.changes.push(change);
        self.arrange(key, now);
    }

    /// Takes the next entry whose time has come, if a slot is free.
    pub fn take(&mut self, urgency: Urgency) -> Option<(EntryKey, Next)> {
        if self.in_flight.len() >= WRITES_MAX {
            return None;
        }
        let (_, key) = self.due.get_mut(&urgency)?.next()?;
        let entry = self.entries.get_mut(&key)?;
        entry.queued = None;
        let next = entry.next();
        Some((key, next))
    }

    /// The write of an entry that was taken begins.
    pub fn begin(&mut self, key: &EntryKey, base: Version, next: Next) -> WriteSerial {
        self.next_serial += 1;
        let serial = WriteSerial(self.next_serial);
        let without_messages = self.is_without_messages(key);
        if let Some(entry) = self.entries.get_mut(key) {
            debug_assert!(
                !matches!(entry.state, WriteState::InFlight(_)),
                "one write of an object at a time"
            );
            entry.state = WriteState::InFlight(serial);
            if next == Next::Status {
                entry.status = None;
            }
        }
        self.in_flight.insert(serial, InFlight { key: key.clone(), base, next, without_messages });
        serial
    }

    /// Drops the write of an entry that was taken: the object already says what it should, or the change is not wanted
    /// any more.
    pub fn skip(&mut self, key: &EntryKey, next: &Next) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.state, entry.failures) = (WriteState::Idle, 0);
            match next {
                Next::Status => entry.status = None,
                Next::Change(change) => entry.drop_change(change),
            }
        }
    }

    /// A write has ended. Yields which, unless its object has been forgotten meanwhile.
    pub fn ended(&mut self, serial: WriteSerial) -> Option<InFlight> {
        let ended = self.in_flight.remove(&serial)?;
        let entry = self.entries.get_mut(&ended.key)?;
        (entry.state == WriteState::InFlight(serial)).then(|| {
            entry.state = WriteState::Idle;
            ended
        })
    }

    /// Draws the consequences of how a write has ended. `known`: the newest version of the object that is known.
    /// `chance`: jitter is drawn from it.
    pub fn conclude(
        &mut self,
        ended: &InFlight,
        result: WriteResult,
        known: Version,
        now: Millis,
        chance: u64,
    ) {
        let Some(entry) = self.entries.get_mut(&ended.key) else { return };
        let conflict = WriteState::Conflict { base: ended.base, read_at: now + CONFLICT_READ };
        if ended.is_deletion() && result == WriteResult::Conflict {
            // Whether to delete the newer object is decided anew.
            entry.change_is_done(ended);
        }
        match result {
            WriteResult::Done(_) => {
                entry.failures = 0;
                entry.change_is_done(ended);
            }
            // The newer object may have been seen already.
            WriteResult::Conflict if known > ended.base => {}
            WriteResult::Conflict => entry.state = conflict,
            WriteResult::Gone if ended.is_deletion() => {
                entry.change_is_done(ended);
            }
            // The watch will tell of the end when it has told all earlier events. A run that is forgotten sooner would
            // be made anew by an event that is still on its way. A 404 that the watch never explains is read again.
            WriteResult::Gone => entry.state = conflict,
            // Whether it is to be put on at all is decided anew: nothing else must wait for it.
            WriteResult::Refused(_) if ended.finalizer_change() == Some(FinalizerChange::PutOn) => {
                entry.failures = 0;
                entry.change_is_done(ended);
            }
            WriteResult::Refused(status) => {
                entry.change_has_failed();
                entry.failures = entry.failures.saturating_add(1);
                let pause = match status {
                    // At once without messages, which are all that can be wrong with a status.
                    _ if ended.is_status() && !ended.without_messages => Millis(0),
                    // A right that is missing may come back within seconds, as in an upgrade.
                    403 => RETRY.delay(entry.failures, chance, None),
                    _ => REFUSED_WRITE_PAUSE,
                };
                entry.state = WriteState::Backoff { until: now + pause, without_messages: true };
            }
            WriteResult::Failed { retry_after } => {
                entry.change_has_failed();
                entry.failures = entry.failures.saturating_add(1);
                let until = now + RETRY.delay(entry.failures, chance, retry_after);
                entry.state = WriteState::Backoff { until, without_messages: false };
            }
        }
    }

    /// Something is worth a try now, whatever has failed before.
    pub fn end_pause(&mut self, key: &EntryKey, now: Millis) {
        if let Some(WriteState::Backoff { until, .. }) =
            self.entries.get_mut(key).map(|entry| &mut entry.state)
        {
            *until = now;
        }
    }

    /// The object was seen in this version: a newer one ends a conflict, and any sight of it ends a pause.
    pub fn observed(&mut self, key: &EntryKey, version: Version, now: Millis) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match &mut entry.state {
            WriteState::Conflict { base, .. } if version > *base => entry.state = WriteState::Idle,
            WriteState::Backoff { until, .. } => *until = now,
            WriteState::Conflict { .. } | WriteState::Idle | WriteState::InFlight(_) => {}
        }
    }

    /// The reading of an object by itself has ended. Yields the version that was known when it began.
    pub fn read_ended(&mut self, key: &EntryKey) -> Option<Version> {
        self.entries.get_mut(key)?.reading.take()
    }

    /// Ends a conflict, once the object was read by itself or has no reading: the write is tried again. If nothing is
    /// newer than what the write was based on, then its answer was wrong, or the datastore has gone back.
    pub fn retry(&mut self, key: &EntryKey) {
        if let Some(entry) = self.entries.get_mut(key)
            && matches!(entry.state, WriteState::Conflict { .. })
        {
            entry.state = WriteState::Idle;
        }
    }

    /// Drops all that was to be written of an object. A write under way keeps its slot until it has ended.
    pub fn forget(&mut self, key: &EntryKey) {
        if let Some(mut entry) = self.entries.remove(key) {
            self.enqueue(key, &mut entry, None);
            self.arm(key, &mut entry, None);
        }
    }

    /// The entries whose timers have run out.
    pub fn run_timers(&mut self, now: Millis) -> Vec<Fired> {
        let mut fired = Vec::new();
        while let Some(key) = self.timers.next_due(now) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.timer = None;
            match &mut entry.state {
                WriteState::Conflict { read_at, base } if *read_at <= now => {
                    *read_at = now + CONFLICT_READ;
                    // One reading at a time: an earlier one that comes late must not be taken for a later one.
                    let is_new = entry.reading.is_none();
                    entry.reading.get_or_insert(*base);
                    fired.push(if is_new { Fired::Conflict(key) } else { Fired::Due(key) });
                }
                _ => fired.push(Fired::Due(key)),
            }
        }
        fired
    }

    /// The moment at which the next timer runs out.
    pub fn wake_at(&self) -> Option<Millis> {
        self.timers.wake_at()
    }

    /// Whether no write of an object is under way, pauses or waits for a newer version, and no change is left to write.
    /// Its status may still be due.
    pub fn is_idle(&self, key: &EntryKey) -> bool {
        self.entries.get(key).is_none_or(|entry| entry.state == WriteState::Idle && entry.changes.is_empty())
    }

    /// Writes of an object in a row that did not succeed.
    pub fn failures_of(&self, key: &EntryKey) -> u8 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// Whether such a change of an object waits to be written, or is being written.
    pub fn has_change(&self, key: &EntryKey, what: &What) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.changes.iter().any(|change| change.what == *what))
    }

    /// Whether the API server has refused the object's status with messages in it.
    pub fn is_without_messages(&self, key: &EntryKey) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| matches!(entry.state, WriteState::Backoff { without_messages: true, .. }))
    }

    /// Whether the next write of an object waits until after this moment.
    pub fn waits_beyond(&self, key: &EntryKey, at: Millis) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| matches!(entry.state, WriteState::Backoff { until, .. } if until > at))
    }

    /// Writes under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Puts an entry where it belongs: among those whose time has come, or behind a timer.
    fn arrange(&mut self, key: &EntryKey, now: Millis) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        let due = entry.due(now);
        self.enqueue(key, &mut entry, due.filter(|(at, _)| *at <= now));
        let later = due.filter(|(at, _)| *at > now).map(|(at, _)| at);
        let read_at = match entry.state {
            WriteState::Conflict { read_at, .. } => Some(read_at),
            WriteState::Idle | WriteState::InFlight(_) | WriteState::Backoff { .. } => None,
        };
        self.arm(key, &mut entry, [later, read_at].into_iter().flatten().min());
        if !entry.is_empty() {
            self.entries.insert(key.clone(), entry);
        }
    }

    fn enqueue(&mut self, key: &EntryKey, entry: &mut Entry, due: Option<(Millis, Urgency)>) {
        if let Some((at, urgency)) = std::mem::replace(&mut entry.queued, due)
            && let Some(queue) = self.due.get_mut(&urgency)
        {
            queue.remove(&entry.namespace, &(at, key.clone()));
        }
        if let Some((at, urgency)) = due {
            self.due.entry(urgency).or_default().put(&entry.namespace, (at, key.clone()));
        }
    }

    fn arm(&mut self, key: &EntryKey, entry: &mut Entry, at: Option<Millis>) {
        self.timers.set(key, &mut entry.timer, at);
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
