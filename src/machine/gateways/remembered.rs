//! What is left of a gateway that is gone, for runs that are being deleted.
//!
//! A namespace is torn down in one sweep, in no order: its gateways and Secrets may go before the runs whose plans are to
//! be stopped at them (rule 17 of `docs/requests.md`). So the object of a gateway that was deleted is remembered for
//! `REMEMBERED_FOR`, with its connection, and for up to `HOLDS_FOR` more while the deletion of a run waits for it. A
//! credential whose Secret is gone is used for such runs, too. Nobody else is served by either, but for the runs that
//! wait in the queue of the same gateway meanwhile.
//! Tests: `rule_17_a_gateway_and_a_secret_that_go_first_are_remembered`,
//! `rule_17_a_gateway_is_used_that_goes_while_the_deletion_waits`, `a_gateway_that_went_long_ago_is_not_remembered`,
//! `a_gateway_that_is_remembered_serves_nobody_else`; `tests/blackbox/deletions.rs`.

use std::sync::Arc;

use crate::machine::effect::Effect;
use crate::machine::gateways::Gateways;
use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::settings::Settings;
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::ids::{GatewayKey, RunId};
use crate::machine::limits::HOLDS_FOR;
use crate::machine::time::Millis;
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::WaitReason;

// === impl Gateway ===

impl Gateway {
    /// The object and its settings, while there is an object, or while runs may use the one that is remembered.
    pub fn object(&self) -> Option<(&Arc<GatewayView>, &Arc<Settings>)> {
        let remembered = self.remembered.as_ref().filter(|_| !self.deleting.is_empty());
        self.view.as_ref().or(remembered.map(|object| &object.view)).zip(self.settings.as_ref())
    }

    /// Whether it counts among the gateways of its origin.
    pub fn is_member(&self) -> bool {
        self.view.is_some() || self.remembered.is_some()
    }

    /// Whether there is a credential to call with. A Secret that is gone leaves the one that was made of it, for runs
    /// that are being deleted.
    pub(in crate::machine) fn has_credential(&self) -> bool {
        self.credential.is_there() || (!self.deleting.is_empty() && self.credential.has_lost_its_secret())
    }

    /// The moment at which what is remembered of its object is forgotten.
    pub fn forgotten_at(&self) -> Option<Millis> {
        // Runs that are deleted one after the other must not keep it for ever.
        let most = if self.deleting.is_empty() { Millis(0) } else { HOLDS_FOR };
        self.remembered.as_ref().map(|object| object.until + most)
    }
}

// === impl Gateways ===

impl Gateways {
    /// Whether no call can be made at a gateway until a person changes something. A Secret that was not found is looked
    /// for once more before that is believed: a right may be missing for a moment.
    pub fn has_nothing_to_send(&self, key: &GatewayKey) -> bool {
        let reason = self.cause_of(key, true).map(WaitCause::reason);
        let is_sure = match reason {
            Some(WaitReason::SecretNotFound) => {
                self.get(key).is_none_or(|gateway| gateway.credential.polls > 1)
            }
            _ => true,
        };
        is_sure && reason.is_some_and(WaitReason::leaves_nothing_to_send)
    }

    /// Forgets the object of a gateway that has been gone for long enough.
    pub(in crate::machine) fn forget_remembered(
        &mut self,
        key: &GatewayKey,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        if self.get(key).and_then(Gateway::forgotten_at).is_some_and(|at| at <= now) {
            self.drop_remembered(key, out);
        }
    }

    pub(in crate::machine) fn drop_remembered(&mut self, key: &GatewayKey, out: &mut Vec<Effect>) {
        let Some(gateway) = self.by_key.get_mut(key) else { return };
        if gateway.remembered.take().is_some() {
            out.push(Effect::Disconnect(key.clone()));
            if let Some(settings) = &gateway.settings {
                self.origins.leave(key, &settings.origin);
            }
        }
    }

    /// The deletion of a run waits until its plans are stopped at this gateway, or it waits for none.
    pub fn deleting(&mut self, run: RunId, gateway: Option<GatewayKey>) {
        let before = self.deleting.get(&run).cloned();
        if before == gateway {
            return;
        }
        if let Some(before) = before {
            self.deleting.remove(&run);
            self.edit(&before, |gateway| {
                gateway.deleting.remove(&run);
            });
        }
        if let Some(key) = gateway {
            self.entry(&key).deleting.insert(run);
            self.deleting.insert(run, key);
        }
    }
}
