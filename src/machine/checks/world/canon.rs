//! When two worlds are the same for a model checker: if they differ in nothing that decides what can happen next.
//!
//! Every value becomes a token. Times count from now, and what is long past is all the same; ids and serials are
//! numbered in the order in which they turn up; versions, lists and everything else that is only ever compared becomes
//! its rank. Counters of failures stop at two. Left out are texts, times in statuses, and what can be derived.
//!
//! Structs are taken apart whole, so that a new field must be thought of here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::World;
use crate::api::{Condition, Outcome, PlanStatus, StopStatus, TestPlanRunStatus, Trigger};
use crate::machine::outbox::write::Urgency;
use crate::machine::*;

mod around;
mod machine;

/// What kind of number a token is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Sort {
    Plain,
    // Numbered as they turn up.
    Run,
    Call,
    Serial,
    RequestSeq,
    // By rank.
    Version,
    Epoch,
    List,
    Move,
    Order,
    Round,
    Secret,
}

/// Tokens of a world.
struct Sink {
    now: u64,
    tokens: Vec<(Sort, u64)>,
}

/// Longer ago than anything that still counts.
const LONG_PAST: u64 = 31_000;

/// A number that equal worlds share, and others hardly ever do.
pub(in crate::machine) fn digest(world: &World) -> u64 {
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
    Urgency,
    Kind,
    crate::api::ConditionStatus,
    gateways::verdict::TroubleKind,
    wait_reason::WaitReason
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
sorted!(RunId => Run, CallId => Call, WriteSerial => Serial, Version => Version, Epoch => Epoch, RequestSeq => Order);

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

use fields;

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
fields!(PlanStatus { id, outcome, reason } but { message, request_time });
fields!(Condition { type_, status, reason, observed_generation } but { message, last_transition_time });

impl Canon for StopStatus {
    fn canon(&self, sink: &mut Sink) {
        (self.trigger, self.attempts.is_some()).canon(sink);
        (self.observed_stopped, &self.observed_request).canon(sink);
        (&self.observed_restore, self.withdrawn_time.is_some()).canon(sink);
        self.observed_retry.canon(sink);
        (&self.request, &self.last_handled_request).canon(sink);
        self.completion_time.is_some().canon(sink);
    }
}

impl Canon for RunView {
    fn canon(&self, sink: &mut Sink) {
        (&self.key, &self.uid).canon(sink);
        (self.version, self.generation).canon(sink);
        (&self.spec.plans, self.spec.stopped).canon(sink);
        (&self.stop_annotation, &self.status).canon(sink);
        self.retry_annotation.canon(sink);
    }
}

impl Canon for GatewayView {
    fn canon(&self, sink: &mut Sink) {
        (&self.key, &self.uid).canon(sink);
        (self.version, self.generation).canon(sink);
        (&self.spec.url, (self.spec.suspend, self.spec.timeout_seconds)).canon(sink);
    }
}
