//! All gateways: which call begins next, and what an answer does to the ids of its call.
//!
//! Calls and their rate are limited per origin of the URL, so that several gateway objects can't multiply what one
//! site is asked; of several limits for one origin the smallest counts, and its gateways take turns.

pub mod credential;
pub mod gate;
pub mod gateway;
pub mod held;
pub mod queue;
mod settle;
pub mod status;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::answer::{Answer, Gist};
use crate::machine::gateways::gate::Gate;
use crate::machine::gateways::gateway::{Call, Gateway};
use crate::machine::gateways::queue::{Member, SuspectHistory, Waiter};
use crate::machine::gateways::settle::Settling;
use crate::machine::gateways::verdict::{Settled, Verdict, proves, verdict};
use crate::machine::guards::{Guard, Guards};
use crate::machine::ids::{CallId, GatewayKey, Millis, Now, PlanId, RunId, Uid};
use crate::machine::input::Effect;
use crate::machine::view::GatewayView;

/// All gateways, their calls and the limits that they share.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    pub(in crate::machine) by_key: BTreeMap<GatewayKey, Gateway>,
    pub(in crate::machine) origins: BTreeMap<String, Origin>,
    pub(in crate::machine) calls: BTreeMap<CallId, Call>,
    pub(in crate::machine) seed: u64,
    pub(in crate::machine) next_call: u64,
    pub(in crate::machine) next_epoch: u64,
    pub(in crate::machine) guards: Guards,
}

/// What the gateways of one origin share.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Origin {
    pub(in crate::machine) members: BTreeSet<GatewayKey>,
    pub(in crate::machine) in_flight: usize,
    pub(in crate::machine) last_served: Option<GatewayKey>,
    /// Microseconds at which the calls so far are paid off (the virtual scheduling form of a token bucket).
    pub(in crate::machine) paid_until: u64,
}

/// What a call has meant for one plan of one run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallProgress {
    pub waiter: Waiter,
    pub plan: PlanId,
    pub call: CallId,
    pub end: Progress,
}

/// How far a plan has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its call has begun.
    Began,
    /// Its call has settled it.
    Settled(Settled),
    /// Its call has ended without a verdict on it, and may have stopped it. Who still wants it waits for the next
    /// call. With what was answered, if that counts against the plan.
    Unanswered(Option<Gist>),
    /// The same, but its call has surely stopped nothing.
    Refused(Option<Gist>),
}

/// What the runs that wait still want.
pub trait Wants {
    /// Whether a run asks again for a plan whose call has ended without a verdict. The run decides, and the queue
    /// follows: who waits is the run's fact alone.
    fn goes_on(&self, waiter: &Waiter, plan: PlanId, call: CallId, now: Now) -> bool;
}

// === impl Gateways ===

impl Gateways {
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub fn get(&self, key: &GatewayKey) -> Option<&Gateway> {
        self.by_key.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Gateway> {
        self.by_key.values()
    }

    /// When there is something to say of a gateway.
    pub fn status_due_at(&self) -> Option<Millis> {
        self.by_key.values().filter_map(Gateway::status_due_at).min()
    }

    pub fn queued(&self) -> usize {
        self.by_key.values().map(|gateway| gateway.queue.len()).sum()
    }

    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    pub fn seen(&mut self, view: GatewayView, list: u32, now: Millis) {
        let key = view.key.clone();
        self.leave_origin(&key);
        let origin = origin(&view.spec.url);
        self.origins.entry(origin.clone()).or_default().members.insert(key.clone());
        let gateway = self.by_key.entry(key.clone()).or_insert_with(|| Gateway::new(key));
        gateway.origin = origin;
        gateway.listed_in = list;
        gateway.observe(view, now);
    }

    /// The object is gone. Its address stays what it was: calls under way are still answered by it.
    pub fn gone(&mut self, key: &GatewayKey, uid: Option<&Uid>) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let other = |view: &Arc<GatewayView>| uid.is_some_and(|uid| *uid != view.uid);
        if gateway.view.as_ref().is_some_and(other) {
            return;
        }
        gateway.view = None;
        self.leave_origin(key);
        self.forget_idle(key);
    }

    /// Every gateway that the list did not bring is gone.
    pub fn listed(&mut self, list: u32) {
        let stale =
            self.by_key.values().filter(|gateway| gateway.view.is_some() && gateway.listed_in != list);
        let stale: Vec<_> = stale.map(|gateway| gateway.key.clone()).collect();
        stale.iter().for_each(|key| self.gone(key, None));
    }

