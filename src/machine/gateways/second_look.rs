//! The second look before a verdict gives a plan up: the Secret is read once more. A credential that was rotated may be
//! refused in any way, and what it was told is no word on a plan.
//!
//! The same plans are sent again with another credential, once for each version of the Secret. If there is no other, or
//! none can be read, the verdict stands. Meanwhile the plan counts as in its call.

use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::held::{Doubt, Held};
use crate::machine::ids::{Epoch, PlanId};

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
