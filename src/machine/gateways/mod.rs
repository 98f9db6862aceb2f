//! Gateways: which call begins next, what an answer does to the ids of its call, and what each gateway's status says.
//!
//! [`Gateways`] takes demands of runs, hands out calls, and yields what these have meant for plans. A gateway is looked
//! at when something has happened to it or its time has come, never because another one has something to do: so a turn
//! costs the same among ten thousand gateways as among ten.

pub mod credential;
pub mod gate;
pub mod gateway;
pub mod held;
pub mod origin;
pub mod queue;
mod second_look;
pub mod settings;
pub mod settle;
pub mod status;
pub mod verdict;
pub mod wait_cause;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::gate::Gate;
use self::gateway::{Gateway, NextCall};
use self::origin::Origins;
use self::settle::{Call, Settling};
use self::status::build_gateway_status;
use self::verdict::{Verdict, proves, verdict};
use self::wait_cause::WaitCause;
use crate::api::TestiniumGatewayStatus;
use crate::machine::answer::Answer;
use crate::machine::call::{CallProgress, Progress, Waiter};
use crate::machine::effect::{Effect, Target};
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, Epoch, GatewayKey, ObjectKey, PlanId, RunId, Uid, Version};
use crate::machine::input::{CredentialRead, WriteResult};
use crate::machine::limits::REASON_SETTLES;
use crate::machine::list::List;
use crate::machine::runs::Runs;
use crate::machine::time::{Millis, Now, whole_seconds};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{WaitReason, Waiting};

/// All gateways, their calls and the limits that they share.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    pub(in crate::machine) by_key: BTreeMap<GatewayKey, Gateway>,
    pub(in crate::machine) origins: Origins,
    pub(in crate::machine) calls: BTreeMap<CallId, Call>,
    pub(in crate::machine) list: List,
    /// Calls may begin: runs have been listed, and the end is not near.
    pub(in crate::machine) may_call: bool,
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

/// What is to be done after gateways were published.
#[derive(Debug, Default)]
pub struct Publication {
    /// Runs that wait where the reason has changed, and has stood for a while.
    pub notified: BTreeSet<RunId>,
    /// Gateways whose own status may be due.
    pub gateways: BTreeSet<GatewayKey>,
}

/// A status that is to be written.
#[derive(Debug)]
pub struct Written {
    pub to: Target,
    pub status: Arc<TestiniumGatewayStatus>,
}

// === impl Gateways ===

