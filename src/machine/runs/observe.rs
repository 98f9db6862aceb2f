//! Observations of runs, and their consequences.
//!
//! **R1.** Echoes of the past. An object older than the newest version that was read or written is ignored. Without
//! this rule a run sent its stop twice with no fault at all: the outcome is written on the reply to an earlier write,
//! and then the echo of that earlier write arrives. Two cases are no echo, but show that the datastore was restored
//! from a backup: an object older than a version that was known before the present list began, and an object read by
//! itself that is older than a version known before the reading began. Then the older object is believed, or the run
//! would freeze.
//! Tests: `an_older_version_and_an_older_object_change_nothing`, `h06_own_echo`, `h07_older_news_after_the_own_write`,
//! `a_datastore_that_goes_back_during_a_conflict_gets_the_outcome`; without it the model finds a counterexample:
//! `without_the_floor_an_echo_is_taken_for_news`. The case of the list has no test.
//!
//! **R2.** Another uid under the same name is another run: the earlier one is gone (R5) before the new one is seen.
//! Tests: `h09_recreated_under_the_same_name_with_a_call_in_flight`; without it the model finds a counterexample:
//! `without_uids_a_run_inherits_the_outcomes_of_another`.
//!
//! **R3.** A list is complete. It marks each run that it brings, and when it ends, every run without the mark is gone.
//! A list that is begun again starts over; it counts as begun before its request is sent.
//! Tests: `a_list_that_did_not_bring_a_run_ends_it`, `h08_deleted_while_the_watch_was_broken`; without it the model
//! finds a counterexample: `without_marks_a_deleted_run_is_stopped`.
//!
//! **R5.** A run that is gone asks for nothing: its plans leave the queue, and the verdict of a call under way reaches
//! nobody, since no id of a run or a call is used twice in a term. A run that can't be decoded counts as gone, and an
//! event tells of it. Only the watch and a complete list end a run: a reading by name, or a write that finds nothing,
//! may overtake the watch, and an older event that is still on its way would then make the run anew.
//! Tests: `h08_deleted_while_the_watch_was_broken`, `h11_withdrawn_or_deleted_during_a_split`,
//! `a_reading_that_comes_late_revives_nothing`, `of_two_readings_of_a_run_the_later_one_counts`,
//! `a_write_that_finds_nothing_leaves_it_to_the_watch`.
//!
//! **R27.** A panic costs one run. Reading an object, deciding its intent and building its status are pure, and are run
//! so that a panic is caught: that run counts as unreadable, an event tells of it, and a metric counts it. A panic
//! anywhere else ends the process, which begins again with a list. It has no test: no input is known that makes them
//! panic. The simulation looks for one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;

use crate::machine::call::Waiter;
use crate::machine::effect::Event;
use crate::machine::guards::Guard;
use crate::machine::ids::{Lane, ObjectKey, RunId, RunKey, Uid, Version};
use crate::machine::list::Extent;
use crate::machine::runs::Runs;
use crate::machine::runs::demand::Demand;
use crate::machine::runs::events;
use crate::machine::runs::plan::Plan;
use crate::machine::runs::request::Source;
use crate::machine::runs::room::bytes_of;
use crate::machine::runs::run::{Consequences, Run};
use crate::machine::runs::tally::PlanTally;
use crate::machine::runs::writes::announce;
use crate::machine::time::Now;
use crate::machine::view::RunView;

// === impl Runs ===

impl Runs {
    pub fn list_began(&mut self, extent: &Extent) {
        self.lists.of_extent(extent).began();
    }

