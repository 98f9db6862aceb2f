//! When two worlds are the same for a model checker: if they differ in nothing that decides what can happen next.
//!
//! Every value becomes a token. Times count from now, and what is long past is all the same; ids and serials are
//! numbered in the order in which they turn up; versions, lists and everything else that is only ever compared becomes
//! its rank. Counters of failures stop at two. Left out are texts, times in statuses, and what can be derived.
//!
//! Structs are taken apart whole, so that a new field must be thought of here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::ghost::{Claim, Ghost, Known, KnownGateway};
use super::server::{Change, List, Server, Watch};
use super::{Flight, Op, Request, Truth, World};
use crate::api::{Condition, Outcome, PlanStatus, StopStatus, TestPlanRunStatus, Trigger};
use crate::stop::credential::{Credential, Problem};
use crate::stop::gate::{Gate, Shut};
use crate::stop::gateway::{Call, Gateway};
use crate::stop::gateways::{Gateways, Origin};
use crate::stop::machine::{self, Machine};
use crate::stop::queue::{Member, Place, Queue, Record, Suspects, Waiter, Waiting};
use crate::stop::record::{Plan, PlanState, Request as Asked};
use crate::stop::run::{Class, Run, Write};
use crate::stop::standing::Told;
use crate::stop::verdict::Settled;
use crate::stop::wish::{Standing, Stop};
use crate::stop::*;

/// What kind of number a token is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Sort {
    Plain,
    // Numbered as they turn up.
    Run,
    Call,
    Serial,
    Ask,
    // By rank.
    Version,
    Epoch,
    List,
    Move,
    Order,
    Round,
}

/// Tokens of a world.
struct Sink {
    now: u64,
    tokens: Vec<(Sort, u64)>,
}

/// Longer ago than anything that still counts.
const LONG_PAST: u64 = 31_000;

/// A number that equal worlds share, and others hardly ever do.
pub(in crate::stop) fn digest(world: &World) -> u64 {
    let mut sink = Sink { now: world.now, tokens: Vec::with_capacity(1_000) };
    world.canon(&mut sink);
    let mut ranked: BTreeMap<Sort, BTreeSet<u64>> = BTreeMap::new();
    for (sort, value) in sink.tokens.iter().filter(|(sort, _)| *sort >= Sort::Version) {
        ranked.entry(*sort).or_default().insert(*value);
    }
    let ranks: BTreeMap<(Sort, u64), u64> = ranked
        .into_iter()
        .flat_map(|(sort, values)| {
            values.into_iter().zip(1..).map(move |(value, rank)| ((sort, value), rank))
        })
        .collect();
    let mut numbers: BTreeMap<(Sort, u64), u64> = BTreeMap::new();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for token in sink.tokens {
        let next = numbers.len() as u64;
        let value = match token.0 {
            Sort::Plain => token.1,
            sort if sort >= Sort::Version => ranks.get(&token).copied().unwrap_or_default(),
            _ => *numbers.entry(token).or_insert(next),
        };
        hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash
}

/// Something that can be written as tokens.
trait Canon {
    fn canon(&self, sink: &mut Sink);
}

// === impl Sink ===

impl Sink {
    fn plain(&mut self, value: u64) {
        self.tokens.push((Sort::Plain, value));
    }

    fn sorted(&mut self, sort: Sort, value: u64) {
        self.tokens.push((sort, value));
    }

    fn text(&mut self, text: &str) {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.plain(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold));
    }

    fn count(&mut self, count: u8) {
        self.plain(u64::from(count.min(2)));
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Canon for $type {
            fn canon(&self, sink: &mut Sink) {
                sink.plain(*self as u64);
            }
        }
    )*};
}
plain!(
    bool,
    u8,
    i64,
    usize,
    Outcome,
    Trigger,
    Class,
    Kind,
    crate::api::ConditionStatus,
    verdict::TroubleKind
);

macro_rules! sorted {
    ($($type:ty => $sort:ident),*) => {$(
        impl Canon for $type {
            fn canon(&self, sink: &mut Sink) {
                sink.sorted(Sort::$sort, u64::from(self.0));
            }
        }
    )*};
}
sorted!(RunId => Run, CallId => Call, WriteSerial => Serial, Version => Version, Epoch => Epoch, Ask => Order);

