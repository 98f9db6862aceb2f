//! Parked runs: runs at rest that are only a timer. Nothing is known of them but their name and the time of day that
//! they wait for, which is that of their deadline.
//!
//! The time is one of the wall clock, which may jump; so the clock is read again within `CLOCK_CHECK`. A run that is
//! not at rest has its place here too while its deadline is to come: its record does not have all that is needed then.
//! When the time has come, the run is read, no more than `DUE_READS_MAX` at a time.
//!
//! **R6.** A run at rest is not in memory. At rest means: every plan has its outcome, nothing is left to write, and the
//! watch has told of the own last write. Such a run is forgotten, or parked if it waits for a time of day; when that
//! time has come, the run is read by itself, and the reading is an observation like any other. All that must outlast a
//! moment is in the object, so a restart can't act otherwise than no restart.
//! Tests: `a_stop_is_one_call_and_one_write_and_then_forgotten`,
//! `a_run_at_rest_that_waits_for_its_deadline_is_read_when_it_has_come`, `a_run_with_a_record_is_read_at_its_deadline`,
//! `runs_with_one_deadline_are_read_a_few_at_a_time`, `a_parked_run_is_forgotten_with_its_object`,
//! `a_reading_that_overtakes_the_watch_is_not_yet_rest`; `check.rs` asserts it after every input, and every simulated
//! history ends with a restart that changes nothing (I10, I13).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::machine::ids::{RunKey, Version};
use crate::machine::limits::{CLOCK_CHECK, DUE_READS_MAX, READ_AGAIN};
use crate::machine::list::Extent;
use crate::machine::time::{Millis, Now};
use crate::machine::timers::Timers;

/// All runs that wait for a time of day.
#[derive(Clone, Debug, Default)]
pub struct Parked {
    pub(in crate::machine) by_key: BTreeMap<Arc<RunKey>, Waits>,
    /// Those whose time is still to come.
    pub(in crate::machine) timers: BTreeSet<(Second, Arc<RunKey>)>,
    /// Those whose reading has failed, by when they are read again.
    pub(in crate::machine) resting: Timers<Arc<RunKey>>,
    /// The moment at which the clock is to be read again.
    pub(in crate::machine) check_at: Option<Millis>,
    /// The number of those that are being read.
    pub(in crate::machine) reading: usize,
}

/// A time of day in whole seconds since 1970, which takes half the memory of a finer one.
type Second = i64;

/// All that is known here of a run.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Waits {
    /// The time that it waits for.
    pub(in crate::machine) due: Second,
    /// The time has come, and the run is being read.
    pub(in crate::machine) is_read: bool,
    /// The reading has failed, and the run rests until then.
    pub(in crate::machine) rests: Option<Millis>,
    /// The API server has refused to delete it, which was told.
    pub(in crate::machine) is_refused: bool,
    /// The version that the watch has told.
    pub(in crate::machine) watched: Version,
    /// The list that last brought it.
    pub(in crate::machine) listed_in: u32,
}

// === impl Parked ===

impl Parked {
    /// Has a run wait for a time of day, and no longer for any other; for nothing if there is none.
    pub fn set(&mut self, key: RunKey, due: Option<Timestamp>, watched: Version, listed_in: u32, now: Now) {
        self.remove(&key);
        let Some(due) = due else { return };
        // Rather too late by a part of a second than too early.
        let at = due.as_second() + i64::from(due.subsec_nanosecond() > 0);
        let key = Arc::new(self.with_shared_namespace(key));
        self.timers.insert((at, key.clone()));
        self.by_key.insert(
            key,
            Waits { due: at, is_read: false, rests: None, is_refused: false, watched, listed_in },
        );
        self.arm(now);
    }

    pub fn remove(&mut self, key: &RunKey) {
        if let Some((key, mut waits)) = self.by_key.remove_entry(key) {
            self.resting.set(&key, &mut waits.rests, None);
            self.reading -= usize::from(waits.is_read);
            self.timers.remove(&(waits.due, key));
        }
        if self.timers.is_empty() {
            self.check_at = None;
        }
    }

