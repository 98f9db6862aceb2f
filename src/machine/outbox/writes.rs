//! The machine's writes: when a run's status falls due, and what came of writing it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::machine::backoff::{Backoff, chance};
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::gateway::Gateway;
use crate::machine::ids::{GatewayKey, Millis, Now, RunId, Uid, WriteSerial};
use crate::machine::input::{Effect, Target, WriteResult};
use crate::machine::outbox::write::{Flight, Urgency, Write};
use crate::machine::runs::events;
use crate::machine::runs::request::Source;
use crate::machine::runs::run::Run;
use crate::machine::view::RunView;
use crate::machine::wait_reason::{WaitCause, Waiting};
use crate::machine::{CONFLICT, Machine, REASON_SETTLES, WRITES_MAX};

impl Machine {
    pub(in crate::machine) fn wrote(
        &mut self,
        id: RunId,
        serial: WriteSerial,
        result: WriteResult,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.writes = self.writes.saturating_sub(1);
        let list = self.runs_list.serial;
        let Some(run) = self.runs.get_mut(&id) else { return };
        let write = std::mem::replace(&mut run.write, Write::Idle);
        let Write::InFlight(flight) = write else {
            run.write = write;
            return;
        };
        let Flight { serial: began, request_seq, base, next, status, reason, announce } = *flight;
        debug_assert_eq!(began, serial, "one write at a time");
        run.last_write = Some(now.mono);
        match result {
            WriteResult::Done(version) => {
                run.floor = run.floor.max(version);
                run.version_list = list;
                if run.version < version {
                    (run.version, run.memo) = (version, next);
                }
                if run.request_seq == request_seq {
                    run.published = Some(reason);
                }
                run.reopened &= status.stop.as_ref().is_none_or(|stop| stop.completion_time.is_none());
                run.write_failures = 0;
                if announce {
                    let announcement = events::transition_event(run, &status, reason);
                    out.extend(announcement.map(|announcement| Effect::Tell(announcement.of(run))));
                }
            }
            WriteResult::Conflict => {
                run.dirty = true;
                run.unwritten = true;
                // What made it a conflict may have been seen already.
                if run.version <= base {
                    run.write = Write::Conflict { base, read_at: Some(now.mono + CONFLICT) };
                }
            }
            // The watch tells of it when it has told what came before. Who is forgotten sooner would be made anew by
            // an event that is still on its way.
            // But whatever nothing explains is looked at again.
            WriteResult::Gone => {
                run.dirty = true;
                run.unwritten = true;
                run.write = Write::Conflict { base, read_at: Some(now.mono + CONFLICT) };
            }
            WriteResult::Refused(_) => {
                run.dirty = true;
                run.unwritten = true;
                // At once without the gateway's words, which are all that can be wrong with it; then rarely.
                let pause = if run.write_failures == 0 { Millis(0) } else { Millis(300_000) };
                run.write_failures = run.write_failures.saturating_add(1);
                run.write = Write::Backoff { until: now.mono + pause, without_messages: true };
                out.push(Effect::Tell(events::status_refused().of(run)));
            }
            WriteResult::Failed { retry_after } => {
                run.dirty = true;
                run.unwritten = true;
                let backoff = Backoff { initial: Millis(200), max: Millis(30_000) };
                run.write_failures = run.write_failures.saturating_add(1);
                let chance = chance(self.seed, &run.key, serial.0);
                let until = now.mono + backoff.delay(run.write_failures, chance, retry_after);
                run.write = Write::Backoff { until, without_messages: false };
            }
        }
        self.reschedule(id, now);
    }

    /// A run was read by itself. That overtakes the watch, or comes after it, so it is news only of a run that is known.
    ///
    /// If a write met a conflict, and nothing is newer than what it was based on, then whoever answered so was wrong:
    /// nothing newer will come, so the write is tried again.
    pub(in crate::machine) fn run_read(&mut self, view: RunView, now: Now, out: &mut Vec<Effect>) {
        let Some(id) = self.by_key.get(&view.key).copied() else { return };
        let is_transition = |run: &&mut Box<Run>| run.uid == view.uid && run.floor <= view.version;
        let Some(run) = self.runs.get_mut(&id).filter(is_transition) else { return };
        if matches!(run.write, Write::Conflict { base, .. } if base == view.version) {
            run.write = Write::Idle;
        }
        self.run_seen_again(id, view, Source::Watch, now, out);
    }

    /// Begins the writes of a class that are due, as far as there are slots.
    pub(in crate::machine) fn write_runs(&mut self, class: Urgency, now: Now, out: &mut Vec<Effect>) {
        while self.writes < WRITES_MAX {
            let Some((_, id)) = self.due.get_mut(&class).and_then(FairQueue::next) else { break };
            if let Some(run) = self.runs.get_mut(&id) {
                run.queue_position = None;
            }
            self.begin_write(id, now, out);
        }
    }

