//! Writes of runs, and their results.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::{SignedDuration, Timestamp};

use crate::machine::effect::{FinalizerChange, Target, WriteBody};
use crate::machine::ids::{RunId, Version};
use crate::machine::input::WriteResult;
use crate::machine::limits::REFUSED_WRITE_PAUSE;
use crate::machine::runs::Runs;
use crate::machine::runs::demand::Demand;
use crate::machine::runs::events::{self, Announcement};
use crate::machine::runs::run::Run;
use crate::machine::time::Now;
use crate::machine::wait_reason::Waiting;

// === impl Runs ===

impl Runs {
    /// Begins to write the status of a run, if it says anything new.
    pub fn state(
        &mut self,
        id: RunId,
        waiting: Option<Waiting>,
        without_messages: bool,
        now: Now,
        demands: &mut Vec<Demand>,
    ) -> Option<(Target, WriteBody)> {
        let run = self.by_id.get_mut(&id)?;
        let made = catch_unwind(AssertUnwindSafe(|| run.status(waiting.as_ref(), without_messages, now)));
        let Ok(status) = made else {
            let key = run.key.clone();
            self.drop_after_panic(&key, demands);
            return None;
        };
        let to = run.target();
        let status = run.state(status, waiting.map(|waiting| waiting.cause))?;
        Some((to, WriteBody::RunStatus(status)))
    }

    /// The write of a status has ended.
    pub fn stated(&mut self, id: RunId, result: WriteResult, now: Now, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        let list = self.lists.of(&run.key.namespace).serial;
        for announcement in run.stated(result, list, now) {
            announce(run, announcement, now, demands);
        }
    }

    /// The API server has refused the status of a run for what it is.
    pub fn status_refused(&self, id: RunId, demands: &mut Vec<Demand>) {
        demands.extend(self.get(id).map(|run| Demand::Tell(run.event(events::status_refused()))));
    }

    /// The object of a run is asked to be deleted.
    pub fn deletion_asked(&mut self, id: RunId) {
        if let Some(run) = self.by_id.get_mut(&id) {
            run.deletion_asked = true;
        }
    }

    /// The object of a run is not to be deleted after all: it waits for that, or for nothing.
    pub fn deletion_given_up(&mut self, id: RunId) {
        if let Some(run) = self.by_id.get_mut(&id) {
            run.deletion_asked = false;
        }
    }

    /// The API server has refused to delete the object of a run: the run is read again later, and has no record until
    /// then, which would take room from those that are to be stopped.
    pub fn deletion_refused(&mut self, id: RunId, now: Now, demands: &mut Vec<Demand>) {
        let Some(run) = self.get(id) else { return };
        if !run.refusal_told {
            demands.push(Demand::Tell(run.event(events::deletion_refused())));
        }
        let (key, deadline) = (run.key.clone(), run.due);
        self.park(id, [deadline, Some(after_refusal(now))].into_iter().flatten().min(), now, demands);
        self.parked.refused(&key);
    }

    /// The finalizer of a run was put on, or taken off.
    pub fn finalizer_changed(&mut self, id: RunId, change: FinalizerChange, version: Version) {
        if let Some(run) = self.by_id.get_mut(&id).filter(|run| run.version < version) {
            run.finalizer.is_on = change == FinalizerChange::PutOn;
            run.dirty |= run.finalizer.is_refusal_told;
            if run.finalizer.is_gone() {
                // There is nothing left to write to.
                run.dirty = false;
            }
        }
        self.changed(id, version);
    }

    /// The API server has refused to have the finalizer of a run put on: it is tried again later, and nothing waits for
    /// it until then.
    pub fn finalizer_refused(&mut self, id: RunId, now: Now) {
        if let Some(run) = self.by_id.get_mut(&id) {
            run.finalizer_refused(after_refusal(now));
            self.parked.set(run.key.clone(), run.due, run.version, run.listed_in, now);
        }
    }

    /// Another write than that of the status has changed the object.
    pub fn changed(&mut self, id: RunId, version: Version) {
        if let Some(run) = self.by_id.get_mut(&id) {
            run.version = run.version.max(version);
            run.version_list = self.lists.of(&run.key.namespace).serial;
        }
    }
}

/// The time at which a write that was refused is tried again.
fn after_refusal(now: Now) -> Timestamp {
    let pause = SignedDuration::from_millis(i64::try_from(REFUSED_WRITE_PAUSE.0).unwrap_or(i64::MAX));
    now.wall.checked_add(pause).unwrap_or(now.wall)
}

/// Tells what a run announces. If that is the end of a stop, it counts.
pub(super) fn announce(run: &Run, announcement: Announcement, now: Now, demands: &mut Vec<Demand>) {
    demands.extend(announcement.asked.map(|asked| Demand::Ended(announcement.reason, asked.age(now))));
    demands.push(Demand::Tell(run.event(announcement)));
}
