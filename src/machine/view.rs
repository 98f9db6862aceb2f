//! Objects as the machine sees them: the parts of an object that matter for a decision.

use jiff::Timestamp;

use crate::api::{
    TestPlanCleanupSpec, TestPlanCleanupStatus, TestPlanRunSpec, TestPlanRunStatus, TestiniumGatewaySpec,
    TestiniumGatewayStatus,
};
use crate::machine::ids::{CleanupKey, GatewayKey, ObjectKey, RunKey, Uid, Version};

/// An object of any watched kind, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectView {
    Run(Box<RunView>),
    Gateway(Box<GatewayView>),
    Cleanup(Box<CleanupView>),
}

// === impl ObjectView ===

impl ObjectView {
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Run(view) => ObjectKey::Run(view.key.clone()),
            Self::Gateway(view) => ObjectKey::Gateway(view.key.clone()),
            Self::Cleanup(view) => ObjectKey::Cleanup(view.key.clone()),
        }
    }

    pub fn version(&self) -> Version {
        match self {
            Self::Run(view) => view.version,
            Self::Gateway(view) => view.version,
            Self::Cleanup(view) => view.version,
        }
    }
}

/// A run as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    pub key: RunKey,
    pub uid: Uid,
    pub version: Version,
    pub generation: i64,
    /// Value of the annotation `testinium.io/stop`.
    pub stop_annotation: Option<String>,
    /// Value of the annotation `testinium.io/retry`.
    pub retry_annotation: Option<String>,
    /// Value of the annotation `testinium.io/cleanup`.
    pub cleanup_annotation: Option<String>,
    /// Value of `testinium.io/stop-requested-by`.
    pub requested_by: Option<String>,
    /// Value of `reconcile.fluxcd.io/requestedAt`.
    pub reconcile_annotation: Option<String>,
    /// Value of the label `velero.io/restore-name`: the run came out of a backup.
    pub restored: Option<String>,
    /// Value of the annotation `testinium.io/keep-until`.
    pub keep_until: Option<String>,
    /// The time at which its deletion was asked for. The object is still there: something holds it up, such as a finalizer.
    pub deleted: Option<Timestamp>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// What could create the object again. Only a run with a TTL has it.
    pub marks: Option<Box<Marks>>,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    /// The time at which the object was last written, as far as its managedFields tell: for an object that has just
    /// come by a watch this is the present, by the API server's clock.
    pub written: Option<Timestamp>,
    pub spec: TestPlanRunSpec,
    pub status: TestPlanRunStatus,
    /// The field manager that set `spec.stopped`, and when.
    pub stopped_set: Option<FieldSet>,
    /// The field manager that set the stop annotation, and when.
    pub annotation_set: Option<FieldSet>,
    /// The field manager that set `spec.gatewayRef`, and when.
    pub gateway_set: Option<FieldSet>,
    /// The time at which `spec.plans` was set.
    pub plans_set: Option<Timestamp>,
    /// The field manager that set the retry annotation, and when.
    pub retry_set: Option<FieldSet>,
    /// The field manager that set `spec.activeDeadlineSeconds`, and when.
    pub deadline_set: Option<FieldSet>,
    /// The field manager that set the cleanup mark, and when.
    pub cleanup_set: Option<FieldSet>,
    /// The field manager that set `spec.deletionPolicy`, and when.
    pub policy_set: Option<FieldSet>,
}

/// The parts of an object's metadata that tell of tools which would create it again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// Names of its labels and annotations.
    pub names: Vec<String>,
    /// Its field managers.
    pub managers: Vec<String>,
    /// Kind and name of the owner that is its controller.
    pub controller: Option<String>,
}

/// The field manager that last set a field, from the object's managedFields.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSet {
    pub manager: String,
    pub time: Option<Timestamp>,
}

/// A gateway as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayView {
    pub key: GatewayKey,
    pub uid: Uid,
    pub version: Version,
    pub generation: i64,
    /// Value of `reconcile.fluxcd.io/requestedAt`.
    pub reconcile_annotation: Option<String>,
    pub spec: TestiniumGatewaySpec,
    pub status: TestiniumGatewayStatus,
}

/// A cleanup rule as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanupView {
    pub key: CleanupKey,
    pub uid: Uid,
    pub version: Version,
    pub generation: i64,
    /// Value of the annotation `testinium.io/run-now`.
    pub run_now: Option<String>,
    /// Value of the label `velero.io/restore-name`: the rule came out of a backup.
    pub restored: Option<String>,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    pub spec: TestPlanCleanupSpec,
    pub status: TestPlanCleanupStatus,
}

/// A run as a cleanup rule lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub key: RunKey,
    pub uid: Uid,
    pub version: Version,
    pub generation: i64,
    /// The object's creationTimestamp.
    pub created: Option<Timestamp>,
    pub is_being_deleted: bool,
    /// Value of the annotation `testinium.io/keep-until`.
    pub keep_until: Option<String>,
    /// Value of the annotation `testinium.io/cleanup`.
    pub mark: Option<String>,
    /// Value of the annotation `testinium.io/stop`.
    pub stop_annotation: Option<String>,
    /// Value of the annotation `testinium.io/retry`.
    pub retry_annotation: Option<String>,
    /// What could create the object again.
    pub marks: Marks,
    pub spec: TestPlanRunSpec,
    pub status: TestPlanRunStatus,
}

// === impl Candidate ===

impl Candidate {
    pub fn of(view: RunView, marks: Marks) -> Self {
        let RunView { key, uid, version, generation, created, deleted, keep_until, .. } = view;
        Self {
            key,
            uid,
            version,
            generation,
            created,
            is_being_deleted: deleted.is_some(),
            keep_until,
            mark: view.cleanup_annotation,
            stop_annotation: view.stop_annotation,
            retry_annotation: view.retry_annotation,
            marks,
            spec: view.spec,
            status: view.status,
        }
    }

    /// Name of the gateway that the run is for.
    pub fn gateway(&self) -> &str {
        gateway_of(&self.spec)
    }
}

/// Name of the gateway that a run with this spec is for.
pub fn gateway_of(spec: &TestPlanRunSpec) -> &str {
    spec.gateway_ref.as_ref().and_then(|gateway| gateway.name.as_deref()).unwrap_or(DEFAULT_GATEWAY)
}

/// Name of the gateway of a run that names none.
pub const DEFAULT_GATEWAY: &str = "default";