    fn begin_write(&mut self, id: RunId, now: Now, out: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(&id) else { return };
        let (waiting, uid) = self.context_of(run);
        let status = catch_unwind(AssertUnwindSafe(|| run.status(waiting.as_ref(), uid.as_ref(), now)));
        let Ok(status) = status else {
            let (key, uid) = (run.key.clone(), run.uid.clone());
            return self.drop_after_panic(key, uid, out);
        };
        let reason = waiting.map(|waiting| waiting.reason);
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.dirty = false;
        run.unwritten = false;
        run.refresh_at = None;
        let next = run.memo_of(&status);
        if run.memo.is_same(&next) {
            // As after a write whose reply was lost: the echo shows that it had landed.
            (run.write, run.write_failures) = (Write::Idle, 0);
            run.published = Some(reason);
            return self.reschedule(id, now);
        }
        self.next += 1;
        let serial = WriteSerial(self.next);
        let to = Target { key: run.key.clone(), uid: run.uid.clone(), version: run.version };
        let base = run.version;
        let announce = run.memo.is_transition(&next);
        let status = Arc::new(status);
        let flight = Flight {
            serial,
            request_seq: run.request_seq,
            base,
            next,
            status: status.clone(),
            reason,
            announce,
        };
        run.write = Write::InFlight(Box::new(flight));
        self.writes += 1;
        out.push(Effect::Write { run: id, serial, to, status });
        self.reschedule(id, now);
    }

    /// What stands in the way of a run, and which object its gateway is.
    fn context_of(&self, run: &Run) -> (Option<Waiting>, Option<Uid>) {
        let (key, gateway) = self.gateway_of(run);
        let waiting = self.wait_cause(run, gateway).map(|cause| cause.told_of(&key.name));
        let view = gateway.and_then(|gateway| gateway.view.as_ref());
        (waiting, view.map(|view| view.uid.clone()))
    }

    fn gateway_of(&self, run: &Run) -> (GatewayKey, Option<&Gateway>) {
        let key = run.gateway();
        let gateway = self.gateways.get(&key);
        (key, gateway)
    }

    fn wait_cause<'a>(&'a self, run: &Run, gateway: Option<&'a Gateway>) -> Option<WaitCause<'a>> {
        let listed = self.gateways_listed();
        match gateway {
            Some(gateway) => gateway.wait_cause(listed),
            None => run.is_stop_requested().then(|| WaitCause::unknown_gateway(listed)),
        }
    }

    /// Whether gateways could be listed, or why not.
    pub(in crate::machine) fn gateways_listed(&self) -> Result<(), &str> {
        match (&self.gateways_list.failed, self.gateways_list.done) {
            (Some(text), _) => Err(text.as_str()),
            (None, false) => Err("they have not been listed yet"),
            (None, true) => Ok(()),
        }
    }

    /// Looks whether a run is at rest, or what falls due for it and when.
    pub(in crate::machine) fn reschedule(&mut self, id: RunId, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.at_rest() {
            return self.forget(id);
        }
        let (_, gateway) = self.gateway_of(run);
        let reason = self.wait_cause(run, gateway).map(WaitCause::reason);
        // A reason that has just changed is looked at again once it has stood: see `publish_gateways`.
        let told = gateway.map(|gateway| &gateway.published);
        let since = told.filter(|told| told.reason == reason).map_or(now.mono, |told| told.since);
        let due = run.due(reason, since + REASON_SETTLES);
        let deadline = run.next_deadline();
        let conflict = match run.write {
            Write::Conflict { read_at, .. } => read_at,
            Write::Idle | Write::InFlight(_) | Write::Backoff { .. } => None,
        };
        let later = due.filter(|(at, _)| *at > now.mono).map(|(at, _)| at);
        let queue_position = due.filter(|(at, _)| *at <= now.mono).map(|(at, class)| (class, at));
        self.set_queue_position(id, queue_position);
        self.set_timer(id, [deadline, conflict, later].into_iter().flatten().min());
    }

    /// Puts a run where it belongs in the queue of writes, or takes it out.
    pub(in crate::machine) fn set_queue_position(
        &mut self,
        id: RunId,
        queue_position: Option<(Urgency, Millis)>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some((class, at)) = std::mem::replace(&mut run.queue_position, queue_position) {
            self.due.entry(class).or_default().remove(&run.key.namespace, (at, id));
        }
        if let Some((class, at)) = queue_position {
            self.due.entry(class).or_default().put(&run.key.namespace, (at, id));
        }
    }

    pub(in crate::machine) fn set_timer(&mut self, id: RunId, at: Option<Millis>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut run.timer, at) {
            self.timers.remove(&(before, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, id));
        }
    }
}
