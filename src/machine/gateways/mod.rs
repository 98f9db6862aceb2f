//! Gateways: the choice of the next call, the consequences of an answer for the plans of its call, and the status of
//! each gateway.
//!
//! [`Gateways`] takes demands of runs, hands out calls, and yields their progress. A gateway is visited when something
//! has happened to it or its time has come, never because another one has something to do: so a turn costs the same
//! among ten thousand gateways as among ten.

mod calls;
pub mod claim;
pub mod credential;
pub mod gate;
pub mod gateway;
pub mod held;
mod knowledge;
pub mod look;
pub mod origin;
mod publish;
pub mod queue;
pub mod rate;
pub mod readings;
mod remembered;
mod search;
mod second_look;
pub mod settings;
pub mod settle;
pub mod status;
pub mod suspects;
pub mod verdict;
pub mod wait_cause;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::gateway::{Gateway, Remembered};
use self::origin::Origins;
use self::readings::Readings;
use self::settle::Call;
use crate::machine::call::Waiter;
use crate::machine::effect::Effect;
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, Epoch, GatewayKey, Kind, PlanId, RunId, Uid};
use crate::machine::input::{CredentialRead, Reached};
use crate::machine::limits::{OriginLimits, REMEMBERED_FOR};
use crate::machine::list::{Extent, Listed, Lists};
use crate::machine::time::Millis;
use crate::machine::timers::Timers;
use crate::machine::view::GatewayView;

/// All gateways, their calls and the limits that they share.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    pub(in crate::machine) by_key: BTreeMap<GatewayKey, Gateway>,
    pub(in crate::machine) origins: Origins,
    pub(in crate::machine) calls: BTreeMap<CallId, Call>,
    /// Gateways whose objects can't be read.
    pub(in crate::machine) unreadable: BTreeMap<GatewayKey, Unreadable>,
    pub(in crate::machine) lists: Lists,
    /// The namespaces in which calls may begin: runs have been listed there.
    pub(in crate::machine) may_call: Listed,
    /// No call may begin any more: the end is near.
    pub(in crate::machine) ending: bool,
    /// Gateways to which something has happened since calls were last begun.
    pub(in crate::machine) touched: BTreeSet<GatewayKey>,
    pub(in crate::machine) unpublished: BTreeSet<GatewayKey>,
    pub(in crate::machine) timers: Timers<GatewayKey>,
    pub(in crate::machine) queued: usize,
    pub(in crate::machine) guards: Guards,
    pub(in crate::machine) seed: u64,
    pub(in crate::machine) next_call: u64,
    pub(in crate::machine) last_look: u32,
    pub(in crate::machine) readings: Readings,
    /// The gateway of each run whose deletion waits.
    pub(in crate::machine) deleting: BTreeMap<RunId, GatewayKey>,
}

