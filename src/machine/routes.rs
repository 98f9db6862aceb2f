//! The routes of the machine: plain values that it hands from one owner to another.
//!
//! **R26.** Draining. From the input `Drain` on, no call, no probe and no write of a mere situation begins; calls under
//! way are answered, and outcomes are written. `Drained` is told once, when no call and no write is under way and no
//! outcome waits to be written. A write that waits for longer than `DRAIN_PATIENCE` is left to the next process.
//! Tests: `h23_sigterm`, `what_was_answered_in_part_is_written_before_the_end`; every third simulated history ends with
//! it (L3).

use crate::machine::Machine;
use crate::machine::backoff::chance;
use crate::machine::call::CallProgress;
use crate::machine::cleanups::CleanupDemand;
use crate::machine::effect::{Effect, FinalizerChange, MetadataChange, WriteBody};
use crate::machine::ids::{ReadSerial, RunId, RunKey, Version, WriteSerial};
use crate::machine::input::WriteResult;
use crate::machine::limits::{DRAIN_PATIENCE, FINALIZER_TRIES, REASON_SETTLES};
use crate::machine::outbox::{Change, EntryKey, InFlight, Next, Order, Urgency, What};
use crate::machine::runs::Demand;
use crate::machine::runs::deletion::LetGo;
use crate::machine::runs::request::Source;
use crate::machine::runs::run::{Due, Run};
use crate::machine::time::Now;
use crate::machine::view::RunView;

// === impl Machine ===

impl Machine {
    /// Hands on what runs have asked for.
    pub(super) fn meet_demands(&mut self, now: Now, out: &mut Vec<Effect>) {
        while !self.demands.is_empty() || !self.cleanup_demands.is_empty() {
            for demand in std::mem::take(&mut self.demands) {
                self.meet(demand, now, out);
            }
            for demand in std::mem::take(&mut self.cleanup_demands) {
                self.meet_of_cleanup(demand, now, out);
            }
        }
    }

    fn meet_of_cleanup(&mut self, demand: CleanupDemand, now: Now, out: &mut Vec<Effect>) {
        match demand {
            // The next leader goes on with it.
            CleanupDemand::List { .. } if self.draining => {}
            CleanupDemand::List { serial, namespace, selector, next } => {
                out.push(Effect::ListRuns { serial, namespace, selector, next });
            }
            CleanupDemand::Write(of, what) => {
                let namespace = of.run.namespace.clone();
                let change = Change { what, order: Order::AfterStatus };
                self.outbox.request(&EntryKey::Cleaned(of), &namespace, change, now.mono);
            }
            CleanupDemand::DropWrite(of) => self.outbox.forget(&EntryKey::Cleaned(of)),
            CleanupDemand::Tell(event) => out.push(Effect::Tell(event)),
            CleanupDemand::Reschedule(key) => self.reschedule(&EntryKey::Cleanup(Box::new(key)), now),
            CleanupDemand::Forgotten(key) => self.outbox.forget(&EntryKey::Cleanup(Box::new(key))),
            CleanupDemand::Counted(result, count) => self.tally.cleaned.push((result, count)),
        }
    }

    fn meet(&mut self, demand: Demand, now: Now, out: &mut Vec<Effect>) {
        match demand {
            Demand::Offer { gateway, plans, waiter } => self.gateways.offer(&gateway, &plans, waiter),
            Demand::Withdraw { gateway, plans, run } => self.gateways.withdraw(&gateway, &plans, run),
            Demand::Hurry(gateway) => self.gateways.hurry(&gateway, now.mono),
            Demand::HurryForRequest(gateway) => self.gateways.hurry_for_request(&gateway, now.mono),
            Demand::Tell(event) => out.push(Effect::Tell(event)),
            Demand::Observed(run, version) => self.outbox.observed(&EntryKey::Run(run), version, now.mono),
            Demand::Reschedule(run) => self.reschedule(&EntryKey::Run(run), now),
            Demand::Forgotten(run) => {
                self.outbox.forget(&EntryKey::Run(run));
                self.gateways.deleting(run, None);
            }
            Demand::Deleting(run, gateway) => self.gateways.deleting(run, gateway),
            Demand::LetGo(why) => self.tally.let_go.push(why),
            Demand::Read(key) => {
                let read = self.read(key);
                out.push(read);
            }
            Demand::Settled(outcome) => self.tally.settled.push(outcome),
            Demand::Ended(end, took) => self.tally.ended.push((end, took)),
            Demand::Panicked => self.tally.panics += 1,
        }
    }

