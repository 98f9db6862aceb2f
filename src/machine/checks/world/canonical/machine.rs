//! Which parts of the machine decide what can happen next.

use jiff::Timestamp;

use super::{Canonical, Sink, Sort, fields};
use crate::machine::call::{Detail, Settled};
use crate::machine::list::{List, Listed, Lists};
use crate::machine::outbox::{Change, Entry, EntryKey, InFlight, Next, Order, Outbox, What, WriteState};
use crate::machine::runs::Runs;
use crate::machine::runs::deadline::Deadlines;
use crate::machine::runs::deletion::Finalizer;
use crate::machine::runs::memo::{CarriedOver, StatusMemo};
use crate::machine::runs::observed::{Observed, StopState};
use crate::machine::runs::parked::{Parked, Waits};
use crate::machine::runs::plan::{Plan, PlanState};
use crate::machine::runs::request::{Moment, Request, Withdrawal};
use crate::machine::runs::room::{Place, SetAside, Turn};
use crate::machine::runs::run::Run;
use crate::machine::runs::statement::Statement;
use crate::machine::*;

impl Canonical for Machine {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            runs,
            gateways,
            outbox,
            // No model has cleanup rules.
            cleanups: _,
            // The same in all states of one model.
            seed: _,
            draining,
            calls_until,
            drained,
            // It is only counted.
            tally: _,
            reads,
            // Readings are numbered as they turn up.
            next_read: _,
            // There are none between two inputs.
            demands: _,
            cleanup_demands: _,
        } = self;
        reads.canonical(sink);
        (runs, (gateways, outbox)).canonical(sink);
        (*draining, (*calls_until, *drained)).canonical(sink);
    }
}

impl Canonical for Runs {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            by_id,
            by_key,
            parked,
            aside,
            // What the records and those that are being read take.
            room: _,
            // There are none between two inputs.
            told: _,
            // Each run knows its timer.
            timers: _,
            // Each waiter has its lane.
            lanes: _,
            lists,
            // The same in all states of one model.
            guards: _,
            // Records and lanes are numbered as they turn up.
            next_id: _,
            next_lane: _,
            // The same in all states of one model.
            may_put_finalizers: _,
        } = self;
        // In the order of their names: in which order the records were made decides nothing.
        by_key.len().canonical(sink);
        for (id, run) in by_key.values().filter_map(|id| Some((id, by_id.get(id)?))) {
            (*id, &**run).canonical(sink);
        }
        lists.canonical(sink);
        let SetAside { by_key, .. } = aside;
        (parked, by_key).canonical(sink);
    }
}

fields!(Parked { by_key, check_at } but {
    // These three follow from the runs.
    timers,
    resting,
    reading,
});

impl Canonical for Waits {
    fn canonical(&self, sink: &mut Sink) {
        // No run of a model has a TTL.
        let Self { due, is_read, rests, is_refused: _, watched, listed_in } = self;
        sink.deadline(Timestamp::from_second(*due).ok());
        (*is_read, (*rests, *watched)).canonical(sink);
        sink.sorted(Sort::List, u64::from(*listed_in));
    }
}

impl Canonical for Place {
    fn canonical(&self, sink: &mut Sink) {
        let Self { gateway, bytes, turn, watched, listed_in } = self;
        (gateway, *watched).canonical(sink);
        sink.plain(*bytes as u64);
        sink.sorted(Sort::List, u64::from(*listed_in));
        match turn {
            Turn::Queued(serial) => {
                sink.plain(0);
                sink.sorted(Sort::Order, *serial);
            }
            Turn::Read => sink.plain(1),
            Turn::Rests(until) => (2_i64, *until).canonical(sink),
        }
    }
}

fields!(Lists { all, by_namespace });

fields!(Listed { all, namespaces });

impl Canonical for List {
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
            statement,
            // These two decide on events alone.
            unconfirmed: _,
            answer_told: _,
            tried_at,
            timer,
            // It follows from the deadlines that are known.
            due: _,
            // No run of a model has a TTL.
            ends_at: _,
            kept_for: _,
            finalizer,
            deletion_asked: _,
            refusal_told: _,
            lane,
            // It follows from the plans.
            held: _,
            lacks_room,
        } = self;
        (key, (uid, *lane)).canonical(sink);
        (*version, (memo, *generation)).canonical(sink);
        (reconcile_annotation, *deadline_seconds).canonical(sink);
        (created, *total).canonical(sink);
        watched_version.canonical(sink);
        sink.sorted(Sort::List, u64::from(*version_list));
        sink.sorted(Sort::List, u64::from(*listed_in));
        (observed, (request, withdrawal)).canonical(sink);
        (*request_seq, *since).canonical(sink);
        (&plans[..], unasked).canonical(sink);
        (*tell_at_once, (*reopened, *refresh_at)).canonical(sink);
        (*dirty, (*unwritten, *published)).canonical(sink);
        finalizer.canonical(sink);
        (statement.as_deref(), (*tried_at, *timer)).canonical(sink);
        lacks_room.canonical(sink);
    }
}

