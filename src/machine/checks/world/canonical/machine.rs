//! Which parts of the machine decide what can happen next.

use super::{Canonical, Sink, Sort, fields};
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::verdict::{Detail, Settled};
use crate::machine::outbox::write::{Flight, Write};
use crate::machine::runs::intent::{Observed, StopState};
use crate::machine::runs::memo::{CarriedOver, StatusMemo};
use crate::machine::runs::plan::{Plan, PlanState};
use crate::machine::runs::request::{Moment, Request, Withdrawal};
use crate::machine::runs::run::Run;

use crate::machine::{self, Machine};

impl Canonical for Machine {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            runs,
            by_key,
            gateways,
            // Each run knows its timer.
            timers: _,
            due,
            writes,
            // Records and writes are numbered as they turn up.
            next: _,
            // The same in all states of one model.
            seed: _,
            runs_list,
            gateways_list,
            draining,
            drained,
            // It is only counted.
            tally: _,
        } = self;
        // In the order of their names: in which order the records were made decides nothing.
        by_key.len().canonical(sink);
        by_key.values().filter_map(|id| runs.get(id)).for_each(|run| run.canonical(sink));
        (gateways, (*writes, due)).canonical(sink);
        (runs_list, gateways_list).canonical(sink);
        (*draining, *drained).canonical(sink);
    }
}

impl Canonical for machine::List {
    fn canonical(&self, sink: &mut Sink) {
        let Self { serial, under_way, done, failed } = self;
        sink.sorted(Sort::List, u64::from(*serial));
        // The text is for people.
        (*done, (*under_way, failed.is_some())).canonical(sink);
    }
}

// === runs ===

impl Canonical for Run {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            id,
            key,
            uid,
            version,
            memo,
            generation,
            reconcile_annotation,
            deadline_seconds,
            created,
            total,
            watched_version,
            floor,
            version_list,
            listed_in,
            observed,
            request,
            withdrawal,
            request_seq,
            since,
            plans,
            unasked,
            tell_at_once,
            reopened,
            refresh_at,
            dirty,
            unwritten,
            published,
            last_write,
            write,
            write_failures,
            timer,
            queue_position,
        } = self;
        (*id, (key, uid)).canonical(sink);
        (*version, (memo, *generation)).canonical(sink);
        (reconcile_annotation, *deadline_seconds).canonical(sink);
        (created, *total).canonical(sink);
        (*watched_version, *floor).canonical(sink);
        sink.sorted(Sort::List, u64::from(*version_list));
        sink.sorted(Sort::List, u64::from(*listed_in));
        (observed, (request, withdrawal)).canonical(sink);
        (*request_seq, *since).canonical(sink);
        (plans, unasked).canonical(sink);
        (*tell_at_once, (*reopened, *refresh_at)).canonical(sink);
        (*dirty, (*unwritten, *published)).canonical(sink);
        (*last_write, write).canonical(sink);
        sink.count(*write_failures);
        (*timer, *queue_position).canonical(sink);
    }
}

impl Canonical for StatusMemo {
    fn canonical(&self, sink: &mut Sink) {
        // The private fields are digests of the whole, and times that are carried over for people. The time at which the
        // run began is in the whole too.
        let Self { carried_over, whole, start_time: _, .. } = self;
        (carried_over, whole).canonical(sink);
    }
}

impl Canonical for CarriedOver {
    fn canonical(&self, sink: &mut Sink) {
        let Self { last_handled_request, attempts, completion_time, gateway_uid } = self;
        sink.count(*attempts);
        // Whether it was complete decides, but not when.
        (last_handled_request, (completion_time.is_some(), gateway_uid)).canonical(sink);
    }
}

fields!(Request { asked } but {
    // Three texts for people; whether two managers differ decides on an event only.
    requested_by,
    field_manager,
    reason,
});

impl Canonical for Moment {
    fn canonical(&self, sink: &mut Sink) {
        let Self { time, mono } = self;
        time.canonical(sink);
        sink.moment(*mono);
    }
}

impl Canonical for Withdrawal {
    fn canonical(&self, _sink: &mut Sink) {
        // A time and a name for people.
        let Self { time: _, by: _ } = self;
    }
}

fields!(Observed { stopped, annotation, retry, restore, stop, request, gateway });

impl Canonical for StopState {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::None => sink.plain(0),
            Self::Asked(trigger) => (1_i64, *trigger).canonical(sink),
            Self::Withdrawn(trigger) => (2_i64, *trigger).canonical(sink),
        }
    }
}

impl Canonical for Plan {
    fn canonical(&self, sink: &mut Sink) {
        let Self { id, attempts, maybe_stopped, last, state, asked } = self;
        // Whether there was a bad answer decides when status is to name it, but not which one.
        (*id, (*maybe_stopped, last.is_some())).canonical(sink);
        sink.count(*attempts);
        asked.canonical(sink);
        match state {
            PlanState::Queued => sink.plain(0),
            PlanState::InFlight(call) => (1_i64, *call).canonical(sink),
            PlanState::Settled(settled) => (2_i64, settled).canonical(sink),
        }
    }
}

fields!(Settled { outcome, detail });

impl Canonical for Detail {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            reason,
            // A text for people.
            message: _,
        } = self;
        (**reason).canonical(sink);
    }
}

// === outbox ===

impl Canonical for Write {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Idle => sink.plain(0),
            Self::InFlight(flight) => (1_i64, flight).canonical(sink),
            Self::Conflict { base, read_at } => (2_i64, (*base, *read_at)).canonical(sink),
            Self::Backoff { until, without_messages } => (3_i64, (*until, *without_messages)).canonical(sink),
        }
    }
}

fields!(Flight { serial, request_seq, base, next, reason, announce } but {
    // The next memo has the whole of it.
    status,
});

impl<T> Canonical for FairQueue<T> {
    fn canonical(&self, sink: &mut Sink) {
        // Everything that waits knows that it does.
        let Self { last_served, .. } = self;
        last_served.canonical(sink);
    }
}
