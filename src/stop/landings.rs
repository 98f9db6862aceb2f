//! What becomes of the ids of a call that has ended: settled, asked for again, or kept apart.

use super::gateway::{Call, Gateway, STRIKES};
use super::gateways::{End, Landing, Wants};
use super::queue::{Member, Record, Waiter};
use super::retry::chance;
use super::types::{CallId, Now, PlanId};
use super::verdict::{Settled, Trouble, Verdict};

/// Hands the ids of an ended call back.
pub(super) struct Landings<'a, W> {
    pub(super) gateway: &'a mut Gateway,
    pub(super) call: CallId,
    pub(super) wants: &'a W,
    pub(super) now: Now,
    pub(super) out: Vec<Landing>,
}

impl<W: Wants> Landings<'_, W> {
    pub(super) fn judge(&mut self, call: Call, verdict: Verdict) {
        let record = call.suspects.unwrap_or_default();
        match verdict {
            Verdict::Settled(settled) => {
                call.members.into_iter().for_each(|member| self.settle(member, &settled));
            }
            Verdict::Named(named) => {
                let mut rest = Vec::new();
                for member in call.members {
                    match named.iter().find(|(plan, _)| *plan == member.plan) {
                        Some((_, settled)) => self.settle(member, settled),
                        None => rest.push(member),
                    }
                }
                // They have had an answer: whatever they were blamed for, they did not make the gateway fail.
                self.together(rest, Record::default(), &End::Unanswered);
            }
            Verdict::Split | Verdict::Wait(_) => self.split(call.members, record),
        }
    }

    /// The gateway is to be waited for. Yields whether the plans are to blame rather than the gateway.
    pub(super) fn wait(&mut self, call: Call, trouble: Trouble, seed: u64) -> bool {
        if !trouble.suspicious {
            match call.suspects {
                Some(record) => self.together(call.members, record, &End::Refused),
                None => self.again(call.members, &End::Refused),
            }
            return false;
        }
        let mut record = call.suspects.unwrap_or_default();
        if record.strikes == 0 {
            record.opened = self.gateway.opened;
        }
        record.strikes = record.strikes.saturating_add(1);
        record.condemned |= record.strikes >= STRIKES && self.gateway.opened > record.opened;
        if !record.condemned {
            self.together(call.members, record, &End::Unanswered);
        } else if call.members.len() > 1 {
            self.split(call.members, record);
        } else {
            let chance = chance(seed, &self.gateway.key, self.call.0);
            record.not_before = self.now.mono
                + self.gateway.alone(record.strikes.saturating_sub(STRIKES - 1), chance, &trouble);
            self.together(call.members, record, &End::Unanswered);
        }
        record.condemned
    }

    fn settle(&mut self, member: Member, settled: &Settled) {
        self.gateway.queue.landed(member.plan, None);
        let end = End::Settled(settled.clone());
        self.tell(member.plan, &member.waiters, &end);
    }

    pub(super) fn again(&mut self, members: Vec<Member>, end: &End) {
        for member in members {
            let member = self.unanswered(member, end);
            self.gateway.queue.landed(member.plan, Some(member));
        }
    }

    fn together(&mut self, members: Vec<Member>, record: Record, end: &End) {
        let members = members.into_iter().map(|member| self.unanswered(member, end)).collect();
        self.gateway.queue.suspect(members, record);
    }

    fn split(&mut self, mut members: Vec<Member>, record: Record) {
        let half = members.split_off(members.len() / 2);
        self.together(members, record, &End::Unanswered);
        self.together(half, record, &End::Unanswered);
    }

    /// Tells everyone, and keeps only those who still want the plan.
    fn unanswered(&mut self, mut member: Member, end: &End) -> Member {
        self.tell(member.plan, &member.waiters, end);
        member.waiters.retain(|waiter| self.wants.goes_on(waiter, member.plan, self.call, self.now));
        member
    }

    fn tell(&mut self, plan: PlanId, waiters: &[Waiter], end: &End) {
        let call = self.call;
        self.out.extend(waiters.iter().map(|waiter| Landing {
            waiter: *waiter,
            plan,
            call,
            end: end.clone(),
        }));
    }
}