fields!(Finalizer { is_wanted, is_on, is_deleted, until, gave_up, is_overdue } but {
    // No model has others.
    others,
    // The same in all states of one model, which refuses no write.
    may_put,
    refused_until,
    is_refusal_told,
});

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
        let Self { last_handled_request, last_handled_retry, attempts, completion_time } = self;
        sink.count(*attempts);
        // Whether it was complete decides, but not when.
        (last_handled_request, last_handled_retry).canonical(sink);
        completion_time.is_some().canonical(sink);
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

fields!(Observed {
    stopped,
    annotation,
    retry,
    cleanup,
    restore,
    deadline,
    deletion,
    stop,
    request,
    gateway
});

impl Canonical for Deadlines {
    fn canonical(&self, sink: &mut Sink) {
        let Self { named, passed } = self;
        sink.deadline(*named);
        sink.deadline(*passed);
    }
}

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

fields!(Statement { request_seq, memo, cause, has_outcomes, closes_again } but {
    // These two decide on an event only.
    announcements,
    tells_bad_answer,
});

impl Canonical for Outbox {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            entries,
            due,
            // Each entry knows its timer.
            timers: _,
            in_flight,
            // Writes are numbered as they turn up.
            next_serial: _,
        } = self;
        (entries, in_flight.len()).canonical(sink);
        in_flight.iter().for_each(|(serial, write)| (*serial, write).canonical(sink));
        for (urgency, queue) in due {
            // Everything that waits knows that it does.
            (*urgency, &queue.last_served).canonical(sink);
        }
    }
}

impl Canonical for Entry {
    fn canonical(&self, sink: &mut Sink) {
        let Self {
            // It is that of the object.
            namespace: _,
            state,
            reading,
            failures,
            status,
            changes,
            queued,
            timer,
        } = self;
        (*state, (*reading, (*status, changes))).canonical(sink);
        sink.count(*failures);
        (*queued, *timer).canonical(sink);
    }
}

fields!(InFlight { key, base, next, without_messages });

impl Canonical for EntryKey {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Run(id) => (0_i64, *id).canonical(sink),
            Self::Gateway(key) => (1_i64, &**key).canonical(sink),
            // No model has cleanup rules.
            Self::Cleanup(_) => sink.plain(2),
            Self::Cleaned(_) => sink.plain(3),
        }
    }
}

impl Canonical for WriteState {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Idle => sink.plain(0),
            Self::InFlight(serial) => (1_i64, *serial).canonical(sink),
            Self::Conflict { base, read_at } => (2_i64, (*base, *read_at)).canonical(sink),
            Self::Backoff { until, without_messages } => (3_i64, (*until, *without_messages)).canonical(sink),
        }
    }
}

impl Canonical for Next {
    fn canonical(&self, sink: &mut Sink) {
        match self {
            Self::Status => sink.plain(0),
            Self::Change(change) => (1_i64, change).canonical(sink),
        }
    }
}

impl Canonical for Change {
    fn canonical(&self, sink: &mut Sink) {
        let Self { what, order } = self;
        // No change of a model has another content.
        sink.plain(match (what, order) {
            (What::Metadata(_), Order::BeforeStatus) => 0,
            (What::Metadata(_), Order::AfterStatus) => 1,
            (What::Deletion, Order::BeforeStatus) => 2,
            (What::Deletion, Order::AfterStatus) => 3,
            (What::Finalizer(FinalizerChange::PutOn), Order::BeforeStatus) => 4,
            (What::Finalizer(FinalizerChange::PutOn), Order::AfterStatus) => 5,
            (What::Finalizer(FinalizerChange::TakeOff), Order::BeforeStatus) => 6,
            (What::Finalizer(FinalizerChange::TakeOff), Order::AfterStatus) => 7,
        });
    }
}
