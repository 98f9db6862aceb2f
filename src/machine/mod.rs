//! The machine: it decides everything, and does nothing else. Inputs in, effects out, one timer.
//!
//! ```text
//! runs (intent of each) -> gateways (calls) -> outbox (writes)
//! ```
//!
//! Four owners, each with data of its own, which talk through plain values: runs and cleanup rules return demands,
//! gateways return the progress of calls, and the outbox returns the next write. [`Machine`] routes between them.
//!
//! Nothing in here reads a clock, draws by chance, or talks to anybody: all facts come in as arguments. The lint below
//! and a house rule keep it so. A machine lives as long as one term of leadership and holds nothing that must outlast
//! the term: a run at rest is forgotten, for all that matters of it is in its object.
//!
//! The machine follows rules, R1 to R29. Each rule stands in the documentation of the file that keeps it, with the
//! names of the tests that would fail without it.
//!
//! **R11.** No plan is in a call in vain. In every turn inputs and timers come before calls: a plan that was withdrawn,
//! or whose deadline has passed, has left its queue before the next call begins. A call without plans is not made.
//! Tests: `a_stop_withdrawn_before_its_call_is_not_sent`, `a_stop_that_is_not_delivered_in_time_expires`,
//! `a_plan_without_waiters_is_gone`; the reference checks it as I4 at every call.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod advice;
mod answer;
mod backoff;
mod call;
#[cfg(debug_assertions)]
mod check;
pub mod cleanups;
mod condition_draft;
mod effect;
mod fair_queue;
pub mod gateways;
mod guards;
mod ids;
mod input;
mod limits;
mod list;
pub mod outbox;
mod ownership;
mod routes;
pub mod runs;
mod time;
mod timers;
mod view;
pub mod wait_reason;
pub mod words;

#[cfg(test)]
mod checks;

use std::collections::BTreeMap;

pub use self::answer::{Answer, Body, Envelope, Gist, NoAnswer, Reply, ReportedError};
pub use self::backoff::Backoff;
pub use self::cleanups::CleanupResult;
pub use self::effect::{Effect, Event, FinalizerChange, MetadataChange, Target, WriteBody};
pub use self::ids::*;
pub use self::input::{CredentialRead, Input, Reached, RunsPage, WriteResult};
pub use self::limits::{Limits, OriginLimits, PAGE_RUNS, REFUSED_LOGIN_PAUSE};
pub use self::list::Extent;
pub use self::runs::census::Census;
pub use self::runs::deletion::LetGo;
pub use self::time::{Millis, Now};
pub use self::view::{Candidate, CleanupView, FieldSet, GatewayView, Marks, ObjectView, RunView};
pub use self::wait_reason::WaitReason;

use self::cleanups::{CleanupDemand, Cleanups};
use self::gateways::Gateways;
use self::limits::DRAIN_CALLS;
use self::outbox::{EntryKey, Fired, Outbox, Urgency};
use self::runs::{Demand, Runs, events};
use crate::api::{EventReason, Outcome};

/// Everything that decides.
#[derive(Clone, Debug)]
pub struct Machine {
    runs: Runs,
    gateways: Gateways,
    cleanups: Cleanups,
    outbox: Outbox,
    seed: u64,
    draining: bool,
    /// At the end calls under way are waited for until then, and no longer.
    calls_until: Option<Millis>,
    drained: bool,
    tally: Tally,
    /// The latest reading of each run that is being read.
    reads: BTreeMap<RunKey, ReadSerial>,
    next_read: u64,
    /// Demands of runs that were not handed on yet: empty between two inputs.
    demands: Vec<Demand>,
    /// The same of cleanup rules.
    cleanup_demands: Vec<CleanupDemand>,
}

/// Counts of what has happened since they were last taken, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub settled: Vec<Outcome>,
    /// The ends of stops, each with the time since it was asked for.
    pub ended: Vec<(EventReason, Millis)>,
    pub panics: usize,
    /// What has become of runs by cleanup rules.
    pub cleaned: Vec<(CleanupResult, u64)>,
    /// Runs whose deletion waits no longer although plans are left to be stopped.
    pub let_go: Vec<LetGo>,
}

// === impl Machine ===