/// Takes a struct apart: fields that count, then those that don't.
macro_rules! fields {
    ($type:ident { $($field:ident),* } $(but { $($skipped:ident),* })?) => {
        impl Canon for $type {
            fn canon(&self, sink: &mut Sink) {
                let Self { $($field,)* $($($skipped: _,)*)? } = self;
                $($field.canon(sink);)*
            }
        }
    };
}

impl Canon for Millis {
    fn canon(&self, sink: &mut Sink) {
        sink.plain((self.0 + LONG_PAST).saturating_sub(sink.now));
    }
}

impl Canon for PlanId {
    fn canon(&self, sink: &mut Sink) {
        self.0.canon(sink);
    }
}

impl Canon for str {
    fn canon(&self, sink: &mut Sink) {
        sink.text(self);
    }
}

impl Canon for String {
    fn canon(&self, sink: &mut Sink) {
        sink.text(self);
    }
}

impl<T: Canon + ?Sized> Canon for &T {
    fn canon(&self, sink: &mut Sink) {
        (**self).canon(sink);
    }
}

impl<T: Canon + ?Sized> Canon for Arc<T> {
    fn canon(&self, sink: &mut Sink) {
        (**self).canon(sink);
    }
}

impl<T: Canon> Canon for Option<T> {
    fn canon(&self, sink: &mut Sink) {
        self.is_some().canon(sink);
        self.iter().for_each(|value| value.canon(sink));
    }
}

impl<T: Canon> Canon for [T] {
    fn canon(&self, sink: &mut Sink) {
        self.len().canon(sink);
        self.iter().for_each(|value| value.canon(sink));
    }
}

impl<T: Canon> Canon for Vec<T> {
    fn canon(&self, sink: &mut Sink) {
        self.as_slice().canon(sink);
    }
}

impl<T: Canon> Canon for VecDeque<T> {
    fn canon(&self, sink: &mut Sink) {
        self.len().canon(sink);
        self.iter().for_each(|value| value.canon(sink));
    }
}

impl<T: Canon> Canon for BTreeSet<T> {
    fn canon(&self, sink: &mut Sink) {
        self.len().canon(sink);
        self.iter().for_each(|value| value.canon(sink));
    }
}

impl<K: Canon, V: Canon> Canon for BTreeMap<K, V> {
    fn canon(&self, sink: &mut Sink) {
        self.len().canon(sink);
        self.iter().for_each(|(key, value)| (key, value).canon(sink));
    }
}

impl<A: Canon, B: Canon> Canon for (A, B) {
    fn canon(&self, sink: &mut Sink) {
        self.0.canon(sink);
        self.1.canon(sink);
    }
}

// === objects ===

fields!(Key { namespace, name });
fields!(Target { key, uid, version });
fields!(TestPlanRunStatus { observed_generation, plans, stop, conditions } but { start_time, summary });
fields!(PlanStatus { id, outcome, reason } but { message });
fields!(Condition { type_, status, reason, observed_generation } but { message, last_transition_time });

impl Canon for StopStatus {
    fn canon(&self, sink: &mut Sink) {
        (self.trigger, self.attempts.is_some()).canon(sink);
        (self.observed_stopped, &self.observed_request).canon(sink);
        (self.completion_time.is_some(), &self.last_handled_request).canon(sink);
    }
}

impl Canon for RunView {
    fn canon(&self, sink: &mut Sink) {
        (&self.key, &self.uid).canon(sink);
        (self.version, self.generation).canon(sink);
        (&self.spec.plans, self.spec.stopped).canon(sink);
        (&self.stop_annotation, &self.status).canon(sink);
    }
}

impl Canon for GatewayView {
    fn canon(&self, sink: &mut Sink) {
        (&self.key, &self.uid).canon(sink);
        (self.version, self.generation).canon(sink);
        (&self.spec.url, (self.spec.suspend, self.spec.timeout_seconds)).canon(sink);
    }
}

