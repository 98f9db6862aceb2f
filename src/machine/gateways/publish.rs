//! News of gateways: for the runs that wait, and for the gateways' own statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::effect::{Target, WriteBody};
use crate::machine::gateways::claim::build_gateway_status;
use crate::machine::gateways::status::{Lasting, reason_of};
use crate::machine::gateways::wait_cause::WaitCause;
use crate::machine::gateways::{Gateways, Unreadable};
use crate::machine::ids::{GatewayKey, ObjectKey, RunId, Version};
use crate::machine::input::WriteResult;
use crate::machine::list::Lists;
use crate::machine::time::{Millis, Now, whole_seconds};
use crate::machine::view::GatewayView;
use crate::machine::wait_reason::{Cause, Waiting};

/// The runs and gateways to reschedule after gateways were published.
#[derive(Debug, Default)]
pub struct Publication {
    /// Runs that wait where the cause has changed, and has stood for a while.
    pub notified: BTreeSet<RunId>,
    /// Gateways whose own status may be due.
    pub gateways: BTreeSet<GatewayKey>,
}

/// The cause for which a run waits, if it does, and since when its gateway has published it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    pub cause: Option<Cause>,
    pub since: Millis,
    /// Since when the cause has had its present reason. Its words may have changed later.
    pub reason_since: Millis,
}

// === impl Gateways ===

impl Gateways {
    /// The cause for which a run of this gateway waits, and the moment since which the gateway has published it.
    pub fn wait_of(&self, key: &GatewayKey, is_stop_requested: bool, now: Millis) -> Wait {
        let cause = self.cause_of(key, is_stop_requested).map(WaitCause::cause);
        let mut wait = Wait { cause, since: now, reason_since: now };
        let Some(gateway) = self.get(key) else { return wait };
        let Lasting { value, since, reason_since } = gateway.published.cause;
        if reason_of(value) == reason_of(cause) {
            wait.reason_since = reason_since;
        }
        if value == cause {
            wait.since = since;
        }
        wait
    }

    /// The reason for which a run of this gateway waits, in words.
    pub fn waiting_of(&self, key: &GatewayKey, is_stop_requested: bool) -> Option<Waiting> {
        self.cause_of(key, is_stop_requested).map(|cause| cause.in_words(key))
    }

    pub(in crate::machine) fn cause_of(
        &self,
        key: &GatewayKey,
        is_stop_requested: bool,
    ) -> Option<WaitCause<'_>> {
        let unknown = unknown(&self.lists, &self.unreadable, key);
        match self.get(key) {
            Some(gateway) => gateway.wait_cause(unknown),
            None => is_stop_requested.then_some(unknown),
        }
    }

    /// Publishes the cause for waiting of each gateway to which something has happened, and yields the runs to tell.
    pub fn publish(&mut self, now: Millis) -> Publication {
        let gateways = std::mem::take(&mut self.unpublished);
        let mut notified = BTreeSet::new();
        for key in &gateways {
            let Some(gateway) = self.by_key.get_mut(key) else { continue };
            let unknown = unknown(&self.lists, &self.unreadable, key);
            let is_listed = self.may_call.contains(&key.namespace);
            let cause = gateway.wait_cause(unknown).map(WaitCause::cause);
            let claim = gateway.view.as_ref().map(|_| gateway.knowledge(unknown, is_listed).claim(key));
            let is_news = gateway.published.cause.value != cause || gateway.credential.read_at == Some(now);
            gateway.published.publish(cause, claim, now);
            // A deletion does not wait for what can't be sent.
            if is_news && cause.is_some_and(|cause| cause.reason.leaves_nothing_to_send()) {
                notified.extend(gateway.deleting.iter().copied());
            }
            if gateway.published.notify_at().is_some_and(|at| at <= now) {
                gateway.published.waiters_notified = Some(cause);
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

    /// Begins to write the status of a gateway, unless it says what it should.
    pub fn state(
        &mut self,
        key: &GatewayKey,
        without_messages: bool,
        now: Now,
    ) -> Option<(Target, WriteBody)> {
        let gateway = self.by_key.get_mut(key)?;
        let view = gateway.view.clone()?;
        let unknown = unknown(&self.lists, &self.unreadable, key);
        let is_listed = self.may_call.contains(&key.namespace);
        let mut said = gateway.knowledge(unknown, is_listed).say(key);
        if without_messages {
            said.message = said.claim.word().to_owned();
        }
        let status = build_gateway_status(&view, view.generation, &said, &whole_seconds(now.wall));
        let is_news = gateway.published.begin_write(&status, said.claim, now.mono);
        is_news.then(|| (target(&view), WriteBody::GatewayStatus(Arc::new(status))))
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