    /// Begins to read a run. An earlier reading that is still under way says nothing any more.
    pub(super) fn read(&mut self, run: RunKey) -> Effect {
        self.next_read += 1;
        let serial = ReadSerial(self.next_read);
        self.reads.insert(run.clone(), serial);
        Effect::ReadRun(run, serial)
    }

    /// Calls have begun or ended: the runs whose plans were in them hear of it.
    pub(super) fn apply_progress(&mut self, progress: Vec<CallProgress>, now: Now) {
        self.runs.apply_progress(progress, now, &mut self.demands);
    }

    /// A run was read by itself: because its write met a conflict, because the time has come that it was parked
    /// for, or because there is room for it.
    pub(super) fn run_read(&mut self, view: &RunView, now: Now) {
        let before = self.read_ended(&view.key);
        let Some(id) = self.runs.known_by_read(view, before) else {
            return self.runs.observe_without_record(view, now, &mut self.demands);
        };
        self.outbox.retry(&EntryKey::Run(id));
        self.runs.observe_known(id, view, Source::Watch, now, &mut self.demands);
    }

    /// The reading of a run has ended. Yields the version of it that was known when the reading began.
    pub(super) fn read_ended(&mut self, key: &RunKey) -> Option<Version> {
        self.reads.remove(key);
        let id = self.runs.id_of(key)?;
        self.outbox.read_ended(&EntryKey::Run(id))
    }

    /// Decides anew whether a run is at rest, or else when its status is due; and the same for the status of a gateway or
    /// a cleanup rule.
    pub(super) fn reschedule(&mut self, key: &EntryKey, now: Now) {
        match key {
            EntryKey::Run(id) => self.reschedule_run(*id, key, now),
            EntryKey::Gateway(gateway) => {
                let due = self.gateways.status_due(gateway).map(|at| (at, Urgency::Gateway));
                let later = self.outbox.schedule(key, &gateway.namespace, due, now.mono);
                self.gateways.arm_status(gateway, later, now.mono);
            }
            EntryKey::Cleanup(cleanup) => {
                let due = self.cleanups.status_due(cleanup, now).map(|at| (at, Urgency::Gateway));
                let later = self.outbox.schedule(key, &cleanup.namespace, due, now.mono);
                self.cleanups.arm_status(cleanup, later, now);
            }
            // It has no status that is written for it.
            EntryKey::Cleaned(_) => {}
        }
    }

    fn reschedule_run(&mut self, id: RunId, key: &EntryKey, now: Now) {
        self.look_at_deletion(id, key, now);
        let Some(run) = self.runs.get(id) else { return };
        if run.at_rest() && self.outbox.is_idle(key) {
            if !run.is_over(now) {
                return self.runs.retire(id, now, &mut self.demands);
            }
            let deletion = Change { what: What::Deletion, order: Order::AfterStatus };
            self.outbox.request(key, &run.key.namespace, deletion, now.mono);
            return self.runs.deletion_asked(id);
        }
        let wait = self.gateways.wait_of(&run.gateway(), run.is_stop_requested(), now.mono);
        let settles_at = (wait.reason_since + REASON_SETTLES, wait.since + REASON_SETTLES);
        let due = run.status_due(wait.cause, settles_at).map(|(at, due)| match due {
            Due::Outcome => (at, Urgency::Outcome),
            Due::Situation => (at, Urgency::Situation),
        });
        let may_be_set_aside = due.is_none() && run.may_be_set_aside() && self.outbox.is_idle(key);
        let later = self.outbox.schedule(key, &run.key.namespace, due, now.mono);
        self.runs.arm(id, later);
        if may_be_set_aside {
            self.runs.told.insert(id);
        }
    }

