//! Calls of gateways: their beginning, and their end.
//!
//! **R4.** No call before the first list. Calls begin once runs have been listed in this term, and at a gateway only
//! once its object has been seen; "there is no such gateway" is told only after gateways have been listed. A later list
//! stops nothing.
//! Tests: `a_gateway_that_is_asked_for_and_is_not_there_says_so`, `h26_gateways_can_not_be_listed`,
//! `h13_lease_lost_with_a_call_in_flight`.
//!
//! **R9.** A call begins when a plan is queued, the gate and the credential allow it, the limits of the gateway and the
//! cap of its origin have room, and, for fresh plans, either the window after the last call has passed or the call is
//! full. So the first call after a quiet spell begins at once. At an origin, calls go before probes, namespaces take
//! turns, and a namespace without a call under way always finds a slot.
//! Tests: `a_call_begins_when_nothing_stands_in_its_way`, `plans_are_gathered_after_a_call_until_the_window_ends`,
//! `a_call_that_waits_for_a_slot_begins_when_one_is_free`, `a_namespace_with_nothing_in_flight_always_finds_a_slot`,
//! `calls_go_before_probes_and_probes_take_one_slot_beyond_each_namespaces_first`,
//! `gateways_of_a_namespace_take_turns_however_soon_the_first_of_them_is_ready_again`; the reference checks the limits as
//! I3 at every call.
//!
//! **R12.** Nothing else delays a call. Slow status writes never do: in an emergency the stop goes first.
//! Tests: `h22_answers_faster_than_writes`.
//!
//! **R13.** An answer from a former address says nothing. It counts for plans only if the gateway still has the address
//! (URL, company id, uid) that the call was made to; otherwise the plans are asked for again. An edit of the Secret,
//! limits or TLS voids nothing.
//! Tests: `h14_gateway_edited_in_flight`, `h15_gateway_deleted_and_made_again`; without it the model finds a
//! counterexample: `without_endpoints_the_old_address_speaks_for_the_new_one`.
//!
//! **R14.** An answer from before the gate last moved does not move it. The gateway's `seq` grows whenever its gate
//! opens or shuts, its object is edited or its credential changes; only a call with the present `seq` moves the gate.
//! So two time-outs of one outage count once, and a late success neither opens the gate nor undoes a 401.
//! Tests: `h12_one_of_two_calls_is_unauthorized`; without it the model finds a counterexample:
//! `without_a_sequence_the_past_shuts_the_gate`.

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

    /// Takes in the end of a call, and yields its progress.
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
        let is_proof = proves(answer, &verdict);
        if is_proof {
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
                settling.gateway.answered(call.credential, is_proof);
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
        self.forget_remembered(key, now.mono, out);
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        for (held, released) in gateway.release_held() {
            let (call, gist) = (held.call, held.gist);
            let mut settling =
                Settling { gateway, call, gist, runs, now, last_begun, rereads: true, out: Vec::new() };
            settling.release(held, released);
            progress.append(&mut settling.out);
        }
        gateway.read_credential(&mut self.readings, now.mono, out);
        if self.may_call.contains(&key.namespace) {
            gateway.try_connection(&mut self.last_look, now.mono, out);
        }
        self.rest(key, now.mono);
    }

    /// Sets a gateway's timer and its place at its origin anew, and forgets the gateway if nobody asks for it.
    pub(super) fn rest(&mut self, key: &GatewayKey, now: Millis) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        let queued = gateway.queue.len();
        self.queued = self.queued - std::mem::replace(&mut gateway.counted, queued) + queued;
        let may_call = self.may_call.contains(&key.namespace);
        let call_at = if may_call { gateway.call_at() } else { None };
        let credential_at = if may_call { gateway.credential_at() } else { gateway.held_at() };
        let later = call_at.filter(|at| *at > now);
        let look_at = gateway.look_at().filter(|_| may_call);
        let at =
            [later, credential_at, look_at, gateway.notify_at(), gateway.status_at, gateway.forgotten_at()]
                .into_iter()
                .flatten()
                .min();
        let is_idle = gateway.is_idle();
        self.timers.set(key, &mut gateway.timer, at.filter(|_| !is_idle));
        if let Some(settings) = &gateway.settings {
            let readiness = if may_call { gateway.readiness(now) } else { Readiness::NotReady };
            self.origins.set_ready(key, &settings.origin, readiness);
        }
        if is_idle {
            self.by_key.remove(key);
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
            gateway.read_credential(&mut self.readings, now.mono, out);
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
