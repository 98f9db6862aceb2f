//! The second look at the Secret, before a verdict gives a plan up.
//!
//! **R28.** Before a verdict gives a plan up (Rejected or Unknown), the Secret is read once more: a credential that was
//! rotated may be refused in any way, and an answer to it is no word on a plan. The plan is sent again with another
//! credential, once for each version of the Secret. If there is no other credential, or none can be read, the verdict
//! stands. Meanwhile the plan counts as in its call.
//! Tests: `h28_a_rotated_token_is_found_however_the_old_one_is_refused`, `a_second_look_is_taken_once`,
//! `a_verdict_that_is_held_back_is_not_lost`, `a_held_verdict_does_not_wait_for_other_calls`,
//! `no_verdict_is_final_by_a_token_that_was_rotated`; without it the model finds a counterexample:
//! `without_a_second_look_a_rotated_token_gives_a_plan_up`.

use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::held::{Held, Released};
use crate::machine::ids::{Epoch, PlanId};

// === impl Gateway ===

impl Gateway {
    /// Doubts a verdict that gives this plan up. Yields whether the plan is sent again, since there is another
    /// credential than the one that its call was made with; else the verdict is held until the Secret has been read.
    pub(in crate::machine) fn goes_again(&mut self, plan: PlanId, credential: Epoch) -> bool {
        let goes = self.may_go_again(plan, credential);
        if goes {
            self.note_sent_again(plan);
        } else {
            self.credential.doubt(!self.was_sent_again(plan));
        }
        goes
    }

    /// Notes that a reading has ended, with a Secret or without: the verdicts that have waited for it are ready.
    pub(in crate::machine) fn held_are_ready(&mut self, epoch: Epoch) {
        let since = self.held.iter_mut().filter(|held| held.not_by != Some(epoch));
        since.for_each(|held| held.ready = true);
    }

    /// Takes the verdicts that are held back no more, and says what becomes of the plan of each.
    pub(in crate::machine) fn release_held(&mut self) -> Vec<(Held, Released)> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let (lost, endpoint) = (self.object().is_none(), self.endpoint);
        // At the new address the plan has not been asked for yet.
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
                let released = if has_moved(&held) {
                    Released::Moved
                } else if self.may_go_again(plan, held.credential) {
                    self.note_sent_again(plan);
                    Released::Again
                } else {
                    Released::Final
                };
                (held, released)
            })
            .collect()
    }

    /// Whether there is another credential than that of the call, and the plan was not yet sent again for it.
    fn may_go_again(&self, plan: PlanId, credential: Epoch) -> bool {
        let has_another = self.credential.is_there() && credential != self.credential.epoch;
        has_another && !self.was_sent_again(plan)
    }

    fn was_sent_again(&self, plan: PlanId) -> bool {
        self.sent_again.get(&plan) == Some(&self.credential.version)
    }

    /// Notes that the plan is sent again, which happens once for each version of the Secret.
    fn note_sent_again(&mut self, plan: PlanId) {
        // Plans that were withdrawn meanwhile are forgotten here.
        if self.sent_again.len() > self.queue.len() + self.in_flight.len() {
            let (queue, in_flight) = (&self.queue, &self.in_flight);
            self.sent_again.retain(|plan, _| queue.contains(*plan) || in_flight.contains_key(plan));
        }
        self.sent_again.insert(plan, self.credential.version.clone());
    }
}