    /// A run wants a plan stopped.
    pub fn offer(&mut self, key: &GatewayKey, plan: PlanId, waiter: Waiter) {
        let gateway = self.by_key.entry(key.clone()).or_insert_with(|| Gateway::new(key.clone()));
        let away = self.guards.is_on(Guard::OneCallAnId) && gateway.in_flight.contains_key(&plan);
        gateway.queue.offer(plan, waiter, away);
    }

    /// A run does not want a plan stopped any more.
    pub fn withdraw(&mut self, key: &GatewayKey, plan: PlanId, run: RunId) {
        if let Some(gateway) = self.by_key.get_mut(key) {
            gateway.queue.withdraw(plan, run);
            self.forget_idle(key);
        }
    }

    pub fn edit(&mut self, key: &GatewayKey, change: impl FnOnce(&mut Gateway)) {
        if let Some(gateway) = self.by_key.get_mut(key) {
            change(gateway);
        }
    }

    /// Begins every call and every reading of a credential that may begin now.
    pub fn start_calls(
        &mut self,
        now: Now,
        may_call: bool,
        wants: &impl Wants,
        out: &mut Vec<Effect>,
    ) -> Vec<CallProgress> {
        let mut progress = Vec::new();
        let last_begun = self.next_call as u32;
        for gateway in self.by_key.values_mut() {
            for (held, doubt) in gateway.release_held() {
                let (call, gist) = (held.call, held.gist);
                let mut settling =
                    Settling { gateway, call, gist, wants, now, last_begun, rereads: true, out: Vec::new() };
                settling.release(held, doubt);
                progress.append(&mut settling.out);
            }
            gateway.read_credential(&mut self.next_epoch, now.mono, out);
        }
        if may_call {
            let awaited = |key| self.by_key.get(key).is_some_and(Gateway::awaited);
            let asked = self.origins.iter().filter(|(_, origin)| origin.members.iter().any(awaited));
            let origins: Vec<_> = asked.map(|(name, _)| name.clone()).collect();
            for origin in origins {
                while self.begin_one(&origin, now, out, &mut progress) {}
            }
        }
        progress
    }

    /// When something may begin by itself.
    pub fn wake_at(&self) -> Option<Millis> {
        let at = |gateway: &Gateway| {
            let at = gateway.wake_at()?;
            let free = self.free_at(self.origins.get(&gateway.origin)?)?;
            Some(at.max(free))
        };
        self.by_key.values().filter_map(at).min()
    }

    /// When the reading begins that a verdict is held back for. Calls or none, it is not to be waited for in vain.
    pub fn held_wake_at(&self) -> Option<Millis> {
        let holds = self.by_key.values().filter(|gateway| !gateway.held.is_empty());
        holds.filter_map(|gateway| gateway.credential.due_at(false, false)).min()
    }

    /// A call has ended.
    pub fn answered(
        &mut self,
        call_id: CallId,
        answer: &Answer,
        now: Now,
        wants: &impl Wants,
    ) -> Vec<CallProgress> {
        let Some(call) = self.calls.remove(&call_id) else { return Vec::new() };
        if let Some(origin) = self.origins.get_mut(&call.origin) {
            origin.in_flight = origin.in_flight.saturating_sub(1);
        }
        let call_gateway = call.gateway.clone();
        let Some(gateway) = self.by_key.get_mut(&call.gateway) else { return Vec::new() };
        for member in &call.members {
            gateway.in_flight.remove(&member.plan);
        }
        let moves_gate = call.seq == gateway.seq || !self.guards.is_on(Guard::Sequence);
        let was_probe = gateway.gate.is_probe(call_id);
        gateway.gate.forget_probe(call_id);

        let last_begun = self.next_call as u32;
        let gist = answer.gist();
        let rereads = self.guards.is_on(Guard::Reread);
        let mut settling =
            Settling { gateway, call: call_id, gist, wants, now, last_begun, rereads, out: Vec::new() };
        if call.endpoint != settling.gateway.endpoint && self.guards.is_on(Guard::Endpoint) {
            settling.again(call.members, &Progress::Unanswered(None));
            return settling.out;
        }
        settling.gateway.spoken |= answer.is_own();
        let verdict = verdict(answer, &call.plans(), settling.gateway.spoken);
        if proves(answer, &verdict) {
            settling.gateway.credential.proven(call.credential);
            settling.gateway.note_served(call_id);
        }
        match verdict {
            Verdict::Wait(trouble) => {
                let quarantined = settling.wait(call, &trouble, was_probe, self.seed);
                if !quarantined && moves_gate {
                    settling.gateway.shut(trouble, now.mono, self.seed);
                }
            }
            answered => {
                if moves_gate && was_probe {
                    settling.gateway.open();
                }
                settling.judge(call, answered);
            }
        }
        let progress = settling.out;
        self.forget_idle(&call_gateway);
        progress
    }

