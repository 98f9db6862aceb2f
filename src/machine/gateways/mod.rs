//! Gateways: which call begins next, what an answer does to the ids of its call, and what each gateway's status says.
//!
//! [`Gateways`] takes demands of runs, hands out calls, and yields what these have meant for plans. A gateway is looked
//! at when something has happened to it or its time has come, never because another one has something to do: so a turn
//! costs the same among ten thousand gateways as among ten.

mod calls;
pub mod credential;
pub mod gate;
pub mod gateway;
pub mod held;
pub mod origin;
mod publish;
pub mod queue;
pub mod rate;
mod second_look;
pub mod settings;
pub mod settle;
pub mod status;
pub mod verdict;
pub mod wait_cause;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::gateway::Gateway;
use self::origin::Origins;
use self::settle::Call;
use crate::machine::call::Waiter;
use crate::machine::effect::Effect;
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, Epoch, GatewayKey, Kind, PlanId, RunId, Uid};
use crate::machine::input::CredentialRead;
use crate::machine::limits::OriginLimits;
use crate::machine::list::{Extent, Listed, Lists};
use crate::machine::time::Millis;
use crate::machine::view::GatewayView;

/// All gateways, their calls and the limits that they share.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    pub(in crate::machine) by_key: BTreeMap<GatewayKey, Gateway>,
    pub(in crate::machine) origins: Origins,
    pub(in crate::machine) calls: BTreeMap<CallId, Call>,
    pub(in crate::machine) lists: Lists,
    /// Where calls may begin: runs have been listed there.
    pub(in crate::machine) may_call: Listed,
    /// No call may begin any more: the end is near.
    pub(in crate::machine) ending: bool,
    /// Gateways to which something has happened since calls were last begun, or statuses last published.
    pub(in crate::machine) touched: BTreeSet<GatewayKey>,
    pub(in crate::machine) unpublished: BTreeSet<GatewayKey>,
    pub(in crate::machine) timers: BTreeSet<(Millis, GatewayKey)>,
    pub(in crate::machine) queued: usize,
    pub(in crate::machine) guards: Guards,
    pub(in crate::machine) seed: u64,
    pub(in crate::machine) next_call: u64,
    pub(in crate::machine) next_epoch: u64,
}

// === impl Gateways ===

impl Gateways {
    /// `seed`: jitter is drawn from it.
    pub fn new(limits: OriginLimits, seed: u64) -> Self {
        let origins = Origins { limits, ..Origins::default() };
        Self { origins, seed, ..Self::default() }
    }

    pub fn get(&self, key: &GatewayKey) -> Option<&Gateway> {
        self.by_key.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Gateway> {
        self.by_key.values()
    }

    /// Plans that wait for a call.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// When something may begin, or is to be told, by itself.
    pub fn wake_at(&self) -> Option<Millis> {
        let gateway = self.timers.first().map(|(at, _)| *at);
        let origin = self.origins.wake_at().filter(|_| !self.may_call.is_empty());
        [gateway, origin].into_iter().flatten().min()
    }

    // === what is seen ===

    pub fn observe(&mut self, view: GatewayView, now: Millis) {
        let (key, list) = (view.key.clone(), self.lists.of(&view.key.namespace).serial);
        let gateway = self.entry(&key);
        let before = gateway.object().map(|(_, settings)| settings.origin.clone());
        gateway.listed_in = list;
        gateway.observe(view, now);
        if let Some(after) = gateway.settings.clone() {
            self.origins.update(&key, before.as_ref(), &after.origin);
        }
    }

    /// The object is gone. Its address stays what it was: calls under way are still answered by it.
    pub fn gone(&mut self, key: &GatewayKey, uid: Option<&Uid>, out: &mut Vec<Effect>) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let is_other = |view: &Arc<GatewayView>| uid.is_some_and(|uid| *uid != view.uid);
        if gateway.view.as_ref().is_some_and(is_other) {
            return;
        }
        if gateway.view.take().is_some() {
            out.push(Effect::Disconnect(key.clone()));
            if let Some(settings) = &gateway.settings {
                self.origins.leave(key, &settings.origin);
            }
        }
        self.touch(key);
    }