    /// Gives up what is left of a run that is being deleted if nothing can be sent, and has its finalizer put on or taken
    /// off if that is due.
    fn look_at_deletion(&mut self, id: RunId, key: &EntryKey, now: Now) {
        let Some(run) = self.runs.get(id) else { return };
        let waits = run.holds_deletion() && !run.finalizer.gave_up;
        if waits && self.gateways.has_nothing_to_send(&run.gateway()) {
            self.runs.let_go(id, LetGo::NothingToSend, &mut self.demands);
        }
        let Some(run) = self.runs.get(id) else { return };
        let Some(change) = run.finalizer_change() else { return };
        if run.finalizer.is_overdue {
            // A status that is refused must not hold it up.
            self.outbox.end_pause(key, now.mono);
        }
        let what = What::Finalizer(change);
        if !self.outbox.has_change(key, &what) {
            // It is on before anything is told. When it goes, all outcomes are told, and the rest goes with the object.
            let goes_first = change == FinalizerChange::PutOn || run.finalizer.is_deleted;
            let order = if goes_first { Order::BeforeStatus } else { Order::AfterStatus };
            self.outbox.request(key, &run.key.namespace, Change { what, order }, now.mono);
        }
    }

    // === writes ===

    pub(super) fn begin_write(&mut self, key: &EntryKey, next: Next, now: Now, out: &mut Vec<Effect>) {
        let without_messages = self.outbox.is_without_messages(key);
        let written = match (&next, key) {
            (Next::Status, EntryKey::Run(id)) => {
                let Some(run) = self.runs.get(*id) else { return };
                let waiting = self.gateways.waiting_of(&run.gateway(), run.is_stop_requested());
                self.runs.state(*id, waiting, without_messages, now, &mut self.demands)
            }
            (Next::Status, EntryKey::Gateway(gateway)) => self.gateways.state(gateway, without_messages, now),
            (Next::Status, EntryKey::Cleanup(cleanup)) => self.cleanups.state(cleanup, now),
            (Next::Status, EntryKey::Cleaned(_)) => None,
            (Next::Change(change), EntryKey::Run(id)) => {
                let Some(run) = self.runs.get(*id) else { return };
                let body = body_of(&change.what, run, now);
                if body.is_none() && change.what == What::Deletion {
                    self.runs.deletion_given_up(*id);
                }
                self.runs.get(*id).map(Run::target).zip(body)
            }
            (Next::Change(change), EntryKey::Cleaned(of)) => {
                self.cleanups.run_target(of).zip(plain_body_of(&change.what))
            }
            // Of these nothing is written but the status.
            (Next::Change(_), EntryKey::Gateway(_) | EntryKey::Cleanup(_)) => None,
        };
        let Some((to, body)) = written else { return self.outbox.skip(key, &next) };
        let serial = self.outbox.begin(key, to.version, next);
        out.push(Effect::Write { serial, to, body });
    }

    /// A write has ended.
    pub(super) fn wrote(&mut self, serial: WriteSerial, result: WriteResult, now: Now) {
        let Some(ended) = self.outbox.ended(serial) else { return };
        // What fails again and again is as good as refused.
        let is_putting_on = ended.finalizer_change() == Some(FinalizerChange::PutOn);
        let is_hopeless = is_putting_on && self.outbox.failures_of(&ended.key) >= FINALIZER_TRIES;
        let result = match result {
            WriteResult::Failed { .. } if is_hopeless => WriteResult::Refused(500),
            other => other,
        };
        let known = match &ended.key {
            EntryKey::Run(id) => self.run_wrote(*id, &ended, result, now),
            EntryKey::Gateway(gateway) => {
                if ended.is_status() {
                    self.gateways.stated(gateway, result, now.mono);
                }
                self.gateways.version_of(gateway)
            }
            EntryKey::Cleanup(cleanup) => {
                if ended.is_status() {
                    self.cleanups.stated(cleanup, result, now);
                }
                self.cleanups.version_of(cleanup)
            }
            EntryKey::Cleaned(of) => {
                // The rule looks at the run again, if that is needed.
                self.outbox.forget(&ended.key);
                return self.cleanups.wrote(of, result, now, &mut self.cleanup_demands);
            }
        };
        let is_first_refusal = matches!(result, WriteResult::Refused(_)) && !ended.without_messages;
        if let (EntryKey::Run(id), true) = (&ended.key, is_first_refusal && ended.is_status()) {
            self.runs.status_refused(*id, &mut self.demands);
        }
        if let (EntryKey::Run(id), WriteResult::Refused(_), true) = (&ended.key, result, is_putting_on) {
            self.runs.finalizer_refused(*id, now);
        }
        if let (EntryKey::Run(id), WriteResult::Refused(_), true) = (&ended.key, result, ended.is_deletion())
        {
            return self.runs.deletion_refused(*id, now, &mut self.demands);
        }
        let chance = self.chance_of(&ended.key, serial);
        self.outbox.conclude(&ended, result, known.unwrap_or_default(), now.mono, chance);
        self.reschedule(&ended.key, now);
    }

