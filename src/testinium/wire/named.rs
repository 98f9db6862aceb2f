//! The plan that an error names.

use crate::machine::PlanId;

/// Which plan an error names, from all the places in it that may name one.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Nothing,
    One(PlanId),
    /// Several plans, or something that is no plan's id: to blame any of them could clear another.
    Unclear,
}

// === impl Named ===

impl From<Option<PlanId>> for Named {
    fn from(plan: Option<PlanId>) -> Self {
        plan.map_or(Self::Nothing, Self::One)
    }
}

impl Named {
    pub(super) fn and(self, other: impl Into<Self>) -> Self {
        match (self, other.into()) {
            (one, Self::Nothing) => one,
            (Self::Nothing, other) => other,
            (Self::One(one), Self::One(other)) if one == other => Self::One(one),
            _ => Self::Unclear,
        }
    }

    pub(super) fn plan(self) -> Option<PlanId> {
        match self {
            Self::One(plan) => Some(plan),
            Self::Nothing | Self::Unclear => None,
        }
    }
}