    /// The API server has refused to delete a run that waits here for the next try.
    pub fn refused(&mut self, key: &RunKey) {
        if let Some(waits) = self.by_key.get_mut(key) {
            waits.is_refused = true;
        }
    }

    /// A list has brought a run in a version that says nothing new of it.
    pub fn listed(&mut self, key: &RunKey, list: u32) {
        if let Some(waits) = self.by_key.get_mut(key) {
            waits.listed_in = list;
        }
    }

    /// The parked runs that a complete list did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, list: u32) {
        let stale = self.by_key.iter();
        let stale = stale.filter(|(key, waits)| extent.covers(&key.namespace) && waits.listed_in != list);
        let stale: Vec<_> = stale.map(|(key, _)| key.clone()).collect();
        stale.iter().for_each(|key| self.remove(key));
    }

    /// The runs whose time has come: each is to be read.
    pub fn run_timers(&mut self, now: Now) -> Vec<RunKey> {
        let mut due = Vec::new();
        self.wake_up(now);
        if self.check_at.is_none_or(|at| at > now.mono) {
            return due;
        }
        while self.reading < DUE_READS_MAX
            && let Some((at, key)) =
                self.timers.first().filter(|(at, _)| *at <= now.wall.as_second()).cloned()
        {
            self.timers.remove(&(at, key.clone()));
            if let Some(waits) = self.by_key.get_mut(&key) {
                waits.is_read = true;
                self.reading += 1;
                due.push((*key).clone());
            }
        }
        self.arm(now);
        due
    }

    /// A run was read because its time had come. Yields the version that the watch had told by then, and whether the API
    /// server had refused to delete the run.
    pub fn take_read(&mut self, key: &RunKey) -> Option<(Version, bool)> {
        let waits = self.by_key.get(key).filter(|waits| waits.is_read)?;
        let known = (waits.watched, waits.is_refused);
        self.remove(key);
        Some(known)
    }

    /// Whether a run is being read because its time has come.
    pub fn is_read(&self, key: &RunKey) -> bool {
        self.by_key.get(key).is_some_and(|waits| waits.is_read)
    }

    /// The reading of a run has failed, or says nothing new of it: it is tried again a little later. If the run is gone,
    /// the watch will tell.
    pub fn read_failed(&mut self, key: &RunKey, now: Now) {
        if !self.is_read(key) {
            return;
        }
        let Some((key, mut waits)) = self.by_key.remove_entry(key) else { return };
        // Its time has come by the wall clock, which may jump; the pause goes by the other one.
        self.resting.set(&key, &mut waits.rests, Some(now.mono + READ_AGAIN));
        waits.is_read = false;
        self.reading -= 1;
        self.by_key.insert(key, waits);
    }

    /// Runs that have rested for long enough wait for their time again, which has come most likely.
    fn wake_up(&mut self, now: Now) {
        while let Some(key) = self.resting.next_due(now.mono) {
            if let Some(waits) = self.by_key.get_mut(&key) {
                waits.rests = None;
                // Behind those whose time has come meanwhile: readings that fail must not hold up all others.
                waits.due = waits.due.max(now.wall.as_second());
                self.timers.insert((waits.due, key));
            }
            self.arm(now);
        }
    }

    pub fn wake_at(&self) -> Option<Millis> {
        // Where no more may be read at a time, the end of a reading wakes the others.
        let check_at = self.check_at.filter(|_| self.reading < DUE_READS_MAX);
        [check_at, self.resting.wake_at()].into_iter().flatten().min()
    }

    /// The number of runs that wait for a time of day.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }

    /// The same name without a copy of its namespace, if another parked run has that: there may be very many.
    fn with_shared_namespace(&self, key: RunKey) -> RunKey {
        let first = RunKey::new(key.namespace.clone(), "");
        let other = self.by_key.range(first..).next().map(|(other, _)| other);
        match other.filter(|other| other.namespace == key.namespace) {
            Some(other) => RunKey::new(other.namespace.clone(), key.name.clone()),
            None => key,
        }
    }

    fn arm(&mut self, now: Now) {
        self.check_at = self.timers.first().map(|(at, _)| now.look_for(at.saturating_mul(1000), CLOCK_CHECK));
    }
}
