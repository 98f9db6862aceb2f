//! Origins: the limits of one site, however many gateway objects lead to it.
//!
//! A gateway's own limits bind its own calls ([`gateway`](super::gateway)). All gateways of one origin (scheme, host
//! and port of the URL) share a cap that is the operator's. Within it, calls of open gates go before probes of shut
//! ones, and namespaces take turns, as do the gateways of each. A namespace that has no call under way always finds a slot, so that no neighbour
//! whose calls hang can hold it up; beyond that, probes take one slot of an origin at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::fair_queue::FairQueue;
use crate::machine::gateways::rate::Rate;
use crate::machine::ids::GatewayKey;
use crate::machine::limits::OriginLimits;
use crate::machine::time::Millis;
use crate::machine::timers::Timers;

/// The limits and calls that the gateways of one origin share.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub(in crate::machine) members: BTreeSet<GatewayKey>,
    /// Calls under way, by namespace.
    pub(in crate::machine) in_flight: BTreeMap<Arc<str>, usize>,
    pub(in crate::machine) probes_in_flight: usize,
    /// The members with a call to begin, as far as they go: those with an open gate, and those that would try a shut
    /// one.
    pub(in crate::machine) open: FairQueue<Arc<str>, GatewayKey>,
    pub(in crate::machine) shut: FairQueue<Arc<str>, GatewayKey>,
    pub(in crate::machine) rate: Rate,
    /// The moment at which it is to be served again.
    pub(in crate::machine) timer: Option<Millis>,
}

/// Whether a gateway has a call to begin, and of which kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    NotReady,
    Call,
    Probe,
}

/// All origins.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub(in crate::machine) by_name: BTreeMap<Arc<str>, Origin>,
    pub(in crate::machine) limits: OriginLimits,
    pub(in crate::machine) timers: Timers<Arc<str>>,
    /// Origins for which something has changed.
    pub(in crate::machine) touched: BTreeSet<Arc<str>>,
}

// === impl Origin ===

impl Origin {
    /// Takes the next member whose call may begin now.
    fn next(&mut self, limits: OriginLimits, now: Millis) -> Option<GatewayKey> {
        if self.rate.free_at(limits.calls_per_second) > now {
            return None;
        }
        let has_slot = self.in_flight.values().sum::<usize>() < limits.max_in_flight;
        let (in_flight, may_probe) = (&self.in_flight, has_slot && self.probes_in_flight == 0);
        let is_quiet = |namespace: &Arc<str>| !in_flight.contains_key(namespace);
        let call = self.open.next_in_turn_where(|namespace| has_slot || is_quiet(namespace));
        call.or_else(|| self.shut.next_in_turn_where(|namespace| may_probe || is_quiet(namespace)))
    }

    /// The moment at which another call could begin although none ends before; none if no member is ready.
    fn due_at(&self, limits: OriginLimits) -> Option<Millis> {
        let is_ready = !self.open.is_empty() || !self.shut.is_empty();
        is_ready.then(|| self.rate.free_at(limits.calls_per_second))
    }

    /// Whether it may be forgotten. An origin without gateways is kept while its calls last, for they still count.
    fn is_idle(&self) -> bool {
        self.members.is_empty() && self.in_flight.is_empty()
    }
}

// === impl Origins ===

impl Origins {
    pub fn get(&self, name: &str) -> Option<&Origin> {
        self.by_name.get(name)
    }

    /// Puts a gateway at this origin. An origin that it stays at goes on counting its earlier calls.
    pub fn update(&mut self, key: &GatewayKey, before: Option<&Arc<str>>, after: &Arc<str>) {
        if let Some(before) = before.filter(|before| *before != after) {
            self.leave(key, before);
        }
        self.by_name.entry(after.clone()).or_default().members.insert(key.clone());
    }

    /// Takes a gateway away from this origin.
    pub fn leave(&mut self, key: &GatewayKey, name: &Arc<str>) {
        if let Some(origin) = self.by_name.get_mut(name) {
            origin.members.remove(key);
            origin.open.remove(&key.namespace, key);
            origin.shut.remove(&key.namespace, key);
            self.touched.insert(name.clone());
        }
    }

    /// Says whether a gateway has a call to begin.
    pub fn set_ready(&mut self, key: &GatewayKey, name: &Arc<str>, readiness: Readiness) {
        let Some(origin) = self.by_name.get_mut(name) else { return };
        let (call, probe) = (readiness == Readiness::Call, readiness == Readiness::Probe);
        for (queue, is_ready) in [(&mut origin.open, call), (&mut origin.shut, probe)] {
            if is_ready && queue.put(&key.namespace, key.clone()) {
                self.touched.insert(name.clone());
            } else if !is_ready {
                queue.remove(&key.namespace, key);
            }
        }
    }

    /// Takes the next gateway of an origin whose call may begin now.
    pub fn next(&mut self, name: &str, now: Millis) -> Option<GatewayKey> {
        self.by_name.get_mut(name)?.next(self.limits, now)
    }

    pub fn call_began(&mut self, key: &GatewayKey, name: &str, is_probe: bool, now: Millis) {
        let Some(origin) = self.by_name.get_mut(name) else { return };
        *origin.in_flight.entry(key.namespace.clone()).or_default() += 1;
        origin.probes_in_flight += usize::from(is_probe);
        origin.rate.spend(self.limits.calls_per_second, now);
    }

    pub fn call_ended(&mut self, key: &GatewayKey, name: &Arc<str>, is_probe: bool) {
        let Some(origin) = self.by_name.get_mut(name) else { return };
        if let Some(count) = origin.in_flight.get_mut(&key.namespace) {
            *count -= 1;
            if *count == 0 {
                origin.in_flight.remove(&key.namespace);
            }
        }
        origin.probes_in_flight -= usize::from(is_probe);
        self.touched.insert(name.clone());
    }

    /// The origins that have changed, or whose time has come.
    pub fn take_touched(&mut self, now: Millis) -> BTreeSet<Arc<str>> {
        while let Some(name) = self.timers.next_due(now) {
            if let Some(origin) = self.by_name.get_mut(&name) {
                origin.timer = None;
                self.touched.insert(name);
            }
        }
        std::mem::take(&mut self.touched)
    }

    /// Sets the timer of an origin that has been served, and forgets it if nothing is left of it.
    pub fn settle(&mut self, name: &Arc<str>, now: Millis) {
        self.touched.remove(name);
        let Some(origin) = self.by_name.get_mut(name) else { return };
        // A call that waits for a slot is begun when another one ends.
        let is_idle = origin.is_idle();
        let at = origin.due_at(self.limits).filter(|at| *at > now && !is_idle);
        self.timers.set(name, &mut origin.timer, at);
        if is_idle {
            self.by_name.remove(name);
        }
    }

    pub fn wake_at(&self) -> Option<Millis> {
        self.timers.wake_at()
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
