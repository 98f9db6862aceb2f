//! The machine: all that decides, and nothing else. Inputs in, effects out, one timer.
//!
//! ```text
//! runs (what is wanted) -> gateways (which call begins) -> writes (what is written down)
//! ```
//!
//! Nothing in here reads a clock, draws by chance, or talks to anybody: what it must know comes in as an argument. The
//! lint below and a house rule keep it so. It lives as long as one term of leadership and holds nothing that must outlast
//! it: a run at rest is forgotten, for all that matters of it is in its object.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod answer;
mod backoff;
#[cfg(debug_assertions)]
mod check;
mod condition_draft;
mod fair_queue;
pub mod gateways;
mod guards;
mod ids;
mod input;
mod outbox;
pub mod runs;
mod view;
pub mod wait_reason;
pub mod words;

#[cfg(test)]
mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::Outcome;
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::queue::Waiter;
use crate::machine::gateways::{CallProgress, Gateways, Progress, Wants};
use crate::machine::guards::Guard;
use crate::machine::outbox::write::{Urgency, Write};
use crate::machine::runs::events;
use crate::machine::runs::request::Source;
use crate::machine::runs::run::{Demands, Run};

/// Everything that decides.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) runs: BTreeMap<RunId, Box<Run>>,
    pub(super) by_key: BTreeMap<RunKey, RunId>,
    pub(super) gateways: Gateways,
    pub(super) timers: BTreeSet<(Millis, RunId)>,
    pub(super) due: BTreeMap<Urgency, FairQueue<(Millis, RunId)>>,
    pub(super) writes: usize,
    pub(super) next: u64,
    pub(super) seed: u64,
    pub(super) runs_list: List,
    pub(super) gateways_list: List,
    pub(super) draining: bool,
    pub(super) drained: bool,
    tally: Tally,
}

/// What has happened since it was last asked for, for whoever counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub settled: Vec<Outcome>,
    pub panics: usize,
}

/// How far the lists of a kind are.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub(super) serial: u32,
    /// One is under way: what is seen comes from it.
    pub(super) under_way: bool,
    pub(super) done: bool,
    pub(super) failed: Option<String>,
}

/// Writes at a time. An API server that does nothing else is as fast with 16; with more it still serves our writes as
/// fast as runs come while sixteen others keep it busy with patches.
pub(super) const WRITES_MAX: usize = 24;
/// How long a changed reason for waiting stands before it is written.
pub(super) const REASON_SETTLES: Millis = Millis(30_000);
/// How long a conflict waits for the watch to bring the newer object.
pub(super) const CONFLICT: Millis = Millis(5_000);

impl Wants for BTreeMap<RunId, Box<Run>> {
    fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool {
        self.get(&waiter.run).is_some_and(|run| run.goes_on(waiter, plan, call, now))
    }
}

pub use self::answer::{Answer, Body, Complaint, Envelope, Gist, Loss, Reply};
pub use self::ids::*;
pub use self::input::{CredentialRead, Effect, Event, Input, Kind, Target, WriteResult};
pub use self::view::{FieldSet, GatewayView, RunView};

// === impl Machine ===

impl Machine {
    /// `seed`: what jitter is drawn from.
    pub fn new(seed: u64) -> Self {
        Self {
            runs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            gateways: Gateways::new(seed),
            timers: BTreeSet::new(),
            due: BTreeMap::new(),
            writes: 0,
            next: 0,
            seed,
            runs_list: List::default(),
            gateways_list: List::default(),
            draining: false,
            drained: false,
            tally: Tally::default(),
        }
    }

