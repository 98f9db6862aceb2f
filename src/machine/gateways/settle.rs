//! The plans of a call that has ended: each is settled, asked for again, or kept apart.

use std::sync::Arc;

use crate::api::Outcome;
use crate::machine::answer::Gist;
use crate::machine::backoff::chance;
use crate::machine::call::{CallProgress, Member, Progress, Settled, Waiter, Waiters};
use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::held::{Held, Released, gives_up};
use crate::machine::gateways::suspects::SuspectHistory;
use crate::machine::gateways::verdict::{Parts, Trouble, Verdict};
use crate::machine::ids::{CallId, Epoch, GatewayKey, PlanId};
use crate::machine::limits::STRIKES;
use crate::machine::runs::Runs;
use crate::machine::runs::run::Run;
use crate::machine::time::Now;

/// A call under way.
#[derive(Clone, Debug)]
pub struct Call {
    pub gateway: GatewayKey,
    pub origin: Arc<str>,
    pub endpoint: Epoch,
    pub credential: Epoch,
    pub seq: u32,
    pub members: Vec<Member>,
    /// None if its ids were fresh.
    pub suspects: Option<SuspectHistory>,
    /// It tries a shut gate.
    pub is_probe: bool,
}

impl Call {
    pub fn plans(&self) -> Vec<PlanId> {
        self.members.iter().map(|member| member.plan).collect()
    }
}

/// Hands the ids of an ended call back.
#[derive(Debug)]
pub struct Settling<'a> {
    pub gateway: &'a mut Gateway,
    pub call: CallId,
    /// The answer to the call, in short.
    pub gist: Gist,
    pub runs: &'a Runs,
    pub now: Now,
    /// The latest call that has begun.
    pub last_begun: u32,
    /// Verdicts that give plans up wait for the Secret to be read.
    pub rereads: bool,
    pub out: Vec<CallProgress>,
}

// === impl Settling ===