    pub fn list_began(&mut self, extent: &Extent) {
        self.lists.of_extent(extent).began();
    }

    /// A list is complete: the gateways of its extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, out: &mut Vec<Effect>) {
        let list = self.lists.of_extent(extent);
        list.ended();
        let serial = list.serial;
        let is_stale = |gateway: &&Gateway| {
            extent.covers(&gateway.key.namespace) && gateway.view.is_some() && gateway.listed_in != serial
        };
        let stale: Vec<_> =
            self.by_key.values().filter(is_stale).map(|gateway| gateway.key.clone()).collect();
        stale.iter().for_each(|key| self.gone(key, None, out));
        self.touch_all(extent);
    }

    /// Gateways can't be listed. The text is for users.
    pub fn list_failed(&mut self, extent: &Extent, text: String) {
        self.lists.of_extent(extent).failed = Some(text);
        self.touch_all(extent);
    }

    /// A reading of a credential has ended.
    pub fn credential_read(&mut self, key: &GatewayKey, epoch: Epoch, read: CredentialRead, now: Millis) {
        self.edit(key, |gateway| gateway.credential_read(epoch, read, now));
    }

    /// Runs have been listed: calls for them may begin.
    pub fn allow_calls(&mut self, runs: &Extent) {
        if !self.ending && self.may_call.add(runs) {
            self.touch_all(runs);
        }
    }

    /// The end is near: no call begins any more.
    pub fn end_calls(&mut self) {
        self.ending = true;
        self.may_call = Listed::default();
        self.touch_all(&Extent::all(Kind::Gateways));
    }

    // === what runs ask for ===

    /// A run wants plans stopped.
    pub fn offer(&mut self, key: &GatewayKey, plans: &[PlanId], waiter: Waiter) {
        let one_call_a_plan = self.guards.is_on(Guard::OneCallAnId);
        let gateway = self.entry(key);
        for plan in plans {
            let in_call = one_call_a_plan && gateway.in_flight.contains_key(plan);
            gateway.queue.offer(*plan, waiter, in_call);
        }
    }

    /// A run does not want plans stopped any more.
    pub fn withdraw(&mut self, key: &GatewayKey, plans: &[PlanId], run: RunId) {
        self.edit(key, |gateway| plans.iter().for_each(|plan| gateway.queue.withdraw(*plan, run)));
    }

    /// A person asks to try now.
    pub fn hurry(&mut self, key: &GatewayKey, now: Millis) {
        self.edit(key, |gateway| gateway.gate.hurry(now));
    }

    /// A stop is asked for anew, which is worth a try.
    pub fn hurry_for_request(&mut self, key: &GatewayKey, now: Millis) {
        self.edit(key, |gateway| gateway.gate.hurry_for_request(now));
    }

    // === helpers ===

    fn entry(&mut self, key: &GatewayKey) -> &mut Gateway {
        self.touch(key);
        self.by_key.entry(key.clone()).or_insert_with(|| Gateway::new(key.clone()))
    }

    fn edit(&mut self, key: &GatewayKey, change: impl FnOnce(&mut Gateway)) {
        if let Some(gateway) = self.by_key.get_mut(key) {
            change(gateway);
            self.touch(key);
        }
    }

    fn touch(&mut self, key: &GatewayKey) {
        self.touched.insert(key.clone());
        self.unpublished.insert(key.clone());
    }

    /// Something has happened that concerns every gateway of some namespaces. That is rare: a list, the end of the term.
    fn touch_all(&mut self, extent: &Extent) {
        let keys: Vec<_> = self.by_key.keys().filter(|key| extent.covers(&key.namespace)).cloned().collect();
        self.touched.extend(keys.iter().cloned());
        self.unpublished.extend(keys);
    }

    fn touch_due(&mut self, now: Millis) {
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, key.clone()));
            if let Some(gateway) = self.by_key.get_mut(&key) {
                gateway.timer = None;
                self.touch(&key);
            }
        }
    }
}

#[cfg(test)]
#[path = "gateways_tests.rs"]
mod tests;
