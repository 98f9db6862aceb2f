//! The memory of a run: the fields that ask as they were last seen, and the state of its stop.
//!
//! It is kept in `status.stop`, absence included (rule 5 of `docs/requests.md`), so that a restart neither repeats nor
//! forgets a request.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{TestPlanRunStatus, Trigger};
use crate::machine::ids::{GatewayKey, RunKey};
use crate::machine::runs::deadline::Deadlines;
use crate::machine::runs::deletion::deletion_begins;
use crate::machine::runs::meaning::asks;
use crate::machine::view::{DEFAULT_GATEWAY, RunView};

/// The fields that ask as they were last seen, and the state of the run's stop.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observed {
    /// `spec.stopped`; none if it was absent.
    pub stopped: Option<bool>,
    /// The annotation `testinium.io/stop`; none if it was absent.
    pub annotation: Option<Arc<str>>,
    /// The annotation `testinium.io/retry`; none if it was absent.
    pub retry: Option<Arc<str>>,
    /// The cleanup mark `testinium.io/cleanup`; none if it was absent.
    pub cleanup: Option<Arc<str>>,
    /// The label by which Velero marks what it has restored.
    pub restore: Option<Arc<str>>,
    pub deadline: Deadlines,
    /// The time at which the deletion of the object was first seen, if that asks or has asked for a stop.
    pub deletion: Option<Timestamp>,
    pub stop: StopState,
    /// Value of the annotation that asked for the stop, even if the annotation is gone meanwhile.
    pub request: Option<Arc<str>>,
    /// Name of the gateway that the stop was asked for at; none if there was no stop.
    pub gateway: Option<Arc<str>>,
}

/// The state of a run's stop. A run has at most one stop (rule 1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum StopState {
    /// There was none.
    #[default]
    None,
    /// It was asked for and stands.
    Asked(Trigger),
    /// It was taken back.
    Withdrawn(Trigger),
}

// === impl Observed ===

impl Observed {
    /// Whether the fields that ask are as they were last seen, and no deadline has passed since.
    pub fn has_seen(&self, view: &RunView, now: Timestamp) -> bool {
        self.stopped == view.spec.stopped
            && self.annotation.as_deref() == view.stop_annotation.as_deref()
            && self.retry.as_deref() == view.retry_annotation.as_deref()
            && self.cleanup.as_deref() == view.cleanup_annotation.as_deref()
            && self.restore.as_deref() == view.restored.as_deref()
            && !self.deadline.seen_in(view).passes(now)
            && !deletion_begins(view, self.deletion)
    }

    /// The memory in the status of an object.
    pub fn of_status(status: &TestPlanRunStatus) -> Self {
        let Some(stop) = &status.stop else { return Self::default() };
        let gateway = stop.gateway.as_ref().map(|gateway| gateway.name.as_str().into());
        Self {
            stopped: stop.observed_stopped,
            annotation: stop.observed_request.as_deref().map(Arc::from),
            retry: stop.observed_retry.as_deref().map(Arc::from),
            cleanup: stop.observed_cleanup.as_deref().map(Arc::from),
            restore: stop.observed_restore.as_deref().map(Arc::from),
            deadline: Deadlines { named: None, passed: stop.observed_deadline.as_ref().map(|time| time.0) },
            deletion: stop.observed_deletion.as_ref().map(|time| time.0),
            stop: match stop.trigger {
                None => StopState::None,
                Some(trigger) if stop.withdrawn_time.is_some() => StopState::Withdrawn(trigger),
                Some(trigger) => StopState::Asked(trigger),
            },
            request: stop.request.as_deref().map(Arc::from),
            gateway: gateway.filter(|_| stop.trigger.is_some()),
        }
    }

    /// The gateway that the stop was asked for at.
    pub fn gateway_key(&self, run: &RunKey) -> GatewayKey {
        let name = self.gateway.clone().unwrap_or_else(|| DEFAULT_GATEWAY.into());
        GatewayKey::new(run.namespace.clone(), name)
    }

    pub fn is_stop_requested(&self) -> bool {
        matches!(self.stop, StopState::Asked(_))
    }

    /// Whether the run carries a request that counts as seen because it came out of a backup.
    pub fn is_restored(&self) -> bool {
        self.stop == StopState::None && self.restore.is_some() && self.carries_request()
    }

    fn carries_request(&self) -> bool {
        let asks = |value: &Option<Arc<str>>| value.as_deref().is_some_and(asks);
        let asks = asks(&self.annotation) || asks(&self.retry) || self.cleanup.is_some();
        self.stopped == Some(true) || asks || self.deadline.is_spent()
    }
}
