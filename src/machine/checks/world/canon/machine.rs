//! Which parts of the machine decide what can happen next.

use super::{Canon, LONG_PAST, Sink, Sort, fields};
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::credential::{Credential, Problem};
use crate::machine::gateways::gate::{Gate, Shut};
use crate::machine::gateways::gateway::{Call, Gateway};
use crate::machine::gateways::held::Held;
use crate::machine::gateways::queue::{Member, Position, Queue, SuspectHistory, Suspects, Waiter, Waiting};
use crate::machine::gateways::status::Published;
use crate::machine::gateways::verdict::{Detail, Parts, Settled};
use crate::machine::gateways::{Gateways, Origin};
use crate::machine::outbox::write::{Flight, Write};
use crate::machine::runs::intent::{Observed, StopState};
use crate::machine::runs::memo::{CarriedOver, StatusMemo};
use crate::machine::runs::plan::{Plan, PlanState};
use crate::machine::runs::request::{Moment, Request, Withdrawal};
use crate::machine::runs::run::Run;
use crate::machine::*;
use crate::machine::{self, Machine};

impl Canon for Machine {
    fn canon(&self, sink: &mut Sink) {
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
        by_key.len().canon(sink);
        by_key.values().filter_map(|id| runs.get(id)).for_each(|run| run.canon(sink));
        (gateways, (*writes, due)).canon(sink);
        (runs_list, gateways_list).canon(sink);
        (*draining, *drained).canon(sink);
    }
}

impl Canon for machine::List {
    fn canon(&self, sink: &mut Sink) {
        let Self { serial, under_way, done, failed } = self;
        sink.sorted(Sort::List, u64::from(*serial));
        // The text is for people.
        (*done, (*under_way, failed.is_some())).canon(sink);
    }
}

// === runs ===

impl Canon for Run {
    fn canon(&self, sink: &mut Sink) {
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
        (*id, (key, uid)).canon(sink);
        (*version, (memo, *generation)).canon(sink);
        (reconcile_annotation, *deadline_seconds).canon(sink);
        (created, *total).canon(sink);
        (*watched_version, *floor).canon(sink);
        sink.sorted(Sort::List, u64::from(*version_list));
        sink.sorted(Sort::List, u64::from(*listed_in));
        (observed, (request, withdrawal)).canon(sink);
        (*request_seq, *since).canon(sink);
        (plans, unasked).canon(sink);
        (*tell_at_once, (*reopened, *refresh_at)).canon(sink);
        (*dirty, (*unwritten, *published)).canon(sink);
        (*last_write, write).canon(sink);
        sink.count(*write_failures);
        (*timer, *queue_position).canon(sink);
    }
}

impl Canon for StatusMemo {
    fn canon(&self, sink: &mut Sink) {
        // The private fields are digests of the whole, and times that are carried over for people. The time at which the
        // run began is in the whole too.
        let Self { carried_over, whole, start_time: _, .. } = self;
        (carried_over, whole).canon(sink);
    }
}

impl Canon for CarriedOver {
    fn canon(&self, sink: &mut Sink) {
        let Self { last_handled_request, attempts, completion_time, gateway_uid } = self;
        sink.count(*attempts);
        // Whether it was complete decides, but not when.
        (last_handled_request, (completion_time.is_some(), gateway_uid)).canon(sink);
    }
}

fields!(Request { asked } but {
    // Three texts for people; whether two managers differ decides on an event only.
    requested_by,
    field_manager,
    reason,
});

impl Canon for Moment {
    fn canon(&self, sink: &mut Sink) {
        let Self { time, mono } = self;
        time.canon(sink);
        sink.moment(*mono);
    }
}

impl Canon for Withdrawal {
    fn canon(&self, _sink: &mut Sink) {
        // A time and a name for people.
        let Self { time: _, by: _ } = self;
    }
}

fields!(Observed { stopped, annotation, retry, restore, stop, request, gateway });

impl Canon for StopState {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::None => sink.plain(0),
            Self::Asked(trigger) => (1_i64, *trigger).canon(sink),
            Self::Withdrawn(trigger) => (2_i64, *trigger).canon(sink),
        }
    }
}

impl Canon for Plan {
    fn canon(&self, sink: &mut Sink) {
        let Self { id, attempts, maybe_stopped, last, state, asked } = self;
        // Whether there was a bad answer decides when status is to name it, but not which one.
        (*id, (*maybe_stopped, last.is_some())).canon(sink);
        sink.count(*attempts);
        asked.canon(sink);
        match state {
            PlanState::Queued => sink.plain(0),
            PlanState::InFlight(call) => (1_i64, *call).canon(sink),
            PlanState::Settled(settled) => (2_i64, settled).canon(sink),
        }
    }
}

fields!(Settled { outcome, detail });

impl Canon for Detail {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            reason,
            // A text for people.
            message: _,
        } = self;
        (**reason).canon(sink);
    }
}

// === outbox ===

impl Canon for Write {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Idle => sink.plain(0),
            Self::InFlight(flight) => (1_i64, flight).canon(sink),
            Self::Conflict { base, read_at } => (2_i64, (*base, *read_at)).canon(sink),
            Self::Backoff { until, without_messages } => (3_i64, (*until, *without_messages)).canon(sink),
        }
    }
}

fields!(Flight { serial, request_seq, base, next, reason, announce } but {
    // What is to stand there has the whole of it.
    status,
});

impl<T> Canon for FairQueue<T> {
    fn canon(&self, sink: &mut Sink) {
        // Everything that waits knows that it does.
        let Self { last_served, .. } = self;
        last_served.canon(sink);
    }
}

// === gateways ===