    /// Ends a list: the runs of its extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, demands: &mut Vec<Demand>) {
        let list = self.lists.of_extent(extent);
        list.ended();
        let serial = list.serial;
        if !self.guards.is_on(Guard::Unlisted) {
            return;
        }
        let is_stale = |run: &Run| extent.covers(&run.key.namespace) && run.listed_in != serial;
        let stale = self.iter().filter(|(_, run)| is_stale(run)).map(|(_, run)| run.key.clone());
        let stale: Vec<_> = stale.collect();
        stale.iter().for_each(|key| self.deleted(key, None, demands));
        self.parked.list_ended(extent, serial);
        self.aside.list_ended(extent, serial, &mut self.room);
    }

    /// Takes in a run that a watch or a list shows.
    pub fn observe(&mut self, view: &RunView, now: Now, demands: &mut Vec<Demand>) {
        let list = self.lists.of(&view.key.namespace);
        let serial = list.serial;
        let source = if list.under_way { Source::List } else { Source::Watch };
        self.aside.remove(&view.key, &mut self.room);
        if let Some(id) = self.id_of(&view.key)
            && let Some(run) = self.by_id.get_mut(&id)
        {
            // A list that began after the version became known can't be older, unless the datastore has gone back.
            let gone_back = serial > run.version_list && view.version < run.version;
            if view.version < run.version && !gone_back && self.guards.is_on(Guard::KnownVersion) {
                if run.uid == view.uid {
                    run.listed_in = serial;
                    self.parked.listed(&view.key, serial);
                }
                return;
            }
            if run.uid == view.uid || !self.guards.is_on(Guard::OtherUid) {
                // It is as new as anything known, or the datastore has gone back.
                (run.listed_in, run.version, run.watched_version) = (serial, view.version, view.version);
                return self.observe_known(id, view, source, now, demands);
            }
            self.deleted(&view.key, None, demands);
        }
        self.parked.remove(&view.key);
        self.observe_new(view, view.version, source, now, demands);
    }

    /// The record of a run that was read by itself. Such a reading overtakes the watch, or comes after it: so it says
    /// something new only of a run that has a record. `before`: the version that was known when the reading began. An
    /// object that is older than that shows that the datastore has gone back.
    pub fn known_by_read(&self, view: &RunView, before: Option<Version>) -> Option<RunId> {
        let id = self.id_of(&view.key)?;
        let run = self.get(id)?;
        let has_gone_back = before.is_some_and(|before| view.version < before);
        (run.uid == view.uid && (run.version <= view.version || has_gone_back)).then_some(id)
    }

    /// Takes in a run that has a record, in a version that is no older than the one known.
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
        self.room.release(run);
        let observed = catch_unwind(AssertUnwindSafe(|| run.observe(view, source, now)));
        let Ok(consequences) = observed else {
            return self.drop_after_panic(&view.key, demands);
        };
        self.room.hold(run);
        demands.push(Demand::Observed(id, run.version));
        if hurried {
            demands.push(Demand::Hurry(run.gateway()));
        }
        self.meet(id, consequences, now, demands);
    }

    /// Takes in a run without a record that was read because its time had come, or because there was room for it. The
    /// watch has told of it up to the version in which it was parked or set aside.
    pub fn observe_without_record(&mut self, view: &RunView, now: Now, demands: &mut Vec<Demand>) {
        if self.id_of(&view.key).is_some() {
            // It is older than what is known of a run with a record, or is about another run of that name.
            return self.parked.read_failed(&view.key, now);
        }
        let parked = self.parked.take_read(&view.key);
        let aside = self.aside.take_read(&view.key, &mut self.room).map(|place| (place.watched, false));
        if let Some((watched, is_refused)) = parked.or(aside) {
            self.observe_new(view, watched.min(view.version), Source::List, now, demands);
            if let Some(run) = self.id_of(&view.key).and_then(|id| self.by_id.get_mut(&id)) {
                run.refusal_told = is_refused;
            }
        }
    }

    /// The reading of a run has failed, or there is no such run.
    pub fn read_failed(&mut self, key: &RunKey, now: Now) {
        self.parked.read_failed(key, now);
        self.aside.read_failed(key, now.mono, &mut self.room);
    }

    /// The next run that was set aside and for which there is room now.
    pub fn next_with_room(&mut self) -> Option<RunKey> {
        self.aside.next(&mut self.room)
    }

    /// Sets aside the runs of whose requests status tells, if there still is no room for them. Yields whether there were
    /// any.
    pub fn set_aside_told(&mut self, demands: &mut Vec<Demand>) -> bool {
        let told = std::mem::take(&mut self.told);
        let mut any = false;
        for id in told {
            let may = self.get(id).is_some_and(Run::may_be_set_aside);
            any |= may && self.set_aside(id, demands);
        }
        any
    }

    fn set_aside(&mut self, id: RunId, demands: &mut Vec<Demand>) -> bool {
        let Some(run) = self.by_id.get_mut(&id) else { return false };
        self.room.release(run);
        if self.room.has(&run.gateway(), bytes_of(run.plans.len())) {
            self.room.hold(run);
            run.lacks_room = false;
            return false;
        }
        self.aside.add(run);
        self.drop_record(id, demands);
        true
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
        let may_put = self.may_put_finalizers;
        let made = catch_unwind(AssertUnwindSafe(|| {
            let (mut run, consequences) = Run::new(view, lane, source, now);
            run.finalizer.may_put = may_put;
            run.dirty = !run.all_settled() || run.status(None, false, now) != view.status;
            (run, consequences)
        }));
        let Ok((mut run, consequences)) = made else {
            demands.push(Demand::Panicked);
            return demands.push(Demand::Tell(internal_error(&view.key, &view.uid)));
        };
        (run.listed_in, run.version_list, run.watched_version) = (serial, serial, watched);
        if run.at_rest() && !run.is_over(now) && consequences.announcements.is_empty() {
            return self.parked.set(run.key, run.due, run.version, run.listed_in, now);
        }
        run.lacks_room = !self.room.has(&run.gateway(), bytes_of(run.plans.len()));
        // Its status tells of its request, so that a later reading finds it.
        let is_told = !run.all_settled() && !consequences.is_new && consequences.announcements.is_empty();
        if run.lacks_room && (source == Source::List || is_told) {
            return self.aside.add(&run);
        }
        self.room.hold(&mut run);
        if let Some(other) = self.neighbour_of(&run.key) {
            run.share_names(other);
        }
        self.next_id += 1;
        let id = RunId(self.next_id);
        self.lanes.entry(run.key.namespace.clone()).or_insert(lane);
        self.by_key.insert(run.key.clone(), id);
        self.by_id.insert(id, Box::new(run));
        self.meet(id, consequences, now, demands);
    }

    /// The object of a run was deleted. If its stop had not ended, an event says so.
    pub fn deleted(&mut self, key: &RunKey, uid: Option<&Uid>, demands: &mut Vec<Demand>) {
        if let Some(run) = self.id_of(key).and_then(|id| self.get(id))
            && uid.is_none_or(|uid| *uid == run.uid)
            && run.is_stop_requested()
            && !run.all_settled()
        {
            let tally = PlanTally::of(run.plans.iter().map(Plan::outcome));
            demands.push(Demand::Tell(run.event(events::deleted(&tally))));
        }
        self.gone(key, uid, demands);
    }

    /// Nothing is known of a run any more.
    fn gone(&mut self, key: &RunKey, uid: Option<&Uid>, demands: &mut Vec<Demand>) {
        let record = self.id_of(key).and_then(|id| self.by_id.get(&id).map(|run| (id, run)));
        // A reading may have told of another object of that name before the watch tells of the end of the earlier one.
        if record.is_some_and(|(_, run)| uid.is_some_and(|uid| *uid != run.uid)) {
            return;
        }
        let id = record.map(|(id, _)| id);
        self.parked.remove(key);
        self.aside.remove(key, &mut self.room);
        id.into_iter().for_each(|id| self.drop_record(id, demands));
    }

    /// Forgets a run with all that it waits for.
    fn drop_record(&mut self, id: RunId, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get(&id) else { return };
        let plans = run.plans.iter().map(|plan| plan.id).collect();
        demands.push(Demand::Withdraw { gateway: run.gateway(), plans, run: id });
        self.forget(id, demands);
    }

    /// Takes in a run that can't be decoded: it counts as gone, and an event tells people.
    pub fn unreadable(&mut self, key: &RunKey, uid: &Uid, text: String, demands: &mut Vec<Demand>) {
        self.gone(key, None, demands);
        let about = ObjectKey::Run(key.clone());
        demands.push(Demand::Tell(events::unreadable(text).about(about, uid.clone())));
    }

    /// Hands on the consequences of an observation.
    fn meet(&mut self, id: RunId, consequences: Consequences, now: Now, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get(&id) else { return };
        let Consequences { withdraw, offer, is_new, announcements } = consequences;
        if let Some((gateway, plans)) = withdraw {
            demands.push(Demand::Withdraw { gateway, plans, run: id });
        }
        let waiter = Waiter { run: id, request_seq: run.request_seq, lane: run.lane };
        if !offer.is_empty() {
            demands.push(Demand::Offer { gateway: run.gateway(), plans: offer, waiter });
        }
        if run.finalizer.is_deleted {
            demands.push(Demand::Deleting(id, run.holds_deletion().then(|| run.gateway())));
        }
        if is_new {
            demands.push(Demand::HurryForRequest(run.gateway()));
        }
        for announcement in announcements {
            announce(run, announcement, now, demands);
        }
        self.parked.set(run.key.clone(), run.due, run.version, run.listed_in, now);
        demands.push(Demand::Reschedule(id));
    }

    /// Drops a run whose observation or status has panicked: the panic is that run's alone.
    pub(super) fn drop_after_panic(&mut self, key: &RunKey, demands: &mut Vec<Demand>) {
        let uid = self.id_of(key).and_then(|id| self.get(id)).map(|run| run.uid.clone());
        demands.push(Demand::Panicked);
        self.gone(key, None, demands);
        demands.extend(uid.map(|uid| Demand::Tell(internal_error(key, &uid))));
    }

    /// Forgets a run at rest. A run that waits for a time of day is parked.
    pub fn retire(&mut self, id: RunId, now: Now, demands: &mut Vec<Demand>) {
        if let Some(run) = self.by_id.get(&id) {
            // A TTL that was over by a clock that was set back since is to come once more.
            let due = [run.due, run.ends_at].into_iter().flatten().min();
            self.park(id, due, now, demands);
        }
    }

    /// Forgets a run but for the time of day at which it is to be read, if there is one.
    pub(super) fn park(&mut self, id: RunId, due: Option<Timestamp>, now: Now, demands: &mut Vec<Demand>) {
        let Some(run) = self.by_id.get(&id) else { return };
        let (key, version, list) = (run.key.clone(), run.version, run.listed_in);
        self.forget(id, demands);
        self.parked.set(key, due, version, list, now);
    }

    pub(super) fn forget(&mut self, id: RunId, demands: &mut Vec<Demand>) {
        let Some(mut run) = self.by_id.remove(&id) else { return };
        self.timers.set(&id, &mut run.timer, None);
        self.by_key.remove(&run.key);
        self.parked.remove(&run.key);
        self.room.release(&mut run);
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