    /// Takes in what happened and says what is to be done. Never fails, whatever comes in whatever order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.handle_all(now, [input], out);
    }

    /// The same for several things that have happened meanwhile: what may begin is looked for once, not for each.
    pub fn handle_all(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, out: &mut Vec<Effect>) {
        inputs.into_iter().for_each(|input| self.apply(now, input, out));
        self.run_timers(now, out);
        self.start_work(now, out);
        #[cfg(debug_assertions)]
        self.check();
    }

    fn apply(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::ListBegan(kind) => {
                let list = self.list(kind);
                list.serial += 1;
                list.under_way = true;
            }
            Input::ListDone(kind) => self.listed(kind),
            Input::ListFailed(kind, text) => self.list(kind).failed = Some(text),
            Input::RunSeen(view) => self.run_seen(*view, now, out),
            Input::RunGone(key, uid) => self.run_gone(&key, Some(&uid)),
            Input::RunUnreadable(key, uid, _, text) => self.run_unreadable(key, uid, text, out),
            Input::GatewaySeen(view) => self.gateways.seen(*view, self.gateways_list.serial, now.mono),
            Input::GatewayGone(key, uid) => self.gateways.gone(&key, Some(&uid)),
            Input::GatewayUnreadable(key, uid, _, text) => {
                let kind = Kind::Gateways;
                self.gateways.gone(&key, Some(&uid));
                out.push(Effect::Tell(Event { kind, ..events::unreadable(text).about(key, uid) }));
            }
            Input::Credential(key, epoch, read) => {
                self.gateways.edit(&key, |gateway| gateway.credential_read(epoch, read, now.mono));
            }
            Input::Answered(call, answer) => self.answered(call, &answer, now),
            Input::Wrote(run, serial, result) => self.wrote(run, serial, result, now, out),
            Input::WroteGateway(key, serial, result) => self.wrote_gateway(&key, serial, result, now.mono),
            Input::Read(_, Some(view)) => self.run_read(*view, now, out),
            // What else a reading may find is for the watch to tell, in order.
            Input::Read(_, None) | Input::Wake => {}
            Input::Drain => self.draining = true,
        }
    }

    /// When `Wake` is to be handed in, if nothing else happens before.
    pub fn wake_at(&self) -> Option<Millis> {
        let calls = if self.may_call() { self.gateways.wake_at() } else { self.gateways.held_wake_at() };
        let stands =
            if self.writes < WRITES_MAX && !self.draining { self.gateways.status_due_at() } else { None };
        [calls, stands, self.timers.first().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    /// Runs that are not at rest.
    pub fn active(&self) -> usize {
        self.runs.len()
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.gateways.in_flight()
    }

    /// Plans that wait for a call.
    pub fn queued(&self) -> usize {
        self.gateways.queued()
    }

    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn may_call(&self) -> bool {
        self.runs_list.done && !self.draining
    }

    fn list(&mut self, kind: Kind) -> &mut List {
        match kind {
            Kind::Runs => &mut self.runs_list,
            Kind::Gateways => &mut self.gateways_list,
        }
    }

    /// A list is complete: what it did not bring is gone.
    fn listed(&mut self, kind: Kind) {
        let list = self.list(kind);
        (list.done, list.under_way) = (true, false);
        list.failed = None;
        let serial = list.serial;
        match kind {
            Kind::Runs if !self.gateways.guards.is_on(Guard::Unlisted) => {}
            Kind::Runs => {
                let stale: Vec<_> = self
                    .runs
                    .values()
                    .filter(|run| run.listed_in != serial)
                    .map(|run| run.key.clone())
                    .collect();
                stale.iter().for_each(|key| self.run_gone(key, None));
            }
            Kind::Gateways => self.gateways.listed(serial),
        }
    }

    fn run_seen(&mut self, view: RunView, now: Now, out: &mut Vec<Effect>) {
        let (key, uid, version) = (view.key.clone(), view.uid.clone(), view.version);
        let serial = self.runs_list.serial;
        let source = if self.runs_list.under_way { Source::List } else { Source::Watch };
        if let Some(id) = self.by_key.get(&key).copied()
            && let Some(run) = self.runs.get_mut(&id)
        {
            // A list that began after the floor was set can't be older than it, unless the datastore has gone back.
            let gone_back = serial > run.version_list && version < run.floor;
            if version < run.floor && !gone_back && self.gateways.guards.is_on(Guard::Floor) {
                if run.uid == uid {
                    run.listed_in = serial;
                }
                return;
            }
            if run.uid == uid || !self.gateways.guards.is_on(Guard::OtherUid) {
                // It is as new as anything known, or the datastore has gone back.
                (run.listed_in, run.floor, run.watched_version) = (serial, version, version);
                return self.run_seen_again(id, view, source, now, out);
            }
            self.run_gone(&key, None);
        }
        self.next += 1;
        let id = RunId(self.next);
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let (mut run, demands) = Run::new(id, &view, source, now);
            run.dirty = !run.all_settled() || run.status(None, None, now) != view.status;
            (run, demands)
        }));
        let Ok((mut run, demands)) = looked else {
            return self.drop_after_panic(key, uid, out);
        };
        (run.listed_in, run.version_list) = (serial, serial);
        if let Some(gateway) = self.gateways.get(&run.gateway()) {
            run.share_names(&gateway.key);
        }
        if run.at_rest() && demands.announcements.is_empty() {
            return;
        }
        self.by_key.insert(run.key.clone(), id);
        self.runs.insert(id, Box::new(run));
        self.meet_demands(id, demands, now, out);
        self.reschedule(id, now);
    }

    pub(super) fn run_seen_again(
        &mut self,
        id: RunId,
        view: RunView,
        source: Source,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let hurried = run.reconcile_annotation.as_deref() != view.reconcile_annotation.as_deref();
        let (key, uid) = (run.key.clone(), run.uid.clone());
        run.floor = run.floor.max(view.version);
        run.version_list = self.runs_list.serial;
        let Ok(demands) = catch_unwind(AssertUnwindSafe(|| run.observe(&view, source, now))) else {
            return self.drop_after_panic(key, uid, out);
        };
        if let Write::Conflict { base, .. } = run.write
            && run.version > base
        {
            run.write = Write::Idle;
        }
        if let Write::Backoff { until, .. } = &mut run.write {
            *until = now.mono;
        }
        if hurried {
            let gateway = run.gateway();
            self.gateways.edit(&gateway, |gateway| gateway.gate.hurry(now.mono));
        }
        self.meet_demands(id, demands, now, out);
        self.reschedule(id, now);
    }

    fn meet_demands(&mut self, id: RunId, demands: Demands, now: Now, out: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(&id) else { return };
        if let Some((gateway, plans)) = demands.withdraw {
            plans.into_iter().for_each(|plan| self.gateways.withdraw(&gateway, plan, id));
        }
        let (gateway, waiter) = (run.gateway(), Waiter { run: id, request_seq: run.request_seq });
        for plan in demands.offer {
            self.gateways.offer(&gateway, plan, waiter);
        }
        if demands.is_new {
            self.gateways.edit(&gateway, |gateway| gateway.gate.hurry_for_request(now.mono));
        }
        let events = demands.announcements.into_iter().map(|announcement| announcement.of(run));
        out.extend(events.map(Effect::Tell));
    }

    fn run_gone(&mut self, key: &RunKey, uid: Option<&Uid>) {
        let Some(id) = self.by_key.get(key).copied() else { return };
        let Some(run) = self.runs.get(&id) else { return };
        if uid.is_some_and(|uid| *uid != run.uid) {
            return;
        }
        let gateway = run.gateway();
        let plans: Vec<_> = run.plans.iter().map(|plan| plan.id).collect();
        plans.into_iter().for_each(|plan| self.gateways.withdraw(&gateway, plan, id));
        self.forget(id);
    }

    fn run_unreadable(&mut self, key: RunKey, uid: Uid, text: String, out: &mut Vec<Effect>) {
        self.run_gone(&key, None);
        out.push(Effect::Tell(events::unreadable(text).about(key, uid)));
    }

    /// A panic while one run was looked at is that run's alone.
    pub(super) fn drop_after_panic(&mut self, key: RunKey, uid: Uid, out: &mut Vec<Effect>) {
        self.tally.panics += 1;
        let text = "an internal error occurred while this object was looked at; please report it";
        self.run_unreadable(key, uid, text.to_owned(), out);
    }

    /// Forgets a run. A write under way keeps its slot until it has ended.
    pub(super) fn forget(&mut self, id: RunId) {
        self.set_queue_position(id, None);
        self.set_timer(id, None);
        if let Some(run) = self.runs.remove(&id) {
            self.by_key.remove(&run.key);
        }
    }

    fn answered(&mut self, call: CallId, answer: &Answer, now: Now) {
        let progress = self.gateways.answered(call, answer, now, &self.runs);
        self.apply_progress(progress, now);
    }

    fn apply_progress(&mut self, progress: Vec<CallProgress>, now: Now) {
        let mut touched = BTreeSet::new();
        for CallProgress { waiter, plan, call, end } in progress {
            let Some(run) = self.runs.get_mut(&waiter.run) else { continue };
            let stands = match &end {
                Progress::Began => run.request_seq == waiter.request_seq,
                Progress::Settled(_) | Progress::Unanswered(_) | Progress::Refused(_) => {
                    run.expects(&waiter, plan, call) || !self.gateways.guards.is_on(Guard::Asks)
                }
            };
            if !stands {
                continue;
            }
            self.tally.settled.extend(run.apply_progress(plan, call, end, now));
            touched.insert(waiter.run);
        }
        touched.into_iter().for_each(|id| self.reschedule(id, now));
    }

    /// Carries out what has become due.
    fn run_timers(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, id));
            let Some(run) = self.runs.get_mut(&id) else { continue };
            run.timer = None;
            let key = run.key.clone();
            if let Write::Conflict { read_at, .. } = &mut run.write
                && read_at.is_some_and(|read_at| read_at <= now.mono)
            {
                *read_at = Some(now.mono + CONFLICT);
                out.push(Effect::ReadRun(key));
            }
            let gateway = run.gateway();
            for plan in run.expire(now) {
                self.tally.settled.push(Outcome::Expired);
                self.gateways.withdraw(&gateway, plan, id);
            }
            self.reschedule(id, now);
        }
    }

    /// Begins calls and writes.
    fn start_work(&mut self, now: Now, out: &mut Vec<Effect>) {
        let may_call = self.may_call();
        let progress = self.gateways.start_calls(now, may_call, &self.runs, out);
        self.apply_progress(progress, now);
        // Gateway statuses go before the runs' situations; the runs' outcomes go first of all.
        self.write_runs(Urgency::Outcome, now, out);
        self.publish_gateways(now, out);
        if !self.draining {
            self.write_runs(Urgency::Situation, now, out);
        }
        let idle = self.writes == 0 && self.gateways.in_flight() == 0;
        if self.draining
            && !self.drained
            && idle
            && !self.runs.values().any(|run| run.holds_up_drain(now.mono))
        {
            self.drained = true;
            out.push(Effect::Drained);
        }
    }
}