// === the machine ===

impl Canon for Machine {
    fn canon(&self, sink: &mut Sink) {
        // In the order of their names: in which order the records were made decides nothing.
        let runs = self.by_key.values().filter_map(|id| self.runs.get(id));
        runs.for_each(|run| run.canon(sink));
        (&self.gateways, self.writes).canon(sink);
        (&self.runs_list, &self.gateways_list).canon(sink);
        (self.draining, self.drained).canon(sink);
    }
}

impl Canon for machine::List {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::List, u64::from(self.serial));
        (self.done, self.failed.is_some()).canon(sink);
    }
}

impl Canon for Run {
    fn canon(&self, sink: &mut Sink) {
        (self.id, &self.view).canon(sink);
        (self.heard, self.floor).canon(sink);
        sink.sorted(Sort::List, u64::from(self.floor_list));
        sink.sorted(Sort::List, u64::from(self.list));
        (&self.standing, &self.request).canon(sink);
        (self.ask, self.since).canon(sink);
        (&self.plans, self.dirty).canon(sink);
        (self.unwritten, self.told).canon(sink);
        (self.last_write, &self.write).canon(sink);
        sink.count(self.write_failures);
        (self.timer, self.place).canon(sink);
    }
}

impl Canon for Asked {
    fn canon(&self, _sink: &mut Sink) {}
}

fields!(Standing { stopped, request, stop, gateway });

impl Canon for Stop {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::None => sink.plain(0),
            Self::Asked(trigger) => (1_i64, *trigger).canon(sink),
            Self::Rearmed(trigger) => (2_i64, *trigger).canon(sink),
        }
    }
}

impl Canon for Plan {
    fn canon(&self, sink: &mut Sink) {
        (self.id, self.unsure).canon(sink);
        sink.count(self.sent);
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
            Self::InFlight { serial, base, status: _, reason, news } => {
                (1_i64, (*serial, *base)).canon(sink);
                (reason, *news).canon(sink);
            }
            Self::Conflict { base, read_at } => (2_i64, (*base, *read_at)).canon(sink),
            Self::Backoff { until, plain } => (3_i64, (*until, *plain)).canon(sink),
        }
    }
}

fields!(Gateways { by_key, origins, calls } but { seed, next_call, next_epoch, rules });

impl Canon for Origin {
    fn canon(&self, sink: &mut Sink) {
        (&self.members, self.in_flight).canon(sink);
        (&self.served_last, Millis(self.paid_until / 1000)).canon(sink);
    }
}

impl Canon for Gateway {
    fn canon(&self, sink: &mut Sink) {
        (&self.view, &self.credential).canon(sink);
        sink.sorted(Sort::List, u64::from(self.list));
        sink.sorted(Sort::Move, u64::from(self.seq));
        sink.sorted(Sort::Round, u64::from(self.opened));
        (self.endpoint, &self.gate).canon(sink);
        (self.last_start, &self.queue).canon(sink);
        (&self.flying, (self.fresh_turn, &self.told)).canon(sink);
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
        if let Self::Shut(Shut { kind, text: _, until, failures, probe }) = self {
            (*kind, (*until, *probe)).canon(sink);
            sink.count(*failures);
        }
    }
}

impl Canon for Credential {
    fn canon(&self, sink: &mut Sink) {
        (self.epoch, (self.proven, self.reading)).canon(sink);
        let problem = self.problem.as_ref().map(|problem| matches!(problem, Problem::Refused(_)));
        (self.version.as_ref().map(|version| &version.0), problem).canon(sink);
        (self.again, (self.poll_at, self.refresh_at)).canon(sink);
        sink.count(self.failures);
        sink.count(self.polls);
    }
}

fields!(Told { word, since, looked, written, writing, not_before });
fields!(Queue { plans, suspects, served_last } but { fresh, fresh_len, serial });
fields!(Member { plan, waiters } but { namespace });
fields!(Waiter { run, ask } but { deadline });
fields!(Waiting { place, waiters } but { namespace });

