//! Origins: the limits of one site, however many gateway objects lead to it.
//!
//! Calls and their rate are limited per origin of the URL, so that several objects can't multiply the load of one site.
//! If several limits are given for one origin, the smallest counts, and its gateways take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::machine::gateways::settings::Settings;
use crate::machine::ids::GatewayKey;
use crate::machine::time::Millis;

/// The limits and calls that the gateways of one origin share.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub(in crate::machine) members: BTreeSet<GatewayKey>,
    /// The number of members with each limit: calls a second, and calls at a time.
    pub(in crate::machine) rates: BTreeMap<u64, usize>,
    pub(in crate::machine) slots: BTreeMap<usize, usize>,
    pub(in crate::machine) in_flight: usize,
    /// The members that have a call to begin as far as they go.
    pub(in crate::machine) ready: BTreeSet<GatewayKey>,
    pub(in crate::machine) last_served: Option<GatewayKey>,
    /// Microseconds at which the calls so far are paid off (the virtual scheduling form of a token bucket).
    pub(in crate::machine) paid_until: u64,
    /// The moment at which it is to be served again.
    pub(in crate::machine) timer: Option<Millis>,
}

/// All origins.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub(in crate::machine) by_name: BTreeMap<Arc<str>, Origin>,
    pub(in crate::machine) timers: BTreeSet<(Millis, Arc<str>)>,
    /// Origins for which something has changed.
    pub(in crate::machine) touched: BTreeSet<Arc<str>>,
}

// === impl Origin ===

impl Origin {
    /// The moment at which its next call may begin; none while all its slots are taken.
    pub fn free_at(&self) -> Option<Millis> {
        let max = self.slots.first_key_value().map_or(1, |(max, _)| *max);
        if self.in_flight >= max {
            return None;
        }
        // A quiet second is worth a second's calls at once.
        let burst = 1_000_000 - self.interval();
        Some(Millis(self.paid_until.saturating_sub(burst).div_ceil(1000)))
    }

    /// Microseconds between two calls.
    fn interval(&self) -> u64 {
        1_000_000 / self.rates.first_key_value().map_or(1, |(rate, _)| *rate)
    }

    /// The ready member that comes next after the one served last.
    pub fn next_ready(&self) -> Option<&GatewayKey> {
        let after = self.last_served.as_ref().and_then(|last| {
            self.ready.range::<GatewayKey, _>((Bound::Excluded(last), Bound::Unbounded)).next()
        });
        after.or_else(|| self.ready.first())
    }

    /// Counts a call of this member that begins.
    pub fn call_began(&mut self, key: &GatewayKey, now: Millis) {
        self.in_flight += 1;
        self.last_served = Some(key.clone());
        self.paid_until = self.paid_until.max(now.0 * 1000) + self.interval();
    }

    /// Counts a change of a member's limits.
    fn count(&mut self, before: &Settings, after: &Settings) {
        decrement(&mut self.rates, before.calls_per_second);
        decrement(&mut self.slots, before.max_in_flight);
        increment(&mut self.rates, after.calls_per_second);
        increment(&mut self.slots, after.max_in_flight);
    }

    /// Whether it may be forgotten: an origin without gateways is kept while its calls last, for they still count.
    fn is_idle(&self) -> bool {
        self.members.is_empty() && self.in_flight == 0
    }
}

// === impl Origins ===

impl Origins {
    pub fn get(&self, name: &str) -> Option<&Origin> {
        self.by_name.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Origin> {
        self.by_name.get_mut(name)
    }

    /// Gives a gateway these settings. An origin that it stays at goes on counting its earlier calls.
    pub fn update(&mut self, key: &GatewayKey, before: Option<&Settings>, after: &Settings) {
        match before {
            Some(before) if before.origin == after.origin => {
                if let Some(origin) = self.by_name.get_mut(&after.origin) {
                    origin.count(before, after);
                }
            }
            Some(before) => {
                self.leave(key, before);
                self.join(key, after);
            }
            None => self.join(key, after),
        }
        self.touched.insert(after.origin.clone());
    }

    fn join(&mut self, key: &GatewayKey, settings: &Settings) {
        let origin = self.by_name.entry(settings.origin.clone()).or_default();
        origin.members.insert(key.clone());
        increment(&mut origin.rates, settings.calls_per_second);
        increment(&mut origin.slots, settings.max_in_flight);
    }

    /// Takes a gateway with these settings away from its origin.
    pub fn leave(&mut self, key: &GatewayKey, settings: &Settings) {
        let Some(origin) = self.by_name.get_mut(&settings.origin) else { return };
        if origin.members.remove(key) {
            origin.ready.remove(key);
            decrement(&mut origin.rates, settings.calls_per_second);
            decrement(&mut origin.slots, settings.max_in_flight);
            self.touched.insert(settings.origin.clone());
        }
    }

    /// Says whether a gateway has a call to begin.
    pub fn set_ready(&mut self, key: &GatewayKey, name: &Arc<str>, is_ready: bool) {
        let Some(origin) = self.by_name.get_mut(name) else { return };
        let has_changed = if is_ready { origin.ready.insert(key.clone()) } else { origin.ready.remove(key) };
        if has_changed {
            self.touched.insert(name.clone());
        }
    }

    pub fn call_ended(&mut self, name: &Arc<str>) {
        if let Some(origin) = self.by_name.get_mut(name) {
            origin.in_flight = origin.in_flight.saturating_sub(1);
            self.touched.insert(name.clone());
        }
    }

    /// The origins that have changed, or whose time has come.
    pub fn take_touched(&mut self, now: Millis) -> BTreeSet<Arc<str>> {
        while let Some((at, name)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, name.clone()));
            if let Some(origin) = self.by_name.get_mut(&name) {
                origin.timer = None;
                self.touched.insert(name);
            }
        }
        std::mem::take(&mut self.touched)
    }

    /// Sets the timer of an origin that has been served, and forgets it if nothing is left of it.
    pub fn settle(&mut self, name: &Arc<str>) {
        let Some(origin) = self.by_name.get_mut(name) else { return };
        let at = if origin.ready.is_empty() { None } else { origin.free_at() };
        if let Some(before) = std::mem::replace(&mut origin.timer, at) {
            self.timers.remove(&(before, name.clone()));
        }
        if origin.is_idle() {
            self.by_name.remove(name);
        } else if let Some(at) = at {
            self.timers.insert((at, name.clone()));
        }
    }

    pub fn wake_at(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }
}

fn increment<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    *counts.entry(key).or_default() += 1;
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