/// A gateway whose object can't be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub(in crate::machine) uid: Uid,
    pub(in crate::machine) why: Box<str>,
    /// The list that last brought it.
    pub(in crate::machine) listed_in: u32,
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

    /// Whether something has happened to a gateway since calls were last begun.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty() || !self.unpublished.is_empty()
    }

    /// The next moment at which a call or a reading may begin, or something is to be told.
    pub fn wake_at(&self) -> Option<Millis> {
        let origin = self.origins.wake_at().filter(|_| !self.may_call.is_empty());
        [self.timers.wake_at(), origin].into_iter().flatten().min()
    }

    // === observations ===

    pub fn observe(&mut self, view: GatewayView, now: Millis, out: &mut Vec<Effect>) {
        let (key, list) = (view.key.clone(), self.lists.of(&view.key.namespace).serial);
        self.unreadable.remove(&key);
        let gateway = self.entry(&key);
        let before = gateway.settings.as_ref().filter(|_| gateway.is_member());
        let before = before.map(|settings| settings.origin.clone());
        if gateway.remembered.take().is_some() {
            // Another one has taken its place.
            out.push(Effect::Disconnect(key.clone()));
        }
        gateway.listed_in = list;
        gateway.observe(view, now);
        if let Some(after) = gateway.settings.clone() {
            self.origins.update(&key, before.as_ref(), &after.origin);
        }
    }

    /// Takes in that the object is gone. The address stays what it was: calls under way are still answered by it.
    pub fn gone(&mut self, key: &GatewayKey, uid: Option<&Uid>, now: Millis, out: &mut Vec<Effect>) {
        if self.unreadable.get(key).is_some_and(|object| uid.is_none_or(|uid| *uid == object.uid)) {
            self.unreadable.remove(key);
            self.touch(key);
        }
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let is_other = |view: &Arc<GatewayView>| uid.is_some_and(|uid| *uid != view.uid);
        if gateway.view.as_ref().is_some_and(is_other) {
            return;
        }
        if let Some(view) = gateway.view.take() {
            let has_connection = gateway.credential.epoch != Epoch(0);
            gateway.remembered = Some(Remembered { view, until: now + REMEMBERED_FOR });
            if !has_connection {
                // There is nothing to call it with.
                self.drop_remembered(key, out);
            }
        }
        self.touch(key);
    }

    /// Takes in that an object can't be read: it counts as gone, but runs that wait for it are told why. The text is for
    /// users.
    pub fn unreadable(&mut self, key: &GatewayKey, uid: Uid, why: &str, out: &mut Vec<Effect>) {
        self.gone(key, None, Millis(0), out);
        // It is there, and may lead elsewhere by now: what was known of it counts no more.
        self.drop_remembered(key, out);
        let listed_in = self.lists.of(&key.namespace).serial;
        self.unreadable.insert(key.clone(), Unreadable { uid, why: why.into(), listed_in });
        self.touch(key);
    }

    pub fn list_began(&mut self, extent: &Extent) {
        self.lists.of_extent(extent).began();
    }

    /// Ends a list: the gateways of its extent that it did not bring are gone.
    pub fn list_ended(&mut self, extent: &Extent, now: Millis, out: &mut Vec<Effect>) {
        let list = self.lists.of_extent(extent);
        list.ended();
        let serial = list.serial;
        let is_stale = |gateway: &&Gateway| {
            extent.covers(&gateway.key.namespace) && gateway.view.is_some() && gateway.listed_in != serial
        };
        let stale: Vec<_> =
            self.by_key.values().filter(is_stale).map(|gateway| gateway.key.clone()).collect();
        stale.iter().for_each(|key| self.gone(key, None, now, out));
        self.unreadable.retain(|key, object| !extent.covers(&key.namespace) || object.listed_in == serial);
        self.touch_all(extent);
    }

    /// Takes in that gateways can't be listed. The text is for users.
    pub fn list_failed(&mut self, extent: &Extent, text: String) {
        self.lists.of_extent(extent).failed = Some(text);
        self.touch_all(extent);
    }

    /// Takes in the end of a reading of a credential.
    pub fn credential_read(&mut self, key: &GatewayKey, epoch: Epoch, read: CredentialRead, now: Millis) {
        self.edit(key, |gateway| gateway.credential_read(epoch, read, now));
        if let Some(next) = self.readings.end() {
            self.touch(&next);
        }
    }

    /// Takes in the end of a try to open a connection.
    pub fn connection_tried(&mut self, key: &GatewayKey, number: u32, reached: Reached, now: Millis) {
        self.edit(key, |gateway| gateway.connection_tried(number, reached, now));
    }

    /// Runs have been listed: calls for them may begin.
    pub fn allow_calls(&mut self, runs: &Extent) {
        if !self.ending && self.may_call.add(runs) {
            self.touch_all(runs);
        }
    }

    /// No call begins any more: the end is near.
    pub fn end_calls(&mut self) {
        self.ending = true;
        self.may_call = Listed::default();
        self.touch_all(&Extent::all(Kind::Gateways));
    }

    // === demands of runs ===

    /// Queues plans that a run wants stopped.
    pub fn offer(&mut self, key: &GatewayKey, plans: &[PlanId], waiter: Waiter) {
        let one_call_a_plan = self.guards.is_on(Guard::OneCallAnId);
        let gateway = self.entry(key);
        for plan in plans {
            let in_call = one_call_a_plan && gateway.in_flight.contains_key(plan);
            gateway.queue.offer(*plan, waiter, in_call);
        }
    }

    /// Strikes a run out of those that wait for these plans.
    pub fn withdraw(&mut self, key: &GatewayKey, plans: &[PlanId], run: RunId) {
        self.edit(key, |gateway| plans.iter().for_each(|plan| gateway.queue.withdraw(*plan, run)));
    }

    /// Ends the gate's wait, because a person asks for it.
    pub fn hurry(&mut self, key: &GatewayKey, now: Millis) {
        self.edit(key, |gateway| gateway.gate.hurry(now));
    }

    /// Shortens the wait of the gate and for the credential: a stop is asked for anew, which is worth a try.
    pub fn hurry_for_request(&mut self, key: &GatewayKey, now: Millis) {
        self.edit(key, |gateway| {
            gateway.gate.hurry_for_request(now);
            gateway.credential.hurry_for_request(now);
        });
    }

    // === helpers ===

    pub(in crate::machine) fn entry(&mut self, key: &GatewayKey) -> &mut Gateway {
        self.touch(key);
        self.by_key.entry(key.clone()).or_insert_with(|| Gateway::new(key.clone()))
    }

    pub(in crate::machine) fn edit(&mut self, key: &GatewayKey, change: impl FnOnce(&mut Gateway)) {
        if let Some(gateway) = self.by_key.get_mut(key) {
            change(gateway);
            self.touch(key);
        }
    }

    fn touch(&mut self, key: &GatewayKey) {
        self.touched.insert(key.clone());
        self.unpublished.insert(key.clone());
    }

    /// Marks every gateway of some namespaces. That is rare: it happens at a list and at the end of the term.
    fn touch_all(&mut self, extent: &Extent) {
        let keys: Vec<_> = self.by_key.keys().filter(|key| extent.covers(&key.namespace)).cloned().collect();
        self.touched.extend(keys.iter().cloned());
        self.unpublished.extend(keys);
    }

    fn touch_due(&mut self, now: Millis) {
        while let Some(key) = self.timers.next_due(now) {
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
