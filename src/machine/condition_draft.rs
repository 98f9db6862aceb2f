//! Drafts of conditions: the claim of a status, before it is known since when it holds.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Condition, ConditionStatus, condition};

/// A condition before it has its time.
pub(super) struct ConditionDraft {
    type_: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

/// The conditions of a status: ours, each with the time since which it has had its status, and those of others as they
/// were. `before`: the conditions that are there. `generation`: that of the spec that ours speak of.
pub(super) fn conditions_of(
    drafts: Vec<ConditionDraft>,
    before: &[Condition],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    let since = |type_: &str, status| {
        let same = before.iter().find(|other| other.type_ == type_ && other.status == status)?;
        Some(same.last_transition_time.0)
    };
    let own = drafts.into_iter().map(|draft| draft.into_condition(since, Some(generation), now));
    own.chain(foreign(before).cloned()).collect()
}

/// The conditions of types that are not of this operator: they stay as others have put them there.
pub(super) fn foreign(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    conditions.iter().filter(|other| !condition::OWN.contains(&other.type_.as_str()))
}

// === impl ConditionDraft ===

impl ConditionDraft {
    pub(super) fn new(
        type_: &'static str,
        status: ConditionStatus,
        reason: &'static str,
        message: &str,
    ) -> Self {
        Self { type_, status, reason, message: message.to_owned() }
    }

    /// Makes the condition. `since`: since when a condition of this type has had this status, if it had it before.
    /// `generation`: that of the spec that it speaks of, where the status does not say it for all of them.
    pub(super) fn into_condition(
        self,
        since: impl Fn(&str, ConditionStatus) -> Option<Timestamp>,
        generation: Option<i64>,
        now: &Time,
    ) -> Condition {
        Condition {
            type_: self.type_.to_owned(),
            status: self.status,
            reason: self.reason.to_owned(),
            message: self.message,
            last_transition_time: since(self.type_, self.status).map_or_else(|| now.clone(), Time),
            observed_generation: generation,
        }
    }
}
