//! What a run wants: the whole of it, from one look at the object and what is known of the requests before.
//!
//! Three sources ask for a stop (`spec.stopped`, the annotation), one withdraws it (`stopped: false`). A request is
//! an *edge*: `stopped` turning true, or the annotation changing. Edges are told from levels by what was last
//! observed, which is kept in status ([`StopStatus::observed_stopped`], [`StopStatus::observed_request`]), so that a
//! restart neither repeats nor forgets a request.
//!
//! [`StopStatus::observed_stopped`]: crate::api::StopStatus::observed_stopped
//! [`StopStatus::observed_request`]: crate::api::StopStatus::observed_request

use std::sync::Arc;

use super::types::{GatewayKey, Key, RunKey};
use super::view::RunView;
use crate::api::{TestPlanRunStatus, Trigger, condition, reason};

/// Name of the gateway of a run that names none.
pub const DEFAULT_GATEWAY: &str = "default";

/// What is known of the requests of a run so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// `spec.stopped` as last observed.
    pub stopped: bool,
    /// The annotation as last observed.
    pub request: Option<Arc<str>>,
    pub stop: Stop,
    /// Name of the gateway that the stop is for.
    pub gateway: Option<Arc<str>>,
}

/// How the last request stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stop {
    /// There was none.
    #[default]
    None,
    /// It holds.
    Asked(Trigger),
    /// It was taken back.
    Rearmed(Trigger),
}

/// What a look at a run yields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    pub standing: Standing,
    /// A request that was not there before: every plan is sent.
    pub new: bool,
    /// The annotation has a value that can't ask for a stop, and had another one before.
    pub invalid_annotation: bool,
}

impl Standing {
    /// What the status of an object remembers.
    pub fn of_status(status: &TestPlanRunStatus) -> Self {
        let Some(stop) = &status.stop else { return Self::default() };
        let rearmed = status
            .conditions
            .iter()
            .any(|other| other.type_ == condition::STOPPED && other.reason == reason::REARMED);
        Self {
            stopped: stop.observed_stopped.unwrap_or(false),
            request: stop.observed_request.as_deref().map(Arc::from),
            stop: match stop.trigger {
                None => Stop::None,
                Some(trigger) if rearmed => Stop::Rearmed(trigger),
                Some(trigger) => Stop::Asked(trigger),
            },
            gateway: stop.gateway.as_ref().map(|gateway| gateway.name.as_str().into()),
        }
    }

    /// The gateway of a run that stands so.
    pub fn gateway_key(&self, run: &RunKey) -> GatewayKey {
        let name = self.gateway.clone().unwrap_or_else(|| DEFAULT_GATEWAY.into());
        Key { namespace: run.namespace.clone(), name }
    }
}

/// Name of the gateway that a run is for.
pub fn gateway_name(view: &RunView) -> &str {
    view.spec.gateway_ref.as_ref().and_then(|gateway| gateway.name.as_deref()).unwrap_or(DEFAULT_GATEWAY)
}

/// Looks at a run. `before` is what the machine remembers of it, or else what its status does.
pub fn wish(view: &RunView, before: &Standing) -> Wish {
    let spec = view.spec.stopped;
    let annotation = view.stop_annotation.as_deref();
    let annotation_changed = annotation.is_some() && annotation != before.request.as_deref();
    let asks = annotation.is_some_and(can_ask);

    let mut standing = Standing {
        // A removed field is no opinion: what was observed stays.
        stopped: spec.unwrap_or(before.stopped),
        request: annotation.map(|value| kept_text(&before.request, value)).or_else(|| before.request.clone()),
        stop: before.stop,
        gateway: Some(kept_text(&before.gateway, gateway_name(view))),
    };
    let invalid_annotation = annotation_changed && !asks;
    if came_from_backup(view, before) {
        return Wish { standing, new: false, invalid_annotation };
    }

    let mut new = true;
    if spec == Some(true) && !before.stopped {
        standing.stop = Stop::Asked(Trigger::Spec);
    } else if annotation_changed && asks {
        standing.stop = Stop::Asked(Trigger::Annotation);
    } else {
        standing.stop = kept(before, spec, annotation);
        // A plan id on another gateway is another plan: what the first one said of it does not count.
        let moved = before.gateway.is_some() && before.gateway != standing.gateway;
        new = moved && matches!(standing.stop, Stop::Asked(_));
    }
    Wish { standing, new, invalid_annotation }
}

/// A text, without a copy if it is the one that was there before.
fn kept_text(before: &Option<Arc<str>>, text: &str) -> Arc<str> {
    before.clone().filter(|before| **before == *text).unwrap_or_else(|| text.into())
}

/// What becomes of an earlier request when nothing new is asked for.
fn kept(before: &Standing, spec: Option<bool>, annotation: Option<&str>) -> Stop {
    match before.stop {
        Stop::Asked(trigger) if spec == Some(false) => {
            // The annotation is there for runs whose spec Git owns, and may well say false all the time: a stop by
            // annotation is taken back by `stopped` turning false, or by removing the annotation, not by that.
            let turned_false = before.stopped;
            let annotation_stands = trigger == Trigger::Annotation && annotation.is_some();
            if annotation_stands && !turned_false { Stop::Asked(trigger) } else { Stop::Rearmed(trigger) }
        }
        other => other,
    }
}

/// A run that a backup brought back without its status asks for nothing by itself: what it says is of the past.
fn came_from_backup(view: &RunView, before: &Standing) -> bool {
    view.restored && *before == Standing::default() && view.status.start_time.is_none()
}

/// Values that read as a no do not ask for a stop; whoever writes them means something else.
pub fn can_ask(value: &str) -> bool {
    let value = value.trim();
    !(value.is_empty() || ["false", "no", "0"].iter().any(|no| value.eq_ignore_ascii_case(no)))
}

#[cfg(test)]
#[path = "wish_tests.rs"]
mod tests;
