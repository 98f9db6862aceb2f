//! Calls of gateways: which begins next, and what an answer does.

use std::sync::Arc;

use crate::machine::answer::Answer;
use crate::machine::call::{CallProgress, Progress};
use crate::machine::effect::Effect;
use crate::machine::gateways::Gateways;
use crate::machine::gateways::gate::Gate;
use crate::machine::gateways::gateway::NextCall;
use crate::machine::gateways::origin::Readiness;
use crate::machine::gateways::settle::{Call, Settling};
use crate::machine::gateways::verdict::{Verdict, proves, verdict};
use crate::machine::guards::Guard;
use crate::machine::ids::{CallId, GatewayKey};
use crate::machine::runs::Runs;
use crate::machine::time::{Millis, Now};

// === impl Gateways ===

impl Gateways {
    /// Begins every call and every reading of a credential that may begin now.
    pub fn start_calls(&mut self, now: Now, runs: &Runs, out: &mut Vec<Effect>) -> Vec<CallProgress> {
        let mut progress = Vec::new();
        self.touch_due(now.mono);
        for key in std::mem::take(&mut self.touched) {
            self.prepare(&key, now, runs, out, &mut progress);
        }
        if !self.may_call.is_empty() {
            for origin in self.origins.take_touched(now.mono) {
                while self.begin_one(&origin, now, out, &mut progress) {}
                self.origins.settle(&origin, now.mono);
            }
        }
        progress
    }

    /// A call has ended.
    pub fn call_ended(&mut self, id: CallId, answer: &Answer, now: Now, runs: &Runs) -> Vec<CallProgress> {
        let Some(call) = self.calls.remove(&id) else { return Vec::new() };
        self.origins.call_ended(&call.gateway, &call.origin, call.is_probe);
        self.touch(&call.gateway);
        let (last_begun, seed) = (self.next_call as u32, self.seed);
        let (rereads, sequence, endpoint) = (
            self.guards.is_on(Guard::Reread),
            self.guards.is_on(Guard::Sequence),
            self.guards.is_on(Guard::Endpoint),
        );
        let Some(gateway) = self.by_key.get_mut(&call.gateway) else { return Vec::new() };
        gateway.calls = gateway.calls.saturating_sub(1);
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
    pub(super) fn rest(&mut self, key: &GatewayKey, now: Millis) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let queued = gateway.queue.len();
        self.queued = self.queued - std::mem::replace(&mut gateway.counted, queued) + queued;
        let may_call = self.may_call.contains(&key.namespace);
        let call_at = if may_call { gateway.call_at() } else { None };
        let credential_at = if may_call { gateway.credential_at() } else { gateway.held_at() };
        let later = call_at.filter(|at| *at > now);
        let at = [later, credential_at, gateway.notify_at(), gateway.status_at].into_iter().flatten().min();
        if let Some(before) = std::mem::replace(&mut gateway.timer, at) {
            self.timers.remove(&(before, key.clone()));
        }
        if let Some(settings) = &gateway.settings {
            let readiness = if may_call { gateway.readiness(now) } else { Readiness::NotReady };
            self.origins.set_ready(key, &settings.origin, readiness);
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
        let Some(key) = self.origins.next(name, now.mono) else { return false };
        let next = self.by_key.get_mut(&key).and_then(|gateway| gateway.next_call(now.mono));
        let Some(next) = next else {
            debug_assert!(false, "{key} was ready and has no call");
            return true;
        };
        self.origins.call_began(&key, name, next.is_probe, now.mono);
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
        gateway.calls += 1;
        if let Some(settings) = &gateway.settings {
            gateway.rate.spend(settings.calls_per_second, now.mono);
        }
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
            is_probe,
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
}
