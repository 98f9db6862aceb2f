//! Verdicts that give a plan up, held back until the Secret has been read once more: a credential that was rotated
//! may be refused in any way, and what it was told is no word on a plan.
//!
//! The same plans are sent again with another credential, once for each version of the Secret. If there is no other, or
//! none can be read, the verdict stands. Meanwhile the plan counts as in its call.

use crate::api::Outcome;
use crate::machine::answer::Gist;
use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::queue::Member;
use crate::machine::gateways::verdict::Settled;
use crate::machine::ids::{CallId, Epoch, PlanId};

/// A verdict that is held back.
#[derive(Clone, Debug)]
pub struct Held {
    pub(in crate::machine) call: CallId,
    pub(in crate::machine) endpoint: Epoch,
    /// What the call was made with.
    pub(in crate::machine) credential: Epoch,
    pub(in crate::machine) gist: Gist,
    pub(in crate::machine) member: Member,
    pub(in crate::machine) settled: Settled,
    /// The reading that was under way when the answer came: what it finds may be older than the answer.
    pub(in crate::machine) not_by: Option<Epoch>,
    /// The Secret has been read since.
    pub(in crate::machine) ready: bool,
}

/// What becomes of a verdict that gives a plan up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum Doubt {
    /// It is final.
    Stands,
    /// The plan is sent once more: there is another credential.
    Again,
    /// The Secret is read first.
    Hold,
}

/// Whether a verdict gives a plan up for which another credential might do better.
pub(in crate::machine) fn gives_up(settled: &Settled) -> bool {
    match settled.outcome {
        Outcome::Rejected | Outcome::Unknown => true,
        Outcome::Pending
        | Outcome::Accepted
        | Outcome::NotRunning
        | Outcome::Expired
        | Outcome::Withdrawn => false,
    }
}

// === impl Gateway ===

impl Gateway {
    /// What becomes of a verdict that gives this plan up, of a call with that credential.
    pub(in crate::machine) fn doubt(&mut self, plan: PlanId, credential: Epoch) -> Doubt {
        if self.may_go_again(plan, credential) {
            return self.send_again(plan);
        }
        self.credential.doubt(!self.was_sent_again(plan));
        Doubt::Hold
    }

    /// The Secret was read, or could not be, by the reading of that epoch.
    pub(in crate::machine) fn held_are_ready(&mut self, epoch: Epoch) {
        let since = self.held.iter_mut().filter(|held| held.not_by != Some(epoch));
        since.for_each(|held| held.ready = true);
    }

    /// Verdicts that are held back no more, and what becomes of each.
    pub(in crate::machine) fn release_held(&mut self) -> Vec<(Held, Doubt)> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let (lost, endpoint) = (self.view.is_none(), self.endpoint);
        // At another address nobody has asked for its plan yet.
        let has_moved = |held: &Held| lost || held.endpoint != endpoint;
        let all = std::mem::take(&mut self.held);
        let (over, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|held| {
            held.ready || has_moved(held) || self.may_go_again(held.member.plan, held.credential)
        });
        self.held = kept;
        over.into_iter()
            .map(|held| {
                let plan = held.member.plan;
                self.in_flight.remove(&plan);
                let doubt = if has_moved(&held) {
                    Doubt::Again
                } else if self.may_go_again(plan, held.credential) {
                    self.send_again(plan)
                } else {
                    Doubt::Stands
                };
                (held, doubt)
            })
            .collect()
    }

    /// Whether there is another credential than the one of the call, which the plan was not sent again with yet.
    fn may_go_again(&self, plan: PlanId, credential: Epoch) -> bool {
        let has_another = self.credential.is_there() && credential != self.credential.epoch;
        has_another && !self.was_sent_again(plan)
    }

    fn was_sent_again(&self, plan: PlanId) -> bool {
        self.sent_again.get(&plan) == Some(&self.credential.version)
    }

    /// Once for each version of the Secret.
    fn send_again(&mut self, plan: PlanId) -> Doubt {
        // Who has been withdrawn meanwhile is not waited for here.
        if self.sent_again.len() > self.queue.len() + self.in_flight.len() {
            let (queue, flying) = (&self.queue, &self.in_flight);
            self.sent_again.retain(|plan, _| queue.contains(*plan) || flying.contains_key(plan));
        }
        self.sent_again.insert(plan, self.credential.version.clone());
        Doubt::Again
    }
}
