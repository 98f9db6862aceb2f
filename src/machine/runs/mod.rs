//! Runs: what is wanted of each, how far its plans are, and what its status says.
//!
//! [`Runs`] owns the records of runs that are not at rest, and knows no other part of the machine: what it asks of them
//! it returns as [`Demand`]s. A run at rest has no record; one that waits for a time of day alone is parked.

mod advice;
pub mod demand;
pub mod events;
pub mod intent;
pub mod memo;
mod parked;
pub mod plan;
pub mod request;
pub mod run;
mod run_plans;
pub mod statement;
pub mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::demand::Demand;
use self::events::Announcement;
pub use self::parked::Parked;
use self::request::Source;
use self::run::{Consequences, Run};
use crate::api::{Outcome, TestPlanRunStatus};
use crate::machine::call::{CallProgress, Progress, Waiter};
use crate::machine::effect::{Event, Target};
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, Lane, ObjectKey, PlanId, RunId, RunKey, Uid, Version};
use crate::machine::input::WriteResult;
use crate::machine::list::List;
use crate::machine::time::{Millis, Now};
use crate::machine::view::RunView;
use crate::machine::wait_reason::Waiting;

/// All runs that are not at rest.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    pub(in crate::machine) by_id: BTreeMap<RunId, Box<Run>>,
    pub(in crate::machine) by_key: BTreeMap<RunKey, RunId>,
    pub(in crate::machine) parked: Parked,
    /// When the next plan of a run is given up that waits for a call.
    pub(in crate::machine) deadlines: BTreeSet<(Millis, RunId)>,
    pub(in crate::machine) lanes: BTreeMap<Arc<str>, Lane>,
    pub(in crate::machine) list: List,
    pub(in crate::machine) guards: Guards,
    pub(in crate::machine) next_id: u64,
    pub(in crate::machine) next_lane: u32,
}

/// A status that is to be written.
#[derive(Debug)]
pub struct Written {
    pub to: Target,
    pub status: Arc<TestPlanRunStatus>,
}

// === impl Runs ===

impl Runs {
    pub fn get(&self, id: RunId) -> Option<&Run> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    pub fn id_of(&self, key: &RunKey) -> Option<RunId> {
        self.by_key.get(key).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (RunId, &Run)> {
        self.by_id.iter().map(|(id, run)| (*id, run.as_ref()))
    }

    /// How many runs are not at rest.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Whether a run asks again for a plan whose call has ended without a verdict. The run decides, and the queue
    /// follows: which run waits for which plan is the run's fact alone.
    pub fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool {
        self.get(waiter.run).is_some_and(|run| run.goes_on(waiter, plan, call, now))
    }

    /// When something falls due by itself.
    pub fn wake_at(&self) -> Option<Millis> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        [deadline, self.parked.wake_at()].into_iter().flatten().min()
    }

    // === what is seen ===

    pub fn list_began(&mut self) {
        self.list.began();
    }

    /// A list is complete: the runs that it did not bring are gone.
    pub fn list_ended(&mut self, demands: &mut Vec<Demand>) {
        self.list.ended();
        if !self.guards.is_on(Guard::Unlisted) {
            return;
        }
        let serial = self.list.serial;
        let stale = self.by_id.values().filter(|run| run.listed_in != serial).map(|run| run.key.clone());
        let stale: Vec<_> = stale.collect();
        stale.iter().for_each(|key| self.gone(key, None, demands));
        self.parked.list_ended(serial);
    }

    /// A watch or a list shows a run.
    pub fn observe(&mut self, view: &RunView, now: Now, demands: &mut Vec<Demand>) {
        let serial = self.list.serial;
        let source = if self.list.under_way { Source::List } else { Source::Watch };
        self.parked.remove(&view.key);
        if let Some(id) = self.id_of(&view.key)
            && let Some(run) = self.by_id.get_mut(&id)
        {
            // A list that began after the version became known can't be older, unless the datastore has gone back.
            let gone_back = serial > run.version_list && view.version < run.version;
            if view.version < run.version && !gone_back && self.guards.is_on(Guard::KnownVersion) {
                if run.uid == view.uid {
                    run.listed_in = serial;
                }
                return;
            }
            if run.uid == view.uid || !self.guards.is_on(Guard::OtherUid) {
                // It is as new as anything known, or the datastore has gone back.
                (run.listed_in, run.version, run.watched_version) = (serial, view.version, view.version);
                return self.observe_known(id, view, source, now, demands);
            }
            self.gone(&view.key, None, demands);
        }
        self.observe_new(view, view.version, source, now, demands);
    }

    /// A run was read by itself, which overtakes the watch, or comes after it: so it is news only of a run that is
    /// known. Yields which.
    pub fn known_by_read(&self, view: &RunView) -> Option<RunId> {
        let id = self.id_of(&view.key)?;
        let run = self.get(id)?;
        (run.uid == view.uid && run.version <= view.version).then_some(id)
    }

