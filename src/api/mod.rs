//! The custom resources: what users write and what they read back.
//!
//! One kind a file. Types, their schema and its validation rules, and the names of conditions and reasons live
//! here; behaviour does not.

// The documentation of a field is what `kubectl explain` prints: plain text, no markup.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags)]

mod cleanup;
mod conditions;
mod gateway;
mod reasons;
mod reference;
mod rules;
mod run;
mod schedule_rules;
mod schema;

pub use cleanup::*;
pub use conditions::{Condition, ConditionStatus, condition, reason};
pub use gateway::*;
pub use reasons::{EventReason, PlanReason};
pub use reference::{REFERENCE_FILE, reference};
pub use run::*;
pub use schema::{YamlError, crds, file_name, to_yaml};

/// API group of every kind here.
pub const GROUP: &str = "testinium.io";

/// Annotation that asks for a stop without touching the spec. A changed value asks again.
pub const STOP_ANNOTATION: &str = "testinium.io/stop";

/// Finalizer of a run whose plans are stopped before it goes (`spec.deletionPolicy: Stop`). The operator puts it on and
/// takes it off.
pub const FINALIZER: &str = "testinium.io/stop";

/// Annotation that asks again for the plans that the present stop has not stopped. A changed value asks again.
pub const RETRY_ANNOTATION: &str = "testinium.io/retry";

/// Annotation by which a TestPlanCleanup asks for a stop: its name and the scheduled time. A changed value asks again for
/// the plans that the present stop has not stopped.
pub const CLEANUP_ANNOTATION: &str = "testinium.io/cleanup";

/// Annotation of a run that spares it from cleanup until a time.
pub const KEEP_UNTIL_ANNOTATION: &str = "testinium.io/keep-until";

/// Annotation of a TestPlanCleanup that runs it at once. A changed value runs it again.
pub const RUN_NOW_ANNOTATION: &str = "testinium.io/run-now";

/// Annotation that the requester policy stamps with the user who asked for the stop.
pub const REQUESTED_BY_ANNOTATION: &str = "testinium.io/stop-requested-by";

/// Flux's annotation that asks for a reconciliation now. It never stops anything by itself.
pub const RECONCILE_ANNOTATION: &str = "reconcile.fluxcd.io/requestedAt";

/// Label that Velero puts on what it restores.
pub const RESTORED_LABEL: &str = "velero.io/restore-name";