impl Settling<'_> {
    pub fn judge(&mut self, call: Call, verdict: Verdict) {
        let end = Progress::Unanswered(None);
        self.tell_search(&call, &verdict);
        match verdict {
            Verdict::Settled(settled) => {
                for member in call.members {
                    self.conclude(member, &settled, call.credential);
                }
            }
            Verdict::Named(named) => {
                let mut rest = Vec::new();
                for member in call.members {
                    match named.iter().find(|(plan, _)| *plan == member.plan) {
                        Some((_, settled)) => self.conclude(member, settled, call.credential),
                        None => rest.push(member),
                    }
                }
                // These plans have had an answer: they did not make the gateway fail, even if they were blamed for it.
                self.together(rest, SuspectHistory::default(), &end);
            }
            Verdict::Split(parts) => {
                let history = call.suspects.unwrap_or_default().of_part();
                self.split(call.members, history, parts, &end);
            }
            Verdict::Wait(_) => self.again(call.members, &end),
        }
    }

    /// Takes in what the answer to a call tells of plans that were not in it.
    fn tell_search(&mut self, call: &Call, verdict: &Verdict) {
        let queue = &mut self.gateway.queue;
        match (verdict, call.suspects) {
            (Verdict::Wait(_), _) => {}
            (Verdict::Settled(settled), history) if settled.outcome == Outcome::Accepted => {
                history
                    .into_iter()
                    .for_each(|history| queue.accepted(history, call.members.len(), self.now.mono));
            }
            (Verdict::Settled(_) | Verdict::Named(_) | Verdict::Split(_), history) => {
                queue.refused(history, call.members.len());
            }
        }
    }

    /// Hands back the plans of a call after which the gateway has to be waited for. Yields whether the plans are to
    /// blame rather than the gateway.
    pub fn wait(&mut self, call: Call, trouble: &Trouble, probe: bool, seed: u64) -> bool {
        let gist = (trouble.strikes > 0).then_some(self.gist);
        let end = if trouble.maybe_stopped { Progress::Unanswered(gist) } else { Progress::Refused(gist) };
        // A plan that was taken out of its group to try a shut gate tells of the gate, and goes back to the others:
        // after an outage they are asked for together. But a plan that had no answer in time must not cost that time
        // again.
        let costly = trouble.strikes >= STRIKES;
        match call.suspects {
            Some(history) if history.home.is_some() && !costly => {
                for member in call.members {
                    let member = self.unanswered(member, &end);
                    self.gateway.queue.rejoin(member, history);
                }
                return history.quarantined;
            }
            None if probe && !costly => {
                self.again(call.members, &end);
                return false;
            }
            Some(_) | None => {}
        }
        if trouble.strikes == 0 {
            match call.suspects {
                Some(history) => self.together(call.members, history, &end),
                None => self.again(call.members, &end),
            }
            return false;
        }
        let mut history = SuspectHistory { home: None, ..call.suspects.unwrap_or_default() };
        history.strike(trouble.strikes, trouble.blamed.is_some(), self.last_begun);
        let newly = !history.quarantined && history.is_to_blame(self.gateway.last_served_call);
        history.quarantined |= newly;
        if !history.quarantined {
            self.together(call.members, history, &end);
            return false;
        }
        self.gateway.queue.refused(call.suspects, call.members.len());
        history.other_half = None;
        let [_] = &call.members[..] else {
            // A part that has cost its time as well is taken apart for good.
            let parts = match history.parts {
                Parts::Several if !newly => Parts::Singles,
                parts => parts,
            };
            self.split(call.members, history.of_blamed_part(), parts, &end);
            return true;
        };
        if let Some(settled) =
            trouble.blamed.as_ref().filter(|_| history.is_forbidden(self.gateway.last_served_call))
        {
            for member in call.members {
                self.conclude(member, settled, call.credential);
            }
            return true;
        }
        if newly {
            history.strikes = 1;
        }
        // Such a plan shuts no gate, whose probes would have the Secret read: so it is read for the plan.
        self.gateway.credential.doubt(trouble.doubts_credential);
        let chance = chance(seed, &self.gateway.key, self.call.0);
        history.not_before = self.now.mono + self.gateway.quarantine_delay(history.strikes, chance, trouble);
        self.together(call.members, history, &end);
        true
    }

    /// Settles a plan, unless the verdict gives it up and the credential may be the cause (R28).
    fn conclude(&mut self, member: Member, settled: &Settled, credential: Epoch) {
        if !gives_up(settled) || !self.rereads {
            return self.settle(member, settled);
        }
        if self.gateway.goes_again(member.plan, credential) {
            return self.send_again(member, settled);
        }
        self.gateway.in_flight.insert(member.plan, self.call);
        self.gateway.held.push(Held {
            call: self.call,
            endpoint: self.gateway.endpoint,
            credential,
            gist: self.gist,
            member,
            settled: settled.clone(),
            not_by: self.gateway.credential.reading,
            ready: false,
        });
    }

    /// Applies a verdict that was held back, or sends its plan again.
    pub fn release(&mut self, held: Held, released: Released) {
        match released {
            Released::Final => self.settle(held.member, &held.settled),
            Released::Again => self.send_again(held.member, &held.settled),
            Released::Moved => self.again(vec![held.member], &Progress::Unanswered(None)),
        }
    }

    /// Sends a plan again for the runs that still want it. A run that has taken the stop back meanwhile takes the verdict
    /// (rule 9). To one whose deadline has passed it says nothing: it was given to a credential that is no more.
    fn send_again(&mut self, mut member: Member, settled: &Settled) {
        let runs = self.runs;
        let asks = |waiter: &Waiter| runs.get(waiter.run).is_some_and(Run::is_stop_requested);
        let (kept, gone): (Waiters, Waiters) = member.waiters.into_iter().partition(asks);
        member.waiters = kept;
        self.tell(member.plan, &gone, &Progress::Settled(settled.clone()));
        let end = match settled.outcome {
            Outcome::Unknown => Progress::Unanswered(Some(self.gist)),
            _ => Progress::Refused(Some(self.gist)),
        };
        self.again(vec![member], &end);
    }

    fn settle(&mut self, member: Member, settled: &Settled) {
        self.gateway.sent_again.remove(&member.plan);
        self.gateway.queue.call_ended(member.plan, None);
        let end = Progress::Settled(settled.clone());
        self.tell(member.plan, &member.waiters, &end);
    }

    pub fn again(&mut self, members: Vec<Member>, end: &Progress) {
        for member in members {
            let member = self.unanswered(member, end);
            self.gateway.queue.call_ended(member.plan, Some(member));
        }
    }

    fn together(&mut self, members: Vec<Member>, history: SuspectHistory, end: &Progress) {
        let members = self.all_unanswered(members, end);
        self.gateway.queue.suspect(members, history);
    }

    fn split(&mut self, mut members: Vec<Member>, history: SuspectHistory, parts: Parts, end: &Progress) {
        if parts == Parts::Halves {
            let members = self.all_unanswered(members, end);
            return self.gateway.queue.halve(members, history, self.now.mono);
        }
        let size = parts.size_of(members.len());
        while !members.is_empty() {
            let rest = members.split_off(members.len().min(size));
            self.together(members, history, end);
            members = rest;
        }
    }

    fn all_unanswered(&mut self, members: Vec<Member>, end: &Progress) -> Vec<Member> {
        members.into_iter().map(|member| self.unanswered(member, end)).collect()
    }

    /// Tells every waiter, and keeps only those that still want the plan.
    fn unanswered(&mut self, mut member: Member, end: &Progress) -> Member {
        self.tell(member.plan, &member.waiters, end);
        member.waiters.retain(|waiter| self.runs.goes_on(waiter, member.plan, self.call, self.now));
        member
    }

    fn tell(&mut self, plan: PlanId, waiters: &[Waiter], end: &Progress) {
        let call = self.call;
        self.out.extend(waiters.iter().map(|waiter| CallProgress {
            waiter: *waiter,
            plan,
            call,
            progress: end.clone(),
        }));
    }
}
