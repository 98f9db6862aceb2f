//! When two worlds are the same for a model checker: if they differ in nothing that decides what can happen next.
//!
//! Every value becomes a token. Times count from now, and all that are long past are the same; ids and serials are
//! numbered in the order in which they turn up; versions, lists and everything else that is only ever compared becomes
//! its rank. Counters of failures stop at two. Texts for people are left out, and so are values that follow from others.
//!
//! Structs are taken apart whole, and each field that is left out has its reason beside it: a new field does not
//! compile until somebody has thought of it here. Only the private fields of `StatusMemo` and `FairQueue` can't be
//! named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::World;
use crate::api::{DeletionPolicy, Outcome, Trigger};
use crate::machine::checks::fixtures::wall;
use crate::machine::outbox::Urgency;
use crate::machine::*;

mod around;
mod gateways;
mod machine;
mod objects;

/// The kind of number that a token is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Sort {
    Plain,
    // Numbered as they turn up.
    Run,
    Serial,
    Claim,
    // By rank.
    Version,
    /// Calls, and the latest call at some moment.
    Call,
    /// Deadlines of runs.
    Deadline,
    /// Readings of one run.
    Read,
    /// Requests of one record.
    RequestSeq,
    Endpoint,
    Epoch,
    Lane,
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
    let mut sink = Sink { now: world.now, tokens: Vec::with_capacity(4_000) };
    world.canonical(&mut sink);
    let is_ranked = |sort: Sort| sort >= Sort::Version;
    let mut ranked: Vec<_> = sink.tokens.iter().filter(|(sort, _)| is_ranked(*sort)).copied().collect();
    ranked.sort_unstable();
    ranked.dedup();
    let rank = |token: (Sort, u64)| {
        let first = ranked.partition_point(|other| other.0 < token.0);
        ranked.partition_point(|other| *other < token) - first
    };
    let mut numbers: BTreeMap<(Sort, u64), u64> = BTreeMap::new();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for token in sink.tokens {
        let next = numbers.len() as u64;
        let value = match token.0 {
            Sort::Plain => token.1,
            sort if is_ranked(sort) => rank(token) as u64,
            _ => *numbers.entry(token).or_insert(next),
        };
        hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash
}

/// Something that can be written as tokens.
trait Canonical {
    fn canonical(&self, sink: &mut Sink);
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

    fn count(&mut self, count: impl Into<i64>) {
        self.plain(count.into().min(2) as u64);
    }

    /// The deadline of a run. It is compared with the present and with other deadlines, however long past both are.
    fn deadline(&mut self, deadline: Option<Timestamp>) {
        deadline.canonical(self);
        deadline.iter().for_each(|at| self.sorted(Sort::Deadline, at.as_second() as u64));
    }

    /// A moment in milliseconds since the test began, which may be before that.
    fn moment(&mut self, millis: i64) {
        let from_now = millis + LONG_PAST as i64 - self.now as i64;
        self.plain(from_now.max(0) as u64);
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Canonical for $type {
            fn canonical(&self, sink: &mut Sink) {
                sink.plain(*self as u64);
            }
        }
    )*};
}
plain!(
    bool,
    u8,
    u16,
    u64,
    i64,
    usize,
    Outcome,
    Trigger,
    DeletionPolicy,
    Urgency,
    Kind,
    crate::api::ConditionStatus,
    crate::machine::gateways::verdict::TroubleKind,
    wait_reason::WaitReason
);

macro_rules! sorted {
    ($($type:ty => $sort:ident),*) => {$(
        impl Canonical for $type {
            fn canonical(&self, sink: &mut Sink) {
                let Self(number) = *self;
                sink.sorted(Sort::$sort, u64::from(number));
            }
        }
    )*};
}
sorted!(
    RunId => Run, CallId => Call, WriteSerial => Serial, ReadSerial => Read, Version => Version, Epoch => Epoch, RequestSeq => RequestSeq,
    Lane => Lane
);

/// Takes a struct apart: fields that count, then those that don't.
macro_rules! fields {
    ($type:ident { $($field:ident),* $(,)? } $(but { $($skipped:ident),* $(,)? })?) => {
        impl Canonical for $type {
            fn canonical(&self, sink: &mut Sink) {
                let Self { $($field,)* $($($skipped: _,)*)? } = self;
                $($field.canonical(sink);)*
            }
        }
    };
}

use fields;

impl Canonical for Millis {
    fn canonical(&self, sink: &mut Sink) {
        let Self(millis) = self;
        sink.plain(millis.saturating_add(LONG_PAST).saturating_sub(sink.now));
    }
}

impl Canonical for Timestamp {
    fn canonical(&self, sink: &mut Sink) {
        sink.moment(self.as_millisecond() - wall(0).as_millisecond());
    }
}

impl Canonical for Time {
    fn canonical(&self, sink: &mut Sink) {
        let Self(time) = self;
        time.canonical(sink);
    }
}

impl Canonical for PlanId {
    fn canonical(&self, sink: &mut Sink) {
        let Self(id) = self;
        id.canonical(sink);
    }
}

impl Canonical for str {
    fn canonical(&self, sink: &mut Sink) {
        sink.text(self);
    }
}

impl Canonical for String {
    fn canonical(&self, sink: &mut Sink) {
        sink.text(self);
    }
}

impl<T: Canonical + ?Sized> Canonical for &T {
    fn canonical(&self, sink: &mut Sink) {
        (**self).canonical(sink);
    }
}

impl<T: Canonical + ?Sized> Canonical for Box<T> {
    fn canonical(&self, sink: &mut Sink) {
        (**self).canonical(sink);
    }
}

impl<T: Canonical + ?Sized> Canonical for Arc<T> {
    fn canonical(&self, sink: &mut Sink) {
        (**self).canonical(sink);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn canonical(&self, sink: &mut Sink) {
        self.is_some().canonical(sink);
        self.iter().for_each(|value| value.canonical(sink));
    }
}

impl<T: Canonical> Canonical for [T] {
    fn canonical(&self, sink: &mut Sink) {
        self.len().canonical(sink);
        self.iter().for_each(|value| value.canonical(sink));
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn canonical(&self, sink: &mut Sink) {
        self.as_slice().canonical(sink);
    }
}

impl<T: Canonical> Canonical for VecDeque<T> {
    fn canonical(&self, sink: &mut Sink) {
        self.len().canonical(sink);
        self.iter().for_each(|value| value.canonical(sink));
    }
}

impl<T: Canonical> Canonical for BTreeSet<T> {
    fn canonical(&self, sink: &mut Sink) {
        self.len().canonical(sink);
        self.iter().for_each(|value| value.canonical(sink));
    }
}

impl<K: Canonical, V: Canonical> Canonical for BTreeMap<K, V> {
    fn canonical(&self, sink: &mut Sink) {
        self.len().canonical(sink);
        self.iter().for_each(|(key, value)| (key, value).canonical(sink));
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn canonical(&self, sink: &mut Sink) {
        let (first, second) = self;
        first.canonical(sink);
        second.canonical(sink);
    }
}
