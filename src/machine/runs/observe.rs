//! What is seen of runs, and what follows from it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::machine::call::Waiter;
use crate::machine::effect::Event;
use crate::machine::guards::Guard;
use crate::machine::ids::{Lane, ObjectKey, RunId, RunKey, Uid, Version};
use crate::machine::list::Extent;
use crate::machine::runs::Runs;
use crate::machine::runs::demand::Demand;
use crate::machine::runs::events;
use crate::machine::runs::request::Source;
use crate::machine::runs::run::{Consequences, Run};
use crate::machine::time::Now;
use crate::machine::view::RunView;

// === impl Runs ===

impl Runs {
    pub fn list_began(&mut self, extent: &Extent) {
        self.lists.of_extent(extent).began();
    }

    /// A list is complete: the runs of its extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, demands: &mut Vec<Demand>) {
        let list = self.lists.of_extent(extent);
        list.ended();
        let serial = list.serial;
        if !self.guards.is_on(Guard::Unlisted) {
            return;
        }
        let is_stale = |run: &&Box<Run>| extent.covers(&run.key.namespace) && run.listed_in != serial;
        let stale: Vec<_> = self.by_id.values().filter(is_stale).map(|run| run.key.clone()).collect();
        stale.iter().for_each(|key| self.gone(key, None, demands));
        self.parked.list_ended(extent, serial);
    }

    /// A watch or a list shows a run.
    pub fn observe(&mut self, view: &RunView, now: Now, demands: &mut Vec<Demand>) {
        let list = self.lists.of(&view.key.namespace);
        let serial = list.serial;
        let source = if list.under_way { Source::List } else { Source::Watch };
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
    /// known. Yields which. `before`: the version that was known when the reading began. An object that is older than
    /// that shows that the datastore has gone back.
    pub fn known_by_read(&self, view: &RunView, before: Option<Version>) -> Option<RunId> {
        let id = self.id_of(&view.key)?;
        let run = self.get(id)?;
        let has_gone_back = before.is_some_and(|before| view.version < before);
        (run.uid == view.uid && (run.version <= view.version || has_gone_back)).then_some(id)
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
        run.version_list = self.lists.of(&view.key.namespace).serial;
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
        let serial = self.lists.of(&view.key.namespace).serial;
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
        demands.extend(announcements.into_iter().map(|announcement| Demand::Tell(run.event(announcement))));
        demands.push(Demand::Reschedule(id));
    }

    fn park(&mut self, run: &Run, now: Now) {
        self.parked.add(run.key.clone(), run.due, run.version, run.listed_in, now);
    }

    /// A panic while one run was looked at is that run's alone.
    pub(super) fn drop_after_panic(&mut self, key: &RunKey, demands: &mut Vec<Demand>) {
        let uid = self.id_of(key).and_then(|id| self.get(id)).map(|run| run.uid.clone());
        demands.push(Demand::Panicked);
        self.gone(key, None, demands);
        demands.extend(uid.map(|uid| Demand::Tell(internal_error(key, &uid))));
    }

    /// Forgets a run. One that waits for a time of day is parked.
    pub fn retire(&mut self, id: RunId, now: Now, demands: &mut Vec<Demand>) {
        if let Some(run) = self.by_id.get(&id) {
            let (key, due, version, list) = (run.key.clone(), run.due, run.version, run.listed_in);
            self.forget(id, demands);
            self.parked.add(key, due, version, list, now);
        }
    }

    pub(super) fn forget(&mut self, id: RunId, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.remove(&id) else { return };
        if let Some(at) = run.timer {
            self.timers.remove(&(at, id));
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

fn internal_error(key: &RunKey, uid: &Uid) -> Event {
    let text = "an internal error occurred while this object was looked at; please report it";
    events::unreadable(text.to_owned()).about(ObjectKey::Run(key.clone()), uid.clone())
}