fields!(Gateways { by_key, origins, calls } but {
    // The same in all states of one model, as are the guards.
    seed,
    // Calls and credentials are numbered as they turn up.
    next_call,
    next_epoch,
    guards,
});

impl Canon for Origin {
    fn canon(&self, sink: &mut Sink) {
        let Self { members, in_flight, last_served, paid_until } = self;
        (members, (*in_flight, last_served)).canon(sink);
        sink.plain((paid_until + LONG_PAST * 1000).saturating_sub(sink.now * 1000));
    }
}

impl Canon for Gateway {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            // It is what the gateway is known by.
            key: _,
            view,
            origin,
            listed_in,
            endpoint,
            credential,
            gate,
            seq,
            spoken,
            last_served_call,
            last_start,
            queue,
            in_flight,
            held,
            sent_again,
            fresh_next,
            published,
        } = self;
        (view, (origin, credential)).canon(sink);
        sink.sorted(Sort::List, u64::from(*listed_in));
        sink.sorted(Sort::Move, u64::from(*seq));
        sink.sorted(Sort::Call, u64::from(*last_served_call));
        sink.sorted(Sort::Endpoint, endpoint.0);
        (*spoken, (gate, *last_start)).canon(sink);
        (queue, (in_flight, *fresh_next)).canon(sink);
        (published, (held, sent_again)).canon(sink);
    }
}

impl Canon for Held {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            call,
            endpoint,
            credential,
            // The answer in short is for people.
            gist: _,
            member,
            settled,
            not_by,
            ready,
        } = self;
        sink.sorted(Sort::Endpoint, endpoint.0);
        (*call, (*credential, *not_by)).canon(sink);
        (member, (settled, *ready)).canon(sink);
    }
}

impl Canon for SecretVersion {
    fn canon(&self, sink: &mut Sink) {
        let Self(version) = self;
        version.canon(sink);
    }
}

impl Canon for Call {
    fn canon(&self, sink: &mut Sink) {
        let Self { gateway, origin, endpoint, credential, seq, members, suspects } = self;
        (gateway, origin).canon(sink);
        sink.sorted(Sort::Endpoint, endpoint.0);
        sink.sorted(Sort::Move, u64::from(*seq));
        (*credential, (members, *suspects)).canon(sink);
    }
}

impl Canon for Gate {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Open => sink.plain(0),
            Self::Shut(shut) => (1_i64, shut).canon(sink),
        }
    }
}

impl Canon for Shut {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            kind,
            // For people.
            text: _,
            until,
            worth_a_try_at,
            failures,
            probe,
        } = self;
        (*kind, (*until, (*worth_a_try_at, *probe))).canon(sink);
        sink.count(*failures);
    }
}

impl Canon for Credential {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            epoch,
            version,
            failures,
            problem,
            reading,
            again,
            check,
            renew,
            renewed_at,
            read_at,
            insists,
            poll_at,
            polls,
            refresh_at,
            refused,
        } = self;
        (*epoch, (version, problem)).canon(sink);
        sink.count(*failures);
        (*reading, (*again, (*check, *renew))).canon(sink);
        (*renewed_at, (*read_at, *insists)).canon(sink);
        // Pauses grow with the first four.
        (*poll_at, (*polls).min(4)).canon(sink);
        (*refresh_at, refused).canon(sink);
    }
}

impl Canon for Problem {
    fn canon(&self, sink: &mut Sink) {
        // The texts are for people.
        sink.plain(match self {
            Self::Missing(_) => 0,
            Self::Invalid(_) => 1,
            Self::Refused(_) => 2,
            Self::Failed(_) => 3,
        });
    }
}

fields!(Published { reason, since, waiters_notified, written, writing, not_before });

fields!(Queue { plans, suspects } but {
    // Each plan knows its place.
    fresh,
    // A later place is behind all that there are.
    serial,
});

impl Canon for Member {
    fn canon(&self, sink: &mut Sink) {
        let Self { plan, waiters } = self;
        (*plan, &waiters[..]).canon(sink);
    }
}

fields!(Waiter { run, request_seq });

impl Canon for Waiting {
    fn canon(&self, sink: &mut Sink) {
        let Self { position, waiters } = self;
        (*position, &waiters[..]).canon(sink);
    }
}

impl Canon for Suspects {
    fn canon(&self, sink: &mut Sink) {
        let Self { serial, plans, history } = self;
        sink.sorted(Sort::Order, u64::from(*serial));
        (plans, *history).canon(sink);
    }
}

impl Canon for SuspectHistory {
    fn canon(&self, sink: &mut Sink) {
        let Self {
            strikes,
            begun_before_strike,
            quarantined,
            forbidden,
            begun_before_forbidden,
            parts,
            home,
            not_before,
        } = self;
        // Three are enough to blame, and one more tells how a pause has grown.
        ((*strikes).min(4), (*forbidden).min(4)).canon(sink);
        sink.sorted(Sort::Call, u64::from(*begun_before_strike));
        sink.sorted(Sort::Call, u64::from(*begun_before_forbidden));
        (*quarantined, (parts, *not_before)).canon(sink);
        home.is_some().canon(sink);
        home.iter().for_each(|home| sink.sorted(Sort::Order, u64::from(*home)));
    }
}

impl Canon for Parts {
    fn canon(&self, sink: &mut Sink) {
        sink.plain(match self {
            Self::Halves => 0,
            Self::Several => 1,
            Self::Singles => 2,
        });
    }
}

impl Canon for Position {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Fresh(order) => sink.sorted(Sort::Order, *order),
            Self::Suspect(serial) => sink.sorted(Sort::Order, u64::from(*serial)),
            Self::InCall => sink.plain(0),
        }
    }
}