    /// A run that has a record is seen in a version that is no older.
    pub fn observe_known(
        &mut self,
        id: RunId,
        view: &RunView,
        source: Source,
        now: Now,
        demands: &mut Vec<Demand>,
    ) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        let hurried = run.reconcile_annotation.as_deref() != view.reconcile_annotation.as_deref();
        run.version_list = self.list.serial;
        let observed = catch_unwind(AssertUnwindSafe(|| run.observe(view, source, now)));
        let Ok(consequences) = observed else {
            return self.drop_after_panic(&view.key, demands);
        };
        demands.push(Demand::Observed(id, run.version));
        if hurried {
            demands.push(Demand::Hurry(run.gateway()));
        }
        self.meet(id, consequences, demands);
    }

    /// A parked run whose time has come was read. The watch has told of it up to the version in which it was parked.
    pub fn observe_parked(&mut self, view: &RunView, now: Now, demands: &mut Vec<Demand>) {
        if let Some((watched, _)) = self.parked.take_read(&view.key) {
            self.observe_new(view, watched.min(view.version), Source::List, now, demands);
        }
    }

    /// The reading of a run has failed, or there is no such run.
    pub fn read_failed(&mut self, key: &RunKey, now: Now) {
        self.parked.read_failed(key, now);
    }

    fn observe_new(
        &mut self,
        view: &RunView,
        watched: Version,
        source: Source,
        now: Now,
        demands: &mut Vec<Demand>,
    ) {
        let serial = self.list.serial;
        let lane = self.lane_of(&view.key.namespace);
        let made = catch_unwind(AssertUnwindSafe(|| {
            let (mut run, consequences) = Run::new(view, lane, source, now);
            run.dirty = !run.all_settled() || run.status(None, None, false, now) != view.status;
            (run, consequences)
        }));
        let Ok((mut run, consequences)) = made else {
            demands.push(Demand::Panicked);
            return demands.push(Demand::Tell(internal_error(&view.key, &view.uid)));
        };
        (run.listed_in, run.version_list, run.watched_version) = (serial, serial, watched);
        if run.at_rest() && consequences.announcements.is_empty() {
            return self.park(&run, now);
        }
        if let Some(other) = self.neighbour_of(&run.key) {
            run.share_names(other);
        }
        self.next_id += 1;
        let id = RunId(self.next_id);
        self.lanes.entry(run.key.namespace.clone()).or_insert(lane);
        self.by_key.insert(run.key.clone(), id);
        self.by_id.insert(id, Box::new(run));
        self.meet(id, consequences, demands);
    }

    /// The object of a run is gone.
    pub fn gone(&mut self, key: &RunKey, uid: Option<&Uid>, demands: &mut Vec<Demand>) {
        self.parked.remove(key);
        let Some(id) = self.id_of(key) else { return };
        let Some(run) = self.by_id.get(&id) else { return };
        if uid.is_some_and(|uid| *uid != run.uid) {
            return;
        }
        let plans = run.plans.iter().map(|plan| plan.id).collect();
        demands.push(Demand::Withdraw { gateway: run.gateway(), plans, run: id });
        self.forget(id, demands);
    }

    /// A run can't be decoded: it counts as gone, and people are told.
    pub fn unreadable(&mut self, key: &RunKey, uid: &Uid, text: String, demands: &mut Vec<Demand>) {
        self.gone(key, None, demands);
        let about = ObjectKey::Run(key.clone());
        demands.push(Demand::Tell(events::unreadable(text).about(about, uid.clone())));
    }

    // === what becomes of plans ===

    /// Calls have begun or ended for plans of runs.
    pub fn apply_progress(&mut self, all: Vec<CallProgress>, now: Now, demands: &mut Vec<Demand>) {
        let mut touched = BTreeSet::new();
        for CallProgress { waiter, plan, call, progress } in all {
            let Some(run) = self.by_id.get_mut(&waiter.run) else { continue };
            let is_expected = match &progress {
                Progress::Began => run.request_seq == waiter.request_seq,
                Progress::Settled(_) | Progress::Unanswered(_) | Progress::Refused(_) => {
                    run.expects(&waiter, plan, call) || !self.guards.is_on(Guard::PresentRequest)
                }
            };
            if !is_expected {
                continue;
            }
            demands.extend(run.apply_progress(plan, call, progress, now).map(Demand::Settled));
            touched.insert(waiter.run);
        }
        demands.extend(touched.into_iter().map(Demand::Reschedule));
    }

    /// Gives up the plans whose deadline has passed, and asks for the parked runs whose time has come.
    pub fn run_timers(&mut self, now: Now, demands: &mut Vec<Demand>) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.deadlines.remove(&(at, id));
            let Some(run) = self.by_id.get_mut(&id) else { continue };
            run.deadline = None;
            let plans = run.expire(now);
            if !plans.is_empty() {
                demands.extend(plans.iter().map(|_| Demand::Settled(Outcome::Expired)));
                demands.push(Demand::Withdraw { gateway: run.gateway(), plans, run: id });
            }
            demands.push(Demand::Reschedule(id));
        }
        demands.extend(self.parked.run_timers(now).into_iter().map(Demand::Read));
    }

    /// Sets the timer of a run by its deadlines as they now are.
    pub fn arm(&mut self, id: RunId) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        let at = run.next_deadline();
        if at == run.deadline {
            return;
        }
        if let Some(before) = std::mem::replace(&mut run.deadline, at) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id));
        }
    }

    /// Forgets a run. One that waits for a time of day is parked.
    pub fn retire(&mut self, id: RunId, now: Now, demands: &mut Vec<Demand>) {
        if let Some(run) = self.by_id.get(&id) {
            let (key, due, version, list) = (run.key.clone(), run.due, run.version, run.listed_in);
            self.forget(id, demands);
            self.parked.add(key, due, version, list, now);
        }
    }

    // === what is written ===

    /// Begins to write the status of a run, if it says anything new. `uid`: of the object that its gateway is.
    pub fn state(
        &mut self,
        id: RunId,
        waiting: Option<Waiting>,
        uid: Option<&Uid>,
        without_messages: bool,
        now: Now,
        demands: &mut Vec<Demand>,
    ) -> Option<Written> {
        let run = self.by_id.get_mut(&id)?;
        let made =
            catch_unwind(AssertUnwindSafe(|| run.status(waiting.as_ref(), uid, without_messages, now)));
        let Ok(status) = made else {
            let key = run.key.clone();
            self.drop_after_panic(&key, demands);
            return None;
        };
        let to = run.target();
        let status = run.state(status, waiting.map(|waiting| waiting.reason))?;
        Some(Written { to, status })
    }

    /// The write of a status has ended.
    pub fn stated(&mut self, id: RunId, result: WriteResult, now: Now, demands: &mut Vec<Demand>) {
        let list = self.list.serial;
        let Some(run) = self.by_id.get_mut(&id) else { return };
        if let Some(announcement) = run.stated(result, list, now) {
            demands.push(Demand::Tell(tell(announcement, run)));
        }
    }

    /// Another write than that of the status has changed the object.
    pub fn changed(&mut self, id: RunId, version: Version) {
        if let Some(run) = self.by_id.get_mut(&id) {
            run.version = run.version.max(version);
            run.version_list = self.list.serial;
        }
    }

    // === helpers ===

    /// Hands on what follows from an observation.
    fn meet(&mut self, id: RunId, consequences: Consequences, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get(&id) else { return };
        let Consequences { withdraw, offer, is_new, announcements } = consequences;
        if let Some((gateway, plans)) = withdraw {
            demands.push(Demand::Withdraw { gateway, plans, run: id });
        }
        let waiter = Waiter { run: id, request_seq: run.request_seq, lane: run.lane };
        if !offer.is_empty() {
            demands.push(Demand::Offer { gateway: run.gateway(), plans: offer, waiter });
        }
        if is_new {
            demands.push(Demand::HurryForRequest(run.gateway()));
        }
        demands.extend(announcements.into_iter().map(|announcement| Demand::Tell(tell(announcement, run))));
        demands.push(Demand::Reschedule(id));
    }

    fn park(&mut self, run: &Run, now: Now) {
        self.parked.add(run.key.clone(), run.due, run.version, run.listed_in, now);
    }

    /// A panic while one run was looked at is that run's alone.
    fn drop_after_panic(&mut self, key: &RunKey, demands: &mut Vec<Demand>) {
        let uid = self.id_of(key).and_then(|id| self.get(id)).map(|run| run.uid.clone());
        demands.push(Demand::Panicked);
        self.gone(key, None, demands);
        demands.extend(uid.map(|uid| Demand::Tell(internal_error(key, &uid))));
    }

    fn forget(&mut self, id: RunId, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.remove(&id) else { return };
        if let Some(at) = run.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.by_key.remove(&run.key);
        if self.neighbour_of(&run.key).is_none() {
            self.lanes.remove(&run.key.namespace);
        }
        demands.push(Demand::Forgotten(id));
    }

    /// Another run of the same namespace that has a record.
    fn neighbour_of(&self, key: &RunKey) -> Option<&Run> {
        let first = RunKey::new(key.namespace.clone(), "");
        let (other, id) = self.by_key.range(first..).next()?;
        if other.namespace == key.namespace { self.get(*id) } else { None }
    }

    /// The lane of a namespace: its number, or the next one that is free.
    fn lane_of(&mut self, namespace: &str) -> Lane {
        if let Some(lane) = self.lanes.get(namespace) {
            return *lane;
        }
        self.next_lane = self.next_lane.wrapping_add(1);
        Lane(self.next_lane)
    }
}

fn tell(announcement: Announcement, run: &Run) -> Event {
    announcement.about(ObjectKey::Run(run.key.clone()), run.uid.clone())
}

fn internal_error(key: &RunKey, uid: &Uid) -> Event {
    let text = "an internal error occurred while this object was looked at; please report it";
    events::unreadable(text.to_owned()).about(ObjectKey::Run(key.clone()), uid.clone())
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