impl Gateways {
    /// `seed`: jitter is drawn from it.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
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
        let origin = self.origins.wake_at().filter(|_| self.may_call);
        [gateway, origin].into_iter().flatten().min()
    }

    // === what is seen ===

    pub fn observe(&mut self, view: GatewayView, now: Millis) {
        let (key, list) = (view.key.clone(), self.list.serial);
        let gateway = self.entry(&key);
        let before = gateway.object().map(|(_, settings)| settings.clone());
        gateway.listed_in = list;
        gateway.observe(view, now);
        if let Some(after) = gateway.settings.clone() {
            self.origins.update(&key, before.as_deref(), &after);
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
                self.origins.leave(key, settings);
            }
        }
        self.touch(key);
    }

    pub fn list_began(&mut self) {
        self.list.began();
    }

    /// A list is complete: the gateways that it did not bring are gone.
    pub fn list_ended(&mut self, out: &mut Vec<Effect>) {
        self.list.ended();
        let list = self.list.serial;
        let stale =
            self.by_key.values().filter(|gateway| gateway.view.is_some() && gateway.listed_in != list);
        let stale: Vec<_> = stale.map(|gateway| gateway.key.clone()).collect();
        stale.iter().for_each(|key| self.gone(key, None, out));
        self.touch_all();
    }

    /// Gateways can't be listed. The text is for users.
    pub fn list_failed(&mut self, text: String) {
        self.list.failed = Some(text);
        self.touch_all();
    }

    /// A reading of a credential has ended.
    pub fn credential_read(&mut self, key: &GatewayKey, epoch: Epoch, read: CredentialRead, now: Millis) {
        self.edit(key, |gateway| gateway.credential_read(epoch, read, now));
    }

    /// Whether calls may begin.
    pub fn allow_calls(&mut self, may_call: bool) {
        if self.may_call != may_call {
            self.may_call = may_call;
            self.touch_all();
        }
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

    // === calls ===

    /// Begins every call and every reading of a credential that may begin now.
    pub fn start_calls(&mut self, now: Now, runs: &Runs, out: &mut Vec<Effect>) -> Vec<CallProgress> {
        let mut progress = Vec::new();
        self.touch_due(now.mono);
        for key in std::mem::take(&mut self.touched) {
            self.prepare(&key, now, runs, out, &mut progress);
        }
        if self.may_call {
            for origin in self.origins.take_touched(now.mono) {
                while self.begin_one(&origin, now, out, &mut progress) {}
                self.origins.settle(&origin);
            }
        }
        progress
    }

    /// A call has ended.
    pub fn call_ended(&mut self, id: CallId, answer: &Answer, now: Now, runs: &Runs) -> Vec<CallProgress> {
        let Some(call) = self.calls.remove(&id) else { return Vec::new() };
        self.origins.call_ended(&call.origin);
        self.touch(&call.gateway);
        let (last_begun, seed) = (self.next_call as u32, self.seed);
        let (rereads, sequence, endpoint) = (
            self.guards.is_on(Guard::Reread),
            self.guards.is_on(Guard::Sequence),
            self.guards.is_on(Guard::Endpoint),
        );
        let Some(gateway) = self.by_key.get_mut(&call.gateway) else { return Vec::new() };
        for member in &call.members {
            gateway.in_flight.remove(&member.plan);
        }
        let moves_gate = call.seq == gateway.seq || !sequence;
        let was_probe = gateway.gate.is_probe(id);
        gateway.gate.forget_probe(id);
        let gist = answer.gist();
        let mut settling =
            Settling { gateway, call: id, gist, runs, now, last_begun, rereads, out: Vec::new() };
        if call.endpoint != settling.gateway.endpoint && endpoint {
            settling.again(call.members, &Progress::Unanswered(None));
            return settling.out;
        }
        settling.gateway.spoken |= answer.is_own();
        let verdict = verdict(answer, &call.plans(), settling.gateway.spoken);
        if proves(answer, &verdict) {
            settling.gateway.credential.proven(call.credential);
            settling.gateway.note_served(id);
        }
        match verdict {
            Verdict::Wait(trouble) => {
                let is_plans_fault = settling.wait(call, &trouble, was_probe, seed);
                if !is_plans_fault && moves_gate {
                    settling.gateway.shut(trouble, now.mono, seed);
                }
            }
            answered => {
                if moves_gate && was_probe {
                    settling.gateway.open();
                }
                settling.judge(call, answered);
            }
        }
        settling.out
    }

    /// Releases verdicts that are held back, begins to read the credential if that is due, and tells the origin
    /// whether there is a call to begin.
    fn prepare(
        &mut self,
        key: &GatewayKey,
        now: Now,
        runs: &Runs,
        out: &mut Vec<Effect>,
        progress: &mut Vec<CallProgress>,
    ) {
        let last_begun = self.next_call as u32;
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        for (held, doubt) in gateway.release_held() {
            let (call, gist) = (held.call, held.gist);
            let mut settling =
                Settling { gateway, call, gist, runs, now, last_begun, rereads: true, out: Vec::new() };
            settling.release(held, doubt);
            progress.append(&mut settling.out);
        }
        gateway.read_credential(&mut self.next_epoch, now.mono, out);
        self.rest(key, now.mono);
    }

    /// Takes down what a gateway waits for now, and forgets it if nobody asks for it.
    fn rest(&mut self, key: &GatewayKey, now: Millis) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let queued = gateway.queue.len();
        self.queued = self.queued - std::mem::replace(&mut gateway.counted, queued) + queued;
        let call_at = if self.may_call { gateway.call_at() } else { None };
        let credential_at = if self.may_call { gateway.credential_at() } else { gateway.held_at() };
        let later = call_at.filter(|at| *at > now);
        let at = [later, credential_at, gateway.notify_at()].into_iter().flatten().min();
        if let Some(before) = std::mem::replace(&mut gateway.timer, at) {
            self.timers.remove(&(before, key.clone()));
        }
        if let Some(settings) = &gateway.settings {
            self.origins.set_ready(key, &settings.origin, call_at.is_some_and(|at| at <= now));
        }
        if gateway.is_idle() {
            self.by_key.remove(key);
        } else if let Some(at) = at {
            self.timers.insert((at, key.clone()));
        }
    }

    /// Begins the next call of an origin, if it is free and one of its gateways has a call to begin.
    fn begin_one(
        &mut self,
        name: &Arc<str>,
        now: Now,
        out: &mut Vec<Effect>,
        progress: &mut Vec<CallProgress>,
    ) -> bool {
        let Some(origin) = self.origins.get_mut(name) else { return false };
        if origin.free_at().is_none_or(|at| at > now.mono) {
            return false;
        }
        let Some(key) = origin.next_ready().cloned() else { return false };
        let next = self.by_key.get_mut(&key).and_then(|gateway| gateway.next_call(now.mono));
        let Some(next) = next else {
            origin.ready.remove(&key);
            return true;
        };
        origin.call_began(&key, now.mono);
        self.begin(&key, name, next, now, out, progress);
        self.rest(&key, now.mono);
        self.unpublished.insert(key);
        true
    }

    fn begin(
        &mut self,
        key: &GatewayKey,
        origin: &Arc<str>,
        next: NextCall,
        now: Now,
        out: &mut Vec<Effect>,
        progress: &mut Vec<CallProgress>,
    ) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let NextCall { members, suspects, is_probe } = next;
        self.next_call += 1;
        let id = CallId(self.next_call);
        for member in &members {
            gateway.in_flight.insert(member.plan, id);
            progress.extend(member.waiters.iter().map(|waiter| CallProgress {
                waiter: *waiter,
                plan: member.plan,
                call: id,
                progress: Progress::Began,
            }));
        }
        if is_probe {
            if let Gate::Shut(shut) = &mut gateway.gate {
                shut.probe = Some(id);
            }
            gateway.probes();
            gateway.read_credential(&mut self.next_epoch, now.mono, out);
        }
        let last_on_connection = is_probe || suspects.is_some_and(|history| history.strikes > 0);
        let call = Call {
            gateway: key.clone(),
            origin: origin.clone(),
            endpoint: gateway.endpoint,
            credential: gateway.credential.epoch,
            seq: gateway.seq,
            members,
            suspects,
        };
        out.push(Effect::Post {
            call: id,
            gateway: key.clone(),
            credential: call.credential,
            plans: call.plans().into_boxed_slice(),
            last_on_connection,
        });
        self.calls.insert(id, call);
    }

    // === what is told ===

    /// Why a run of this gateway waits, and since when that is so as far as the gateway has published it.
    pub fn wait_of(
        &self,
        key: &GatewayKey,
        is_stop_requested: bool,
        now: Millis,
    ) -> (Option<WaitReason>, Millis) {
        let gateway = self.get(key);
        let reason = self.cause_of(gateway, is_stop_requested).map(WaitCause::reason);
        let published = gateway.map(|gateway| &gateway.published);
        let since = published.filter(|published| published.reason == reason);
        (reason, since.map_or(now, |published| published.since))
    }

    /// Why a run of this gateway waits, in words, and which object the gateway is.
    pub fn context_of(&self, key: &GatewayKey, is_stop_requested: bool) -> (Option<Waiting>, Option<Uid>) {
        let gateway = self.get(key);
        let waiting = self.cause_of(gateway, is_stop_requested).map(|cause| cause.in_words(&key.name));
        let view = gateway.and_then(|gateway| gateway.view.as_ref());
        (waiting, view.map(|view| view.uid.clone()))
    }

    fn cause_of<'a>(
        &'a self,
        gateway: Option<&'a Gateway>,
        is_stop_requested: bool,
    ) -> Option<WaitCause<'a>> {
        let listed = self.list.state();
        match gateway {
            Some(gateway) => gateway.wait_cause(listed),
            None => is_stop_requested.then(|| WaitCause::unknown_gateway(listed)),
        }
    }

    /// Takes down how the gateways stand to which something has happened, and yields who is to be told.
    pub fn publish(&mut self, now: Millis) -> Publication {
        let gateways = std::mem::take(&mut self.unpublished);
        let mut notified = BTreeSet::new();
        let listed = self.list.state();
        for key in &gateways {
            let Some(gateway) = self.by_key.get_mut(key) else { continue };
            let reason = gateway.wait_reason(listed);
            let published = &mut gateway.published;
            if published.reason != reason {
                (published.reason, published.since) = (reason, now);
            }
            if published.waiters_notified != Some(reason) && published.since + REASON_SETTLES <= now {
                published.waiters_notified = Some(reason);
                notified.extend(gateway.queue.waiters());
            }
        }
        for key in &gateways {
            self.rest(key, now);
        }
        Publication { notified, gateways }
    }

    /// From when on a gateway's own status is to be written, if it is to be.
    pub fn status_due(&self, key: &GatewayKey) -> Option<Millis> {
        self.get(key)?.status_due()
    }

    /// Begins to write the status of a gateway.
    pub fn state(&mut self, key: &GatewayKey, without_messages: bool, now: Now) -> Option<Written> {
        let listed = self.list.state();
        let gateway = self.by_key.get_mut(key)?;
        let view = gateway.view.clone()?;
        let mut waiting = gateway.wait_cause(listed).map(|cause| cause.in_words(&key.name));
        if let Some(waiting) = waiting.as_mut().filter(|_| without_messages) {
            waiting.message = waiting.reason.as_str().to_owned();
        }
        let time = whole_seconds(now.wall);
        let status = build_gateway_status(&view.status, view.generation, waiting.as_ref(), &time);
        gateway.published.begin_write(view.generation);
        Some(Written { to: target(&view), status: Arc::new(status) })
    }

    /// The object of a gateway, as it was last known.
    pub fn target(&self, key: &GatewayKey) -> Option<Target> {
        self.get(key)?.view.as_deref().map(target)
    }

    pub fn version_of(&self, key: &GatewayKey) -> Option<Version> {
        self.get(key)?.view.as_ref().map(|view| view.version)
    }

    /// The write of a gateway's status has ended.
    pub fn stated(&mut self, key: &GatewayKey, result: WriteResult, now: Millis) {
        self.edit(key, |gateway| gateway.published.end_write(result, now));
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

    /// Something has happened that concerns every gateway. That is rare: a list, the end of the term.
    fn touch_all(&mut self) {
        self.touched.extend(self.by_key.keys().cloned());
        self.unpublished.extend(self.by_key.keys().cloned());
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

fn target(view: &GatewayView) -> Target {
    Target { key: ObjectKey::Gateway(view.key.clone()), uid: view.uid.clone(), version: view.version }
}

#[cfg(test)]
#[path = "gateways_tests.rs"]
mod tests;
