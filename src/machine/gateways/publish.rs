//! What is told of gateways: to the runs that wait, and in their own statuses.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::TestiniumGatewayStatus;
use crate::machine::effect::Target;
use crate::machine::gateways::Gateways;
use crate::machine::gateways::gateway::Gateway;
use crate::machine::gateways::status::build_gateway_status;
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::ids::{GatewayKey, ObjectKey, RunId, Uid, Version};
use crate::machine::input::WriteResult;
use crate::machine::limits::REASON_SETTLES;
use crate::machine::time::{Millis, Now, whole_seconds};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{WaitReason, Waiting};

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
    /// Why a run of this gateway waits, and since when that is so as far as the gateway has published it.
    pub fn wait_of(
        &self,
        key: &GatewayKey,
        is_stop_requested: bool,
        now: Millis,
    ) -> (Option<WaitReason>, Millis) {
        let gateway = self.get(key);
        let reason = self.cause_of(key, gateway, is_stop_requested).map(WaitCause::reason);
        let published = gateway.map(|gateway| &gateway.published);
        let since = published.filter(|published| published.reason == reason);
        (reason, since.map_or(now, |published| published.since))
    }

    /// Why a run of this gateway waits, in words, and which object the gateway is.
    pub fn context_of(&self, key: &GatewayKey, is_stop_requested: bool) -> (Option<Waiting>, Option<Uid>) {
        let gateway = self.get(key);
        let waiting = self.cause_of(key, gateway, is_stop_requested).map(|cause| cause.in_words(&key.name));
        let view = gateway.and_then(|gateway| gateway.view.as_ref());
        (waiting, view.map(|view| view.uid.clone()))
    }

    fn cause_of<'a>(
        &'a self,
        key: &GatewayKey,
        gateway: Option<&'a Gateway>,
        is_stop_requested: bool,
    ) -> Option<WaitCause<'a>> {
        let listed = self.lists.of(&key.namespace).state();
        match gateway {
            Some(gateway) => gateway.wait_cause(listed),
            None => is_stop_requested.then(|| WaitCause::unknown_gateway(listed)),
        }
    }

    /// Takes down how the gateways stand to which something has happened, and yields who is to be told.
    pub fn publish(&mut self, now: Millis) -> Publication {
        let gateways = std::mem::take(&mut self.unpublished);
        let mut notified = BTreeSet::new();
        for key in &gateways {
            let listed = self.lists.of(&key.namespace).state();
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

    /// Sets when a gateway's own status falls due.
    pub fn arm_status(&mut self, key: &GatewayKey, at: Option<Millis>, now: Millis) {
        if let Some(gateway) = self.by_key.get_mut(key).filter(|gateway| gateway.status_at != at) {
            gateway.status_at = at;
            self.rest(key, now);
        }
    }

    /// Begins to write the status of a gateway.
    pub fn state(&mut self, key: &GatewayKey, without_messages: bool, now: Now) -> Option<Written> {
        let listed = self.lists.of(&key.namespace).state();
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
}

fn target(view: &GatewayView) -> Target {
    Target { key: ObjectKey::Gateway(view.key.clone()), uid: view.uid.clone(), version: view.version }
}
