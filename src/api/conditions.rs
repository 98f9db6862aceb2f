//! Conditions and the closed sets of names that they use.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of how a resource stands.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
// Each condition has one owner, who writes it whole. So the API server keeps one entry of managedFields for it instead of
// one for each of its fields, at a third less of its work for a status write; conditions of other owners still stand
// beside it.
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Condition {
    /// Name of the aspect, such as Ready or Stopped.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether the condition holds: True, False or Unknown.
    pub status: ConditionStatus,
    /// One CamelCase word that says why, for programs.
    pub reason: String,
    /// A sentence that says why, for people.
    pub message: String,
    /// When the status last changed from one value to another.
    pub last_transition_time: Time,
    /// Generation of the spec that the condition speaks of; that of the status if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// Types of conditions.
pub mod condition {
    pub const READY: &str = "Ready";
    pub const STOPPED: &str = "Stopped";
    pub const RECONCILING: &str = "Reconciling";
    pub const STALLED: &str = "Stalled";

    /// All types that this operator writes. It leaves others as they are.
    pub const OWN: [&str; 4] = [READY, STOPPED, RECONCILING, STALLED];
}

/// Reasons of conditions. Scripts match on them, so they are part of the API.
pub mod reason {
    pub const NOT_REQUESTED: &str = "NotRequested";
    pub const PROGRESSING: &str = "Progressing";
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    pub const SUCCEEDED: &str = "Succeeded";
    pub const NOT_TRIED: &str = "NotTried";
    pub const FAILED: &str = "Failed";
    pub const WITHDRAWN: &str = "Withdrawn";
    pub const RESTORED: &str = "Restored";

    pub const STOPPING: &str = "Stopping";
    pub const ACCEPTED: &str = "Accepted";
    pub const NOT_RUNNING: &str = "NotRunning";
    pub const PARTIALLY_STOPPED: &str = "PartiallyStopped";
    pub const EXPIRED: &str = "Expired";

    pub const GATEWAY_NOT_FOUND: &str = "GatewayNotFound";
    pub const GATEWAY_NOT_LISTED: &str = "GatewayNotListed";
    pub const GATEWAY_UNREADABLE: &str = "GatewayUnreadable";
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    pub const INVALID_CREDENTIAL: &str = "InvalidCredential";
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    pub const FORBIDDEN: &str = "Forbidden";
    pub const UNREACHABLE: &str = "Unreachable";
    pub const MISCONFIGURED: &str = "Misconfigured";
    pub const SUSPENDED: &str = "Suspended";

    pub const SCHEDULED: &str = "Scheduled";
    pub const INVALID_SCHEDULE: &str = "InvalidSchedule";
    pub const UNKNOWN_TIME_ZONE: &str = "UnknownTimeZone";

    /// All reasons of the condition Ready of a TestPlanCleanup, which tests compare pages with.
    #[cfg(test)]
    pub const OF_CLEANUPS: [&str; 5] = [SCHEDULED, SUSPENDED, FAILED, INVALID_SCHEDULE, UNKNOWN_TIME_ZONE];

    /// All reasons of the condition Stopped, which tests compare pages with.
    #[cfg(test)]
    pub const OF_STOPPED: [&str; 19] = [
        NOT_REQUESTED,
        RESTORED,
        WITHDRAWN,
        STOPPING,
        ACCEPTED,
        NOT_RUNNING,
        PARTIALLY_STOPPED,
        FAILED,
        EXPIRED,
        GATEWAY_NOT_FOUND,
        GATEWAY_NOT_LISTED,
        GATEWAY_UNREADABLE,
        SUSPENDED,
        SECRET_NOT_FOUND,
        INVALID_CREDENTIAL,
        AUTHENTICATION_FAILED,
        FORBIDDEN,
        UNREACHABLE,
        MISCONFIGURED,
    ];
}