impl Machine {
    /// `seed`: jitter is drawn from it.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            runs: Runs::new(limits.runs_bytes),
            gateways: Gateways::new(limits.origin, seed),
            cleanups: Cleanups::new(seed),
            outbox: Outbox::default(),
            seed,
            draining: false,
            calls_until: None,
            drained: false,
            tally: Tally::default(),
            reads: BTreeMap::new(),
            next_read: 0,
            demands: Vec::new(),
            cleanup_demands: Vec::new(),
        }
    }

    /// Takes in what happened meanwhile and yields the effects that follow. Never fails, whatever the inputs and their
    /// order.
    pub fn handle(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, out: &mut Vec<Effect>) {
        for input in inputs {
            self.apply(now, input, out);
        }
        self.run_timers(now, out);
        loop {
            self.start_calls(now, out);
            self.publish(now);
            self.start_writes(now, out);
            // What they wanted stopped leaves the queues, and so does what a deletion waits for no longer.
            let are_set_aside = self.runs.set_aside_told(&mut self.demands);
            self.meet_demands(now, out);
            if !are_set_aside && !self.gateways.is_touched() {
                break;
            }
        }
        self.end_drain(now, out);
        self.make_room(out);
        #[cfg(debug_assertions)]
        self.check();
    }

    /// The moment at which `Wake` is to be handed in, if nothing else happens before.
    pub fn wake_at(&self) -> Option<Millis> {
        let owners =
            [self.runs.wake_at(), self.gateways.wake_at(), self.cleanups.wake_at(), self.outbox.wake_at()];
        let timers = owners.into_iter().chain([self.calls_until]);
        timers.flatten().min()
    }

    /// Runs that are not at rest.
    pub fn active(&self) -> usize {
        self.runs.count()
    }

    /// Runs that wait for a time of day, such as their deadline: those at rest, and those that have a record meanwhile.
    pub fn parked(&self) -> usize {
        self.runs.parked.count()
    }

    /// Runs that wait for room in memory.
    pub fn set_aside(&self) -> usize {
        self.runs.aside.count()
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.gateways.in_flight()
    }

    /// Plans that wait for a call.
    pub fn queued(&self) -> usize {
        self.gateways.queued()
    }

    /// The runs that wait. It costs a walk over all of them.
    pub fn census(&self, now: Now) -> Census {
        self.runs.census(now)
    }

    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    // === the pipeline ===

    fn apply(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::ListBegan(extent) => match extent.kind {
                Kind::Runs => self.runs.list_began(&extent),
                Kind::Gateways => self.gateways.list_began(&extent),
                Kind::Cleanups => self.cleanups.list_began(&extent),
            },
            Input::ListDone(extent) => match extent.kind {
                Kind::Runs => {
                    self.runs.list_ended(&extent, &mut self.demands);
                    self.gateways.allow_calls(&extent);
                }
                Kind::Gateways => self.gateways.list_ended(&extent, now.mono, out),
                Kind::Cleanups => self.cleanups.list_ended(&extent, &mut self.cleanup_demands),
            },
            Input::ListFailed(extent, text) => match extent.kind {
                // Nobody can be told of it: no run or rule is known whose status could say so.
                Kind::Runs | Kind::Cleanups => {}
                Kind::Gateways => self.gateways.list_failed(&extent, text),
            },
            Input::Seen(ObjectView::Run(view)) => self.runs.observe(&view, now, &mut self.demands),
            Input::Seen(ObjectView::Gateway(view)) => {
                let (entry, version) = (EntryKey::Gateway(Box::new(view.key.clone())), view.version);
                self.gateways.observe(*view, now.mono, out);
                self.outbox.observed(&entry, version, now.mono);
            }
            Input::Seen(ObjectView::Cleanup(view)) => {
                let (entry, version) = (EntryKey::Cleanup(Box::new(view.key.clone())), view.version);
                self.cleanups.observe(*view, now, &mut self.cleanup_demands);
                self.outbox.observed(&entry, version, now.mono);
            }
            Input::Gone(ObjectKey::Run(key), uid) => self.runs.deleted(&key, Some(&uid), &mut self.demands),
            Input::Gone(ObjectKey::Gateway(key), uid) => self.gateways.gone(&key, Some(&uid), now.mono, out),
            Input::Gone(ObjectKey::Cleanup(key), uid) => {
                self.cleanups.gone(&key, Some(&uid), &mut self.cleanup_demands);
            }
            Input::Unreadable(ObjectKey::Run(key), uid, _, text) => {
                self.runs.unreadable(&key, &uid, text, &mut self.demands);
            }
            Input::Unreadable(ObjectKey::Gateway(key), uid, _, text) => {
                self.gateways.unreadable(&key, uid.clone(), &text, out);
                out.push(Effect::Tell(events::unreadable(text).about(ObjectKey::Gateway(key), uid)));
            }
            Input::Unreadable(ObjectKey::Cleanup(key), uid, _, text) => {
                self.cleanups.gone(&key, None, &mut self.cleanup_demands);
                out.push(Effect::Tell(events::unreadable(text).about(ObjectKey::Cleanup(key), uid)));
            }
            Input::MayPatchRuns(may_patch) => self.runs.rights_known(may_patch, &mut self.demands),
            Input::RunsListed(serial, page) => {
                self.cleanups.listed(serial, page, now, &mut self.cleanup_demands);
            }
            Input::Credential(key, epoch, read) => self.gateways.credential_read(&key, epoch, read, now.mono),
            Input::ConnectionTried(key, number, reached) => {
                self.gateways.connection_tried(&key, number, reached, now.mono);
            }
            Input::Answered(call, answer) => {
                let progress = self.gateways.call_ended(call, &answer, now, &self.runs);
                self.apply_progress(progress, now);
            }
            Input::Wrote(serial, result) => self.wrote(serial, result, now),
            // What an earlier reading found may be older than what this one is to find out.
            Input::Read(key, serial, _) if self.reads.get(&key) != Some(&serial) => drop(key),
            Input::Read(_, _, Some(view)) => self.run_read(&view, now),
            // The watch will tell, in its order, whatever the reading has missed.
            Input::Read(key, _, None) => {
                self.read_ended(&key);
                self.runs.read_failed(&key, now);
            }
            Input::Wake => {}
            Input::Drain => {
                self.draining = true;
                self.calls_until = Some(now.mono + DRAIN_CALLS);
                self.gateways.end_calls();
            }
        }
        self.meet_demands(now, out);
    }

    fn run_timers(&mut self, now: Now, out: &mut Vec<Effect>) {
        for fired in self.outbox.run_timers(now.mono) {
            let key = match fired {
                Fired::Due(key) => key,
                Fired::Conflict(EntryKey::Run(id)) => {
                    let run = self.runs.get(id);
                    self.demands.extend(run.map(|run| Demand::Read(run.key.clone())));
                    EntryKey::Run(id)
                }
                // A gateway is not read by itself: what it is written from is what the watch tells.
                Fired::Conflict(key) => {
                    self.outbox.read_ended(&key);
                    self.outbox.retry(&key);
                    key
                }
            };
            self.reschedule(&key, now);
        }
        self.runs.run_timers(now, &mut self.demands);
        self.cleanups.run_timers(now, &mut self.cleanup_demands);
        self.meet_demands(now, out);
    }

    fn start_calls(&mut self, now: Now, out: &mut Vec<Effect>) {
        let progress = self.gateways.start_calls(now, &self.runs, out);
        self.apply_progress(progress, now);
        self.meet_demands(now, out);
    }

    /// Tells waiting runs, and the gateways' own statuses, of the gateways to which something has happened.
    fn publish(&mut self, now: Now) {
        let publication = self.gateways.publish(now.mono);
        publication.notified.into_iter().for_each(|run| self.reschedule(&EntryKey::Run(run), now));
        publication
            .gateways
            .into_iter()
            .for_each(|key| self.reschedule(&EntryKey::Gateway(Box::new(key)), now));
    }

    /// Has the runs read for which there is room again.
    fn make_room(&mut self, out: &mut Vec<Effect>) {
        if !self.draining {
            while let Some(run) = self.runs.next_with_room() {
                out.push(self.read(run));
            }
        }
    }

    /// Begins the writes whose time has come. Outcomes go first; at the end of a term they alone do.
    fn start_writes(&mut self, now: Now, out: &mut Vec<Effect>) {
        let urgencies: &[_] = match self.draining {
            false => &[Urgency::Outcome, Urgency::Gateway, Urgency::Situation],
            true => &[Urgency::Outcome],
        };
        for urgency in urgencies {
            while let Some((key, next)) = self.outbox.take(*urgency) {
                self.begin_write(&key, next, now, out);
                self.reschedule(&key, now);
            }
        }
        self.meet_demands(now, out);
    }
}