    /// A number that jitter is drawn from.
    fn chance_of(&self, key: &EntryKey, serial: WriteSerial) -> u64 {
        match key {
            EntryKey::Run(id) => self.runs.get(*id).map_or(0, |run| chance(self.seed, &run.key, serial.0)),
            EntryKey::Gateway(gateway) => chance(self.seed, gateway, serial.0),
            EntryKey::Cleanup(cleanup) => chance(self.seed, cleanup, serial.0),
            EntryKey::Cleaned(of) => chance(self.seed, &of.run, serial.0),
        }
    }

    /// Yields the newest version of the run that is known now.
    fn run_wrote(&mut self, id: RunId, ended: &InFlight, result: WriteResult, now: Now) -> Option<Version> {
        if ended.is_status() {
            self.runs.stated(id, result, now, &mut self.demands);
        } else if let (WriteResult::Done(version), Some(change)) = (result, ended.finalizer_change()) {
            self.runs.finalizer_changed(id, change, version);
        } else if let WriteResult::Done(version) = result {
            self.runs.changed(id, version);
        }
        if ended.is_deletion() {
            match result {
                // The watch will tell.
                WriteResult::Done(_) | WriteResult::Gone => self.runs.deletion_asked(id),
                // Decided anew on the newer object, which may have been seen already.
                WriteResult::Conflict => self.runs.deletion_given_up(id),
                WriteResult::Refused(_) | WriteResult::Failed { .. } => {}
            }
        }
        self.runs.get(id).map(|run| run.version)
    }

    // === the end ===

    /// Whether the end is reached: no call is waited for any more, no write is under way, and no outcome waits to be
    /// written that could still be.
    pub(super) fn end_drain(&mut self, now: Now, out: &mut Vec<Effect>) {
        // A call that is dropped may have stopped its plans; the next process sends them again, as after a crash.
        self.calls_until =
            self.calls_until.filter(|until| *until > now.mono && self.gateways.in_flight() > 0);
        if !self.draining || self.drained || self.outbox.in_flight() > 0 || self.calls_until.is_some() {
            return;
        }
        // A write that was refused is tried again so late that the next process, which knows no outcome, rather sends
        // the plans once more.
        let latest = now.mono + DRAIN_PATIENCE;
        let holds_up = |id: RunId| !self.outbox.waits_beyond(&EntryKey::Run(id), latest);
        if !self.runs.iter().any(|(id, run)| run.unwritten && holds_up(id)) {
            self.drained = true;
            out.push(Effect::Drained);
        }
    }
}

/// The body of a change of a run's object; none if it is not wanted any more, since something may have changed, such as
/// the TTL or the policy.
fn body_of(what: &What, run: &Run, now: Now) -> Option<WriteBody> {
    match what {
        What::Deletion if !run.is_over(now) => None,
        What::Finalizer(change) if run.finalizer_change() != Some(*change) => None,
        What::Finalizer(change) => {
            Some(WriteBody::Metadata(MetadataChange::Finalizers(run.finalizer.after(*change))))
        }
        What::Metadata(_) | What::Deletion => plain_body_of(what),
    }
}

/// The body of a change that does not depend on what is known of the object.
fn plain_body_of(what: &What) -> Option<WriteBody> {
    match what {
        What::Metadata(change) => Some(WriteBody::Metadata(change.clone())),
        What::Deletion => Some(WriteBody::Deletion),
        What::Finalizer(_) => None,
    }
}