impl Canon for Suspects {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::Order, u64::from(self.serial));
        (&self.plans, self.record).canon(sink);
    }
}

impl Canon for Record {
    fn canon(&self, sink: &mut Sink) {
        sink.plain(u64::from(self.strikes.min(4)));
        sink.sorted(Sort::Round, u64::from(self.opened));
        (self.condemned, self.not_before).canon(sink);
    }
}

impl Canon for Place {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Fresh(order) => sink.sorted(Sort::Order, *order),
            Self::Suspect(serial) => sink.sorted(Sort::Order, u64::from(*serial)),
            Self::Away => sink.plain(0),
        }
    }
}

// === the world ===

impl Canon for World {
    fn canon(&self, sink: &mut Sink) {
        (&self.machine, &self.server).canon(sink);
        (&self.runs, &self.gateways).canon(sink);
        (&self.calls, &self.ghost).canon(sink);
        self.ops.values().for_each(|op| op.canon(sink));
        (&self.truth, self.breach.as_ref().map(|(invariant, _)| *invariant)).canon(sink);
    }
}

impl Canon for Server {
    fn canon(&self, sink: &mut Sink) {
        (&self.runs, &self.gateways).canon(sink);
        self.log.canon(sink);
    }
}

impl Canon for Change {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Run(view) => view.canon(sink),
            Self::RunGone(key, uid) | Self::GatewayGone(key, uid) => (key, uid).canon(sink),
            Self::Gateway(view) => view.canon(sink),
        }
    }
}

fields!(Watch { at, list } but { kind });

impl Canon for List {
    fn canon(&self, sink: &mut Sink) {
        match self {
            Self::Asked => sink.plain(0),
            Self::Served(version, items) => (*version, items).canon(sink),
        }
    }
}

fields!(Truth { secret_missing } but { natures, secret });

impl Canon for Flight {
    fn canon(&self, sink: &mut Sink) {
        (&self.gateway, &self.plans).canon(sink);
        sink.sorted(Sort::Round, u64::from(self.round));
        self.claims.canon(sink);
    }
}

impl Canon for Op {
    fn canon(&self, sink: &mut Sink) {
        self.orphan.canon(sink);
        match &self.done {
            None => sink.plain(0),
            Some(Input::Wrote(.., WriteResult::Done(version))) => (1_i64, *version).canon(sink),
            Some(Input::Read(_, ReadResult::Found(view))) => (2_i64, &**view).canon(sink),
            Some(_) => sink.plain(3),
        }
        match &self.request {
            Request::Write { run, serial, to, status, asks } => {
                (*run, *serial).canon(sink);
                (to, (status, asks)).canon(sink);
            }
            Request::WriteGateway { serial, to, status: _ } => (*serial, to).canon(sink),
            Request::Read(key) => key.canon(sink),
        }
    }
}

impl Canon for Claim {
    fn canon(&self, sink: &mut Sink) {
        (&self.uid, self.plan).canon(sink);
        sink.sorted(Sort::Ask, u64::from(self.ask));
    }
}

impl Canon for Known {
    fn canon(&self, sink: &mut Sink) {
        (&self.view.uid, &self.view.spec.plans).canon(sink);
        (self.view.version, self.floor).canon(sink);
        sink.sorted(Sort::List, u64::from(self.floor_list));
        sink.sorted(Sort::List, u64::from(self.listed));
        (&self.standing, self.view.status.stop.is_some()).canon(sink);
    }
}

impl Canon for KnownGateway {
    fn canon(&self, sink: &mut Sink) {
        sink.sorted(Sort::Round, u64::from(self.round));
        (&self.view, self.failed).canon(sink);
    }
}

impl Canon for Ghost {
    fn canon(&self, sink: &mut Sink) {
        (&self.known, &self.gateways).canon(sink);
        sink.sorted(Sort::List, u64::from(self.list));
        self.asks.len().canon(sink);
        for ((uid, plan), ask) in &self.asks {
            (uid, *plan).canon(sink);
            sink.sorted(Sort::Ask, u64::from(*ask));
        }
        (&self.granted, (&self.answered, &self.written)).canon(sink);
    }
}
