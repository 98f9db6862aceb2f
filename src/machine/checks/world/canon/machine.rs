//! What of the machine decides what can happen next.

use super::{Canon, Sink, Sort, fields};
use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::credential::{Credential, Problem};
use crate::machine::gateways::gate::{Gate, Shut};
use crate::machine::gateways::gateway::{Call, Gateway};
use crate::machine::gateways::held::Held;
use crate::machine::gateways::queue::{Member, Position, Queue, SuspectHistory, Suspects, Waiter, Waiting};
use crate::machine::gateways::status::Published;
use crate::machine::gateways::verdict::Settled;
use crate::machine::gateways::{Gateways, Origin};
use crate::machine::outbox::write::Write;
use crate::machine::runs::intent::{Observed, StopState};
use crate::machine::runs::plan::{Plan, PlanState};
use crate::machine::runs::request::{Request as Asked, Withdrawal};
use crate::machine::runs::run::Run;
use crate::machine::*;
use crate::machine::{self, Machine};

impl Canon for Machine {
    fn canon(&self, sink: &mut Sink) {
        // In the order of their names: in which order the records were made decides nothing.
        let runs = self.by_key.values().filter_map(|id| self.runs.get(id));
        runs.for_each(|run| run.canon(sink));
        (&self.gateways, self.writes).canon(sink);
        self.due.canon(sink);
        (&self.runs_list, &self.gateways_list).canon(sink);
        (self.draining, self.drained).canon(sink);
    }
}

impl Canon for machine::List {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::List, u64::from(self.serial));
        (self.done, (self.under_way, self.failed.is_some())).canon(sink);
    }
}

impl Canon for Run {
    fn canon(&self, sink: &mut Sink) {
        (self.id, (&self.key, &self.uid)).canon(sink);
        (self.version, self.generation).canon(sink);
        (self.total, &*self.memo.whole).canon(sink);
        (self.watched_version, self.floor).canon(sink);
        sink.sorted(Sort::List, u64::from(self.version_list));
        sink.sorted(Sort::List, u64::from(self.listed_in));
        (&self.observed, &self.request).canon(sink);
        (&self.unasked[..], (self.withdrawal.as_deref(), self.tell_at_once)).canon(sink);
        (self.reopened, self.refresh_at).canon(sink);
        (self.request_seq, self.since).canon(sink);
        (&self.plans, self.dirty).canon(sink);
        (self.unwritten, self.published).canon(sink);
        (self.last_write, &self.write).canon(sink);
        sink.count(self.write_failures);
        (self.timer, self.queue_position).canon(sink);
    }
}

impl Canon for Asked {
    fn canon(&self, _sink: &mut Sink) {}
}

impl Canon for Withdrawal {
    fn canon(&self, _sink: &mut Sink) {}
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
        // The last answer is told, and decides nothing.
        (self.id, self.maybe_stopped).canon(sink);
        sink.count(self.attempts);
        match &self.state {
            PlanState::Queued => sink.plain(0),
            PlanState::InFlight(call) => (1_i64, *call).canon(sink),
            PlanState::Settled(Settled { outcome, detail: _ }) => (2_i64, *outcome).canon(sink),
        }
    }
}

impl Canon for Write {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Idle => sink.plain(0),
            Self::InFlight(flight) => {
                (1_i64, (flight.serial, flight.base)).canon(sink);
                (flight.reason, flight.announce).canon(sink);
            }
            Self::Conflict { base, read_at } => (2_i64, (*base, *read_at)).canon(sink),
            Self::Backoff { until, without_messages } => (3_i64, (*until, *without_messages)).canon(sink),
        }
    }
}

fields!(Gateways { by_key, origins, calls } but { seed, next_call, next_epoch, guards });

impl Canon for Origin {
    fn canon(&self, sink: &mut Sink) {
        (&self.members, self.in_flight).canon(sink);
        (&self.last_served, Millis(self.paid_until / 1000)).canon(sink);
    }
}

impl Canon for Gateway {
    fn canon(&self, sink: &mut Sink) {
        (&self.view, &self.credential).canon(sink);
        sink.sorted(Sort::List, u64::from(self.listed_in));
        sink.sorted(Sort::Move, u64::from(self.seq));
        sink.sorted(Sort::Round, u64::from(self.last_served_call));
        self.spoken.canon(sink);
        (self.endpoint, &self.gate).canon(sink);
        (self.last_start, &self.queue).canon(sink);
        (&self.in_flight, (self.fresh_next, &self.published)).canon(sink);
        (&self.held, &self.sent_again).canon(sink);
    }
}

impl Canon for Held {
    fn canon(&self, sink: &mut Sink) {
        let Self { call, endpoint, credential, gist: _, member, settled, not_by, ready } = self;
        (*call, (*endpoint, *credential)).canon(sink);
        not_by.canon(sink);
        (member, (settled.outcome, *ready)).canon(sink);
    }
}

impl Canon for SecretVersion {
    fn canon(&self, sink: &mut Sink) {
        self.0.canon(sink);
    }
}

impl Canon for Call {
    fn canon(&self, sink: &mut Sink) {
        (&self.gateway, self.endpoint).canon(sink);
        sink.sorted(Sort::Move, u64::from(self.seq));
        (self.credential, (&self.members, &self.suspects)).canon(sink);
    }
}

impl Canon for Gate {
    fn canon(&self, sink: &mut Sink) {
        if let Self::Shut(Shut { kind, text: _, until, worth_a_try_at, failures, probe }) = self {
            (*kind, (*until, *probe)).canon(sink);
            worth_a_try_at.canon(sink);
            sink.count(*failures);
        }
    }
}

impl Canon for Credential {
    fn canon(&self, sink: &mut Sink) {
        (self.epoch, self.reading).canon(sink);
        let problem = self.problem.as_ref().map(|problem| matches!(problem, Problem::Refused(_)));
        (self.version.as_ref().map(|version| &version.0), problem).canon(sink);
        (self.again, (self.poll_at, self.refresh_at)).canon(sink);
        (self.check, (self.renew, self.insists)).canon(sink);
        (self.renewed_at, self.read_at).canon(sink);
        sink.count(self.failures);
        sink.count(self.polls);
    }
}

fields!(Published { reason, since, waiters_notified, written, writing, not_before });
fields!(Queue { plans, suspects } but { fresh, serial });

impl<T> Canon for FairQueue<T> {
    fn canon(&self, sink: &mut Sink) {
        // What waits is told by those that wait.
        self.last_served.canon(sink);
    }
}

impl Canon for Member {
    fn canon(&self, sink: &mut Sink) {
        (self.plan, &self.waiters[..]).canon(sink);
    }
}

fields!(Waiter { run, request_seq });

impl Canon for Waiting {
    fn canon(&self, sink: &mut Sink) {
        (self.position, &self.waiters[..]).canon(sink);
    }
}

impl Canon for Suspects {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::Order, u64::from(self.serial));
        (&self.plans, self.history).canon(sink);
    }
}

impl Canon for SuspectHistory {
    fn canon(&self, sink: &mut Sink) {
        sink.plain(u64::from(self.strikes.min(4)));
        sink.sorted(Sort::Round, u64::from(self.begun_before_strike));
        (self.quarantined, (self.parts as usize, self.not_before)).canon(sink);
        sink.plain(u64::from(self.forbidden.min(4)));
        sink.sorted(Sort::Round, u64::from(self.begun_before_forbidden));
        self.home.is_some().canon(sink);
        self.home.into_iter().for_each(|home| sink.sorted(Sort::Order, u64::from(home)));
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
