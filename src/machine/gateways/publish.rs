//! News of gateways: for the runs that wait, and for the gateways' own statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::effect::{Target, WriteBody};
use crate::machine::gateways::status::build_gateway_status;
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::gateways::{Gateways, Unreadable};
use crate::machine::ids::{GatewayKey, ObjectKey, RunId, Uid, Version};
use crate::machine::input::WriteResult;
use crate::machine::limits::REASON_SETTLES;
use crate::machine::list::Lists;
use crate::machine::time::{Millis, Now, whole_seconds};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{WaitReason, Waiting};

/// The runs and gateways to reschedule after gateways were published.
#[derive(Debug, Default)]
pub struct Publication {
    /// Runs that wait where the reason has changed, and has stood for a while.
    pub notified: BTreeSet<RunId>,
    /// Gateways whose own status may be due.
    pub gateways: BTreeSet<GatewayKey>,
}

// === impl Gateways ===

impl Gateways {
    /// The reason for which a run of this gateway waits, and the moment since which the gateway has published it.
    pub fn wait_of(
        &self,
        key: &GatewayKey,
        is_stop_requested: bool,
        now: Millis,
    ) -> (Option<WaitReason>, Millis) {
        let gateway = self.get(key);
        let reason = self.cause_of(key, is_stop_requested).map(WaitCause::reason);
        let published = gateway.map(|gateway| &gateway.published);
        let since = published.filter(|published| published.reason == reason);
        (reason, since.map_or(now, |published| published.since))
    }

    /// The reason for which a run of this gateway waits, in words, and the uid of the gateway's object.
    pub fn context_of(&self, key: &GatewayKey, is_stop_requested: bool) -> (Option<Waiting>, Option<Uid>) {
        let gateway = self.get(key);
        let waiting = self.cause_of(key, is_stop_requested).map(|cause| cause.in_words(&key.name));
        let view = gateway.and_then(|gateway| gateway.view.as_ref());
        (waiting, view.map(|view| view.uid.clone()))
    }

    fn cause_of(&self, key: &GatewayKey, is_stop_requested: bool) -> Option<WaitCause<'_>> {
        let unknown = unknown(&self.lists, &self.unreadable, key);
        match self.get(key) {
            Some(gateway) => gateway.wait_cause(unknown),
            None => is_stop_requested.then_some(unknown),
        }
    }

    /// Publishes the reason for waiting of each gateway to which something has happened, and yields the runs to tell.
    pub fn publish(&mut self, now: Millis) -> Publication {
        let gateways = std::mem::take(&mut self.unpublished);
        let mut notified = BTreeSet::new();
        for key in &gateways {
            let Some(gateway) = self.by_key.get_mut(key) else { continue };
            let reason = gateway.wait_reason(unknown(&self.lists, &self.unreadable, key));
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

    /// The moment from which on a gateway's own status is to be written, if it is to be.
    pub fn status_due(&self, key: &GatewayKey) -> Option<Millis> {
        self.get(key)?.status_due()
    }

    /// Sets the moment at which a gateway's own status falls due.
    pub fn arm_status(&mut self, key: &GatewayKey, at: Option<Millis>, now: Millis) {
        if let Some(gateway) = self.by_key.get_mut(key).filter(|gateway| gateway.status_at != at) {
            gateway.status_at = at;
            self.rest(key, now);
        }
    }

    /// Begins to write the status of a gateway.
    pub fn state(
        &mut self,
        key: &GatewayKey,
        without_messages: bool,
        now: Now,
    ) -> Option<(Target, WriteBody)> {
        let gateway = self.by_key.get_mut(key)?;
        let view = gateway.view.clone()?;
        let unknown = unknown(&self.lists, &self.unreadable, key);
        let mut waiting = gateway.wait_cause(unknown).map(|cause| cause.in_words(&key.name));
        if let Some(waiting) = waiting.as_mut().filter(|_| without_messages) {
            waiting.message = waiting.reason.as_str().to_owned();
        }
        let time = whole_seconds(now.wall);
        let status = build_gateway_status(&view.status, view.generation, waiting.as_ref(), &time);
        gateway.published.begin_write(view.generation);
        Some((target(&view), WriteBody::GatewayStatus(Arc::new(status))))
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

/// The cause for which plans wait at a gateway whose object is not known.
fn unknown<'a>(
    lists: &'a Lists,
    unreadable: &'a BTreeMap<GatewayKey, Unreadable>,
    key: &GatewayKey,
) -> WaitCause<'a> {
    WaitCause::unknown_gateway(
        lists.of(&key.namespace).state(),
        unreadable.get(key).map(|object| &*object.why),
    )
}

fn target(view: &GatewayView) -> Target {
    Target { key: ObjectKey::Gateway(view.key.clone()), uid: view.uid.clone(), version: view.version }
}