    fn begin_one(
        &mut self,
        name: &str,
        now: Now,
        out: &mut Vec<Effect>,
        progress: &mut Vec<CallProgress>,
    ) -> bool {
        let Some(origin) = self.origins.get(name) else { return false };
        if self.free_at(origin).is_none_or(|at| at > now.mono) {
            return false;
        }
        let interval = self.interval(origin);
        let Some((key, members, suspects, probe)) = self.next_in_turn(name, now.mono) else {
            return false;
        };
        self.next_call += 1;
        let id = CallId(self.next_call);
        let Some(gateway) = self.by_key.get_mut(&key) else { return false };
        let Some(view) = gateway.view.clone() else { return false };
        for member in &members {
            gateway.in_flight.insert(member.plan, id);
            progress.extend(member.waiters.iter().map(|waiter| CallProgress {
                waiter: *waiter,
                plan: member.plan,
                call: id,
                end: Progress::Began,
            }));
        }
        if probe {
            if let Gate::Shut(shut) = &mut gateway.gate {
                shut.probe = Some(id);
            }
            gateway.probes();
            gateway.read_credential(&mut self.next_epoch, now.mono, out);
        }
        let last_on_connection = probe || suspects.is_some_and(|history| history.strikes > 0);
        let call = Call {
            gateway: key.clone(),
            origin: name.to_owned(),
            endpoint: gateway.endpoint,
            credential: gateway.credential.epoch,
            seq: gateway.seq,
            members,
            suspects,
        };
        out.push(Effect::Post {
            call: id,
            gateway: view,
            credential: call.credential,
            plans: call.plans().into_boxed_slice(),
            last_on_connection,
        });
        self.calls.insert(id, call);
        if let Some(origin) = self.origins.get_mut(name) {
            origin.in_flight += 1;
            origin.last_served = Some(key);
            origin.paid_until = origin.paid_until.max(now.mono.0 * 1000) + interval;
        }
        true
    }

    /// The first gateway behind the one served last that has a call to begin.
    #[allow(clippy::type_complexity, reason = "a private pair of a key and what next_call yields")]
    fn next_in_turn(
        &mut self,
        name: &str,
        now: Millis,
    ) -> Option<(GatewayKey, Vec<Member>, Option<SuspectHistory>, bool)> {
        let origin = self.origins.get(name)?;
        let last = origin.last_served.clone();
        let (before, after): (Vec<_>, Vec<_>) =
            origin.members.iter().cloned().partition(|key| last.as_ref().is_some_and(|last| key <= last));
        after.into_iter().chain(before).find_map(|key| {
            let (members, history, probe) = self.by_key.get_mut(&key)?.next_call(now)?;
            Some((key, members, history, probe))
        })
    }

    /// When the origin may be asked again; none while all its slots are taken.
    fn free_at(&self, origin: &Origin) -> Option<Millis> {
        let max = self.limits(origin).map(|(_, max)| max).min().unwrap_or(1);
        if origin.in_flight >= max {
            return None;
        }
        // A quiet second is worth a second's calls at once.
        let burst = 1_000_000 - self.interval(origin);
        Some(Millis(origin.paid_until.saturating_sub(burst).div_ceil(1000)))
    }

    fn interval(&self, origin: &Origin) -> u64 {
        1_000_000 / self.limits(origin).map(|(rate, _)| rate).min().unwrap_or(1)
    }

    /// Calls a second and calls at a time, of each gateway of the origin.
    fn limits(&self, origin: &Origin) -> impl Iterator<Item = (u64, usize)> {
        origin.members.iter().filter_map(|key| self.by_key.get(key)?.view.as_ref()).map(|view| {
            let limits = view.spec.limits.clone().unwrap_or_default();
            let rate = u64::try_from(limits.requests_per_second.unwrap_or(10)).unwrap_or(1).clamp(1, 1000);
            let max = usize::try_from(limits.max_in_flight.unwrap_or(2)).unwrap_or(1).max(1);
            (rate, max)
        })
    }

    /// An origin without gateways is kept while its calls last: what it was asked still counts.
    fn leave_origin(&mut self, key: &GatewayKey) {
        for origin in self.origins.values_mut() {
            origin.members.remove(key);
        }
        self.origins.retain(|_, origin| !origin.members.is_empty() || origin.in_flight > 0);
    }

    fn forget_idle(&mut self, key: &GatewayKey) {
        if self.by_key.get(key).is_some_and(Gateway::is_idle) {
            self.by_key.remove(key);
        }
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}
