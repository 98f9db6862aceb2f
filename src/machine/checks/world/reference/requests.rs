//! The rules of requests once more, told in another way: for each object that the machine is shown, whether a stop
//! stands and whether it was asked for anew.
//!
//! The reference judges by this and calls nothing of the machine, so that a fault there can't hide itself.

use crate::api::TestPlanRunStatus;
use crate::machine::RunView;

/// The requests of one run by the objects that were shown so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::machine) struct RequestReference {
    pub(in crate::machine) stopped: Option<bool>,
    pub(in crate::machine) annotation: Option<String>,
    pub(in crate::machine) retry: Option<String>,
    pub(in crate::machine) cleanup: Option<String>,
    /// Name of the gateway at which a stop stands.
    pub(in crate::machine) stands_at: Option<String>,
}

/// The field that has asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::machine) enum AskedBy {
    Stopped,
    Annotation,
    /// For all plans, since no stop stands here.
    Retry,
    /// For those that the present stop has not stopped.
    RetryOfSome,
    /// The same two for a cleanup rule.
    Cleanup,
    CleanupOfSome,
}

const NOES: [&str; 5] = ["false", "no", "off", "none", "0"];

// === impl RequestReference ===

impl RequestReference {
    /// The requests that an earlier process has left in the status.
    pub(in crate::machine) fn of_status(status: &TestPlanRunStatus) -> Self {
        let stop = status.stop.clone().unwrap_or_default();
        let stands = stop.trigger.is_some() && stop.withdrawn_time.is_none();
        Self {
            stopped: stop.observed_stopped,
            annotation: stop.observed_request,
            retry: stop.observed_retry,
            cleanup: stop.observed_cleanup,
            stands_at: stop.gateway.filter(|_| stands).map(|gateway| gateway.name),
        }
    }

    pub(in crate::machine) fn stands(&self) -> bool {
        self.stands_at.is_some()
    }

    /// Shows the next state of the object. `unseen_flip`: the field went to false and back while nobody looked. Yields
    /// which field asks for a stop that was not asked for before.
    pub(in crate::machine) fn show(&mut self, view: &RunView, unseen_flip: bool) -> Option<AskedBy> {
        let before = std::mem::replace(
            self,
            Self {
                stopped: view.spec.stopped,
                annotation: view.stop_annotation.clone(),
                retry: view.retry_annotation.clone(),
                cleanup: view.cleanup_annotation.clone(),
                stands_at: self.stands_at.clone(),
            },
        );
        let gateway = gateway_of(view);
        let value = view.stop_annotation.as_deref().unwrap_or("").trim().to_lowercase();
        let is_other_value = view.stop_annotation.is_some() && before.annotation != self.annotation;
        let became_true = self.stopped == Some(true) && (before.stopped != Some(true) || unseen_flip);
        let became_a_request = is_other_value && !value.is_empty() && !NOES.contains(&value.as_str());
        if became_true || became_a_request {
            self.stands_at = Some(gateway);
            return Some(if became_true { AskedBy::Stopped } else { AskedBy::Annotation });
        }
        let retries = self.retry.is_some() && before.retry != self.retry;
        let is_cleaned = self.cleanup.is_some() && before.cleanup != self.cleanup;
        if (retries || is_cleaned) && self.stands_at.as_ref() != Some(&gateway) {
            self.stands_at = Some(gateway);
            return Some(if retries { AskedBy::Retry } else { AskedBy::Cleanup });
        }
        if retries || is_cleaned {
            return Some(if retries { AskedBy::RetryOfSome } else { AskedBy::CleanupOfSome });
        }
        let became_false = self.stopped == Some(false) && before.stopped != Some(false);
        let became_a_no = is_other_value && NOES.contains(&value.as_str()) && self.stopped != Some(true);
        let moved = self.stands_at.as_ref().is_some_and(|at| *at != gateway);
        if became_false || became_a_no || moved {
            self.stands_at = None;
        }
        None
    }
}

/// The gateway that an object names.
fn gateway_of(view: &RunView) -> String {
    let named = view.spec.gateway_ref.clone().and_then(|gateway| gateway.name);
    named.unwrap_or_else(|| "default".to_owned())
}
