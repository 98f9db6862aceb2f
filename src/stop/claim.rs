//! Conditions in the making: what a status claims, before it is known since when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Condition, ConditionStatus};

/// A condition before it has its time.
pub(super) struct Claim {
    type_: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Claim {
    pub(super) fn new(
        type_: &'static str,
        status: ConditionStatus,
        reason: &'static str,
        message: &str,
    ) -> Self {
        Self { type_, status, reason, message: message.to_owned() }
    }

    pub(super) fn into_condition(self, base: &[Condition], generation: i64, now: &Time) -> Condition {
        let before = base.iter().find(|other| other.type_ == self.type_ && other.status == self.status);
        Condition {
            type_: self.type_.to_owned(),
            status: self.status,
            reason: self.reason.to_owned(),
            message: self.message,
            last_transition_time: before
                .map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
            observed_generation: Some(generation),
        }
    }
}
